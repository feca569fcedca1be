//! Uploads over HTTP: multipart bodies.

use holdfast::rpc::multipart::{Event, MultipartError, Parser, PartHead};

/// The boundary of every body here.
const BOUNDARY: &str = "b";

type Parts = Vec<(PartHead, Vec<u8>)>;

/// A body means the same however its bytes come; parts open and close in turn; no path leads above the top; and what is cut
/// short is an error, whatever came before.
pub fn multipart(data: &[u8]) {
    let whole = parts(data, data.len().max(1));
    for piece in [1, 3, 16] {
        assert_eq!(parts(data, piece), whole, "in pieces of {piece}");
    }
    let Ok(parts_of_whole) = whole else { return };
    for (head, _) in &parts_of_whole {
        let mut components = head.path.split(|byte| *byte == b'/');
        let is_clean = head.path.is_empty() || components.all(|name| !matches!(name, b"" | b"." | b".."));
        assert!(is_clean, "{head:?}");
    }
    let bytes: usize = parts_of_whole.iter().map(|(_, data)| data.len()).sum();
    assert!(bytes <= data.len(), "no byte comes from nowhere");
    // Behind the last delimiter everything is ignored; before it, nothing is whole.
    let end = data.windows(5).rposition(|bytes| bytes == b"--b--").unwrap_or_default();
    let first_end = data.windows(5).position(|bytes| bytes == b"--b--").unwrap_or_default();
    if end == first_end {
        let cut = parts(data.get(..end).unwrap_or_default(), data.len().max(1));
        assert_eq!(cut.err(), Some(MultipartError::Cut));
    }
}

fn parts(body: &[u8], piece: usize) -> Result<Parts, MultipartError> {
    let mut parser = Parser::new(BOUNDARY)?;
    let (mut parts, mut is_open) = (Parts::new(), false);
    for piece in body.chunks(piece) {
        parser.push(piece);
        while let Some(event) = parser.next()? {
            match event {
                Event::Part(head) => {
                    assert!(!is_open);
                    is_open = true;
                    parts.push((head, Vec::new()));
                }
                Event::Data(data) => {
                    assert!(is_open && !data.is_empty());
                    parts.last_mut().expect("a part is open").1.extend_from_slice(&data);
                }
                Event::PartEnd => {
                    assert!(is_open);
                    is_open = false;
                }
            }
        }
    }
    parser.finish()?;
    assert!(!is_open, "a body that is whole leaves nothing open");
    Ok(parts)
}

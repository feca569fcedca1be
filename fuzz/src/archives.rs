//! CAR.

use bytes::Bytes;
use holdfast_dag::car::{CarError, CarEvent, CarLimits, CarReader, encode_header, encode_section_head};

/// Limits that small inputs reach.
fn limits() -> CarLimits {
    CarLimits {
        header_bytes_max: 4096,
        roots_max: 16,
        section_bytes_max: 2048,
        block_bytes_max: 1024,
        ..CarLimits::default()
    }
}

/// An archive says the same whatever the sizes of the pieces it comes in (the first byte chooses them), and what it
/// says can be written and read again.
pub fn car(data: &[u8]) {
    let Some((step, archive)) = data.split_first() else { return };
    let whole = read(archive, archive.len().max(1));
    assert_eq!(read(archive, usize::from(*step) + 1), whole, "pieces make no difference");
    assert_eq!(read(archive, 1), whole, "pieces make no difference");
    let (events, Ok(())) = whole else { return };
    let mut written = Vec::new();
    for event in &events {
        match event {
            CarEvent::Header { roots, .. } => written.extend(encode_header(roots)),
            CarEvent::Block { cid, data } => {
                written.extend(encode_section_head(cid, data.len()));
                written.extend_from_slice(data);
            }
            CarEvent::NeedMore | CarEvent::End => {}
        }
    }
    let (again, result) = read(&written, written.len());
    assert_eq!(result, Ok(()), "what was written can be read");
    assert_eq!(again.get(1..), events.get(1..), "with the same blocks");
}

/// Events up to the end or the error, with the input pushed in pieces.
fn read(archive: &[u8], piece: usize) -> (Vec<CarEvent>, Result<(), CarError>) {
    let mut reader = CarReader::new(limits());
    let mut pieces = archive.chunks(piece);
    let mut events = Vec::new();
    loop {
        match reader.next_event() {
            Ok(CarEvent::NeedMore) => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => reader.finish(),
            },
            Ok(CarEvent::End) => return (events, Ok(())),
            Ok(event) => events.push(event),
            Err(error) => {
                assert_eq!(reader.next_event(), Err(error.clone()), "a failed reader stays failed");
                return (events, Err(error));
            }
        }
    }
}

//! CIDs, multibase and content paths.

use holdfast_dag::base::{self, BASES, Base};
use holdfast_dag::cid::{CID_BYTES_MAX, cid_from_bytes, parse_cid};
use holdfast_dag::cid_text::{CidConversion, encode_cid, format_cid, inspect};
use holdfast_dag::path::ContentPath;

/// Binary CIDs have one form; text of a CID in any base is that CID; bases give back what they took.
pub fn cid(data: &[u8]) {
    if let Ok(cid) = cid_from_bytes(data) {
        assert_eq!(cid.to_bytes(), data, "a CID has one binary form");
        assert!(data.len() <= CID_BYTES_MAX);
        for (base, _) in BASES {
            let Ok(text) = encode_cid(base, &cid) else { continue };
            let Ok(text) = String::from_utf8(text) else { continue };
            assert_eq!(parse_cid(&text), Ok(cid), "{text}");
            assert!(format_cid("%b%B%v%V%c%C%h%H%L%m%M%d%D%s%S%P%%", base, &cid).is_ok());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let shown = inspect(text);
        match parse_cid(text) {
            Ok(cid) => {
                assert_eq!(parse_cid(&cid.to_string()), Ok(cid), "text survives");
                let shown = shown.expect("every CID can be inspected");
                assert!(shown.to_string().ends_with('\n'));
                assert_eq!(parse_cid(&shown.v1).map(|v1| *v1.hash()), Ok(*cid.hash()));
                assert!(CidConversion::base32().apply(text).is_ok());
            }
            Err(_) => assert!(shown.is_err()),
        }
    }
    // Bases that decode in quadratic time are meant for short texts.
    let short = data.get(..256).unwrap_or(data);
    for (base, name) in BASES {
        let text = base::encode(base, short);
        assert_eq!(base::decode(&text), Ok((base, short.to_vec())), "{name}");
    }
    if let Ok((base, bytes)) = base::decode(short) {
        let text = base::encode(base, &bytes);
        assert_eq!(base::decode(&text), Ok((base, bytes)));
        assert!(base == Base::Identity || std::str::from_utf8(&text).is_ok());
    }
}

/// A parsed path never escapes its root, and its canonical form is a fixed point.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for parsed in [ContentPath::parse(text), ContentPath::parse_user(text)] {
        let Ok(path) = parsed else { continue };
        for segment in path.segments() {
            assert!(!matches!(segment.as_str(), "" | "." | "..") && !segment.contains('/'), "{segment:?}");
        }
        let canonical = path.to_string();
        let again = ContentPath::parse(&canonical).expect("the canonical form is a path");
        assert_eq!(again, path, "the canonical form is a fixed point");
    }
}

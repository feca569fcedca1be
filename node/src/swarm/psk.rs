//! `swarm.key`: the key of a private network, in the forms that Kubo reads.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use libp2p::pnet::PreSharedKey;

/// First line of the file.
const HEAD: &[u8] = b"/key/swarm/psk/1.0.0/";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 4096;

/// Why a file is not the key of a private network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PskError {
    /// The first line is another.
    #[error("it must begin with the line /key/swarm/psk/1.0.0/")]
    Head,
    /// The second line names no encoding that is known.
    #[error("its second line must be /base16/, /base64/ or /bin/")]
    Encoding,
    /// What follows does not decode.
    #[error("its key does not decode: {0}")]
    Decode(String),
    /// There are too few or too many bytes.
    #[error("its key has {0} bytes, and needs 32")]
    Length(usize),
}

/// Reads the content of the file.
pub fn parse(content: &[u8]) -> Result<PreSharedKey, PskError> {
    let (head, rest) = line(content);
    if head != HEAD {
        return Err(PskError::Head);
    }
    let (encoding, rest) = line(rest);
    let decoded = match encoding {
        // Kubo reads the bytes as they are: one that is a line break belongs to the key.
        b"/bin/" => rest.get(..KEY_BYTES).unwrap_or(rest).to_vec(),
        b"/base16/" => decode(&HEXLOWER_PERMISSIVE, rest)?,
        b"/base64/" => decode(&BASE64, rest)?,
        _ => return Err(PskError::Encoding),
    };
    let key: [u8; KEY_BYTES] = decoded.as_slice().try_into().map_err(|_| PskError::Length(decoded.len()))?;
    Ok(PreSharedKey::new(key))
}

fn decode(encoding: &data_encoding::Encoding, text: &[u8]) -> Result<Vec<u8>, PskError> {
    encoding.decode(text.trim_ascii()).map_err(|error| PskError::Decode(error.to_string()))
}

/// The first line without its end, and what comes after it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = text.get(..end).unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line), text.get(end + 1..).unwrap_or_default())
        }
        None => (text, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_in_all_three_encodings_is_the_same_key() {
        let key: Vec<u8> = (1..=32).collect();
        let file = |encoding: &str, key: &[u8]| {
            let head = format!("/key/swarm/psk/1.0.0/\n{encoding}\n");
            parse(&[head.as_bytes(), key].concat())
        };
        let hex = file("/base16/", format!("{}\n", HEXLOWER_PERMISSIVE.encode(&key)).as_bytes()).unwrap();
        assert_eq!(file("/base64/", BASE64.encode(&key).as_bytes()).unwrap(), hex);
        assert_eq!(file("/bin/", &key).unwrap(), hex);
        assert_eq!(hex, PreSharedKey::new(key.try_into().unwrap()));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        for (content, expected) in [
            ("", PskError::Head),
            ("/key/swarm/psk/2.0.0/\n/bin/\n", PskError::Head),
            ("/key/swarm/psk/1.0.0/\n/base32/\nabc", PskError::Encoding),
            ("/key/swarm/psk/1.0.0/\n/bin/\nshort", PskError::Length(5)),
            ("/key/swarm/psk/1.0.0/\n/base16/\n0102", PskError::Length(2)),
        ] {
            assert_eq!(parse(content.as_bytes()), Err(expected), "{content:?}");
        }
        assert!(matches!(parse(b"/key/swarm/psk/1.0.0/\n/base16/\nzz"), Err(PskError::Decode(_))));
    }
}

//! Asking a peer for a record of a name: `/libp2p/fetch/0.0.1`.

use holdfast::services::names::fetch_message::{
    Length, MESSAGE_BYTES_MAX, answer, read_answer, read_request, request,
};

/// What is read of a message is part of it; what was read and is written again reads as the same; a length is bounded, and
/// the bytes behind it are as many as it says.
pub fn record_fetch(data: &[u8]) {
    message(data);
    let mut length = Length::default();
    for (at, byte) in data.iter().enumerate() {
        match length.push(*byte) {
            Err(_) => return,
            Ok(None) => assert!(at < 3, "a length ends"),
            Ok(Some(bytes)) => {
                assert!(bytes <= MESSAGE_BYTES_MAX);
                let rest = data.get(at + 1..).unwrap_or_default();
                return message(rest.get(..bytes).unwrap_or(rest));
            }
        }
    }
}

fn message(data: &[u8]) {
    if let Ok(key) = read_request(data) {
        assert!(key.len() <= data.len());
        if let Ok(again) = request(key) {
            assert_eq!(read_request(behind_length(&again)).ok(), Some(key));
        }
    }
    if let Ok(found) = read_answer(data) {
        assert!(found.is_none_or(|found| found.len() <= data.len()));
        if let Ok(again) = answer(found) {
            assert_eq!(read_answer(behind_length(&again)).ok(), Some(found));
        }
    }
}

/// A message that was written, without the length before it.
fn behind_length(framed: &[u8]) -> &[u8] {
    let mut length = Length::default();
    let last = framed.iter().position(|byte| length.push(*byte).is_ok_and(|whole| whole.is_some()));
    framed.get(last.expect("a length stands before it") + 1..).unwrap_or_default()
}

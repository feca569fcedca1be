//! Reads the protocol of a stream from the plain text that multistream-select writes at its head.
//!
//! The responder's side alone says what was agreed on: after the line of multistream itself it answers each proposal with
//! `na`, or with the name of the protocol that it takes.

/// Longest line of a head that is looked at, in bytes, as in multistream-select of go.
const LINE_BYTES_MAX: usize = 1024;
/// Lines of a head that are looked at: a peer that proposes more names is not worth the trouble.
const LINES_MAX: usize = 64;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    buffer: Vec<u8>,
    lines: usize,
    given_up: bool,
}

impl HeadReader {
    /// Takes the next bytes of the responder, and gives the protocol once it is known.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<String> {
        while !self.given_up && !bytes.is_empty() {
            // One byte at a time where the length is not known yet: it is one or two bytes.
            let Ok(wanted) = self.wanted() else {
                self.given_up = true;
                break;
            };
            let (now, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            let Some(line) = self.take_line() else { continue };
            if let Some(protocol) = agreed(&line) {
                return Some(protocol);
            }
            self.lines += 1;
            self.given_up = self.lines >= LINES_MAX;
        }
        None
    }

    /// How many bytes to take before looking again.
    fn wanted(&self) -> Result<usize, ()> {
        match self.length() {
            Some((length, _)) if length > LINE_BYTES_MAX => Err(()),
            Some((length, prefix)) => Ok((length + prefix).saturating_sub(self.buffer.len()).max(1)),
            None if self.buffer.len() < 2 => Ok(1),
            // A length of three bytes is more than any line has.
            None => Err(()),
        }
    }

    /// The length of the line, and of the varint that says it; none before it is there.
    fn length(&self) -> Option<(usize, usize)> {
        match self.buffer.as_slice() {
            [low, ..] if *low < 0x80 => Some((usize::from(*low), 1)),
            [low, high, ..] if *high < 0x80 => Some((usize::from(*low & 0x7f) | usize::from(*high) << 7, 2)),
            _ => None,
        }
    }

    /// A whole line, without its length and its end.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let (length, prefix) = self.length()?;
        let line = self.buffer.get(prefix..prefix + length)?.to_vec();
        self.buffer.clear();
        Some(line)
    }
}

/// The protocol that a line of the responder agrees to.
fn agreed(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let is_name = text.starts_with('/') && !text.starts_with("/multistream/");
    (is_name && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        let length = text.len() + 1;
        let mut out = match u8::try_from(length) {
            Ok(short) if short < 0x80 => vec![short],
            _ => vec![u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()],
        };
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
        out
    }

    #[test]
    fn the_protocol_is_what_the_responder_takes_however_the_bytes_are_cut() {
        let long = format!("/{}", "x".repeat(300));
        for name in ["/ipfs/ping/1.0.0", long.as_str()] {
            let whole = [line("/multistream/1.0.0"), line("na"), line(name), vec![1, 2, 3]].concat();
            for cut in 1..whole.len() {
                let mut reader = HeadReader::default();
                let found: Vec<String> =
                    whole.chunks(cut).filter_map(|piece| reader.read(piece)).take(1).collect();
                assert_eq!(found, [name.to_owned()], "pieces of {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_head_is_given_up_without_being_kept() {
        let mut reader = HeadReader::default();
        assert_eq!(reader.read(&vec![0xff; 100_000]), None);
        assert!(reader.given_up && reader.buffer.len() <= 2);
        let mut reader = HeadReader::default();
        for _ in 0..=LINES_MAX {
            assert_eq!(reader.read(&line("na")), None);
        }
        assert!(reader.given_up);
        assert_eq!(reader.read(&line("/late")), None);
    }
}

//! Reading a tar stream, entry by entry: ustar, PAX records and GNU's long names, as far as `get` needs them.

use std::io::{self, Read};

use holdfast_dag::unixfs::Mtime;

/// Bytes of a header, and what contents are padded to.
const RECORD: usize = 512;
/// Bytes of the records before a header: paths of 64 KiB and as much for a link's target fit in.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    /// A hard link, device, pipe, or what is not known.
    Other,
}

/// An entry, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) mtime: Option<Mtime>,
    /// What a symlink points at.
    pub(super) link: Vec<u8>,
}

/// A tar stream. Reading gives the content of the entry that was begun last.
pub(super) struct TarStream<R> {
    reader: R,
    /// Bytes of content that were not read yet.
    left: u64,
    /// Bytes behind them, up to the next header.
    padding: u64,
}

/// What records before a header say of it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<Mtime>,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is malformed: {what}"))
}

impl<R: Read> TarStream<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0 }
    }

    /// Goes to the next entry; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            match header.at(156, 1).first() {
                Some(b'x') => extension.read_pax(&self.content()?)?,
                Some(b'L') => extension.path = Some(text(&self.content()?).to_vec()),
                Some(b'K') => extension.link = Some(text(&self.content()?).to_vec()),
                // Of the whole archive: nothing that is needed here.
                Some(b'g') => drop(self.content()?),
                kind => {
                    let kind = match kind {
                        Some(b'0' | b'7' | 0) => Kind::File,
                        Some(b'2') => Kind::Symlink,
                        Some(b'5') => Kind::Directory,
                        _ => Kind::Other,
                    };
                    if let Some(size) = extension.size {
                        self.set_size(size)?;
                    }
                    return Ok(Some(header.entry(kind, extension)?));
                }
            }
        }
    }

    /// The next header; `None` at the end.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let skipped = self.left.saturating_add(self.padding);
        if io::copy(&mut (&mut self.reader).take(skipped), &mut io::sink())? < skipped {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut header = Header([0; RECORD]);
        self.reader.read_exact(&mut header.0)?;
        if header.0.iter().all(|byte| *byte == 0) {
            (self.left, self.padding) = (0, 0);
            return Ok(None);
        }
        header.check()?;
        self.set_size(number(header.at(124, 12))?)?;
        Ok(Some(header))
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        let padded = size.checked_next_multiple_of(RECORD as u64).ok_or_else(|| malformed("a size"))?;
        (self.left, self.padding) = (size, padded - size);
        Ok(())
    }

    /// All content of an entry that belongs to the next one.
    fn content(&mut self) -> io::Result<Vec<u8>> {
        if self.left > EXTENSION_BYTES_MAX {
            return Err(malformed("a name is too long"));
        }
        let mut content = Vec::new();
        self.read_to_end(&mut content)?;
        Ok(content)
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let room = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.reader.read(buffer.get_mut(..room).unwrap_or_default())?;
        if count == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

struct Header([u8; RECORD]);

impl Header {
    fn at(&self, start: usize, length: usize) -> &[u8] {
        self.0.get(start..start + length).unwrap_or_default()
    }

    /// The sum of its bytes, where those of the sum itself count as spaces.
    fn check(&self) -> io::Result<()> {
        let own: u64 = self.at(148, 8).iter().map(|byte| u64::from(*byte)).sum();
        let all: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        if number(self.at(148, 8))? == all - own + 8 * u64::from(b' ') {
            Ok(())
        } else {
            Err(malformed("a header's checksum"))
        }
    }

    fn entry(&self, kind: Kind, extension: Extension) -> io::Result<Entry> {
        let path = extension.path.unwrap_or_else(|| {
            let (prefix, name) = (text(self.at(345, 155)), text(self.at(0, 100)));
            // Only ustar has a prefix; others keep something else there.
            if self.at(257, 6) == b"ustar\0" && !prefix.is_empty() {
                [prefix, b"/", name].concat()
            } else {
                name.to_vec()
            }
        });
        let whole = || number(self.at(136, 12)).ok().and_then(|seconds| i64::try_from(seconds).ok());
        let mtime = extension.mtime.or_else(|| whole().map(|seconds| Mtime { seconds, nanos: None }));
        let mode = u32::try_from(number(self.at(100, 8))? & 0o7777).unwrap_or_default();
        let link = extension.link.unwrap_or_else(|| text(self.at(157, 100)).to_vec());
        Ok(Entry { path, kind, mode, mtime, link })
    }
}

impl Extension {
    /// Records of PAX: `LENGTH KEY=VALUE\n`, where the length counts all of it and the value may hold anything.
    fn read_pax(&mut self, mut records: &[u8]) -> io::Result<()> {
        let wrong = || malformed("a PAX record");
        while !records.is_empty() {
            let digits = memchr::memchr(b' ', records).ok_or_else(wrong)?;
            let length = records.get(..digits).and_then(|text| std::str::from_utf8(text).ok());
            let length: usize = length.and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
            let record = records.get(digits + 1..length).and_then(|record| record.strip_suffix(b"\n"));
            let record = record.ok_or_else(wrong)?;
            let equals = memchr::memchr(b'=', record).ok_or_else(wrong)?;
            let (key, value) = (record.get(..equals), record.get(equals + 1..).unwrap_or_default());
            let value_text = || std::str::from_utf8(value).ok();
            match key {
                Some(b"path") => self.path = Some(value.to_vec()),
                Some(b"linkpath") => self.link = Some(value.to_vec()),
                Some(b"size") => {
                    let size = value_text().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(wrong)?);
                }
                Some(b"mtime") => self.mtime = value_text().and_then(seconds),
                _ => {}
            }
            records = records.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

/// A text up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal digits or, where the first bit says so, in binary.
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || malformed("a number");
    if let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) {
        let head = u64::from(first & 0x7f);
        return rest.iter().try_fold(head, |number, byte| {
            number.checked_mul(256).map(|number| number + u64::from(*byte)).ok_or_else(wrong)
        });
    }
    let digits = std::str::from_utf8(text(field)).map_err(|_| wrong())?.trim();
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|_| wrong()) }
}

/// `-5.25` as seconds and the nanoseconds above them.
fn seconds(text: &str) -> Option<Mtime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    match (text.starts_with('-'), nanos) {
        (_, 0) => Some(Mtime { seconds, nanos: None }),
        (false, nanos) => Some(Mtime { seconds, nanos: Some(nanos) }),
        (true, nanos) => Some(Mtime { seconds: seconds.checked_sub(1)?, nanos: Some(1_000_000_000 - nanos) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_hold_anything() {
        let mut extension = Extension::default();
        extension.read_pax(b"15 path=a\nb=\"c\n12 size=123\n21 mtime=1.000000005\n13 other=abc\n").unwrap();
        assert_eq!(extension.path.unwrap(), b"a\nb=\"c");
        assert_eq!(extension.size, Some(123));
        assert_eq!(extension.mtime, Some(Mtime { seconds: 1, nanos: Some(5) }));
        for records in [
            &b"x"[..],
            b"99 path=a\n",
            b"9 path=a",
            b"8 patha\n",
            b"0 path=a\n",
            b" path=a\n",
            b"11 size=ab\n",
        ] {
            assert!(Extension::default().read_pax(records).is_err(), "{records:?}");
        }
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"  17 \0\0\0").unwrap(), 0o17);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]).unwrap(), (3 << 32) + 1);
        assert!(number(&[0xff; 12]).is_err());
        assert!(number(b"9").is_err());
    }

    #[test]
    fn times_have_fractions_and_a_past() {
        let mtime = |seconds, nanos| Some(Mtime { seconds, nanos });
        assert_eq!(seconds("12"), mtime(12, None));
        assert_eq!(seconds("12.5"), mtime(12, Some(500_000_000)));
        assert_eq!(seconds("-5.25"), mtime(-6, Some(750_000_000)));
        assert_eq!(seconds("x"), None);
    }

    #[test]
    fn a_stream_that_ends_early_or_lies_is_an_error() {
        assert!(TarStream::new(&b""[..]).next().is_err(), "not even an end");
        assert!(TarStream::new(&[0; 1024][..]).next().unwrap().is_none());
        assert!(TarStream::new(&[7; 512][..]).next().is_err(), "no checksum");
        let mut header = tar::Header::new_ustar();
        header.set_path("a").unwrap();
        header.set_size(100);
        header.set_cksum();
        let mut stream = TarStream::new(header.as_bytes().as_slice());
        assert_eq!(stream.next().unwrap().unwrap().path, b"a");
        assert!(io::copy(&mut stream, &mut io::sink()).is_err(), "its content is missing");
    }
}

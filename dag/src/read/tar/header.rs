//! Tar headers: ustar, with PAX records where ustar has no room.

use crate::unixfs::Mtime;

/// Size of a tar record; everything is padded to it.
pub(super) const RECORD: usize = 512;

/// Largest number of 11 octal digits: sizes from 8 GiB on, and times from the year 2242 on, go into PAX records.
const OCTAL_11_MAX: u64 = (1 << 33) - 1;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryType {
    File,
    Directory,
    Symlink,
}

/// An entry to be written.
pub(super) struct Header<'a> {
    pub(super) kind: EntryType,
    pub(super) path: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) mtime: Mtime,
}

impl Header<'_> {
    /// The header records of the entry, PAX records included.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut pax = Vec::new();
        if let Some(mtime) = pax_time(self.mtime) {
            put_record(&mut pax, "mtime", mtime.as_bytes());
        }
        if !fits(self.path) {
            put_record(&mut pax, "path", self.path);
        }
        if !fits(self.link) {
            put_record(&mut pax, "linkpath", self.link);
        }
        if self.size > OCTAL_11_MAX {
            put_record(&mut pax, "size", self.size.to_string().as_bytes());
        }
        let mut out = Vec::with_capacity(RECORD);
        if !pax.is_empty() {
            let seconds = self.mtime.seconds;
            put_header(&mut out, b'x', &pax_name(self.path), &[], pax.len() as u64, 0o644, seconds);
            out.append(&mut pax);
            out.resize(out.len().next_multiple_of(RECORD), 0);
        }
        let code = match self.kind {
            EntryType::File => b'0',
            EntryType::Symlink => b'2',
            EntryType::Directory => b'5',
        };
        put_header(&mut out, code, self.path, self.link, self.size, self.mode, self.mtime.seconds);
        out
    }
}

/// Whether ustar can hold a name: 100 bytes of ASCII.
fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

/// The time as a PAX value, where whole seconds in 11 octal digits cannot say it.
fn pax_time(mtime: Mtime) -> Option<String> {
    let nanos = mtime.nanos.unwrap_or(0);
    let whole = nanos == 0;
    if whole && u64::try_from(mtime.seconds).is_ok_and(|seconds| seconds <= OCTAL_11_MAX) {
        return None;
    }
    if whole {
        return Some(mtime.seconds.to_string());
    }
    // UnixFS counts nanoseconds forward from the second; a decimal below zero counts from zero down.
    let (sign, seconds, nanos) = match mtime.seconds {
        seconds @ 0.. => ("", seconds.unsigned_abs(), nanos),
        seconds => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    let fraction = format!("{nanos:09}");
    Some(format!("{sign}{seconds}.{}", fraction.trim_end_matches('0')))
}

/// Where the PAX records of an entry pretend to lie: its directory, `PaxHeaders.0`, its name, cut to ASCII.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..=slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&[][..], path),
    };
    let mut full = [dir, b"PaxHeaders.0/", name].concat();
    full.retain(u8::is_ascii);
    full.truncate(100);
    full
}

/// Appends one PAX record: its own length in decimal, a space, `key=value` and a newline.
fn put_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + rest.to_string().len();
    // The length counts its own digits; one more may have been needed.
    len = rest + len.to_string().len();
    out.extend_from_slice(format!("{len} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn put_header(out: &mut Vec<u8>, code: u8, name: &[u8], link: &[u8], size: u64, mode: u32, seconds: i64) {
    let octal = |value: u64, width: usize| format!("{value:0width$o}\0").into_bytes();
    let small = |value: u64| if value > OCTAL_11_MAX { 0 } else { value };
    let seconds = small(u64::try_from(seconds).unwrap_or(0));
    let mut record = Vec::with_capacity(RECORD);
    put_field(&mut record, name, 100);
    put_field(&mut record, &octal(u64::from(mode & 0o7777), 7), 8);
    put_field(&mut record, &octal(0, 7), 8);
    put_field(&mut record, &octal(0, 7), 8);
    put_field(&mut record, &octal(small(size), 11), 12);
    put_field(&mut record, &octal(seconds, 11), 12);
    let checksum_at = record.len();
    put_field(&mut record, b"        ", 8);
    record.push(code);
    put_field(&mut record, link, 100);
    put_field(&mut record, b"ustar\x0000", 8);
    record.resize(RECORD, 0);
    let sum: u64 = record.iter().copied().map(u64::from).sum();
    let checksum = format!("{sum:06o}\0 ");
    record.splice(checksum_at..checksum_at + 8, checksum.into_bytes());
    out.append(&mut record);
}

/// Appends a field of a fixed width: ASCII, cut or padded with zeros. What is lost by cutting is in a PAX record.
fn put_field(record: &mut Vec<u8>, value: &[u8], width: usize) {
    let end = record.len() + width;
    record.extend(value.iter().copied().filter(u8::is_ascii).take(width));
    record.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_count_their_own_length() {
        for len in [1, 80, 90, 91, 92, 93, 985, 986, 987, 988, 989, 990] {
            let mut out = Vec::new();
            put_record(&mut out, "path", &vec![b'a'; len]);
            let text = String::from_utf8(out).unwrap();
            let (count, _) = text.split_once(' ').unwrap();
            assert_eq!(count.parse::<usize>().unwrap(), text.len(), "value of {len} bytes");
        }
    }

    #[test]
    fn times_that_octal_cannot_say_go_into_records() {
        let time = |seconds, nanos| pax_time(Mtime { seconds, nanos });
        assert_eq!(time(0, None), None);
        assert_eq!(time(1_700_000_000, Some(0)), None);
        assert_eq!(time(1_700_000_000, Some(500_000_000)).unwrap(), "1700000000.5");
        assert_eq!(time(-1, None).unwrap(), "-1");
        assert_eq!(time(-2, Some(250_000_000)).unwrap(), "-1.75");
        assert_eq!(time(-1, Some(1)).unwrap(), "-0.999999999");
        assert_eq!(time(1 << 33, None).unwrap(), "8589934592");
    }
}

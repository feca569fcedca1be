//! What the headers of a part say: what it is, where it belongs, mode and modification time.

use std::borrow::Cow;

use crate::commands::registry::ModeAndTime;

use super::disposition::{parameter, parse};
use super::parser::MultipartError;

/// Headers of a part.
const HEADERS_MAX: usize = 32;
/// Components of a path: directories are built by descending into them.
const COMPONENTS_MAX: usize = 512;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A file.
    File,
    /// A directory; it has no bytes of its own.
    Directory,
    /// A symbolic link; its bytes are the target.
    Symlink,
}

/// What the headers of a part say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHead {
    /// What it is, by its `Content-Type`.
    pub kind: PartKind,
    /// Where it belongs, by its file name: `/`-separated, relative, without `.` and `..`; empty if it has no name.
    pub path: Vec<u8>,
    /// Mode and modification time, which ride in the field's name: `file?mode=0644&mtime=1&mtime-nsecs=2`.
    pub meta: ModeAndTime,
}

/// Reads headers, the empty line at their end included.
pub(super) fn parse_head(text: &[u8]) -> Result<PartHead, MultipartError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let headers = match httparse::parse_headers(text, &mut headers) {
        Ok(httparse::Status::Complete((_, headers))) => headers,
        Ok(httparse::Status::Partial) => return Err(MultipartError::Head("they have no end".to_owned())),
        Err(error) => return Err(MultipartError::Head(error.to_string())),
    };
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map_or(&[][..], |header| header.value)
    };
    let kind = match parse(value("Content-Type")).0.as_str() {
        "application/x-directory" | "multipart/form-data" => PartKind::Directory,
        "application/symlink" => PartKind::Symlink,
        _ => PartKind::File,
    };
    let (_, parameters) = parse(value("Content-Disposition"));
    let path =
        parameter(&parameters, "filename").map_or(Ok(Vec::new()), |name| clean(&query_unescape(&name)))?;
    let meta = parameter(&parameters, "name").map_or_else(ModeAndTime::default, |name| mode_and_time(&name));
    Ok(PartHead { kind, path, meta })
}

/// A text of a query string without its escapes, where `+` is a space; the text as it is if an escape is malformed.
fn query_unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Cow::Owned(out),
            [b'+', tail @ ..] => {
                out.push(b' ');
                tail
            }
            [b'%', high, low, tail @ ..] => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Cow::Borrowed(text) };
                out.push(high << 4 | low);
                tail
            }
            [b'%', ..] => return Cow::Borrowed(text),
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

/// A path from the top: without empty components, `.` and `..`, which leads nowhere above the top.
fn clean(path: &[u8]) -> Result<Vec<u8>, MultipartError> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    if components.len() > COMPONENTS_MAX {
        return Err(MultipartError::TooDeep(COMPONENTS_MAX));
    }
    Ok(components.join(&b'/'))
}

/// What a field's name says behind a question mark. What is malformed there is not known.
fn mode_and_time(name: &[u8]) -> ModeAndTime {
    let query =
        name.iter().position(|byte| *byte == b'?').and_then(|at| name.get(at + 1..)).unwrap_or_default();
    let mut meta = ModeAndTime::default();
    for (key, value) in form_urlencoded::parse(query) {
        match &*key {
            "mode" => meta.mode = meta.mode.or(u32::from_str_radix(&value, 8).ok().filter(|mode| *mode != 0)),
            "mtime" => meta.mtime = meta.mtime.or(value.parse().ok()),
            "mtime-nsecs" => meta.mtime_nanos = meta.mtime_nanos.or(value.parse().ok()),
            _ => {}
        }
    }
    meta
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &str) -> PartHead {
        parse_head(format!("{headers}\r\n\r\n").as_bytes()).unwrap()
    }

    fn path(filename: &str) -> String {
        let head = head(&format!("Content-Disposition: form-data; name=\"file\"; filename=\"{filename}\""));
        String::from_utf8(head.path).unwrap()
    }

    #[test]
    fn names_are_unescaped_and_lead_nowhere_above_the_top() {
        for (given, cleaned) in [
            ("a.txt", "a.txt"),
            ("dir%2Fsub%2Ff", "dir/sub/f"),
            ("a+b%20c", "a b c"),
            ("100%", "100%"),
            ("bad%zz+escape", "bad%zz+escape"),
            ("../../etc/passwd", "etc/passwd"),
            ("%2e%2e/%2e%2e/x", "x"),
            ("a/../../b", "b"),
            ("/abs//x/./y/", "abs/x/y"),
            ("..", ""),
            ("", ""),
        ] {
            assert_eq!(path(given), cleaned, "{given}");
        }
        let deep = vec!["d"; COMPONENTS_MAX].join("/");
        assert_eq!(path(&deep), deep);
        let headers = format!("Content-Disposition: form-data; filename=\"{deep}/d\"\r\n\r\n");
        assert_eq!(parse_head(headers.as_bytes()), Err(MultipartError::TooDeep(COMPONENTS_MAX)));
    }

    #[test]
    fn what_a_part_is_stands_in_its_type() {
        let kind = |text: &str| head(&format!("Content-Type: {text}")).kind;
        assert_eq!(kind("application/x-directory"), PartKind::Directory);
        assert_eq!(kind("multipart/form-data; boundary=x"), PartKind::Directory);
        assert_eq!(kind("Application/Symlink"), PartKind::Symlink);
        assert_eq!(kind("application/octet-stream"), PartKind::File);
        assert_eq!(parse_head(b"\r\n").unwrap().kind, PartKind::File);
    }

    #[test]
    fn mode_and_time_ride_in_the_field_name() {
        let meta =
            |name: &str| head(&format!("Content-Disposition: form-data; name=\"{name}\"; filename=f")).meta;
        let known = meta("file?mode=0644&mtime=-12&mtime-nsecs=5");
        assert_eq!((known.mode, known.mtime, known.mtime_nanos), (Some(0o644), Some(-12), Some(5)));
        for name in ["file", "file?", "file?mode=9&mtime=x", "file?mode=0", "?"] {
            assert_eq!(meta(name), ModeAndTime::default(), "{name}");
        }
    }
}

//! Header values with parameters: `form-data; name="file"; filename="a%20b"`.

use std::borrow::Cow;

/// The value before the first parameter in lower case, and the parameters with lower-case names.
///
/// What is malformed is passed over, and of several parameters with one name the first counts. In quotes, a backslash
/// hides only characters that are special in MIME: some clients send plain Windows paths (as Go's `mime` has it).
pub(super) fn parse(value: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    let (media_type, mut rest) = value.split_at(end);
    let media_type = String::from_utf8_lossy(media_type.trim_ascii()).to_ascii_lowercase();
    let mut parameters: Vec<(String, Vec<u8>)> = Vec::new();
    while let [b';', tail @ ..] = rest {
        let tail = tail.trim_ascii_start();
        let name_end = tail.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(tail.len());
        let (name, after) = tail.split_at(name_end);
        let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
        let content;
        (content, rest) = match after {
            [b'=', b'"', quoted @ ..] => quoted_text(quoted),
            [b'=', plain @ ..] => {
                let end = plain.iter().position(|byte| *byte == b';').unwrap_or(plain.len());
                let (content, rest) = plain.split_at(end);
                (content.trim_ascii().to_vec(), rest)
            }
            _ => (Vec::new(), after),
        };
        if !name.is_empty() && parameters.iter().all(|(known, _)| *known != name) {
            parameters.push((name, content));
        }
        rest = rest.iter().position(|byte| *byte == b';').and_then(|at| rest.get(at..)).unwrap_or_default();
    }
    (media_type, parameters)
}

/// A parameter, also in the form of RFC 5987: `filename*=utf-8''a%20b`.
pub(super) fn parameter<'p>(parameters: &'p [(String, Vec<u8>)], name: &str) -> Option<Cow<'p, [u8]>> {
    let find =
        |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, content)| &content[..]);
    if let Some(extended) = find(&format!("{name}*")) {
        let content = extended.splitn(3, |byte| *byte == b'\'').nth(2)?;
        return Some(Cow::Owned(percent_encoding::percent_decode(content).collect()));
    }
    find(name).map(Cow::Borrowed)
}

/// A text up to its closing quote, and what follows.
fn quoted_text(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut content = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [] => return (content, rest),
            [b'"', tail @ ..] => return (content, tail),
            [b'\\', special, tail @ ..] if b"()<>@,;:\\\"/[]?=".contains(special) => {
                content.push(*special);
                rest = tail;
            }
            [byte, tail @ ..] => {
                content.push(*byte);
                rest = tail;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(value: &str, name: &str) -> Option<String> {
        let (_, parameters) = parse(value.as_bytes());
        parameter(&parameters, name).map(|content| String::from_utf8(content.into_owned()).unwrap())
    }

    #[test]
    fn parameters_are_read_in_every_form() {
        let value = "Form-Data; name=\"file?mode=0644\"; FileName=\"a;b \\\"c\\\".txt\"; x";
        assert_eq!(parse(value.as_bytes()).0, "form-data");
        assert_eq!(get(value, "name").unwrap(), "file?mode=0644");
        assert_eq!(get(value, "filename").unwrap(), "a;b \"c\".txt");
        assert_eq!(get("form-data; filename=C:\\dir\\f", "filename").unwrap(), "C:\\dir\\f");
        assert_eq!(get("form-data; filename=\"C:\\dir\\f\"", "filename").unwrap(), "C:\\dir\\f");
        assert_eq!(get("form-data ; filename = plain ; name=n", "filename").unwrap(), "plain");
        assert_eq!(
            get("form-data; filename*=UTF-8''a%20%C3%A4; filename=x", "filename").unwrap(),
            "a \u{e4}"
        );
        assert_eq!(get("form-data; filename=\"\u{e4}\"", "filename").unwrap(), "\u{e4}");
        assert_eq!(get("form-data", "filename"), None);
        assert_eq!(get("form-data; filename=\"never closed", "filename").unwrap(), "never closed");
        assert_eq!(get("; filename=1; filename=2;;;", "filename").unwrap(), "1");
    }
}

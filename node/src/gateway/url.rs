//! Paths and names in URLs: decoded once on the way in, escaped on the way out.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is escaped in a segment. Hexadecimal digits are upper case.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b':')
    .remove(b'=')
    .remove(b'@');
/// What is escaped in a path of several segments.
const PATH: &AsciiSet = &SEGMENT.remove(b'/').remove(b',').remove(b';');
/// What cannot stand in a header's value: controls, and all that is not ASCII.
const HEADER: &AsciiSet = CONTROLS;

/// A path as it stands in a URI, decoded; `None` if it is not UTF-8 then.
pub(super) fn decode(path: &str) -> Option<String> {
    Some(percent_decode_str(path).decode_utf8().ok()?.into_owned())
}

/// A path for a link or a `Location`.
pub(super) fn path(decoded: &str) -> String {
    utf8_percent_encode(decoded, PATH).to_string()
}

/// One segment, slashes escaped too.
pub(super) fn segment(name: &[u8]) -> String {
    percent_encoding::percent_encode(name, SEGMENT).to_string()
}

/// A text for a header's value, which changes only what cannot stand there.
pub(super) fn header_text(text: &str) -> String {
    utf8_percent_encode(text, HEADER).to_string()
}

/// The query of a request, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    raw: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(super) fn new(raw: &str) -> Self {
        let pairs = form_urlencoded::parse(raw.as_bytes());
        Self { raw: raw.to_owned(), pairs: pairs.map(|(key, value)| (key.into(), value.into())).collect() }
    }

    /// As it was given, without the question mark.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// The first value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| given == key).map(|(_, value)| value.as_str())
    }

    /// The same, unless it is empty.
    pub(super) fn filled(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// With these values in the place of others of their keys, in the order of the keys.
    pub(super) fn with(&self, values: &[(String, String)]) -> String {
        let mut pairs: Vec<&(String, String)> =
            self.pairs.iter().filter(|(key, _)| values.iter().all(|(new, _)| new != key)).collect();
        pairs.extend(values);
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = form_urlencoded::Serializer::new(String::new());
        out.extend_pairs(pairs);
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once_and_escaped_in_upper_case() {
        assert_eq!(decode("/ipfs/a%252Cb/%c4%85").as_deref(), Some("/ipfs/a%2Cb/ą"));
        assert_eq!(decode("/%ff"), None);
        assert_eq!(path("/ipfs/a%2Cb/ą c"), "/ipfs/a%252Cb/%C4%85%20c");
        assert_eq!(segment(b"a/b\"<>'\r\n\xff"), "a%2Fb%22%3C%3E%27%0D%0A%FF");
        assert_eq!(header_text("/ipns/ą\r\nx y"), "/ipns/%C4%85%0D%0Ax y");
    }

    #[test]
    fn values_of_a_query_are_found_and_replaced() {
        let query = Query::new("b=1&a=x%20y&b=2&c");
        assert_eq!((query.get("b"), query.get("c"), query.filled("c")), (Some("1"), Some(""), None));
        assert_eq!(query.with(&[("b".to_owned(), "3".to_owned())]), "a=x+y&b=3&c=");
    }
}

//! Content paths: `/ipfs/..`, `/ipns/..`, `/ipld/..`, their URI forms, and a bare CID.
//!
//! Nothing is percent-decoded: command line, RPC and URIs take what follows the scheme byte for byte, as Kubo does;
//! only HTTP doors decode, before they get here. `.`, `..` and empty segments are cleaned away, and never lead above
//! the namespace.

use std::fmt;

use crate::cid::{Cid, parse_cid};
use crate::read::Namespace;

/// What a path starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRoot {
    /// `/ipfs/<cid>`.
    Ipfs(Cid),
    /// `/ipld/<cid>`.
    Ipld(Cid),
    /// `/ipns/<name>`: a key or a domain name, not checked here.
    Ipns(String),
}

/// A parsed content path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPath {
    root: PathRoot,
    root_text: String,
    segments: Vec<String>,
    trailing_slash: bool,
}

/// Why a text is not a content path. The words are Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("invalid path {}: {reason}", quote(path))]
pub struct PathError {
    /// The path as given.
    pub path: String,
    /// What is wrong.
    pub reason: PathErrorReason,
}

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathErrorReason {
    /// No leading slash, or no root.
    #[error("path does not have enough components")]
    InsufficientComponents,
    /// Neither ipfs, ipns nor ipld.
    #[error("unknown namespace: {}", quote(.0))]
    UnknownNamespace(String),
    /// The root is not a CID.
    #[error("invalid cid: {0}")]
    InvalidCid(String),
}

impl ContentPath {
    /// Parses a canonical path (`/ipfs/..`, `/ipns/..`, `/ipld/..`) and nothing else: for DNSLink and IPNS values.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let wrong = |reason| PathError { path: text.to_owned(), reason };
        let mut segments = Vec::new();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(segment),
            }
        }
        let mut segments = segments.into_iter();
        let (Some(namespace), Some(root_text), true) =
            (segments.next(), segments.next(), text.starts_with('/'))
        else {
            return Err(wrong(PathErrorReason::InsufficientComponents));
        };
        let cid = || root_cid(root_text).map_err(wrong);
        let root = match namespace {
            "ipfs" => PathRoot::Ipfs(cid()?),
            "ipld" => PathRoot::Ipld(cid()?),
            "ipns" => PathRoot::Ipns(root_text.to_owned()),
            other => return Err(wrong(PathErrorReason::UnknownNamespace(other.to_owned()))),
        };
        Ok(Self {
            root,
            root_text: root_text.to_owned(),
            segments: segments.map(str::to_owned).collect(),
            trailing_slash: text.ends_with('/'),
        })
    }

    /// Parses what a user typed: a canonical path, a URI (`ipfs://..`, `ipns:..`, the scheme in any case), or a CID
    /// with or without a path behind it. The error is that of the text as a canonical path.
    pub fn parse_user(text: &str) -> Result<Self, PathError> {
        let canonical = from_uri(text);
        Self::parse(canonical.as_deref().unwrap_or(text))
            .or_else(|error| Self::parse(&format!("/ipfs/{text}")).map_err(|_| error))
    }

    /// A path that is just a CID.
    pub fn of_cid(cid: Cid) -> Self {
        let (root_text, segments) = (cid.to_string(), Vec::new());
        Self { root: PathRoot::Ipfs(cid), root_text, segments, trailing_slash: false }
    }

    /// What the path starts from.
    pub fn root(&self) -> &PathRoot {
        &self.root
    }

    /// The segments below the root; none of them is empty, `.` or `..`.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether the path was given with a slash at its end.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// The root CID and how paths below it are seen, unless it is an IPNS name that must be resolved first.
    pub fn immutable(&self) -> Option<(Namespace, Cid)> {
        match &self.root {
            PathRoot::Ipfs(cid) => Some((Namespace::Ipfs, *cid)),
            PathRoot::Ipld(cid) => Some((Namespace::Ipld, *cid)),
            PathRoot::Ipns(_) => None,
        }
    }
}

impl fmt::Display for ContentPath {
    /// The canonical form; the root is spelled as it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = match &self.root {
            PathRoot::Ipfs(_) => "ipfs",
            PathRoot::Ipld(_) => "ipld",
            PathRoot::Ipns(_) => "ipns",
        };
        write!(f, "/{namespace}/{}", self.root_text)?;
        for segment in &self.segments {
            write!(f, "/{segment}")?;
        }
        if self.trailing_slash { f.write_str("/") } else { Ok(()) }
    }
}

/// The canonical path of a URI with one of our schemes; the slashes behind the colon are optional.
fn from_uri(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    matches!(scheme.as_str(), "ipfs" | "ipns" | "ipld")
        .then(|| format!("/{scheme}/{}", rest.strip_prefix("//").unwrap_or(rest)))
}

fn root_cid(text: &str) -> Result<Cid, PathErrorReason> {
    let invalid = |reason: &str| PathErrorReason::InvalidCid(reason.to_owned());
    if text.len() < 2 {
        return Err(invalid("cid too short"));
    }
    parse_cid(text).map_err(|error| {
        let known = text.chars().next().is_some_and(|code| multibase::Base::from_code(code).is_ok());
        if known || text.starts_with("Qm") {
            let words = error.to_string();
            invalid(words.strip_prefix("invalid cid: ").unwrap_or(&words))
        } else {
            invalid("selected encoding not supported")
        }
    })
}

/// A text in quotes, as Go's `%q` prints it: Kubo's errors quote names and paths so.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            _ if char.is_ascii_control() => quoted.extend(format!("\\x{:02x}", char as u32).chars()),
            // What Debug escapes is not printable: controls, separators, combining and bidirectional marks.
            _ if !char.is_ascii() && char.escape_debug().len() > 1 => {
                let code = char as u32;
                let escaped = if code > 0xffff { format!("\\U{code:08x}") } else { format!("\\u{code:04x}") };
                quoted.push_str(&escaped);
            }
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    const V0: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";

    fn user(text: &str) -> String {
        ContentPath::parse_user(text).unwrap().to_string()
    }

    fn user_error(text: &str) -> String {
        ContentPath::parse_user(text).unwrap_err().to_string()
    }

    #[test]
    fn users_may_write_cids_paths_and_uris() {
        assert_eq!(user(V0), format!("/ipfs/{V0}"));
        assert_eq!(user(&format!("{V1}/a/b")), format!("/ipfs/{V1}/a/b"));
        assert_eq!(user(&format!("ipfs://{V0}/a%20b")), format!("/ipfs/{V0}/a%20b"));
        assert_eq!(user(&format!("IPFS:{V0}")), format!("/ipfs/{V0}"));
        assert_eq!(user("IpNs://docs.example.com/concepts"), "/ipns/docs.example.com/concepts");
        assert_eq!(user("ipld:bafkqaaa/x"), "/ipld/bafkqaaa/x");
        assert_eq!(user("ipfs://bafkqaaa/"), "/ipfs/bafkqaaa/");
    }

    #[test]
    fn paths_are_cleaned_and_stay_inside() {
        assert_eq!(user("/ipfs///bafkqaaa/a/b/../c//"), "/ipfs/bafkqaaa/a/c/");
        assert_eq!(user("/ipfs/bafkqaaa/./a"), "/ipfs/bafkqaaa/a");
        assert!(ContentPath::parse("/ipfs/bafkqaaa/..").is_err());
        assert!(ContentPath::parse("/ipfs/bafkqaaa/../../../..").is_err());
        let parsed = ContentPath::parse("/ipfs/bafkqaaa/%2e%2e/x").unwrap();
        assert_eq!(parsed.segments(), ["%2e%2e", "x"]);
    }

    #[test]
    fn errors_have_the_words_of_kubo() {
        assert_eq!(user_error("notacid"), "invalid path \"notacid\": path does not have enough components");
        assert_eq!(user_error("zzz"), "invalid path \"zzz\": path does not have enough components");
        assert_eq!(user_error("/foo/bar"), "invalid path \"/foo/bar\": unknown namespace: \"foo\"");
        assert_eq!(user_error("ipfs://"), "invalid path \"/ipfs/\": path does not have enough components");
        let cid_error = user_error("/ipfs/notacid");
        assert_eq!(cid_error, "invalid path \"/ipfs/notacid\": invalid cid: selected encoding not supported");
    }

    #[test]
    fn the_strict_form_refuses_uris_and_bare_cids() {
        for text in ["ipfs://bafkqaaa", "bafkqaaa", "ipns:attacker.example", "ipfs/bafkqaaa"] {
            let reason = ContentPath::parse(text).unwrap_err().reason;
            assert_eq!(reason, PathErrorReason::InsufficientComponents, "{text}");
        }
    }

    #[test]
    fn quotes_like_go() {
        assert_eq!(quote("a\"b\\\n\u{1b}[0m"), "\"a\\\"b\\\\\\n\\x1b[0m\"");
        assert_eq!(quote("\u{e4}'\u{202e}"), "\"\u{e4}'\\u202e\"");
    }
}

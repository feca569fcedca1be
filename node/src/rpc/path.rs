//! The path of a request, taken apart once: what is checked is what is routed.

use percent_encoding::percent_decode_str;

/// Where commands are.
pub(super) const API: [&str; 2] = ["api", "v0"];

/// The segments of a path, decoded. Empty ones (double and trailing slashes) are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments(Vec<String>);

impl Segments {
    /// Those of a path as it stands in a URI. A slash that is escaped does not part segments.
    pub(super) fn of_uri(path: &str) -> Self {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        Self(segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect())
    }

    /// Those of a path in plain text.
    pub(super) fn of_text(path: &str) -> Self {
        Self(path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect())
    }

    /// Whether this is `prefix`, or something below it.
    pub(super) fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What names a command and its arguments, if commands are there.
    pub(super) fn below_api(&self) -> Option<&[String]> {
        let (api, rest) = self.0.split_at_checked(API.len())?;
        (api == API).then_some(rest)
    }

    /// Whether these are they.
    pub(super) fn are(&self, words: &[&str]) -> bool {
        self.0 == words
    }
}

/// Whether a path is that of a command.
pub(super) fn is_command(path: &Segments, words: &[&str]) -> bool {
    path.below_api().is_some_and(|rest| rest == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_before_it_is_decoded() {
        assert!(Segments::of_uri("/api/v0/cat/").are(&["api", "v0", "cat"]));
        assert!(Segments::of_uri("//api//%76%30/a%2Fb").are(&["api", "v0", "a/b"]));
        assert_eq!(Segments::of_uri("/api%2Fv0/cat").below_api(), None);
        assert_eq!(Segments::of_uri("/api/v0").below_api(), Some(&[][..]));
        assert!(Segments::of_uri("/%ff").are(&["\u{fffd}"]));
    }
}

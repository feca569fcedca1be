//! Paths of the mutable file system.

use std::fmt;

/// An absolute path, cleaned: no empty, `.` or `..` segments. A slash at its end is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfsPath {
    segments: Vec<String>,
    trailing_slash: bool,
}

/// Why a text is no such path. The words are Kubo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing was given.
    #[error("paths must not be empty")]
    Empty,
    /// It is relative.
    #[error("paths must start with a leading slash")]
    Relative,
}

impl MfsPath {
    /// Reads a path that a user gave.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        match text.chars().next() {
            None => Err(PathError::Empty),
            Some('/') => {
                let mut path = Self::clean(text);
                path.trailing_slash = text.ends_with('/') && !path.segments.is_empty();
                Ok(path)
            }
            Some(_) => Err(PathError::Relative),
        }
    }

    /// The segments of any text, as if it were absolute.
    pub(crate) fn clean(text: &str) -> Self {
        let mut segments = Vec::new();
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name.to_owned()),
            }
        }
        Self { segments, trailing_slash: false }
    }

    /// The root.
    pub fn root() -> Self {
        Self { segments: Vec::new(), trailing_slash: false }
    }

    /// The names from the root on.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether it was given with a slash at its end: where something is put to, that is a directory.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &str {
        self.segments.last().map_or("", String::as_str)
    }

    /// The directory that it is in; the root for the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        let segments = self.segments.split_last().map_or(&[][..], |(_, above)| above);
        Self { segments: segments.to_vec(), trailing_slash: false }
    }

    /// The entry of that name in it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let mut segments = self.segments.clone();
        segments.push(name.to_owned());
        Self { segments, trailing_slash: false }
    }

    /// Without the slash at its end.
    #[must_use]
    pub fn without_slash(mut self) -> Self {
        self.trailing_slash = false;
        self
    }

    /// Whether this is `other` or lies in it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.segments.starts_with(&other.segments)
    }
}

impl fmt::Display for MfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.segments.join("/"))?;
        if self.trailing_slash { f.write_str("/") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (given, clean) in [
            ("/", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("/a//./b/", "/a/b/"),
            ("/a/../b", "/b"),
            ("/../../x/", "/x/"),
            ("/a/..", "/"),
        ] {
            assert_eq!(MfsPath::parse(given).unwrap().to_string(), clean, "{given}");
        }
        assert_eq!(MfsPath::parse(""), Err(PathError::Empty));
        assert_eq!(MfsPath::parse("a"), Err(PathError::Relative));
        let path = MfsPath::parse("/a/b/").unwrap();
        assert_eq!((path.name(), path.parent().to_string().as_str()), ("b", "/a"));
        assert!(path.starts_with(&MfsPath::parse("/a").unwrap()));
        assert!(!MfsPath::parse("/ab").unwrap().starts_with(&MfsPath::parse("/a").unwrap()));
    }
}

//! `Provide.Strategy`: which of what is stored is announced.

use std::fmt;

/// What is announced: the sum of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the config")]
pub struct Strategy {
    /// `all`: every block. It stands alone.
    pub all: bool,
    /// `pinned`: what pins keep, with everything below recursive ones.
    pub pinned: bool,
    /// `roots`: what is pinned itself.
    pub roots: bool,
    /// `mfs`: what the mutable file system holds and is here.
    pub mfs: bool,
    /// `+entities`: of a DAG only files and directories, not the chunks of files.
    pub entities: bool,
    /// `+unique`. Every key is announced once anyway, so it changes nothing.
    pub unique: bool,
}

/// Why a text is no strategy. The words are Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrategyError {
    /// Nothing between two `+`.
    #[error("invalid provide strategy: empty token in {}", crate::go_text::go_quote(.0))]
    Empty(String),
    /// A word that nobody knows.
    #[error("unknown provide strategy token: {} in {}", crate::go_text::go_quote(.token), crate::go_text::go_quote(.text))]
    Unknown {
        /// The word.
        token: String,
        /// The whole text.
        text: String,
    },
    /// Kubo had this name for `all`.
    #[error(
        "Provide.Strategy='flat' is no longer supported. Use 'all' instead. Documentation: https://github.com/ipfs/kubo/blob/master/docs/config.md#providestrategy"
    )]
    Flat,
    /// `all` with something else.
    #[error("\"all\" strategy cannot be combined with other strategies in {}", crate::go_text::go_quote(.0))]
    AllWithMore(String),
    /// There is no DAG to be walked.
    #[error("+unique/+entities must combine with pinned and/or mfs in {}", crate::go_text::go_quote(.0))]
    NothingToWalk(String),
    /// Roots alone, and what is below them.
    #[error("+unique/+entities is incompatible with roots in {}", crate::go_text::go_quote(.0))]
    RootsAndWalk(String),
}

/// What something that was just added is, for a strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// A pin keeps it.
    pub pinned: bool,
    /// It is in the mutable file system.
    pub in_files: bool,
}

impl Strategy {
    /// Reads the text of the config; the empty text is `all`.
    pub fn parse(text: &str) -> Result<Self, StrategyError> {
        let mut strategy = Self::default();
        for token in text.split('+') {
            match token {
                "all" => strategy.all = true,
                "" if text.is_empty() => strategy.all = true,
                "" => return Err(StrategyError::Empty(text.to_owned())),
                "flat" => return Err(StrategyError::Flat),
                "pinned" => strategy.pinned = true,
                "roots" => strategy.roots = true,
                "mfs" => strategy.mfs = true,
                "unique" => strategy.unique = true,
                "entities" => (strategy.entities, strategy.unique) = (true, true),
                token => {
                    let (token, text) = (token.to_owned(), text.to_owned());
                    return Err(StrategyError::Unknown { token, text });
                }
            }
        }
        strategy.check(text)
    }

    fn check(self, text: &str) -> Result<Self, StrategyError> {
        if self.all && self != (Self { all: true, ..Self::default() }) {
            return Err(StrategyError::AllWithMore(text.to_owned()));
        }
        if self.unique && !self.walks() {
            return Err(StrategyError::NothingToWalk(text.to_owned()));
        }
        if self.unique && self.roots {
            return Err(StrategyError::RootsAndWalk(text.to_owned()));
        }
        Ok(self)
    }

    /// Whether DAGs are walked.
    pub fn walks(&self) -> bool {
        self.pinned || self.mfs
    }

    /// Whether a root that was just added is announced at once.
    pub fn takes_root(&self, content: Content) -> bool {
        self.all || (self.pinned || self.roots) && content.pinned || self.mfs && content.in_files
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.all, "all"),
            (self.pinned, "pinned"),
            (self.roots, "roots"),
            (self.mfs, "mfs"),
            (self.entities, "entities"),
        ];
        let words = words.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word);
        for (index, word) in words.enumerate() {
            write!(f, "{}{word}", if index > 0 { "+" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_read_and_refused_as_kubo_does() {
        let read = |text: &str| Strategy::parse(text).unwrap().to_string();
        assert_eq!((read(""), read("all"), read("roots")), ("all".into(), "all".into(), "roots".into()));
        assert_eq!(read("mfs+pinned"), "pinned+mfs");
        assert_eq!(read("pinned+unique"), "pinned", "each key is announced once without it too");
        assert_eq!(read("mfs+entities"), "mfs+entities");
        let refused = |text: &str| Strategy::parse(text).unwrap_err().to_string();
        assert_eq!(refused("pinned+"), "invalid provide strategy: empty token in \"pinned+\"");
        assert_eq!(refused("some"), "unknown provide strategy token: \"some\" in \"some\"");
        assert_eq!(
            refused("all+mfs"),
            "\"all\" strategy cannot be combined with other strategies in \"all+mfs\""
        );
        assert_eq!(
            refused("roots+unique"),
            "+unique/+entities must combine with pinned and/or mfs in \"roots+unique\""
        );
        assert_eq!(
            refused("pinned+roots+entities"),
            "+unique/+entities is incompatible with roots in \"pinned+roots+entities\""
        );
        assert!(refused("flat").contains("Use 'all' instead"));
    }

    #[test]
    fn a_root_is_announced_at_once_where_the_strategy_would_announce_it_later() {
        let takes = |text: &str, pinned, in_files| {
            Strategy::parse(text).unwrap().takes_root(Content { pinned, in_files })
        };
        assert!(takes("all", false, false));
        assert!(takes("roots", true, false) && !takes("roots", false, true));
        assert!(takes("pinned", true, false) && !takes("pinned", false, false));
        assert!(takes("mfs", false, true) && !takes("mfs", true, false));
        assert!(takes("pinned+mfs", true, false) && takes("pinned+mfs", false, true));
    }
}

//! Words for levels: Kubo's, and what they mean here.

use tracing::level_filters::LevelFilter;

/// Why a word is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unrecognized level: {0:?}")]
pub struct LevelError(pub String);

/// A level by its word. Kubo's three levels above `error` are for events that end a program: nothing here logs at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    word: &'static str,
    filter: LevelFilter,
}

/// The words, the least severe first.
const LEVELS: [Level; 8] = [
    Level::TRACE,
    Level::DEBUG,
    Level::INFO,
    Level { word: "warn", filter: LevelFilter::WARN },
    Level { word: "error", filter: LevelFilter::ERROR },
    Level { word: "dpanic", filter: LevelFilter::OFF },
    Level { word: "panic", filter: LevelFilter::OFF },
    Level { word: "fatal", filter: LevelFilter::OFF },
];

impl Level {
    /// Everything.
    pub const TRACE: Self = Self { word: "trace", filter: LevelFilter::TRACE };
    /// What helps to find an error.
    pub const DEBUG: Self = Self { word: "debug", filter: LevelFilter::DEBUG };
    /// What an operator wants to read: the default.
    pub const INFO: Self = Self { word: "info", filter: LevelFilter::INFO };

    /// The level that this word names, in any case. `warning` and `off` are understood too.
    pub fn parse(word: &str) -> Result<Self, LevelError> {
        let lower = word.to_ascii_lowercase();
        let known = match lower.as_str() {
            "warning" => "warn",
            "off" => "fatal",
            other => other,
        };
        LEVELS.into_iter().find(|level| level.word == known).ok_or_else(|| LevelError(word.to_owned()))
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        self.word
    }

    /// The level of the tracing crate.
    pub fn filter(self) -> LevelFilter {
        self.filter
    }

    /// The level with this meaning.
    pub(super) fn of_filter(filter: LevelFilter) -> Self {
        LEVELS.into_iter().rev().find(|level| level.filter == filter).unwrap_or(Self::INFO)
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::INFO
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word)
    }
}

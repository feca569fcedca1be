//! The chunker option: parsing with Kubo's words, and what it means.

use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;

use super::buzhash::{self, Buzhash};
use super::rabin::{self, Rabin};
use super::{CHUNK_BYTES_DEFAULT, CHUNK_BYTES_MAX, cut_between};

/// How a file is cut. Text forms: `size-N`, `rabin`, `rabin-AVG`, `rabin-MIN-AVG-MAX`, `buzhash`, `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkerSpec(Kind);

/// Only values within the limits are ever made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Size(usize),
    Rabin { min: usize, avg: usize, max: usize },
    Buzhash,
}

/// Why a chunker option is refused; the words are Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkerSpecError {
    /// No chunker has this name.
    #[error("unrecognized chunker option: {0}")]
    Unrecognized(String),
    /// `size` without a number, or with more.
    #[error("incorrect chunker string format (expected size-{{size}})")]
    SizeFormat,
    /// `rabin` with a wrong number of parameters.
    #[error("incorrect format (expected 'rabin' 'rabin-[avg]' or 'rabin-[min]-[avg]-[max]'")]
    RabinFormat,
    /// A label that stands in the wrong place.
    #[error("{0}")]
    Label(&'static str),
    /// Not a number.
    #[error("strconv.Atoi: parsing \"{text}\": {reason}")]
    Number {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A size of zero.
    #[error("chunker size must be greater than 0")]
    SizeZero,
    /// Over [`CHUNK_BYTES_MAX`].
    #[error("chunker parameters may not exceed the maximum chunk size of {CHUNK_BYTES_MAX}")]
    TooLarge,
    /// The minimum does not fill the window of the hash: 16 bytes, so an average of 48 where only that is given.
    #[error("rabin min must be greater than 16")]
    RabinMin,
    /// MIN, AVG and MAX do not ascend.
    #[error("incorrect format: {0}")]
    RabinOrder(&'static str),
}

impl Default for ChunkerSpec {
    fn default() -> Self {
        Self(Kind::Size(CHUNK_BYTES_DEFAULT))
    }
}

impl ChunkerSpec {
    /// Chunks of `bytes`, 1 to [`CHUNK_BYTES_MAX`]; the last one may be shorter.
    pub fn size(bytes: usize) -> Result<Self, ChunkerSpecError> {
        match bytes {
            0 => Err(ChunkerSpecError::SizeZero),
            bytes if bytes > CHUNK_BYTES_MAX => Err(ChunkerSpecError::TooLarge),
            bytes => Ok(Self(Kind::Size(bytes))),
        }
    }

    /// Rabin fingerprints: 16 <= `min` < `avg` < `max` <= [`CHUNK_BYTES_MAX`], in bytes.
    pub fn rabin(min: usize, avg: usize, max: usize) -> Result<Self, ChunkerSpecError> {
        if min < rabin::WINDOW_BYTES {
            Err(ChunkerSpecError::RabinMin)
        } else if min >= avg {
            Err(ChunkerSpecError::RabinOrder("rabin-min must be smaller than rabin-avg"))
        } else if avg >= max {
            Err(ChunkerSpecError::RabinOrder("rabin-avg must be smaller than rabin-max"))
        } else if max > CHUNK_BYTES_MAX {
            Err(ChunkerSpecError::TooLarge)
        } else {
            Ok(Self(Kind::Rabin { min, avg, max }))
        }
    }

    /// Rabin fingerprints between a third and one and a half of `avg` bytes.
    pub fn rabin_around(avg: usize) -> Result<Self, ChunkerSpecError> {
        // Checked first: it is the word that Kubo has for a number that is too large in any way.
        if avg > CHUNK_BYTES_MAX {
            return Err(ChunkerSpecError::TooLarge);
        }
        Self::rabin(avg / 3, avg, avg + avg / 2)
    }

    /// Buzhash: 128 to 512 KiB, without parameters.
    pub fn buzhash() -> Self {
        Self(Kind::Buzhash)
    }

    /// Longest chunk that it makes, in bytes; at most [`CHUNK_BYTES_MAX`].
    pub fn chunk_bytes_max(&self) -> usize {
        match self.0 {
            Kind::Size(bytes) => bytes,
            Kind::Rabin { max, .. } => max,
            Kind::Buzhash => buzhash::MAX_BYTES,
        }
    }

    /// The chunk size where all chunks but the last have the same.
    pub fn fixed_bytes(&self) -> Option<usize> {
        match self.0 {
            Kind::Size(bytes) => Some(bytes),
            Kind::Rabin { .. } | Kind::Buzhash => None,
        }
    }

    /// Length of the first chunk of `data`, which begins where a chunk begins.
    ///
    /// `None` where more bytes are needed to tell. With `last` nothing follows `data`, and `None` means that it is
    /// empty. At [`Self::chunk_bytes_max`] bytes there always is an answer.
    pub fn cut(&self, data: &[u8], last: bool) -> Option<usize> {
        match self.0 {
            Kind::Size(bytes) if data.len() >= bytes => Some(bytes),
            Kind::Size(_) => (last && !data.is_empty()).then_some(data.len()),
            Kind::Rabin { min, avg, max } => cut_between(data, last, min, max, &Rabin::around(avg)),
            Kind::Buzhash => cut_between(data, last, buzhash::MIN_BYTES, buzhash::MAX_BYTES, &Buzhash),
        }
    }
}

impl fmt::Display for ChunkerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Size(bytes) => write!(f, "size-{bytes}"),
            Kind::Rabin { min, avg, max } => write!(f, "rabin-{min}-{avg}-{max}"),
            Kind::Buzhash => f.write_str("buzhash"),
        }
    }
}

impl FromStr for ChunkerSpec {
    type Err = ChunkerSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text == "default" {
            return Ok(Self::default());
        }
        let mut parts = text.split('-');
        let name = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        match (name, parameters.as_slice()) {
            ("size", [bytes]) => Self::size(clamp(number(bytes)?)),
            ("size", _) => Err(ChunkerSpecError::SizeFormat),
            // Kubo ignores whatever follows the name of a chunker without parameters.
            ("buzhash", _) => Ok(Self::buzhash()),
            ("rabin", []) => Self::rabin_around(CHUNK_BYTES_DEFAULT),
            ("rabin", [avg]) => Self::rabin_around(clamp(number(avg)?)),
            ("rabin", [min, avg, max]) => {
                let min = labelled(min, "min", "first label must be min")?;
                if min < rabin::WINDOW_BYTES {
                    return Err(ChunkerSpecError::RabinMin);
                }
                let avg = labelled(avg, "avg", "second label must be avg")?;
                let max = labelled(max, "max", "final label must be max")?;
                Self::rabin(min, avg, max)
            }
            ("rabin", _) => Err(ChunkerSpecError::RabinFormat),
            _ => Err(ChunkerSpecError::Unrecognized(text.to_owned())),
        }
    }
}

/// A number as Go's `strconv.Atoi` reads it, with its words.
fn number(text: &str) -> Result<i64, ChunkerSpecError> {
    text.parse::<i64>().map_err(|error| ChunkerSpecError::Number {
        text: text.to_owned(),
        reason: match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        },
    })
}

/// A size from a number: what is negative is as wrong as zero, what is beyond the machine as wrong as too large.
fn clamp(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

/// A parameter with or without its label: `16`, `min:16`.
fn labelled(text: &str, label: &str, wrong: &'static str) -> Result<usize, ChunkerSpecError> {
    match text.split_once(':') {
        Some((given, _)) if given != label => Err(ChunkerSpecError::Label(wrong)),
        // Kubo takes what follows the last colon.
        Some((_, value)) => number(value.rsplit(':').next().unwrap_or_default()).map(clamp),
        None => number(text).map(clamp),
    }
}

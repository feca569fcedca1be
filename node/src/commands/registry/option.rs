//! Options: their definitions, their typing, and the words for what does not fit.

use super::go;

/// Which door a call came through: only the words for badly typed options differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The command line.
    Terminal,
    /// A query string.
    Http,
}

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptKind {
    /// True or false; given without a value it is true.
    Bool,
    /// A signed number of 32 bits.
    Int,
    /// An unsigned number of 32 bits.
    Uint,
    /// A signed number of 64 bits.
    Int64,
    /// An unsigned number of 64 bits.
    Uint64,
    /// A floating point number.
    Float,
    /// A text.
    String,
    /// Texts: the option may be repeated.
    Strings,
    /// Texts: the option may be repeated, and each value may hold several, separated by commas.
    CommaStrings,
}

impl OptKind {
    /// The name that help texts and HTTP error messages give this type (Go's).
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Float => "float64",
            Self::String => "string",
            Self::Strings | Self::CommaStrings => "array",
        }
    }

    /// Whether the option may be given more than once.
    pub fn repeats(self) -> bool {
        matches!(self, Self::Strings | Self::CommaStrings)
    }
}

/// A typed value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OptValue {
    /// Of [`OptKind::Bool`].
    Bool(bool),
    /// Of [`OptKind::Int`] and [`OptKind::Int64`].
    Int(i64),
    /// Of [`OptKind::Uint`] and [`OptKind::Uint64`].
    Uint(u64),
    /// Of [`OptKind::Float`].
    Float(f64),
    /// Of [`OptKind::String`].
    Text(String),
    /// Of [`OptKind::Strings`] and [`OptKind::CommaStrings`].
    List(Vec<String>),
}

impl std::fmt::Display for OptValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::List(values) => values.join(",").fmt(f),
        }
    }
}

impl From<bool> for OptValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i32> for OptValue {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<i64> for OptValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for OptValue {
    fn from(value: u64) -> Self {
        Self::Uint(value)
    }
}

impl From<&str> for OptValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// The definition of an option.
#[derive(Debug, Clone)]
pub struct Opt {
    /// Every name, the main one first; names of one letter are short flags.
    pub names: Vec<&'static str>,
    /// The type of its value.
    pub kind: OptKind,
    /// One sentence or two.
    pub description: &'static str,
    /// The value where the option is not given.
    pub default: Option<OptValue>,
    /// Why the option cannot be used here, if it is known but not supported.
    pub refused: Option<&'static str>,
    /// Whether help texts leave it out.
    pub hidden: bool,
}

impl Opt {
    /// An option of `kind`. `names` are separated by spaces, the main name first: `"recursive r"`.
    pub fn new(kind: OptKind, names: &'static str, description: &'static str) -> Self {
        let names = names.split_whitespace().collect();
        Self { names, kind, description, default: None, refused: None, hidden: false }
    }

    /// An option of [`OptKind::Bool`].
    pub fn bool(names: &'static str, description: &'static str) -> Self {
        Self::new(OptKind::Bool, names, description)
    }

    /// An option of [`OptKind::Int`].
    pub fn int(names: &'static str, description: &'static str) -> Self {
        Self::new(OptKind::Int, names, description)
    }

    /// An option of [`OptKind::Int64`].
    pub fn int64(names: &'static str, description: &'static str) -> Self {
        Self::new(OptKind::Int64, names, description)
    }

    /// An option of [`OptKind::Uint`].
    pub fn uint(names: &'static str, description: &'static str) -> Self {
        Self::new(OptKind::Uint, names, description)
    }

    /// An option of [`OptKind::String`].
    pub fn string(names: &'static str, description: &'static str) -> Self {
        Self::new(OptKind::String, names, description)
    }

    /// An option of [`OptKind::Strings`].
    pub fn strings(names: &'static str, description: &'static str) -> Self {
        Self::new(OptKind::Strings, names, description)
    }

    /// Gives the option a value where the caller does not.
    #[must_use]
    pub fn default(mut self, value: impl Into<OptValue>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Makes every use of the option an error that says `why` it is not supported.
    #[must_use]
    pub fn refused(mut self, why: &'static str) -> Self {
        self.refused = Some(why);
        self
    }

    /// Leaves the option out of help texts.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The main name.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Whether `name` is one of its names.
    pub fn is_named(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Types one value. `given` is the name it was given by; `None` is a flag without a value.
    pub(super) fn parse(
        &self,
        given: &str,
        value: Option<&str>,
        door: Door,
    ) -> Result<OptValue, OptionError> {
        let text = value.unwrap_or_default();
        let parsed = match self.kind {
            OptKind::Bool => go::parse_bool(text).map(OptValue::Bool),
            OptKind::Int => go::parse_int(text, 32).map(OptValue::Int),
            OptKind::Int64 => go::parse_int(text, 64).map(OptValue::Int),
            OptKind::Uint => go::parse_uint(text, 32).map(OptValue::Uint),
            OptKind::Uint64 => go::parse_uint(text, 64).map(OptValue::Uint),
            OptKind::Float => go::parse_float(text).map(OptValue::Float),
            OptKind::String => Ok(OptValue::Text(text.to_owned())),
            OptKind::Strings => Ok(OptValue::List(vec![text.to_owned()])),
            OptKind::CommaStrings => Ok(OptValue::List(text.split(',').map(str::to_owned).collect())),
        };
        parsed.map_err(|words| match door {
            Door::Terminal => OptionError::BadValue(words),
            Door::Http => {
                let value = if text.is_empty() {
                    "empty value".to_owned()
                } else {
                    format!("value {}", go::quote(text))
                };
                let option = go::quote(&format!("-{given}"));
                let kind = self.kind.name();
                OptionError::BadValue(format!(
                    "could not convert {value} to type \"{kind}\" (for option {option})"
                ))
            }
        })
    }
}

/// One option as a door read it, before typing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawOption {
    /// The name it was given by, without hyphens.
    pub name: String,
    /// Its value; `None` for a flag that stands alone.
    pub value: Option<String>,
}

impl RawOption {
    /// An option with a value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// Why the options of a call are not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The command has no such option.
    #[error("unknown option {}", go::quote(.0))]
    Unknown(String),
    /// It takes a value, and the line ends.
    #[error("missing argument for option {}", go::quote(.0))]
    MissingValue(String),
    /// It was given twice.
    #[error("multiple values for option {}", go::quote(.0))]
    Repeated(String),
    /// Its value has another type; in full words.
    #[error("{0}")]
    BadValue(String),
    /// It is known, and not supported.
    #[error("option {} is not supported: {why}", go::quote(.name))]
    Refused {
        /// Its main name.
        name: String,
        /// Why.
        why: &'static str,
    },
}

//! What environment and options say of the logs.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::levels::Levels;
use super::{Level, LevelError};

/// Why what they say cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No such level.
    #[error("{variable}: {error}. Levels are trace, debug, info, warn, error, fatal: error,rpc=debug")]
    Level {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        error: LevelError,
    },
    /// A part of `RUST_LOG` is not understood.
    #[error("RUST_LOG: {0:?} is not understood. It takes levels for targets: info,holdfast::rpc=debug")]
    Filter(String),
    /// No such format.
    #[error("GOLOG_LOG_FMT: {0:?} is not one of color, nocolor, text, json")]
    Format(String),
    /// No such output.
    #[error("GOLOG_OUTPUT: {0:?} is not one of stderr, stdout, file, or several of them with + between")]
    Output(String),
    /// Output to a file that nothing names.
    #[error("GOLOG_OUTPUT names a file, and GOLOG_FILE does not say which")]
    NoFile,
}

/// The form of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Words.
    Text,
    /// Words, with colours for levels.
    Color,
    /// One JSON object a line.
    Json,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The end of a file, which is made if it is not there.
    File(PathBuf),
}

/// How the logs of a process are set up.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    pub(super) levels: Levels,
    pub(super) format: Format,
    pub(super) outputs: Vec<Output>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { levels: Levels::default(), format: Format::Text, outputs: vec![Output::Stderr] }
    }
}

impl LogSettings {
    /// From the environment of this process. `debug` (`-D`) is stronger than its levels.
    pub fn of_process(debug: bool) -> Result<Self, SettingsError> {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = std::io::stderr().is_terminal() && !no_color;
        Self::from_variables(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()), debug, color)
    }

    /// From variables: `RUST_LOG`, else `GOLOG_LOG_LEVEL` or its older name `IPFS_LOGGING`; `GOLOG_LOG_FMT` or
    /// `IPFS_LOGGING_FMT`; `GOLOG_FILE` and `GOLOG_OUTPUT`. `color` is what holds where no format is named.
    pub fn from_variables(
        variable: &dyn Fn(&str) -> Option<String>,
        debug: bool,
        color: bool,
    ) -> Result<Self, SettingsError> {
        let golog = ["GOLOG_LOG_LEVEL", "IPFS_LOGGING"];
        let golog = golog.into_iter().find_map(|name| Some((name, variable(name)?)));
        let levels = match (variable("RUST_LOG"), golog) {
            _ if debug => Levels::of_default(Level::DEBUG),
            (Some(text), _) => Levels::of_rust_log(&text).map_err(SettingsError::Filter)?,
            (None, Some((variable, text))) => {
                Levels::of_golog(&text).map_err(|error| SettingsError::Level { variable, error })?
            }
            (None, None) => Levels::default(),
        };
        let format = match variable("GOLOG_LOG_FMT").or_else(|| variable("IPFS_LOGGING_FMT")).as_deref() {
            Some("json") => Format::Json,
            Some("nocolor" | "text") => Format::Text,
            Some("color") => Format::Color,
            Some(other) => return Err(SettingsError::Format(other.to_owned())),
            None if color => Format::Color,
            None => Format::Text,
        };
        let file = variable("GOLOG_FILE").map(PathBuf::from);
        Ok(Self { levels, format, outputs: outputs(variable("GOLOG_OUTPUT"), file)? })
    }
}

/// A file that is named takes the place of standard error, unless the outputs are named too.
fn outputs(names: Option<String>, file: Option<PathBuf>) -> Result<Vec<Output>, SettingsError> {
    let Some(names) = names else {
        return Ok(vec![file.map_or(Output::Stderr, Output::File)]);
    };
    let output = |name: &str| match (name, &file) {
        ("stderr", _) => Ok(Output::Stderr),
        ("stdout", _) => Ok(Output::Stdout),
        ("file", Some(file)) => Ok(Output::File(file.clone())),
        ("file", None) => Err(SettingsError::NoFile),
        (other, _) => Err(SettingsError::Output(other.to_owned())),
    };
    let mut outputs = names.split('+').map(output).collect::<Result<Vec<_>, _>>()?;
    outputs.dedup();
    Ok(outputs)
}

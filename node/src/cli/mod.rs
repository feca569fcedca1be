//! The terminal door: reads a command line, calls a command, and writes what it answers.
//!
//! It knows no command by name. Paths, options, arguments and help come from the registry; parsing is its own, not
//! `clap`'s, because Kubo's lines and error words are the interface here: options are known by the path walked so
//! far, `-rQ` and `-n5` are legal, `unknown option "x"` names the option, and to find the path the parser must know
//! every option's arity anyway, so that a second parse would have nothing left to do.

mod env;
mod help;
mod input;
mod output;
mod parse;
mod remote;
mod run;
#[cfg(test)]
mod run_tests;
mod suggest;
#[cfg(test)]
mod tests;
mod waits;

pub use env::Environment;
pub use parse::{Line, ParseError, parse};
pub use run::{Job, execute, prepare};

//! What a command is made of, for every door: its definition, a typed call of it, and what it answers.
//!
//! [`Command`] is the definition. [`Call`] is one use of it, with options typed and defaults filled in; [`Request`]
//! adds the files and the standard input that came with it. [`Response`] is what comes back. Doors find commands in a
//! [`Registry`], build calls with [`Registry::call`], and only encode responses.

mod argument;
mod call;
mod command;
mod error;
mod go;
mod input;
mod option;
mod request;
mod response;
mod tree;

pub use argument::{Arg, ArgError, ArgKind, SplitArgs, check_args, split_args};
pub use call::{Call, Encoding};
pub use command::{Command, Needs, PreRunFn, Presence, RunFn, Status, TerminalFn};
pub use error::{CommandError, ErrorKind};
pub use go::{duration_from_go, errno_text, quote};
pub use input::{Entry, EntryKind, Input, InputError, ModeAndTime, SizeHint};
pub use option::{Door, Opt, OptKind, OptValue, OptionError, RawOption};
pub use request::Request;
pub use response::{ByteStream, Response, TextForm, ValueStream};
pub use tree::{Path, Registry};

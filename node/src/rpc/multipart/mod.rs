//! Uploads: `multipart/form-data` (RFC 7578) as Kubo's clients send it, and its way to the commands.

mod disposition;
mod feed;
mod head;
mod parser;
mod pump;

pub use head::{PartHead, PartKind};
pub use parser::{Event, MultipartError, Parser};
pub(super) use pump::{Upload, boundary, first_file, open, too_large};

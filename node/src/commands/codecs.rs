//! Codecs among the options of a command.

use holdfast_dag::ipld::codec_by_name;

use super::registry::{CommandError, quote};

/// The code of a codec by name or number.
pub(super) fn by_name(name: &str) -> Result<u64, CommandError> {
    codec_by_name(name).ok_or_else(|| CommandError::new(format!("unknown multicodec: {}", quote(name))))
}

//! Blocking work of commands that need no node: config, keys, files; and reading what a client sends.

use super::Context;
use super::registry::{CommandError, Input};

/// Runs `work` on the runtime's threads for blocking work, so that no async task waits for a disk.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, CommandError>
where
    T: Send + 'static,
    E: Into<CommandError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(move || work().map_err(Into::into)).await;
    done.map_err(CommandError::from_error)?
}

/// The same for work that waits for its client. Where a node is open it takes a place in the node's pool, so that a client that is
/// slow holds up nobody.
pub(super) async fn in_place<T, E>(
    context: &Context,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, CommandError>
where
    T: Send + 'static,
    E: Into<CommandError> + Send + 'static,
{
    match context.open_node() {
        Some(node) => {
            let work = move || work().map_err(Into::into);
            node.pool().operation(work).await.map_err(CommandError::from_error)?
        }
        None => blocking(work).await,
    }
}

/// Reads the next file of a call as a whole, up to `bytes_max`; an error that names `argument` where there is none.
pub(super) async fn read_input(
    context: &Context,
    mut input: Input,
    argument: &'static str,
    bytes_max: u64,
) -> Result<Vec<u8>, CommandError> {
    in_place(context, move || input.read_file(argument, bytes_max)).await
}

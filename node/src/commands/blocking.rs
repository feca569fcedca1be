//! Blocking work of commands that need no node: config, keys, files.

use super::registry::CommandError;

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

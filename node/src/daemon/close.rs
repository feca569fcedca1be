//! The end of a daemon, in good order and in time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::AddressFiles;
use crate::commands::Context;
use crate::commands::registry::CommandError;

/// How long requests that run may take to come to their end.
const REQUESTS_TIME_MAX: Duration = Duration::from_millis(300);
/// How long operations that were cancelled may take to notice.
const OPERATIONS_TIME_MAX: Duration = Duration::from_millis(250);

/// Ends requests, takes the addresses away, and closes the repo. What was acknowledged is on disk before all that.
pub(super) async fn in_order(
    context: Context,
    mut serving: JoinSet<()>,
    mut files: AddressFiles,
) -> Result<(), CommandError> {
    let all = async { while serving.join_next().await.is_some() {} };
    if timeout(REQUESTS_TIME_MAX, all).await.is_err() {
        tracing::info!("requests that were still running are cut off");
    }
    serving.shutdown().await;
    files.remove();
    if timeout(OPERATIONS_TIME_MAX, context.stopped()).await.is_err() {
        tracing::info!("operations that were still running are left to end with the process");
    }
    context.close().await.map_err(CommandError::from_error)
}

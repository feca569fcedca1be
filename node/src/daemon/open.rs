//! Making and opening the repo of a daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_blockstore::repo::{RepoError, RepoPaths};

use super::console::Console;
use super::listen;
use crate::commands::Context;
use crate::commands::registry::{Call, CommandError, duration_from_go};
use crate::config::Config;
use crate::node::{self, Node, NodeError};
use crate::pubsub::PubsubFlags;
use crate::repo_init::InitParams;

/// Largest config file that `--init-config` takes.
const CONFIG_BYTES_MAX: u64 = 16 << 20;
/// How often the lock of the repo is looked at while it is waited for.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Makes the repo if there is none and the flags say so.
pub(super) async fn init_if_asked(
    context: &Context,
    call: &Call,
    console: &Console,
) -> Result<(), CommandError> {
    if !call.bool("init") || context.require_repo().is_ok() {
        return Ok(());
    }
    context.require_repo_dir()?;
    let given = Some(call.text("init-config")).filter(|path| !path.is_empty()).map(ToOwned::to_owned);
    let mut params = InitParams {
        repo: context.repo_dir().to_owned(),
        config_file: context.config_file().map(Path::to_owned),
        profiles: call.text("init-profile").to_owned(),
        ..InitParams::default()
    };
    let made = tokio::task::spawn_blocking(move || {
        params.given_config = given.map(|path| read_config(Path::new(&path))).transpose()?;
        let mut said = String::new();
        let made = node::init(&params, &mut |piece| said.push_str(piece)).map_err(CommandError::from_error);
        Ok::<_, CommandError>((said, made))
    });
    let (said, made) = made.await.map_err(CommandError::from_error)??;
    // What was done so far is shown also before an error.
    console.say_piece(&said);
    made.map(|_| ())
}

fn read_config(path: &Path) -> Result<String, CommandError> {
    let failed = |why: String| CommandError::new(format!("--init-config {}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > CONFIG_BYTES_MAX {
        return Err(failed(format!("it is larger than {CONFIG_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// Opens the node, and waits for whoever has the repo as long as `IPFS_WAIT_REPO_LOCK` says.
pub(super) async fn node(context: &Context, call: &Call, console: &Console) -> Result<Node, CommandError> {
    let path = context.config_path();
    let config = tokio::task::spawn_blocking(move || Config::load(&path)).await;
    let config = config.map_err(CommandError::from_error)?.map_err(CommandError::from_error)?;
    for warning in config.warnings() {
        console.warn(warning);
    }
    listen::check_api(&config, call, context.program())?;
    let wait = std::env::var("IPFS_WAIT_REPO_LOCK").ok().filter(|text| !text.is_empty());
    let wait = wait.map(|text| duration_from_go(&text)).transpose();
    let wait = wait.unwrap_or_else(|words| {
        console.warn(format!("IPFS_WAIT_REPO_LOCK: {words}; the repo's lock is not waited for"));
        None
    });
    let until = Instant::now() + wait.unwrap_or_default();
    loop {
        let opening = Node::builder()
            .repo(context.repo_dir())
            .config(config.clone())
            .online(!call.bool("offline"))
            .agent_suffix(call.text("agent-version-suffix"))
            .routing(call.text("routing"))
            .pubsub(PubsubFlags {
                pubsub: call.bool_opt("enable-pubsub-experiment"),
                names: call.bool_opt("enable-namesys-pubsub"),
            })
            .open();
        match opening.await {
            Ok(node) => return Ok(node),
            Err(NodeError::Repo(RepoError::Locked { .. })) if Instant::now() < until => {
                tokio::time::sleep(LOCK_POLL).await;
            }
            Err(error @ NodeError::Repo(RepoError::Locked { .. })) => {
                return Err(CommandError::new(format!("{error}{}", holder(context))));
            }
            Err(error) => return Err(CommandError::from_error(error)),
        }
    }
}

/// What is known of the daemon that has the repo.
fn holder(context: &Context) -> String {
    let program = context.program();
    match std::fs::read_to_string(RepoPaths::new(context.repo_dir()).api()) {
        Ok(address) => format!(
            ". A daemon runs on this repo, and its API is at {}: stop it with '{program} shutdown', or use another repo \
             with IPFS_PATH",
            address.trim()
        ),
        Err(_) => format!(". Only one process may have the repo {} open", context.repo_dir().display()),
    }
}

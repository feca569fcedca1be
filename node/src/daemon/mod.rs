//! The `daemon` command: one node that stays, and the process around it as Kubo's users know it.
//!
//! What programs rely on: the lines of standard output and their order, each written at once; the files `api` and
//! `gateway` in the repo, there when requests are taken and gone at the end; port 0; signals; an end within a second of
//! being asked, with exit code 0. `docs/daemon.md` says it in full.

mod close;
mod console;
mod exposure;
mod flags;
mod listen;
mod nofile;
mod open;
mod peers;
mod signals;
mod surface;
mod systemd;
mod unix_socket;

use std::path::Path;
use std::time::Duration;

use holdfast_blockstore::repo::RepoPaths;
use tokio::task::JoinSet;

use crate::commands::registry::{CommandError, Request, Response};
use crate::commands::{Context, ContextParams, KUBO_VERSION, REPO_VERSION, system};
use crate::config::Config;
use crate::fsutil::write_atomic;
use crate::gateway::{Gateway, Settings};
use crate::http::{Endpoint, Limits, Server};
use crate::observe::Logs;
use crate::pinning::mfs::MfsKeeper;
use crate::runtime::Runtime;

use console::Console;
use listen::Bound;
use signals::Signals;

/// Permissions of the files that name addresses: whoever may read the repo may know them.
const ADDRESS_FILE_MODE: u32 = 0o644;

/// How long the end waits for log lines that nobody reads.
const FLUSH_MAX: Duration = Duration::from_millis(200);

/// Runs a daemon on the context's repo until it is asked to end.
pub(crate) async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let console = Console::of_process();
    let (logs, trouble) = Logs::start(request.bool("debug"));
    if let Some(trouble) = trouble {
        console.warn(trouble);
    }
    let outcome = serve(&context, &request, &console, &logs).await;
    // It fails only where the process is being torn down.
    let _ = tokio::task::spawn_blocking(move || logs.flush(FLUSH_MAX)).await;
    if outcome.is_err() {
        // Kubo sets its error apart from the lines above.
        console.say("");
    }
    outcome.map(|()| Response::Empty)
}

async fn serve(
    context: &Context,
    request: &Request,
    console: &Console,
    logs: &Logs,
) -> Result<(), CommandError> {
    // From the first line on, a signal ends it in good order.
    let mut signals = Signals::listen()?;
    console.say("Initializing daemon...");
    say_versions(console);
    flags::check(request, console)?;
    if request.bool_opt("manage-fdlimit") != Some(false) {
        nofile::raise(console);
    }
    let started = tokio::select! {
        started = start(context, request, console, logs.clone()) => started?,
        () = signals.next() => return Ok(()),
    };
    let Started { context, runtime, serving, files } = started;
    runtime.set_ready();
    tracing::info!("the daemon is ready");
    console.say("Daemon is ready");
    systemd::ready();
    let watchdog = systemd::watch(&context);
    let mut stopping = runtime.stopping();
    tokio::select! {
        () = signals.next() => {
            console.say("");
            console.say("Received interrupt signal, shutting down...");
            console.say("(Hit ctrl-c again to force-shutdown the daemon.)");
        }
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    systemd::stopping();
    tracing::info!("the daemon is stopping");
    runtime.stop();
    let closed = tokio::select! {
        closed = close::in_order(context, serving, files) => closed,
        () = signals.next() => {
            console.say("Received another interrupt before graceful shutdown, terminating...");
            Err(CommandError::new("the daemon was ended before it had closed its repo; what it acknowledged is on disk"))
        }
    };
    drop(watchdog);
    closed
}

/// What runs once everything is up.
struct Started {
    context: Context,
    runtime: Runtime,
    serving: JoinSet<()>,
    files: AddressFiles,
}

async fn start(
    context: &Context,
    request: &Request,
    console: &Console,
    logs: Logs,
) -> Result<Started, CommandError> {
    open::init_if_asked(context, request, console).await?;
    context.require_repo()?;
    let node = open::node(context, request, console).await?;
    let config = node.config().clone();
    console.say(format!("PeerID: {}", config.identity().map_err(CommandError::from_error)?.peer_id));
    peers::say(&node, console);
    let params = ContextParams {
        repo_dir: context.repo_dir().to_owned(),
        config_file: context.config_file().map(Path::to_owned),
        program: context.program().to_owned(),
    };
    let runtime = Runtime::with_logs(logs);
    let context = Context::of_node(params, node).with_runtime(runtime.clone());
    for warning in context.warnings() {
        console.warn(warning);
    }
    // What the config says is read before anything is listened on.
    let gateway = gateway(&context, &runtime, &config, console).await?;
    let unrestricted = request.bool("unrestricted-api");
    let api = surface::api(&context, &runtime, &config, gateway.clone(), unrestricted);
    let api = api.map_err(CommandError::from_error)?;
    let bound = listen::api(&config, request, context.program(), console).await?;
    let content = listen::gateway(&config, context.program(), console).await?;
    listen::say(&bound, &config, console);
    listen::say_gateway(&content, console);
    let mut files = AddressFiles::new(context.repo_dir(), &bound, &content);
    let mut serving = JoinSet::new();
    let servers = [(api, bound), (surface::gateway(gateway, &runtime), content)];
    let mut limits = Limits::default();
    limits.connections_max = nofile::connections_max(limits.connections_max);
    for (handler, bound) in servers {
        let server = Server::new(handler, limits);
        for Bound { listener, socket, .. } in bound {
            files.sockets.extend(socket);
            let (server, stop) = (server.clone(), runtime.stopping());
            serving.spawn(async move { server.serve(listener, stop).await });
        }
    }
    let keeper = MfsKeeper::new(context.node().await?.clone(), context.config_path());
    let mut stop = runtime.stopping();
    serving.spawn(async move {
        tokio::select! {
            () = keeper.run() => {}
            _ = stop.wait_for(|stopping| *stopping) => {}
        }
    });
    files.write()?;
    Ok(Started { context, runtime, serving, files })
}

/// The gateway to what the context's node has. It says what of the config has no effect.
async fn gateway(
    context: &Context,
    runtime: &Runtime,
    config: &Config,
    console: &Console,
) -> Result<Gateway, CommandError> {
    let settings = Settings::of_config(config).map_err(CommandError::from_error)?;
    for warning in settings.warnings() {
        console.warn(warning);
    }
    Ok(Gateway::new(context.node().await?.clone(), settings, runtime.metrics().clone()))
}

/// What Kubo says of itself, in its order.
fn say_versions(console: &Console) {
    let version = env!("CARGO_PKG_VERSION");
    console.say(format!("Kubo version: {KUBO_VERSION}-holdfast-{version}"));
    console.say(format!("Repo version: {REPO_VERSION}"));
    console.say(format!("System version: {}", system()));
    // Nothing here is made by Go; the line is one that programs count.
    console.say("Golang version: ");
}

/// Files that say where this daemon is, for as long as it is there.
#[derive(Debug)]
struct AddressFiles {
    paths: RepoPaths,
    /// Where the API is, as a multiaddr. None once it is removed, as the next.
    api: Option<Endpoint>,
    /// Where the gateway is, as a URL.
    gateway: Option<String>,
    /// Sockets that were made.
    sockets: Vec<unix_socket::SocketFile>,
}

impl AddressFiles {
    fn new(repo: &Path, api: &[Bound], gateway: &[Bound]) -> Self {
        let api = api.first().map(|bound| bound.endpoint.reachable());
        // Whoever reads it opens a URL, and a Unix socket has none.
        let mut gateways = gateway.iter().map(|bound| bound.endpoint.reachable());
        let gateway = gateways.find(|endpoint| !matches!(endpoint, Endpoint::Unix(_)));
        let gateway = gateway.map(|endpoint| format!("http://{}", endpoint.host()));
        Self { paths: RepoPaths::new(repo), api, gateway, sockets: Vec::new() }
    }

    fn write(&self) -> Result<(), CommandError> {
        let api = self.api.iter().map(|endpoint| (self.paths.api(), endpoint.to_string()));
        let gateway = self.gateway.iter().map(|url| (self.paths.gateway(), url.clone()));
        for (path, text) in api.chain(gateway) {
            write_atomic(&path, text.as_bytes(), ADDRESS_FILE_MODE)
                .map_err(|error| CommandError::new(format!("writing {}: {error}", path.display())))?;
        }
        Ok(())
    }

    /// Removes them, once: as long as the lock of the repo is held, nobody else's are there.
    fn remove(&mut self) {
        if self.api.take().is_some() {
            remove(&self.paths.api());
        }
        if self.gateway.take().is_some() {
            remove(&self.paths.gateway());
        }
        self.sockets.clear();
    }
}

/// Also where starting failed half-way: the repo is closed after this is dropped.
impl Drop for AddressFiles {
    fn drop(&mut self) {
        self.remove();
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("removing {}: {error}", path.display());
        }
        _ => {}
    }
}

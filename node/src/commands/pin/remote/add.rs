//! `pin remote add`.

use std::time::Duration;

use libp2p::Multiaddr;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::super::super::layout::aligned;
use super::super::super::registry::{Arg, Call, Command, CommandError, Encoding, Opt, Request, Response};
use super::super::{check_name, resolve};
use super::{client, field, service_option, value};
use crate::commands::Context;
use crate::commands::cid_text::CidText;
use crate::go_text::go_quote;
use crate::node::Node;
use crate::pinning::{Client, NewPin, PinState, PinningError, RemotePin, origins};
use crate::swarm::SwarmHandle;
use crate::swarm::addresses::split_peer;

/// The time between two looks at how far a service is (Kubo).
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks after which the time between them grows, as services count requests.
const QUICK_LOOKS: u32 = 20;
/// What it grows to.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);
/// Looks in a row that may fail because of the connection or the service's own trouble.
const FAILED_LOOKS_MAX: u32 = 5;
/// How long before the end of a call's time it is told that the pin stays requested, at most; a quarter of a short time.
const BEFORE_THE_END_MAX: Duration = Duration::from_secs(1);
/// Services whose delegates are being connected to at a time.
const CONNECTING_MAX: usize = 16;
/// How long the delegates of one pin are tried.
const CONNECTING_TIME_MAX: Duration = Duration::from_secs(60);

/// Kubo's words, on standard output as there.
const OFFLINE: &str = "WARNING: the local node is offline and remote pinning may fail if there is no other provider for this CID";

static CONNECTING: Semaphore = Semaphore::const_new(CONNECTING_MAX);

pub(super) fn command() -> Command {
    Command::new("add", "Pin object to remote pinning service.")
        .help(
            "Asks a service to pin what a path leads to, and waits until it has it all. The service is told this node's \
             addresses, if it is online and has the root itself. With --background the command ends when the service has taken \
             the request; 'pin remote ls' says then how far it is:\n\n  $ {program} pin remote add --service=mysrv --name=mypin \
             --background bafkqaaa\n  $ {program} pin remote ls --service=mysrv --cid=bafkqaaa --status=queued,pinning,pinned,failed",
        )
        .arg(Arg::text("ipfs-path", "CID or Path to be pinned.").required())
        .opt(service_option())
        .opt(Opt::string("name", "An optional name for the pin."))
        .opt(
            Opt::bool(
                "background",
                "Add to the queue on the remote service and return immediately (does not wait for pinned status).",
            )
            .default(false),
        )
        .run(run)
        .text(text)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let until = until(&request)?;
    let cids = CidText::of_call(&request)?;
    let client = client(&context, &request).await?;
    let node = context.node().await?;
    let cid = resolve(node, request.arg(0)).await?;
    let name = request.text("name").to_owned();
    check_name(&name)?;
    let swarm = context.swarm().filter(|_| !request.offline());
    let is_here = is_here(node, cid).await?;
    let origins = swarm.filter(|_| is_here).map(origins).unwrap_or_default();
    let mut pin = client.add(&NewPin { cid, name, origins }).await.map_err(CommandError::from_error)?;
    if let Some(swarm) = swarm {
        connect(swarm.clone(), std::mem::take(&mut pin.delegates));
    }
    if !request.bool("background") {
        pin = pinned(&client, pin, until).await?;
    }
    let mut value = value(&pin, cids);
    let is_text = request.encoding()? != Some(Encoding::Json);
    if swarm.is_none()
        && is_here
        && context.is_at_terminal()
        && is_text
        && let Some(value) = value.as_object_mut()
    {
        value.insert("Warning".to_owned(), OFFLINE.into());
    }
    Ok(Response::One(value))
}

/// Whether the node has the block itself.
async fn is_here(node: &Node, cid: holdfast_dag::cid::Cid) -> Result<bool, CommandError> {
    let store = node.store().clone();
    let found = node.pool().run(move || store.has(cid.hash())).await;
    found.map_err(CommandError::from_error)?.map_err(CommandError::from_error)
}

/// When the call is to end, if it has an end: a little before, there is still something to say.
fn until(call: &Call) -> Result<Option<Instant>, CommandError> {
    let time = call.timeout()?.map(|time| time.saturating_sub((time / 4).min(BEFORE_THE_END_MAX)));
    Ok(time.and_then(|time| Instant::now().checked_add(time)))
}

/// Sees to connections to the peers that a service wants to fetch with, beside everything else. What fails is no failure:
/// the service may find this node by itself.
fn connect(swarm: SwarmHandle, delegates: Vec<Multiaddr>) {
    let Ok(permit) = CONNECTING.try_acquire() else { return };
    tokio::spawn(async move {
        let connecting = async {
            for delegate in &delegates {
                let (address, Some(peer)) = split_peer(delegate) else { continue };
                let addresses = if address.is_empty() { Vec::new() } else { vec![address] };
                if let Err(error) = swarm.connect(peer, &addresses).await {
                    tracing::debug!("the delegate {delegate} of a pinning service was not reached: {error}");
                }
            }
        };
        // Later is too late.
        let _ = timeout(CONNECTING_TIME_MAX, connecting).await;
        drop(permit);
    });
}

/// Waits until the service has it all.
async fn pinned(client: &Client, pin: RemotePin, until: Option<Instant>) -> Result<RemotePin, CommandError> {
    let id = go_quote(pin.request.as_str());
    let waiting = wait(client, pin);
    let waited = match until {
        None => waiting.await,
        Some(until) => tokio::time::timeout_at(until, waiting).await.map_err(|_| {
            let words = format!("waiting for pin interrupted, requestid={id} remains on remote service");
            CommandError::new(words)
        })?,
    };
    let pin = waited.map_err(|error| {
        CommandError::new(format!("failed to check pin status for requestid={id} due to error: {error}"))
    })?;
    match pin.state {
        PinState::Failed => Err(CommandError::new(format!("remote service failed to pin requestid={id}"))),
        _ => Ok(pin),
    }
}

/// Looks until the service is done with a pin, one way or the other.
async fn wait(client: &Client, pin: RemotePin) -> Result<RemotePin, PinningError> {
    if pin.state == PinState::Pinned {
        return Ok(pin);
    }
    let (mut every, mut looks, mut failed) = (LOOK_EVERY, 0_u32, 0);
    let request = pin.request;
    loop {
        match client.status(&request).await {
            Ok(now) if now.request != request => {
                return Err(PinningError::NotTheApi("it tells of another request".to_owned()));
            }
            Ok(now) if matches!(now.state, PinState::Pinned | PinState::Failed) => return Ok(now),
            Ok(_) => failed = 0,
            Err(error) if error.is_passing() && failed + 1 < FAILED_LOOKS_MAX => {
                failed += 1;
                tracing::debug!("a look at a pin failed, and is repeated: {error}");
            }
            Err(error) => return Err(error),
        }
        looks = looks.saturating_add(1);
        if looks > QUICK_LOOKS {
            every = (every * 5 / 4).min(LOOK_EVERY_MAX);
        }
        sleep(every).await;
    }
}

fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    if !field(value, "Warning").is_empty() {
        out.extend_from_slice(field(value, "Warning").as_bytes());
        out.push(b'\n');
    }
    let line = |label: &str, name: &str| vec![label.to_owned(), field(value, name).to_owned()];
    let lines = [line("CID:", "Cid"), line("Name:", "Name"), line("Status:", "Status")];
    out.extend_from_slice(aligned(&lines, 0).as_bytes());
    Ok(())
}

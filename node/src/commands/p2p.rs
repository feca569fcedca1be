//! `p2p`: TCP through streams to peers.

use futures_util::stream;
use libp2p::{Multiaddr, PeerId};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::config::line;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response, Status};
use super::{Context, planned, swarm};
use crate::config::parse_multiaddr;
use crate::node::Node;
use crate::p2p::{Handle, Listener, Mounts};

/// Kubo's words where stream mounting was not switched on.
const NO_STREAM_MOUNTING: &str = "libp2p stream mounting not enabled";
/// What names of protocols begin with, unless another name is wanted.
const PREFIX: &str = "/x/";

pub(super) fn command() -> Command {
    member("p2p", "Libp2p stream mounting.")
        .help(
            "Carries TCP connections through streams between peers. It is an experiment, and off until it is switched \
             on:\n\n  $ {program} config --json Experimental.Libp2pStreamMounting true\n\nOn the node beside the server: \n\n  \
             $ {program} p2p listen /x/web /ip4/127.0.0.1/tcp/8000\n\nOn the node beside the client:\n\n  $ {program} p2p \
             forward /x/web /ip4/127.0.0.1/tcp/9000 /p2p/<peer ID>\n\nWhoever knows the peer ID and the protocol's name can \
             connect. 1,024 streams may be open.",
        )
        .subcommand(forward())
        .subcommand(listen())
        .subcommand(close())
        .subcommand(ls())
        .subcommand(
            member("stream", "P2P stream management.").subcommand(stream_ls()).subcommand(stream_close()),
        )
}

/// A command of this group.
fn member(name: &'static str, tagline: &'static str) -> Command {
    Command::new(name, tagline).needs(Needs::Config).status(Status::Experimental)
}

/// The node of a running daemon, if stream mounting is on, and its mounts.
async fn mounts(context: &Context) -> Result<(&Node, &Mounts), CommandError> {
    let config = super::config::load(context).await?;
    if !config.get("Experimental.Libp2pStreamMounting").is_ok_and(|value| value == true) {
        return Err(CommandError::new(NO_STREAM_MOUNTING));
    }
    let node = context.online_node().and_then(|node| Some((node, node.mounts()?)));
    node.ok_or_else(|| CommandError::new(planned::OFFLINE_COMMAND))
}

fn check_protocol(request: &Request) -> Result<&str, CommandError> {
    let protocol = request.arg(0);
    if request.bool("allow-custom-protocol") || protocol.starts_with(PREFIX) {
        return Ok(protocol);
    }
    Err(CommandError::new(format!("protocol name must be within '{PREFIX}' namespace")))
}

fn custom_protocol() -> Opt {
    Opt::bool("allow-custom-protocol", "Do not require the prefix /x/.")
}

fn protocol() -> Arg {
    Arg::text("protocol", "Protocol name.").required()
}

fn forward() -> Command {
    member("forward", "Forward connections to libp2p service.")
        .help(
            "Takes TCP connections at the listening endpoint and carries them to a peer that listens for the protocol. It \
             lasts as long as the daemon, or until 'p2p close'; with --foreground no longer than this command.",
        )
        .arg(protocol())
        .arg(Arg::text("listen-address", "Listening endpoint: /ip4/127.0.0.1/tcp/<port>.").required())
        .arg(Arg::text("target-address", "Target endpoint: /p2p/<peer ID>, or a whole address.").required())
        .opt(custom_protocol())
        .opt(Opt::bool("foreground f", "Run in foreground; forwarder is removed when command exits."))
        .run(run_forward)
        .text(|_, value, out| {
            foreground_text(value, out, |protocol, address, active| {
                if active {
                    format!("Forwarding {protocol} to {address}, waiting for interrupt...")
                } else {
                    format!("Received interrupt, removing forwarder for {protocol}")
                }
            })
        })
        .feed()
}

async fn run_forward(context: Context, request: Request) -> Result<Response, CommandError> {
    let (node, mounts) = mounts(&context).await?;
    let listen = parse_multiaddr(request.arg(1)).map_err(CommandError::from_error)?;
    let peer = target_peer(node, request.arg(2)).await?;
    let handle = mounts.forward(check_protocol(&request)?, &listen, peer).await;
    let handle = handle.map_err(CommandError::from_error)?;
    Ok(answer(&context, &request, handle, request.arg(1)))
}

/// The peer that a multiaddr names; its addresses are remembered.
async fn target_peer(node: &Node, text: &str) -> Result<PeerId, CommandError> {
    let handle = node.swarm().ok_or_else(|| CommandError::new(planned::OFFLINE_COMMAND))?;
    let peers = swarm::peers_of_args(handle, &[text.to_owned()]).await?;
    let mut peers = peers.into_iter();
    let (Some((peer, addresses)), other) = (peers.next(), peers.next()) else {
        return Err(CommandError::new(format!("fail to resolve the multiaddr:{text}")));
    };
    if let Some((other, _)) = other {
        return Err(CommandError::new(format!(
            "ambiguous multiaddr {text} could refer to {peer} or {other}"
        )));
    }
    handle.book().add(peer, addresses);
    Ok(peer)
}

fn listen() -> Command {
    member("listen", "Create libp2p service.")
        .help(
            "Takes streams of peers for the protocol and carries them to a TCP server. It lasts as long as the daemon, or \
             until 'p2p close'; with --foreground no longer than this command.",
        )
        .arg(protocol())
        .arg(Arg::text("target-address", "Target endpoint: /ip4/127.0.0.1/tcp/<port>.").required())
        .opt(custom_protocol())
        .opt(Opt::bool(
            "report-peer-id r",
            "Send remote base58 peerid to target when a new connection is established.",
        ))
        .opt(Opt::bool("foreground f", "Run in foreground; listener is removed when command exits."))
        .run(run_listen)
        .text(|_, value, out| {
            foreground_text(value, out, |protocol, address, active| {
                if active {
                    format!("Listening on {protocol}, forwarding to {address}, waiting for interrupt...")
                } else {
                    format!("Received interrupt, removing listener for {protocol}")
                }
            })
        })
        .feed()
}

async fn run_listen(context: Context, request: Request) -> Result<Response, CommandError> {
    let (_, mounts) = mounts(&context).await?;
    let target = parse_multiaddr(request.arg(1)).map_err(CommandError::from_error)?;
    check_port(&target)?;
    let handle = mounts.listen(check_protocol(&request)?, &target, request.bool("report-peer-id"));
    let handle = handle.map_err(CommandError::from_error)?;
    Ok(answer(&context, &request, handle, request.arg(1)))
}

/// The words are Kubo's.
fn check_port(target: &Multiaddr) -> Result<(), CommandError> {
    let port = target.iter().find_map(|part| match part {
        multiaddr::Protocol::Tcp(port) | multiaddr::Protocol::Udp(port) => Some(port),
        _ => None,
    });
    match port {
        Some(0) => Err(CommandError::new("port can not be 0")),
        Some(_) => Ok(()),
        None => Err(CommandError::new("address does not contain tcp or udp protocol")),
    }
}

/// Nothing; in the foreground that it listens, and later that it no longer does.
fn answer(context: &Context, request: &Request, handle: Handle, address: &str) -> Response {
    if !request.bool("foreground") {
        return Response::Empty;
    }
    let value = |status: &str, said: &Said| json!({ "Status": status, "Protocol": said.protocol, "Address": said.address });
    let said = Said { protocol: request.arg(0).to_owned(), address: address.to_owned() };
    let stopping = context.runtime().map(crate::runtime::Runtime::stopping);
    let stage = Stage { guard: Foreground(handle), said, stopping, told: 0 };
    Response::Stream(Box::pin(stream::unfold(stage, move |mut stage| async move {
        stage.told += 1;
        match stage.told {
            1 => Some((Ok(value("active", &stage.said)), stage)),
            2 => stage.wait().await.then(|| (Ok(value("closing", &stage.said)), stage)),
            _ => None,
        }
    })))
}

struct Said {
    protocol: String,
    address: String,
}

/// Closes the listener when the command ends.
struct Foreground(Handle);

impl Drop for Foreground {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Stage {
    guard: Foreground,
    said: Said,
    stopping: Option<watch::Receiver<bool>>,
    told: u8,
}

impl Stage {
    /// Waits until the listener is closed (true) or the daemon ends.
    async fn wait(&mut self) -> bool {
        let stopping = &mut self.stopping;
        let stopped = async {
            match stopping {
                Some(stopping) => drop(stopping.wait_for(|stop| *stop).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.guard.0.closed() => true,
            () = stopped => false,
        }
    }
}

fn foreground_text(
    value: &Value,
    out: &mut Vec<u8>,
    words: fn(&str, &str, bool) -> String,
) -> Result<(), CommandError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    line(out, &words(text("Protocol"), text("Address"), text("Status") == "active"))
}

fn close() -> Command {
    member("close", "Stop listening for new connections to forward.")
        .help("Closes the listeners that all given options name, and prints how many they were. Open streams go on.")
        .opt(Opt::bool("all a", "Close all listeners."))
        .opt(Opt::string("protocol p", "Match protocol name."))
        .opt(Opt::string("listen-address l", "Match listen address."))
        .opt(Opt::string("target-address t", "Match target address."))
        .run(run_close)
        .text(|_, value, out| line(out, &format!("Closed {value} stream(s)")))
}

async fn run_close(context: Context, request: Request) -> Result<Response, CommandError> {
    let (_, mounts) = mounts(&context).await?;
    let address = |name: &str| {
        let text = request.text_opt(name).filter(|text| !text.is_empty());
        text.map(parse_multiaddr).transpose().map_err(CommandError::from_error)
    };
    let protocol = request.text_opt("protocol").filter(|text| !text.is_empty());
    let (listen, target) = (address("listen-address")?, address("target-address")?);
    let all = request.bool("all");
    let is_selective = protocol.is_some() || listen.is_some() || target.is_some();
    if !all && !is_selective {
        return Err(CommandError::new("no matching options given"));
    }
    if all && is_selective {
        return Err(CommandError::new("can't combine --all with other matching options"));
    }
    let closed = mounts.close(|listener| {
        protocol.is_none_or(|wanted| wanted == listener.protocol)
            && listen.as_ref().is_none_or(|wanted| *wanted == listener.listen)
            && target.as_ref().is_none_or(|wanted| *wanted == listener.target)
    });
    let closed = closed.await;
    Ok(Response::One(closed.into()))
}

fn headers() -> Opt {
    Opt::bool("headers v", "Print table headers.")
}

fn ls() -> Command {
    member("ls", "List active p2p listeners.")
        .opt(headers())
        .run(|context: Context, _| async move {
            let listeners: Vec<Value> = mounts(&context).await?.1.listeners().iter().map(listener).collect();
            Ok(Response::One(json!({ "Listeners": listeners })))
        })
        .text(|call, value, out| {
            table(
                call,
                value,
                out,
                "Listeners",
                &[
                    ("Protocol", "Protocol"),
                    ("ListenAddress", "Listen Address"),
                    ("TargetAddress", "Target Address"),
                ],
            )
        })
}

fn listener(listener: &Listener) -> Value {
    json!({
        "Protocol": listener.protocol,
        "ListenAddress": listener.listen.to_string(),
        "TargetAddress": listener.target.to_string(),
    })
}

fn stream_ls() -> Command {
    member("ls", "List active p2p streams.")
        .opt(headers())
        .run(|context: Context, _| async move {
            let streams = mounts(&context).await?.1.streams();
            let streams: Vec<Value> = streams
                .iter()
                .map(|stream| {
                    json!({
                        "HandlerID": stream.number.to_string(),
                        "Protocol": stream.protocol,
                        "OriginAddress": stream.origin.to_string(),
                        "TargetAddress": stream.target.to_string(),
                    })
                })
                .collect();
            Ok(Response::One(json!({ "Streams": streams })))
        })
        .text(|call, value, out| {
            table(
                call,
                value,
                out,
                "Streams",
                &[
                    ("HandlerID", "ID"),
                    ("Protocol", "Protocol"),
                    ("OriginAddress", "Origin"),
                    ("TargetAddress", "Target"),
                ],
            )
        })
}

/// Rows in columns that are as wide as their widest cell.
fn table(
    call: &Call,
    value: &Value,
    out: &mut Vec<u8>,
    list: &str,
    columns: &[(&str, &str)],
) -> Result<(), CommandError> {
    let mut rows: Vec<Vec<&str>> = Vec::new();
    if call.bool("headers") {
        rows.push(columns.iter().map(|(_, head)| *head).collect());
    }
    for entry in value.get(list).and_then(Value::as_array).into_iter().flatten() {
        let cell = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        rows.push(columns.iter().map(|(name, _)| cell(name)).collect());
    }
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(out, cells.collect::<Vec<_>>().join(" ").trim_end())?;
    }
    Ok(())
}

fn stream_close() -> Command {
    member("close", "Close active p2p stream.")
        .arg(Arg::text("id", "Stream identifier"))
        .opt(Opt::bool("all a", "Close all streams."))
        .run(|context: Context, request: Request| async move {
            let (_, mounts) = mounts(&context).await?;
            if request.bool("all") {
                mounts.close_streams(None);
                return Ok(Response::Empty);
            }
            let text = request.args().first().ok_or_else(|| CommandError::new("no id specified"))?;
            let number = text.parse().map_err(|_| {
                CommandError::new(format!("strconv.ParseUint: parsing \"{text}\": invalid syntax"))
            })?;
            mounts.close_streams(Some(number));
            Ok(Response::Empty)
        })
}

//! `bitswap`: what is exchanged with whom.

use holdfast_bitswap::Handle;
use holdfast_dag::cid::Cid;
use serde_json::{Value, json};

use super::cid_text::CidText;
use super::config::line;
use super::layout::human_bytes;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Response};
use super::{Context, planned};
use crate::keys::parse_peer_id;

/// Kubo's words where Bitswap was switched off.
const SWITCHED_OFF: &str = "bitswap is not running: Bitswap.Libp2pEnabled is false in the config";

pub(super) fn command() -> Command {
    Command::new("bitswap", "Interact with the bitswap agent.")
        .help("Bitswap is the protocol by which blocks are exchanged with peers.")
        .needs(Needs::Config)
        .subcommand(stat("stat"))
        .subcommand(wantlist())
        .subcommand(ledger())
}

/// `bitswap stat`, and under another name `stats bitswap`.
pub(super) fn stat(name: &'static str) -> Command {
    Command::new(name, "Show some diagnostic information on the bitswap agent.")
        .opt(Opt::bool("verbose v", "Also name the partners."))
        .opt(Opt::bool("human", "Print sizes in human readable format (e.g., 1K 234M 2G)."))
        .needs(Needs::Config)
        .run(|context, request| async move {
            let exchange = context.exchange().map_err(NoExchange::unable)?;
            let (stat, cids) = (exchange.stat().await, CidText::of_call(request.call())?);
            let wanted: Vec<Value> = stat.wantlist.iter().map(|cid| cids.link(cid)).collect();
            let mut peers: Vec<String> = stat.peers.iter().map(ToString::to_string).collect();
            peers.sort();
            Ok(Response::One(json!({
                "Wantlist": wanted, "Peers": peers,
                "BlocksReceived": stat.blocks_received, "DataReceived": stat.data_received,
                "DupBlksReceived": stat.dup_blocks_received, "DupDataReceived": stat.dup_data_received,
                "MessagesReceived": stat.messages_received,
                "BlocksSent": stat.blocks_sent, "DataSent": stat.data_sent,
            })))
        })
        .text(stat_text)
}

fn stat_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    let bytes = |name: &str| {
        if call.bool("human") { human_bytes(number(name)) } else { number(name).to_string() }
    };
    let list = |name: &str| value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    line(out, "bitswap status")?;
    line(out, &format!("\tblocks received: {}", number("BlocksReceived")))?;
    line(out, &format!("\tblocks sent: {}", number("BlocksSent")))?;
    line(out, &format!("\tdata received: {}", bytes("DataReceived")))?;
    line(out, &format!("\tdata sent: {}", bytes("DataSent")))?;
    line(out, &format!("\tdup blocks received: {}", number("DupBlksReceived")))?;
    line(out, &format!("\tdup data received: {}", bytes("DupDataReceived")))?;
    line(out, &format!("\twantlist [{} keys]", list("Wantlist").len()))?;
    for cid in list("Wantlist").iter().filter_map(|link| link.get("/")?.as_str()) {
        line(out, &format!("\t\t{cid}"))?;
    }
    line(out, &format!("\tpartners [{}]", list("Peers").len()))?;
    for peer in list("Peers").iter().filter_map(Value::as_str).filter(|_| call.bool("verbose")) {
        line(out, &format!("\t\t{peer}"))?;
    }
    Ok(())
}

fn wantlist() -> Command {
    Command::new("wantlist", "Show blocks currently on the wantlist.")
        .help("Shows what this node waits for, or what a peer waits for from this node.")
        .opt(Opt::string("peer p", "Specify which peer to show wantlist for. Default: self."))
        .needs(Needs::Config)
        .run(|context, request| async move {
            let exchange = context.exchange().map_err(NoExchange::online_only)?;
            let us = context.swarm().map(crate::swarm::SwarmHandle::peer_id);
            let peer = request.text_opt("peer").map(parse_peer_id).transpose();
            let peer = peer.map_err(CommandError::from_error)?.filter(|peer| Some(*peer) != us);
            let mut keys: Vec<Cid> = exchange.wantlist(peer).await;
            keys.sort_unstable();
            let cids = CidText::of_call(request.call())?;
            Ok(Response::One(json!({ "Keys": keys.iter().map(|cid| cids.link(cid)).collect::<Vec<_>>() })))
        })
        .text(|_, value, out| {
            let keys = value.get("Keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            keys.iter().filter_map(|link| link.get("/")?.as_str()).try_for_each(|cid| line(out, cid))
        })
}

fn ledger() -> Command {
    Command::new("ledger", "Show the current ledger for a peer.")
        .help("Shows how many bytes of blocks went to a peer and came from it.")
        .arg(Arg::text("peer", "The PeerID (B58) of the ledger to inspect.").required())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let exchange = context.exchange().map_err(NoExchange::online_only)?;
            let peer = parse_peer_id(request.arg(0)).map_err(CommandError::from_error)?;
            let ledger = exchange.ledger(peer).await;
            Ok(Response::One(json!({
                "Peer": peer.to_base58(), "Value": ledger.value(), "Sent": ledger.sent_bytes,
                "Recv": ledger.received_bytes, "Exchanged": ledger.exchanges,
            })))
        })
        .text(|_, value, out| {
            let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
            let ratio = value.get("Value").and_then(Value::as_f64).unwrap_or_default();
            let peer = value.get("Peer").and_then(Value::as_str).unwrap_or_default();
            line(out, &format!("Ledger for {peer}"))?;
            line(out, &format!("Debt ratio:\t{ratio:.6}"))?;
            line(out, &format!("Exchanges:\t{}", number("Exchanged")))?;
            line(out, &format!("Bytes sent:\t{}", number("Sent")))?;
            line(out, &format!("Bytes received:\t{}\n", number("Recv")))
        })
}

/// Why there is no exchange.
pub(super) enum NoExchange {
    /// The node is not online.
    Offline,
    /// Bitswap is switched off.
    SwitchedOff,
}

impl NoExchange {
    /// Kubo's error where it is the caller's fault.
    fn unable(self) -> CommandError {
        match self {
            Self::Offline => CommandError::client(planned::UNABLE_OFFLINE),
            Self::SwitchedOff => CommandError::new(SWITCHED_OFF),
        }
    }

    /// Kubo's error of most commands.
    fn online_only(self) -> CommandError {
        match self {
            Self::Offline => CommandError::new(planned::OFFLINE_COMMAND),
            Self::SwitchedOff => CommandError::new(SWITCHED_OFF),
        }
    }
}

impl Context {
    /// The exchange of a running daemon.
    pub(super) fn exchange(&self) -> Result<&Handle, NoExchange> {
        self.swarm().ok_or(NoExchange::Offline)?;
        self.open_node().and_then(crate::node::Node::exchange).ok_or(NoExchange::SwitchedOff)
    }
}

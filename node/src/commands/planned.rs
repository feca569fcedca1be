//! Commands that Kubo has and this version does not: their lines are understood, and the answer says why.
//!
//! Some of them have one right answer on a node that is not online: the error that Kubo gives there.

use super::registry::{Arg, ArgKind, Command, CommandError, Needs, Opt, OptKind, Request, Response, Status};
use super::{Context, object, repo};

/// Why commands that need the network are not there.
pub(super) const NETWORK: &str = "it needs the network, which this version has not";
/// Why commands of the daemon are not there.
const DAEMON: &str = "this version has no daemon";
/// Why names are not there.
const NAMES: &str = "IPNS comes with a later version";
/// Why the filestore is not there.
const FILESTORE: &str = "blocks are always copied into the repository";
/// Why the updater is not there.
const UPDATE: &str = "updates come with the package that holdfast was installed from";
/// Why DAG nodes are not edited in this old form.
const PATCH: &str = "use 'files' commands instead";

/// Kubo's words of its core interface without a network.
const OFFLINE_ACTION: &str = "this action must be run in online mode, try running 'ipfs daemon' first";
/// Kubo's words of its commands without a network.
const OFFLINE_COMMAND: &str = "this command must be run in online mode. Try running 'ipfs daemon' first";
/// Kubo's words where pubsub was not switched on.
const NO_PUBSUB: &str =
    "experimental pubsub feature not enabled, run daemon with --enable-pubsub-experiment to use";
/// Kubo's words for commands on DAG nodes in their old form.
const REMOVED_OBJECT: &str = "removed, use 'ipfs dag' or 'ipfs files' instead";

/// What such a command answers.
#[derive(Clone, Copy)]
enum Answer {
    /// A group: its help.
    Group,
    /// That this version does not have it, and why.
    Planned(&'static str),
    /// Kubo's error without a network.
    Fails(&'static str),
    /// Kubo's error without a network, where it is the caller's fault (code 1).
    FailsClient(&'static str),
    /// Kubo's error for commands that it no longer has.
    Removed(&'static str),
}

use Answer::{Fails, FailsClient, Group, Planned, Removed};

/// Path, arguments, options, answer, one line about it.
///
/// Arguments: `<required>`, `[optional]`, `...` for lists, `-` after the name for standard input, `file:` before it for
/// files. Options: names with `/` between them, then `:` and the type; without one it is a bool; `=true` is a default.
type Row = (&'static str, &'static str, &'static str, Answer, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("bitswap", "", "", Group, "Interact with the bitswap agent."),
    ("bitswap ledger", "<peer>", "", Fails(OFFLINE_COMMAND), "Show the current ledger for a peer."),
    ("bitswap reprovide", "", "", Fails(OFFLINE_COMMAND), "Announce blocks again."),
    ("bitswap stat", "", "verbose/v human", FailsClient(OFFLINE_COMMAND), "Show some diagnostic information on the bitswap agent."),
    ("bitswap wantlist", "", "peer/p:string", Fails(OFFLINE_COMMAND), "Show blocks currently on the wantlist."),
    ("dht", "", "", Group, "Issue commands directly through the DHT."),
    ("dht findpeer", "<peerID>...", "", Planned(NETWORK), "Find the multiaddresses of a peer."),
    ("dht findprovs", "<key>...", "", Planned(NETWORK), "Find peers that can provide a value."),
    ("dht get", "<key>...", "", Planned(NETWORK), "Given a key, query the routing system for its best value."),
    ("dht provide", "<key>...", "", Planned(NETWORK), "Announce to the network that you are providing given values."),
    ("dht put", "<key> <file:value-file->", "", Planned(NETWORK), "Write a key/value pair to the routing system."),
    ("dht query", "<peerID>...", "verbose/v", Planned(NETWORK), "Find the closest peers to a peer."),
    ("diag", "", "", Group, "Generate diagnostic reports."),
    ("diag cmds", "", "verbose/v", Planned(DAEMON), "List commands run on this node."),
    ("diag cmds clear", "", "", Planned(DAEMON), "Clear inactive requests from the log."),
    ("diag cmds set-time", "<time>", "", Planned(DAEMON), "Set how long to keep inactive requests in the log."),
    ("diag datastore", "", "", Group, "Look into the data store."),
    ("diag datastore count", "<prefix>", "", Planned("Kubo's data store keys do not exist here: see 'repo stat'"), "Count keys."),
    ("diag datastore get", "<key>", "hex", Planned("Kubo's data store keys do not exist here"), "Read a raw key."),
    ("diag datastore put", "<key> <file:value->", "", Planned("Kubo's data store keys do not exist here"), "Write a raw key."),
    ("diag healthy", "", "", Planned(DAEMON), "Tell whether the daemon is well."),
    ("diag profile", "", "output/o:string collectors:array profile-time:string mutex-profile-fraction:int block-profile-rate:string", Planned(DAEMON), "Collect a performance profile."),
    ("diag sys", "", "", Planned(DAEMON), "Print system diagnostic information."),
    ("filestore", "", "", Group, "Interact with filestore objects."),
    ("filestore dups", "", "", Planned(FILESTORE), "List blocks that are both in the filestore and standard block storage."),
    ("filestore ls", "[obj]...", "file-order", Planned(FILESTORE), "List objects in filestore."),
    ("filestore verify", "[obj]...", "file-order remove-bad-blocks", Planned(FILESTORE), "Verify objects in filestore."),
    ("key rotate", "", "oldkey/o:string type/t:string size/s:int", Planned("key rotation comes with a later version"), "Rotate the identity of the node."),
    ("key sign", "<file:data->", "key/k:string ipns-base:string", Planned("signing comes with a later version"), "Generate a signature for the given data."),
    ("key verify", "<file:data->", "key/k:string signature/s:string ipns-base:string", Planned("signing comes with a later version"), "Verify that the given data and signature match."),
    ("log", "", "", Group, "Interact with the daemon log output."),
    ("log level", "<subsystem> [level]", "", Planned(DAEMON), "Change or get the logging level."),
    ("log ls", "", "", Planned(DAEMON), "List the logging subsystems."),
    ("log tail", "", "log-level:string", Planned(DAEMON), "Read and output log messages."),
    ("mount", "", "ipfs-path/f:string ipns-path/n:string mfs-path/m:string", Fails(OFFLINE_COMMAND), "Mount IPFS to the file system."),
    ("name", "", "", Group, "Publish and resolve IPNS names."),
    ("name get", "<name>", "", Planned(NAMES), "Get the signed record of a name."),
    ("name inspect", "<file:record->", "verify:string dump=true", Planned(NAMES), "Inspect an IPNS record."),
    ("name publish", "<ipfs-path->", "key/k:string resolve=true lifetime/t:string ttl:string quieter/Q v1compat=true allow-offline allow-delegated sequence:uint64 ipns-base:string", Planned(NAMES), "Publish IPNS names."),
    ("name pubsub", "", "", Group, "Manage IPNS pubsub."),
    ("name pubsub cancel", "<name>", "", Planned(NAMES), "Cancel a name subscription."),
    ("name pubsub state", "", "", Planned(NAMES), "Query the state of IPNS pubsub."),
    ("name pubsub subs", "", "ipns-base:string", Planned(NAMES), "Show current name subscriptions."),
    ("name put", "<name> <file:record->", "force/f allow-offline allow-delegated quiet/q", Planned(NAMES), "Store a signed record of a name."),
    ("name resolve", "[name-]", "recursive/r=true nocache/n dht-record-count/dhtrc:uint dht-timeout/dhtt:string stream/s", Planned(NAMES), "Resolve IPNS names."),
    ("object data", "<key->", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("object diff", "<obj_a> <obj_b>", "verbose/v", Planned(PATCH), "Display the differences between two objects."),
    ("object get", "<key->", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("object links", "<key->", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("object new", "[template]", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("object patch", "", "allow-big-block", Group, "Create a new object based on an existing one."),
    ("object patch add-link", "<root> <name> <ref>", "create/p allow-non-unixfs", Planned(PATCH), "Add a link to a given object."),
    ("object patch append-data", "<root> <file:data->", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("object patch rm-link", "<root> <name>", "allow-non-unixfs", Planned(PATCH), "Remove a link from a given object."),
    ("object patch set-data", "<root> <file:data->", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("object put", "<file:data->", "", Removed(REMOVED_OBJECT), "Removed, use 'ipfs dag' or 'ipfs files' instead."),
    ("p2p", "", "", Group, "Libp2p stream mounting."),
    ("p2p close", "", "all/a protocol/p:string listen-address/l:string target-address/t:string", Planned(NETWORK), "Stop listening for new connections to forward."),
    ("p2p forward", "<protocol> <listen-address> <target-address>", "allow-custom-protocol foreground/f", Planned(NETWORK), "Forward connections to a libp2p service."),
    ("p2p listen", "<protocol> <target-address>", "allow-custom-protocol report-peer-id/r foreground/f", Planned(NETWORK), "Create a libp2p service."),
    ("p2p ls", "", "headers/v", Planned(NETWORK), "List active p2p listeners."),
    ("p2p stream", "", "", Group, "P2P stream management."),
    ("p2p stream close", "[id]", "all/a", Planned(NETWORK), "Close an active p2p stream."),
    ("p2p stream ls", "", "headers/v", Planned(NETWORK), "List active p2p streams."),
    ("pin remote", "", "", Group, "Pin and unpin objects on a remote pinning service."),
    ("pin remote add", "<ipfs-path>", "service:string name:string background", Planned(NETWORK), "Pin an object to a remote pinning service."),
    ("pin remote ls", "", "service:string name:string cid:list status:list", Planned(NETWORK), "List objects pinned to a remote pinning service."),
    ("pin remote rm", "", "service:string name:string cid:list status:list force", Planned(NETWORK), "Remove pins from a remote pinning service."),
    ("pin remote service", "", "", Group, "Configure remote pinning services."),
    ("pin remote service add", "<service> <endpoint> <key>", "", Planned(NETWORK), "Add a remote pinning service."),
    ("pin remote service ls", "", "stat", Planned(NETWORK), "List remote pinning services."),
    ("pin remote service rm", "<service>", "", Planned(NETWORK), "Remove a remote pinning service."),
    ("ping", "<peer ID->...", "count/n:int", Fails(OFFLINE_COMMAND), "Send echo request packets to IPFS hosts."),
    ("provide", "", "", Group, "Control and monitor content providing."),
    ("provide clear", "", "quiet/q", Planned(NETWORK), "Clear what is queued to be provided."),
    ("provide once", "<key->...", "recursive/r", Planned(NETWORK), "Provide once, now."),
    ("provide stat", "", PROVIDE_STAT, Planned(NETWORK), "Show statistics about providing."),
    ("pubsub", "", "", Group, "An experimental publish-subscribe system."),
    ("pubsub ls", "", "", Fails(NO_PUBSUB), "List subscribed topics by name."),
    ("pubsub peers", "[topic]", "", Fails(NO_PUBSUB), "List peers we are currently pubsubbing with."),
    ("pubsub pub", "<topic> <file:data->", "", Fails(NO_PUBSUB), "Publish data to a given pubsub topic."),
    ("pubsub reset", "", "peer/p:string", Fails(NO_PUBSUB), "Reset what pubsub has stored."),
    ("pubsub sub", "<topic>", "", Fails(NO_PUBSUB), "Subscribe to messages on a given topic."),
    ("repo migrate", "", "to:int allow-downgrade", Planned("the repository has had one version so far"), "Migrate the repository."),
    ("routing", "", "", Group, "Issue routing commands."),
    ("routing findpeer", "<peerID>...", "verbose/v", Fails(OFFLINE_COMMAND), "Find the multiaddresses of a peer."),
    ("routing findprovs", "<key>...", "verbose/v num-providers/n:int", Fails(OFFLINE_COMMAND), "Find peers that can provide a specific value."),
    ("routing get", "<key>...", "", Planned(NAMES), "Given a key, query the routing system for its best value."),
    ("routing provide", "<key->...", "verbose/v recursive/r", Fails(OFFLINE_COMMAND), "Announce to the network that you are providing given values."),
    ("routing put", "<key> <file:value-file->", "allow-offline", Planned(NAMES), "Write a key/value pair to the routing system."),
    ("routing reprovide", "", "", Fails(OFFLINE_COMMAND), "Announce again what is stored."),
    ("stats", "", "", Group, "Query statistics."),
    ("stats bitswap", "", "verbose/v human", FailsClient(OFFLINE_COMMAND), "Show some diagnostic information on the bitswap agent."),
    ("stats bw", "", "peer/p:string proto/t:string poll interval/i:string", FailsClient(OFFLINE_COMMAND), "Print bandwidth information."),
    ("stats dht", "[dht]...", "", Fails(OFFLINE_COMMAND), "Return statistics about the node's DHTs."),
    ("stats provide", "", PROVIDE_STAT, Planned(NETWORK), "Show statistics about providing."),
    ("stats reprovide", "", PROVIDE_STAT, Planned(NETWORK), "Show statistics about providing."),
    ("swarm", "", "", Group, "Interact with the swarm."),
    ("swarm addrs", "", "", Fails(OFFLINE_ACTION), "List known addresses. Useful for debugging."),
    ("swarm addrs autonat", "", "", Fails(OFFLINE_COMMAND), "Show what is known about reachability."),
    ("swarm addrs listen", "", "", Fails(OFFLINE_ACTION), "List interface listening addresses."),
    ("swarm addrs local", "", "id", Fails(OFFLINE_ACTION), "List local addresses."),
    ("swarm disconnect", "<address->...", "", Fails(OFFLINE_ACTION), "Close connection to a given address."),
    ("swarm filters", "", "", Planned(NETWORK), "Manipulate address filters."),
    ("swarm filters add", "<address->...", "", Planned(NETWORK), "Add an address filter."),
    ("swarm filters rm", "<address->...", "", Planned(NETWORK), "Remove an address filter."),
    ("swarm peering", "", "", Group, "Modify the peering subsystem."),
    ("swarm peering add", "<address->...", "", Planned(NETWORK), "Add peers into the peering subsystem."),
    ("swarm peering ls", "", "", Planned(NETWORK), "List peers registered in the peering subsystem."),
    ("swarm peering rm", "<ID->...", "", Planned(NETWORK), "Remove a peer from the peering subsystem."),
    ("swarm peers", "", "verbose/v streams latency direction identify", Fails(OFFLINE_ACTION), "List peers with open connections."),
    ("swarm resources", "", "", Planned(NETWORK), "Show what connections use."),
    ("update", "", "", Group, "Update the program."),
    ("update check", "", "pre", Planned(UPDATE), "Look for a newer version."),
    ("update clean", "", "", Planned(UPDATE), "Remove what updates left behind."),
    ("update install", "[version]", "pre allow-downgrade", Planned(UPDATE), "Install another version."),
    ("update revert", "", "", Planned(UPDATE), "Go back to the version before."),
    ("update versions", "", "count/n:int pre", Planned(UPDATE), "List versions."),
    ("version check", "", "min-percent/t:int", Planned(NETWORK), "Check the version against those of connected peers."),
    ("version deps", "", "", Planned("what it was built from is in the Cargo.lock of its sources"), "Show what the program was built from."),
];

/// The options of `provide stat` and its other names.
const PROVIDE_STAT: &str =
    "lan all/a compact connectivity network schedule timings workers operations queues";

/// Puts these commands into the tree: below the groups that are there, else in groups of their own.
pub(super) fn add_to(root: &mut Vec<Command>) {
    for row in ROWS {
        let words: Vec<&'static str> = row.0.split(' ').collect();
        insert(root, &words, row);
    }
    insert_command(root, &["swarm"], connect());
    insert_command(root, &["stats"], repo::stat("repo"));
    insert_command(root, &["object"], object::stat());
}

fn insert(commands: &mut Vec<Command>, words: &[&'static str], row: &Row) {
    match words {
        [] => {}
        [name] => commands.push(command(name, row)),
        [parent, rest @ ..] => {
            if !commands.iter().any(|command| command.name == *parent) {
                commands.push(Command::new(parent, "").needs(Needs::Config));
            }
            if let Some(parent) = commands.iter_mut().find(|command| command.name == *parent) {
                insert(&mut parent.subcommands, rest, row);
            }
        }
    }
}

fn insert_command(commands: &mut [Command], words: &[&'static str], command: Command) {
    let Some((name, rest)) = words.split_first() else { return };
    if let Some(parent) = commands.iter_mut().find(|parent| parent.name == *name) {
        match rest {
            [] => parent.subcommands.push(command),
            _ => insert_command(&mut parent.subcommands, rest, command),
        }
    }
}

/// A command from its row.
fn command(name: &'static str, row: &Row) -> Command {
    let (_, args, options, answer, tagline) = row;
    let mut command = Command::new(name, tagline).needs(Needs::Config);
    command.args = arguments(args);
    command.options = options.split_whitespace().map(option).collect();
    match *answer {
        Group => command,
        Planned(why) => command.planned(why),
        Fails(words) => command.only_fails().run(fails(words, false)),
        FailsClient(words) => command.only_fails().run(fails(words, true)),
        Removed(words) => {
            command.status(Status::Removed).needs(Needs::Nothing).only_fails().run(fails(words, false))
        }
    }
}

fn fails(
    words: &'static str,
    client: bool,
) -> impl Fn(Context, Request) -> std::future::Ready<Result<Response, CommandError>> {
    move |_, _| {
        let error = if client { CommandError::client(words) } else { CommandError::new(words) };
        std::future::ready(Err(error))
    }
}

/// `swarm connect`, which names the peer in its error.
fn connect() -> Command {
    Command::new("connect", "Open connection to a given peer.")
        .arg(Arg::text("address", "Address of peer to connect to.").required().variadic().stdin())
        .needs(Needs::Config)
        .only_fails()
        .run(|_, request| {
            let address = request.arg(0);
            let peer = address.rsplit("/p2p/").next().unwrap_or_default();
            let error = if address.contains("/p2p/") && !peer.is_empty() {
                CommandError::new(format!("connect {peer} failure: {OFFLINE_ACTION}"))
            } else {
                CommandError::new(OFFLINE_ACTION)
            };
            std::future::ready(Err(error))
        })
}

/// Arguments from their short form.
fn arguments(text: &'static str) -> Vec<Arg> {
    let mut rest = text;
    let mut out = Vec::new();
    while let Some(start) = rest.find(['<', '[']) {
        let required = rest.get(start..).is_some_and(|text| text.starts_with('<'));
        let Some(inner) = rest.get(start + 1..) else { break };
        let Some((name, tail)) = inner.split_once(if required { '>' } else { ']' }) else { break };
        let variadic = tail.starts_with("...");
        let (kind, name) = match name.strip_prefix("file:") {
            Some(name) => (ArgKind::File, name),
            None => (ArgKind::Text, name),
        };
        let (stdin, name) = match name.strip_suffix('-') {
            Some(name) => (true, name),
            None => (false, name),
        };
        let mut arg = Arg::text(name, "");
        (arg.kind, arg.required, arg.variadic, arg.stdin) = (kind, required, variadic, stdin);
        out.push(arg);
        rest = tail;
    }
    out
}

/// An option from its short form.
fn option(text: &'static str) -> Opt {
    let (text, on) = match text.strip_suffix("=true") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (names, kind) = text.split_once(':').unwrap_or((text, "bool"));
    let kind = match kind {
        "int" => OptKind::Int,
        "int64" => OptKind::Int64,
        "uint" => OptKind::Uint,
        "uint64" => OptKind::Uint64,
        "string" => OptKind::String,
        "array" => OptKind::Strings,
        "list" => OptKind::CommaStrings,
        _ => OptKind::Bool,
    };
    let mut option = Opt::new(kind, "", "");
    option.names = names.split('/').collect();
    if on { option.default(true) } else { option }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_understood() {
        let args = arguments("<path> <file:data-> [more]...");
        let shape: Vec<_> =
            args.iter().map(|arg| (arg.name, arg.kind, arg.required, arg.stdin, arg.variadic)).collect();
        assert_eq!(
            shape,
            [
                ("path", ArgKind::Text, true, false, false),
                ("data", ArgKind::File, true, true, false),
                ("more", ArgKind::Text, false, false, true),
            ]
        );
        let flush = option("flush/f=true");
        assert_eq!((flush.names.as_slice(), flush.kind), (["flush", "f"].as_slice(), OptKind::Bool));
        assert_eq!(flush.default, Some(true.into()));
        assert_eq!(option("count/n:int64").kind, OptKind::Int64);
    }

    #[test]
    fn every_row_finds_its_group() {
        let mut root = super::super::catalog::commands();
        root.retain(|command| command.tagline.is_empty());
        assert!(root.is_empty(), "{root:?}");
    }
}

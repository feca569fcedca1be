//! One sentence for each option and argument of the commands that this version explains and does not run.

/// What an option of such a command is for. The command decides where a name means several things.
pub(super) fn option(path: &str, name: &str) -> &'static str {
    match (path, name) {
        ("update versions", "count") => "Most versions to list.",
        ("bitswap stat" | "stats bitswap", "verbose") => "Also name the partners.",
        _ => OPTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text),
    }
}

/// What an argument of such a command is.
pub(super) fn argument(path: &str, name: &str) -> &'static str {
    match (path, name) {
        ("object patch add-link" | "object patch rm-link", "name") => "Name of the link.",
        (path, "key") if path.starts_with("dht") || path.starts_with("routing") => {
            "CID, path or routing key that it is about."
        }
        (path, "key") if path.starts_with("diag") => "Key in the data store.",
        (path, "data") if path.starts_with("object") => "Data of the object.",
        _ => ARGUMENTS.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text),
    }
}

/// By name.
const OPTIONS: &[(&str, &str)] = &[
    ("allow-big-block", "Take blocks that are larger than what other nodes accept."),
    ("allow-custom-protocol", "Do not ask that the protocol's name begins with /x/."),
    ("allow-delegated", "Publish through HTTP routers alone, without peers."),
    ("allow-downgrade", "Allow an older version."),
    ("allow-non-unixfs", "Edit DAG nodes that are no UnixFS."),
    ("allow-offline", "Store it here while there is no network."),
    ("create", "Create nodes in between that are not there."),
    ("direction", "Also say who opened each connection."),
    ("file-order", "Sort by file and place in it."),
    ("foreground", "Stay until interrupted, and close it then."),
    ("headers", "Print a head above the table."),
    ("hex", "Show bytes as a dump in hexadecimal digits."),
    ("human", "Print sizes in human readable format (e.g., 1K 234M 2G)."),
    ("id", "Show the peer's ID in addresses."),
    ("identify", "Also list what peers say of themselves."),
    ("interval", "Time between two outputs, with --poll."),
    ("ipfs-path", "Where to mount /ipfs."),
    ("ipns-path", "Where to mount /ipns."),
    ("latency", "Also say how long each peer takes to answer."),
    ("listen-address", "Only what listens on this address."),
    ("mfs-path", "Where to mount the mutable file system."),
    ("num-providers", "Most providers to look for."),
    ("peer", "Only what this peer wants."),
    ("poll", "Go on printing until interrupted."),
    ("pre", "Count versions that are not final too."),
    ("proto", "Only traffic of this protocol."),
    ("protocol", "Only this protocol."),
    ("remove-bad-blocks", "Remove blocks that do not match their file."),
    ("report-peer-id", "Send the other peer's ID to the target first."),
    ("streams", "Also list the streams of each connection."),
    ("target-address", "Only what is forwarded to this address."),
    ("verbose", "Print extra information."),
];

/// By name.
const ARGUMENTS: &[(&str, &str)] = &[
    ("ID", "ID of the peer."),
    ("address", "Address of the peer."),
    ("data", "The data."),
    ("dht", "Which DHT: wan or lan. Both where it is left out."),
    ("id", "Number of the stream."),
    ("ipfs-path", "Path to the object."),
    ("key", "CID or path of the object."),
    ("listen-address", "Address to listen on."),
    ("name", "The name."),
    ("obj", "CIDs to look at. All where they are left out."),
    ("obj_a", "The object to compare."),
    ("obj_b", "The object to compare it with."),
    ("peer", "ID of the peer."),
    ("peer ID", "ID or address of the peer."),
    ("peerID", "ID of the peer."),
    ("prefix", "What the keys begin with."),
    ("protocol", "Name of the protocol."),
    ("record", "A signed record."),
    ("ref", "CID of what the link leads to."),
    ("root", "CID of the object to edit."),
    ("target-address", "Address that streams are forwarded to."),
    ("template", "Kind of the new object."),
    ("topic", "Name of the topic."),
    ("value", "Value to write."),
    ("value-file", "File that holds the value."),
    ("version", "The version to install."),
];

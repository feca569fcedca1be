//! `block`.

use super::registry::{Arg, Command, Opt};

pub(super) fn command() -> Command {
    Command::new("block", "Interact with raw IPFS blocks.")
        .help("Reads and writes blocks as they are, without a look at what is in them.")
        .subcommand(
            Command::new("get", "Get a raw IPFS block.")
                .arg(Arg::text("cid", "The CID of an existing block to get.").required().stdin())
                .planned(super::planned::NOT_YET),
        )
        .subcommand(put())
        .subcommand(
            Command::new("rm", "Remove IPFS blocks from the local datastore.")
                .help("Removes blocks by CID. Pinned blocks are kept, and named.")
                .arg(Arg::text("cid", "CIDs of blocks to remove.").required().variadic().stdin())
                .opt(Opt::bool("force f", "Ignore nonexistent blocks."))
                .opt(Opt::bool("quiet q", "Write minimal output."))
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("stat", "Print information of a raw IPFS block.")
                .arg(Arg::text("cid", "The CID of an existing block to stat.").required().stdin())
                .planned(super::planned::NOT_YET),
        )
}

fn put() -> Command {
    Command::new("put", "Store input as an IPFS block.")
        .help(
            "Stores each file as one block, and prints its CID. Blocks over 2 MiB cannot be exchanged with other \
             peers, and are refused unless --allow-big-block is given.",
        )
        .arg(Arg::file("data", "The data to be stored as an IPFS block.").required().variadic().stdin())
        .opt(Opt::string("cid-codec", "Multicodec to use in returned CID.").default("raw"))
        .opt(Opt::string("mhtype", "Multihash hash function. Default: Import.HashFunction."))
        .opt(Opt::int("mhlen", "Multihash hash length; -1 is the function's own.").default(-1))
        .opt(Opt::bool("pin", "Pin added blocks recursively.").default(false))
        .opt(Opt::bool("allow-big-block", "Disable block size check and allow creation of blocks bigger than 2MiB."))
        .opt(Opt::string("format f", "CID format: v0, protobuf, cbor or raw. Deprecated: use --cid-codec."))
        .planned(super::planned::NOT_YET)
}

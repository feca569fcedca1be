//! `ls`, `refs` and `resolve`.

use super::registry::{Arg, Command, Opt};

pub(super) fn ls() -> Command {
    Command::new("ls", "List directory contents for Unix filesystem objects.")
        .help("Lists what directories hold: CID, size in bytes and name. Directories end with a slash.")
        .arg(
            Arg::text("ipfs-path", "The path to the IPFS objects to list links from.")
                .required()
                .variadic()
                .stdin(),
        )
        .opt(Opt::bool("headers v", "Print table headers (Hash, Size, Name)."))
        .opt(Opt::bool("resolve-type", "Resolve linked objects to find out their types.").default(true))
        .opt(Opt::bool("size", "Resolve linked objects to find out their file size.").default(true))
        .opt(Opt::bool("stream s", "Stream directory entries, unsorted, as they are found."))
        .opt(Opt::bool("long l", "Print mode and modification time too."))
        .always_text()
        .planned(super::planned::NOT_YET)
}

pub(super) fn refs() -> Command {
    Command::new("refs", "List links (references) from an object.")
        .help(
            "Lists the CIDs of all links that objects hold, one a line; with -r, of all objects below them too.\n\n\
             --format takes any text with <src>, <dst> and <linkname> in it.",
        )
        .arg(Arg::text("ipfs-path", "Path to the objects to list refs from.").required().variadic().stdin())
        .opt(Opt::string("format", "Emit edges with given format. Tokens: <src> <dst> <linkname>.").default("<dst>"))
        .opt(Opt::bool("edges e", "Emit edge format: <from> -> <to>."))
        .opt(Opt::bool("unique u", "Omit duplicate refs from output."))
        .opt(Opt::bool("recursive r", "Recursively list links of child nodes."))
        .opt(Opt::int("max-depth", "Only for recursive refs, limits fetch and listing to the given depth.").default(-1))
        .planned(super::planned::NOT_YET)
        .subcommand(
            Command::new("local", "List all local references.")
                .help("Lists the CID (version 1, codec raw) of every block in the repository.")
                .planned(super::planned::NOT_YET),
        )
}

pub(super) fn resolve() -> Command {
    Command::new("resolve", "Resolve the value of names to IPFS.")
        .help("Prints the path that a path leads to: what its links, or a name, point at in the end.")
        .arg(Arg::text("name", "The name to resolve.").required().stdin())
        .opt(Opt::bool("recursive r", "Resolve until the result is an IPFS name.").default(true))
        .opt(Opt::uint("dht-record-count dhtrc", "Number of records to request for DHT resolution."))
        .opt(Opt::string("dht-timeout dhtt", "Max time to collect values during DHT resolution, e.g. 30s."))
        .planned(super::planned::NOT_YET)
}

//! `dag`, and what is left of `object`.

use super::registry::{Arg, Command, Opt, Status};

pub(super) fn command() -> Command {
    Command::new("dag", "Interact with IPLD DAG objects.")
        .subcommand(
            Command::new("export", "Stream the selected DAG as a CAR file.")
                .help("Writes every block of the DAG below <root>, each once, to standard output as a CARv1.")
                .arg(Arg::text("root", "CID of a root to recursively export.").required())
                .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
                .opt(Opt::bool("local-only", "Leave out what is not stored here instead of failing."))
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("get", "Get a DAG node from IPFS.")
                .arg(Arg::text("ref", "The object to get.").required().stdin())
                .opt(
                    Opt::string("output-codec", "Format that the object will be encoded as.")
                        .default("dag-json"),
                )
                .planned(super::planned::NOT_YET),
        )
        .subcommand(import())
        .subcommand(
            Command::new("put", "Add a DAG node to IPFS.")
                .arg(Arg::file("object data", "The object to put.").required().variadic().stdin())
                .opt(
                    Opt::string("store-codec", "Codec that the stored object will be encoded with.")
                        .default("dag-cbor"),
                )
                .opt(
                    Opt::string("input-codec", "Codec that the input object is encoded in.")
                        .default("dag-json"),
                )
                .opt(Opt::bool("pin", "Pin this object when adding."))
                .opt(Opt::string("hash", "Hash function to use. Default: Import.HashFunction."))
                .opt(Opt::bool(
                    "allow-big-block",
                    "Disable block size check and allow creation of blocks bigger than 2MiB.",
                ))
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("resolve", "Resolve IPLD block.")
                .help(
                    "Prints the CID that a path leads to, and what is left of the path inside of that block.",
                )
                .arg(Arg::text("ref", "The path to resolve.").required().stdin())
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("stat", "Get stats for a DAG.")
                .help("Counts the blocks and bytes of DAGs, and what they share.")
                .arg(
                    Arg::text("root", "CID of a DAG root to get statistics for.")
                        .required()
                        .variadic()
                        .stdin(),
                )
                .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
                .planned(super::planned::NOT_YET),
        )
}

fn import() -> Command {
    Command::new("import", "Import the contents of CAR files.")
        .help(
            "Stores the blocks of CAR files (version 1 and 2), each checked against its CID, and pins the roots that \
             their headers name, once their DAGs are complete.",
        )
        .arg(Arg::file("path", "The path of a .car file.").required().variadic().stdin())
        .opt(Opt::bool("pin-roots", "Pin the roots that are listed in the header.").default(true))
        .opt(Opt::bool("local-only", "Accept DAGs that are not complete here. Implies --pin-roots=false."))
        .opt(Opt::bool("silent", "No output."))
        .opt(Opt::bool("stats", "Output stats."))
        .opts(super::add::fast_provide_options())
        .opt(Opt::bool("allow-big-block", "Disable block size check and allow creation of blocks bigger than 2MiB."))
        .planned(super::planned::NOT_YET)
}

/// The group `object`, to which what Kubo removed is added.
pub(super) fn object() -> Command {
    Command::new("object", "Interact with IPFS objects in their old form.").status(Status::Deprecated)
}

/// `object stat`. Kubo removed it; it stays here because clients still ask it for sizes.
pub(super) fn object_stat() -> Command {
    Command::new("stat", "Get stats for a DAG node.")
        .arg(Arg::text("key", "Key of the object to retrieve.").required().stdin())
        .status(Status::Deprecated)
        .planned(super::planned::NOT_YET)
}

//! `add`.

use super::registry::{Arg, Command, Opt};

pub(super) fn command() -> Command {
    Command::new("add", "Add a file or directory to IPFS.")
        .help(
            "Adds the contents of <path> to the repository, pins what was added, and prints its CIDs. Use -r for \
             directories.\n\nWithout a path, standard input is added. What is added here can be read back with 'cat' \
             and 'get' as soon as the command ends, also after a power cut.\n\nOptions that decide what the DAG looks \
             like, and so the CID, have their defaults in the section Import of the config; profiles set them \
             together: unixfs-v0-2015 and unixfs-v1-2025.",
        )
        .arg(Arg::file("path", "The path to a file to be added to IPFS.").required().variadic().recursive().stdin())
        .opts(input_options())
        .opts(output_options())
        .opts(dag_options())
        .opts(meta_options())
        .opts(fast_provide_options())
        .always_text()
        .planned(super::planned::NOT_YET)
}

/// What is read, and from where.
fn input_options() -> Vec<Opt> {
    vec![
        Opt::bool("recursive r", "Add directory paths recursively."),
        Opt::bool(
            "dereference-args",
            "Symlinks supplied in arguments are dereferenced. Deprecated: use --dereference-symlinks.",
        ),
        Opt::string("stdin-name", "Assign a name if the file source is stdin."),
        Opt::bool("hidden H", "Include files that are hidden. Only takes effect on recursive add."),
        Opt::strings("ignore", "A rule (.gitignore-style) defining which files should be ignored."),
        Opt::string("ignore-rules-path", "A path to a file with .gitignore-style ignore rules."),
        Opt::bool("empty-dirs E", "Include empty directories in the import.").default(true),
        Opt::bool("dereference-symlinks", "Follow symbolic links and add what they point at."),
    ]
}

/// What is printed, stored and pinned.
fn output_options() -> Vec<Opt> {
    vec![
        Opt::bool("quiet q", "Write minimal output."),
        Opt::bool("quieter Q", "Write only final CID."),
        Opt::bool("silent", "Write no output."),
        Opt::bool("progress p", "Stream progress data. On by default where a person reads it."),
        Opt::bool("only-hash n", "Only chunk and hash: do not write to disk."),
        Opt::bool("wrap-with-directory w", "Wrap files with a directory object."),
        Opt::bool("pin", "Pin locally to protect added files from garbage collection.").default(true),
        Opt::string("pin-name", "Name of the pin. Needs --pin."),
        Opt::string("to-files", "Add reference to the mutable file system at this path.")
            .refused("the mutable file system comes with a later version"),
    ]
}

/// What the DAG looks like.
fn dag_options() -> Vec<Opt> {
    vec![
        Opt::int(
            "cid-version",
            "CID version: 0 or 1. Version 1 implies raw leaves. Default: Import.CidVersion.",
        ),
        Opt::string(
            "hash",
            "Hash function to use. Implies CIDv1 if not sha2-256. Default: Import.HashFunction.",
        ),
        Opt::bool("raw-leaves", "Use raw blocks for leaf nodes. Default: Import.UnixFSRawLeaves."),
        Opt::string(
            "chunker s",
            "Chunking algorithm: size-[bytes], rabin-[min]-[avg]-[max] or buzhash. Default: Import.UnixFSChunker.",
        ),
        Opt::bool("trickle t", "Use trickle-dag format for dag generation."),
        Opt::int("max-file-links", "Most links a file node may hold. Default: Import.UnixFSFileMaxLinks."),
        Opt::int(
            "max-directory-links",
            "Most links a directory may hold before it is sharded; 0 leaves it to its size. Default: \
             Import.UnixFSDirectoryMaxLinks.",
        ),
        Opt::int(
            "max-hamt-fanout",
            "Links of a node of a sharded directory: a power of two, 8 to 1024. Default: \
             Import.UnixFSHAMTDirectoryMaxFanout.",
        ),
        Opt::bool("inline", "Inline small blocks into CIDs."),
        Opt::int("inline-limit", "Largest block to inline, in bytes, at most 128.").default(32),
        Opt::bool("nocopy", "Add the file using filestore.")
            .refused("blocks are always copied into the repository"),
        Opt::bool("fscache", "Check the filestore for blocks that are there already.")
            .refused("blocks are always copied into the repository"),
    ]
}

/// Mode and modification time.
fn meta_options() -> Vec<Opt> {
    vec![
        Opt::bool("preserve-mode", "Apply existing POSIX permissions to created UnixFS entries."),
        Opt::bool("preserve-mtime", "Apply existing POSIX modification time to created UnixFS entries."),
        Opt::uint("mode", "Custom POSIX file mode to store in created UnixFS entries: 0644."),
        Opt::int64("mtime", "Custom POSIX modification time to store, in seconds before or after 1970."),
        Opt::uint("mtime-nsecs", "Nanoseconds of --mtime."),
    ]
}

/// How fast what was added becomes known to others. Without a network nothing is announced, whatever they say.
pub(super) fn fast_provide_options() -> Vec<Opt> {
    vec![
        Opt::bool("fast-provide-root", "Announce the root at once, beside the regular schedule."),
        Opt::bool("fast-provide-dag", "Announce the whole DAG at once, beside the regular schedule."),
        Opt::bool("fast-provide-wait", "Wait until the announcement is done."),
    ]
}

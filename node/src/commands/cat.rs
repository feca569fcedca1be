//! `cat` and `get`.

use super::registry::{Arg, Command, Opt};

pub(super) fn cat() -> Command {
    Command::new("cat", "Show IPFS object data.")
        .help("Writes the contained data of files to standard output, one after the other.")
        .arg(
            Arg::text("ipfs-path", "The path to the IPFS objects to be output.")
                .required()
                .variadic()
                .stdin(),
        )
        .opt(Opt::int64("offset o", "Byte offset to begin reading from."))
        .opt(Opt::int64("length l", "Maximum number of bytes to read."))
        .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
        .planned(super::planned::NOT_YET)
}

pub(super) fn get() -> Command {
    Command::new("get", "Download IPFS objects.")
        .help(
            "Stores a file or directory on disk: under its name, or where --output says.\n\nUse --archive to get a \
             TAR file, --compress to have it compressed by gzip, and --compression-level (1 to 9) to say how hard.",
        )
        .arg(Arg::text("ipfs-path", "The path to the IPFS object to be output.").required().stdin())
        .opt(Opt::string("output o", "The path where the output should be stored."))
        .opt(Opt::bool("archive a", "Output a TAR archive."))
        .opt(Opt::bool("compress C", "Compress the output with GZIP compression."))
        .opt(Opt::int("compression-level l", "The level of compression (1-9)."))
        .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
        .planned(super::planned::NOT_YET)
}

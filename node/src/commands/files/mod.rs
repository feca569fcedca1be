//! `files`: the mutable file system.

mod entries;
mod io;
mod list;
mod metadata;
mod options;
mod root;
mod stat;

use super::registry::{Command, Opt};

pub(super) fn command() -> Command {
    Command::new("files", "Interact with unixfs files.")
        .help(
            "The mutable file system (MFS) of this node: one tree of directories and files, kept as UnixFS DAGs. Its \
             root CID changes with every change ('files stat --hash /').\n\nWhat is in it is kept by garbage \
             collection as far as it is here; 'files cp' links a DAG without fetching it. Pins and MFS do not know of \
             each other.\n\nA change is durable when the command returns. With --flush=false it is seen at once, and \
             durable with the next flushed change, with 'files flush', or when the node stops; a crash before that \
             leaves the last flushed tree. After 256 such changes in a row (Internal.MFSNoFlushLimit) the next one is \
             refused.",
        )
        .opt(Opt::bool("flush f", "Flush target and ancestors after write.").default(true))
        .subcommand(metadata::chcid())
        .subcommand(metadata::chmod())
        .subcommand(metadata::touch())
        .subcommand(root::chroot())
        .subcommand(root::flush())
        .subcommand(entries::cp())
        .subcommand(entries::mkdir())
        .subcommand(entries::mv())
        .subcommand(entries::rm())
        .subcommand(io::read())
        .subcommand(io::write())
        .subcommand(list::ls())
        .subcommand(stat::stat())
}

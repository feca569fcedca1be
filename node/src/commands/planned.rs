//! Commands that Kubo has and this version does not: their lines are understood, and the answer says why.
//!
//! Some of them have one right answer on a node that is not online: the error that Kubo gives there.

use super::registry::{Arg, ArgKind, Command, CommandError, Needs, Opt, OptKind, Request, Response, Status};
use super::{Context, bandwidth, bitswap, finding, object, planned_help, provide, repo, routing};

/// What is said online of `mount`, the one of them that a network does not help.
const NO_MOUNT: &str = "nothing is mounted by this version: read with 'get', 'files' or the gateway instead";
/// Why the updater is not there.
const UPDATE: &str = "updates come with the package that holdfast was installed from";
/// Why DAG nodes are not edited in this old form.
const PATCH: &str = "use 'files' commands instead";

/// Kubo's words of its core interface without a network.
pub(super) const OFFLINE_ACTION: &str =
    "this action must be run in online mode, try running 'ipfs daemon' first";
/// Kubo's words of its commands without a network.
pub(super) const OFFLINE_COMMAND: &str =
    "this command must be run in online mode. Try running 'ipfs daemon' first";
/// The same, where it is the caller's fault.
pub(super) const UNABLE_OFFLINE: &str =
    "unable to run offline: this command must be run in online mode. Try running 'ipfs daemon' first";
/// Kubo's words where no filestore was switched on. Blocks are always copied into the repository here.
const NO_FILESTORE: &str = "filestore is not enabled, see https://git.io/vNItf";
/// Kubo's words for limits of connections, without connections.
pub(super) const NO_RESOURCE_MANAGER: &str =
    "missing ResourceMgr: make sure the daemon is running with Swarm.ResourceMgr.Enabled";
/// Kubo's words for commands on DAG nodes in their old form.
const REMOVED_OBJECT: &str = "removed, use 'ipfs dag' or 'ipfs files' instead";

/// What such a command answers.
#[derive(Clone, Copy)]
enum Answer {
    /// A group: its help.
    Group,
    /// The same, at the terminal alone, as in Kubo.
    LocalGroup,
    /// That this version does not have it, and why.
    Planned(&'static str),
    /// The same, at the terminal alone, as in Kubo.
    Local(&'static str),
    /// Kubo's error without a network.
    Fails(&'static str),
    /// Kubo's error for commands that it no longer has.
    Removed(&'static str),
}

use Answer::{Fails, Group, Local, LocalGroup, Planned, Removed};

/// Path, arguments, options, answer, one line about it.
///
/// Arguments: `<required>`, `[optional]`, `...` for lists, `-` after the name for standard input, `file:` before it for
/// files. Options: names with `/` between them, then `:` and the type; without one it is a bool; `=true` is a default.
type Row = (&'static str, &'static str, &'static str, Answer, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("dht", "", "", Group, "Issue commands directly through the DHT."),
    ("diag datastore", "", "", Group, "Look into the data store."),
    ("diag datastore count", "<prefix>", "", Local("Kubo's data store keys do not exist here: see 'repo stat'"), "Count keys."),
    ("diag datastore get", "<key>", "hex", Local("Kubo's data store keys do not exist here"), "Read a raw key."),
    ("diag datastore put", "<key> <file:value->", "", Local("Kubo's data store keys do not exist here"), "Write a raw key."),
    ("filestore", "", "", Group, "Interact with filestore objects."),
    ("filestore dups", "", "", Fails(NO_FILESTORE), "List blocks that are both in the filestore and standard block storage."),
    ("filestore ls", "[obj]...", "file-order", Fails(NO_FILESTORE), "List objects in filestore."),
    ("filestore verify", "[obj]...", "file-order remove-bad-blocks", Fails(NO_FILESTORE), "Verify objects in filestore."),
    ("mount", "", "ipfs-path/f:string ipns-path/n:string mfs-path/m:string", Fails(OFFLINE_COMMAND), "Mount IPFS to the file system."),
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
    ("routing", "", "", Group, "Issue routing commands."),
    ("stats", "", "", Group, "Query statistics."),
    ("update", "", "", LocalGroup, "Update the program."),
    ("update check", "", "pre", Local(UPDATE), "Look for a newer version."),
    ("update clean", "", "", Local(UPDATE), "Remove what updates left behind."),
    ("update install", "[version]", "pre allow-downgrade", Local(UPDATE), "Install another version."),
    ("update revert", "", "", Local(UPDATE), "Go back to the version before."),
    ("update versions", "", "count/n:int pre", Local(UPDATE), "List versions."),
];

/// Puts these commands into the tree: below the groups that are there, else in groups of their own.
pub(super) fn add_to(root: &mut Vec<Command>) {
    for row in ROWS {
        let words: Vec<&'static str> = row.0.split(' ').collect();
        insert(root, &words, row);
    }
    insert_command(root, &["stats"], repo::stat("repo"));
    insert_command(root, &["stats"], bandwidth::command());
    insert_command(root, &["stats"], bitswap::stat("bitswap"));
    insert_command(root, &["stats"], finding::stats());
    insert_command(root, &["stats"], provide::stat("provide"));
    insert_command(root, &["stats"], provide::stat("reprovide"));
    insert_command(root, &["bitswap"], provide::reprovide());
    insert_command(root, &["routing"], provide::reprovide());
    // Programs still call them by the old name of the group.
    for group in ["routing", "dht"] {
        insert_command(root, &[group], routing::get());
        insert_command(root, &[group], routing::put());
        insert_command(root, &[group], finding::find_providers());
        insert_command(root, &[group], finding::find_peer());
    }
    insert_command(root, &["routing"], finding::provide());
    insert_command(root, &["dht"], finding::provide_here());
    insert_command(root, &["dht"], finding::query());
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
    let (path, args, options, answer, tagline) = row;
    let mut command = Command::new(name, tagline).needs(Needs::Config);
    command.args = arguments(args);
    for arg in &mut command.args {
        arg.description = planned_help::argument(path, arg.name);
    }
    command.options = options.split_whitespace().map(option).collect();
    for option in &mut command.options {
        option.description = planned_help::option(path, option.name());
    }
    match *answer {
        Group => command,
        LocalGroup => command.terminal_only(),
        Planned(why) => command.planned(why),
        Local(why) => command.planned(why).terminal_only(),
        Fails(words) => command.only_fails().run(fails(words)),
        Removed(words) => {
            command.status(Status::Removed).needs(Needs::Nothing).only_fails().run(fails(words))
        }
    }
}

fn fails(
    words: &'static str,
) -> impl Fn(Context, Request) -> std::future::Ready<Result<Response, CommandError>> {
    move |context, _| {
        if context.swarm().is_some() && words == OFFLINE_COMMAND {
            return std::future::ready(Err(CommandError::new(NO_MOUNT)));
        }
        std::future::ready(Err(CommandError::new(words)))
    }
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

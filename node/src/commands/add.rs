//! `add`: its definition and what it answers. What is added comes from [`super::upload`].

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::cid_text::CidText;
use super::fast_provide::{self, Fast};
use super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response, TextForm};
use super::upload::Upload;
use super::{Context, Terminal};
use crate::config::{AddFlags, ResolvedImport, resolve_import};
use crate::provide::Content;
use crate::services::unixfs::add::{AddEvent, AddOptions, Added};

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
        .opts(fast_provide::options())
        .run(run)
        .fails_loudly()
        .text_with(AddText::new)
        .pre_run(before)
        .terminal(|terminal, call, response| Box::pin(show(terminal, call, response)))
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
        Opt::string("to-files", "Add reference to the mutable file system (MFS) at this path."),
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
        Opt::bool("nocopy", "Add the file using filestore. Not available: blocks are always copied."),
        Opt::bool(
            "fscache",
            "Check the filestore for blocks that are there already. Not available: as above.",
        ),
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

/// A person at the terminal sees progress unless asked not to.
fn before(call: &mut Call, terminal: &Terminal) -> Result<(), CommandError> {
    let quiet = call.bool("quiet") || call.bool("quieter") || call.bool("silent");
    if !call.is_given("progress") && terminal.err_is_terminal && !quiet && !call.json_lines() {
        call.set("progress", true);
    }
    Ok(())
}

async fn run(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let node = context.node().await?;
    let config = node.config().import().map_err(CommandError::from_error)?;
    let flags = flags(&request)?;
    let resolved = resolve_import(&config, &flags).map_err(CommandError::from_error)?;
    let options = options(&request, resolved);
    let content = Content { pinned: options.pin, in_files: options.to_files.is_some() };
    let fast = Fast::of_call(node, &request, content)?;
    let only_hash = options.only_hash;
    let events = node.unixfs().add(Upload(request.take_input()), options);
    Ok(Response::Stream(fast.after(events, move |event, roots| {
        // What comes last is the root of all.
        if let AddEvent::Added(added) = &event
            && !only_hash
        {
            *roots = vec![added.cid];
        }
        Some(value(event, cids))
    })))
}

/// The flags that decide about the DAG, as given.
fn flags(call: &Call) -> Result<AddFlags, CommandError> {
    if call.bool("fscache") {
        return Err(CommandError::new(
            "fscache is not available: there is no filestore, blocks are always copied into the repository",
        ));
    }
    let text = |name: &str| call.text_opt(name).map(str::to_owned);
    let small = |name: &str| call.uint_opt(name).and_then(|number| u32::try_from(number).ok());
    Ok(AddFlags {
        cid_version: call.int_opt("cid-version"),
        hash: text("hash"),
        raw_leaves: call.bool_opt("raw-leaves"),
        chunker: text("chunker"),
        trickle: call.bool_opt("trickle"),
        file_links_max: call.int_opt("max-file-links"),
        directory_links_max: call.int_opt("max-directory-links"),
        hamt_fanout: call.int_opt("max-hamt-fanout"),
        inline: call.bool("inline"),
        inline_limit: call.int_opt("inline-limit"),
        nocopy: call.bool("nocopy"),
        preserve_mode: call.bool("preserve-mode"),
        preserve_mtime: call.bool("preserve-mtime"),
        mode: small("mode"),
        mtime: call.int_opt("mtime"),
        mtime_nsecs: small("mtime-nsecs"),
        only_hash: call.bool("only-hash"),
        wrap: call.bool("wrap-with-directory"),
        pin: call.bool_opt("pin"),
        pin_name: text("pin-name"),
        to_files: text("to-files"),
        fast_provide_root: call.bool_opt("fast-provide-root"),
        fast_provide_dag: call.bool_opt("fast-provide-dag"),
        fast_provide_wait: call.bool_opt("fast-provide-wait"),
    })
}

fn options(call: &Call, resolved: ResolvedImport) -> AddOptions {
    AddOptions {
        import: resolved.import,
        only_hash: call.bool("only-hash"),
        pin: resolved.pin,
        pin_name: resolved.pin_name,
        wrap: call.bool("wrap-with-directory"),
        empty_dirs: call.bool_opt("empty-dirs").unwrap_or(true),
        preserve_mode: resolved.preserve_mode,
        preserve_mtime: resolved.preserve_mtime,
        mode: resolved.mode,
        mtime: resolved.mtime,
        progress: call.bool("progress"),
        to_files: call.text_opt("to-files").map(str::to_owned),
    }
}

/// An event as Kubo tells it. What cannot be read has no event there: it gets its own.
fn value(event: AddEvent, cids: CidText) -> Value {
    match event {
        AddEvent::Progress { name, bytes } => json!({ "Name": name, "Bytes": bytes }),
        AddEvent::Unreadable(unreadable) => json!({ "Name": unreadable.path, "Error": unreadable.error }),
        AddEvent::Added(Added { name, cid, size, mode, mtime }) => {
            let mut value = Map::new();
            value.insert("Name".to_owned(), name.into());
            value.insert("Hash".to_owned(), cids.text(&cid).into());
            value.insert("Size".to_owned(), size.to_string().into());
            if let Some(mode) = mode {
                value.insert("Mode".to_owned(), format!("{mode:04o}").into());
            }
            if let Some(mtime) = mtime {
                value.insert("Mtime".to_owned(), mtime.seconds.into());
                if let Some(nanos) = mtime.nanos {
                    value.insert("MtimeNsecs".to_owned(), nanos.into());
                }
            }
            Value::Object(value)
        }
    }
}

/// `added <cid> <name>`, or less of it.
struct AddText {
    last: Option<Arc<str>>,
}

impl AddText {
    fn new(_call: &Call) -> Self {
        Self { last: None }
    }
}

impl TextForm for AddText {
    fn value(&mut self, call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let Some(cid) = value.get("Hash").and_then(Value::as_str) else { return Ok(()) };
        let name = value.get("Name").and_then(Value::as_str).unwrap_or_default();
        if call.bool("silent") {
        } else if call.bool("quieter") {
            self.last = Some(cid.into());
        } else if call.bool("quiet") {
            out.extend_from_slice(format!("{cid}\n").as_bytes());
        } else {
            out.extend_from_slice(format!("added {cid} {name}\n").as_bytes());
        }
        Ok(())
    }

    fn end(&mut self, _call: &Call, out: &mut Vec<u8>) -> Result<(), CommandError> {
        if let Some(cid) = self.last.take() {
            out.extend_from_slice(format!("{cid}\n").as_bytes());
        }
        Ok(())
    }
}

/// The text form with a line of progress below it. What could not be read is named, and the rest is still told.
async fn show(terminal: &mut Terminal, call: &Call, response: Response) -> Result<(), CommandError> {
    let Response::Stream(mut values) = response else { return Ok(()) };
    let (mut form, mut out) = (AddText::new(call), Vec::new());
    let mut progress = terminal.progress("adding", None);
    let (mut file, mut file_bytes) = (String::new(), 0);
    let outcome = loop {
        let mut value = match terminal.next(&mut values).await? {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(value)) => value,
        };
        let name = value.get("Name").and_then(Value::as_str).unwrap_or_default();
        if let Some(bytes) = value.get("Bytes").and_then(Value::as_u64) {
            if name != file {
                (file, file_bytes) = (name.to_owned(), 0);
            }
            progress.set_total(terminal.upload.get());
            progress.add_bytes(bytes.saturating_sub(file_bytes));
            file_bytes = bytes;
            continue;
        }
        if let Some(error) = value.get("Error").and_then(Value::as_str) {
            progress.clear();
            let line = format!("skipped: {}\n", terminal.safe(error));
            terminal.eprint(line);
            continue;
        }
        if name == file {
            progress.file_done();
        }
        let name = terminal.safe(name).into_owned();
        if let Some(object) = value.as_object_mut() {
            object.insert("Name".to_owned(), name.into());
        }
        form.value(call, &value, &mut out)?;
        if !out.is_empty() && terminal.out_is_terminal {
            progress.clear();
        }
        terminal.print(&out)?;
        out.clear();
    };
    progress.clear();
    form.end(call, &mut out)?;
    terminal.print(&out)?;
    outcome
}

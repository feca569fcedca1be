//! `files mkdir`, `cp`, `mv` and `rm`.

use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::read::NodeInfo;
use serde_json::Value;

use super::super::Context;
use super::super::registry::{Arg, Command, CommandError, Opt, Request, Response};
use super::options::{AnyPath, any_path, cid_builder, cid_options, path};
use crate::node::Node;
use crate::services::files::FilesError::{NotADirectoryAbove, NotOverwritable, UnflushedLimit};
use crate::services::files::{CopyOptions, MkdirOptions};

/// What is said of a source that is no UnixFS.
const NOT_UNIXFS: &str = "cp: source must be a valid UnixFS (dag-pb or raw codec)";

pub(super) fn mkdir() -> Command {
    Command::new("mkdir", "Make directories.")
        .help("Makes a directory. It is named as the section Import of the config says, unless the options say else.")
        .arg(Arg::text("path", "Path to dir to make.").required())
        .opt(Opt::bool("parents p", "No error if existing, make parent directories as needed."))
        .opts(cid_options())
        .run(run_mkdir)
}

async fn run_mkdir(context: Context, request: Request) -> Result<Response, CommandError> {
    let files = context.node().await?.files();
    let options = MkdirOptions {
        parents: request.bool("parents"),
        cid: cid_builder(&request)?,
        unflushed: !request.bool("flush"),
    };
    files.mkdir(path(request.arg(0))?, options).await.map_err(CommandError::from_error)?;
    Ok(Response::Empty)
}

pub(super) fn cp() -> Command {
    Command::new("cp", "Add references to IPFS files and directories in MFS (or copy within MFS).")
        .help(
            "Links a file or directory, wherever it is, into the tree. The copy is lazy: only its root block is \
             needed. To have all of it here, pin it too.",
        )
        .arg(Arg::text("source", "Source IPFS or MFS path to copy.").required())
        .arg(Arg::text("dest", "Destination within MFS.").required())
        .opt(Opt::bool("force", "Force overwrite of existing files."))
        .opt(Opt::bool("parents p", "Make parent directories as needed."))
        .run(run_cp)
}

async fn run_cp(context: Context, request: Request) -> Result<Response, CommandError> {
    let node = context.node().await?;
    let source = any_path(request.arg(0))?;
    let text = match &source {
        AnyPath::Mfs(path) => path.to_string(),
        AnyPath::Content(path) => path.to_string(),
    };
    let text = text.trim_end_matches('/');
    let mut target = path(request.arg(1))?;
    if target.is_root() || target.has_trailing_slash() {
        let name = text.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(".");
        target = target.without_slash().join(name);
    }
    let failed = |error: String| CommandError::new(format!("cp: cannot get node from path {text}: {error}"));
    let cid = match source {
        AnyPath::Mfs(path) => node.files().resolve(path).await.map_err(|error| failed(error.to_string()))?,
        AnyPath::Content(path) => {
            node.resolve_block(&path).await.map_err(|error| failed(error.to_string()))?
        }
    };
    check_unixfs(node, cid).await.map_err(|error| match error {
        Refused::Missing(error) => failed(error),
        Refused::NotUnixFs(words) => CommandError::new(words),
    })?;
    let options = CopyOptions {
        parents: request.bool("parents"),
        force: request.bool("force"),
        cid: None,
        unflushed: !request.bool("flush"),
    };
    let shown = target.to_string();
    node.files().link(cid, target, options).await.map_err(|error| {
        CommandError::new(match error {
            NotOverwritable(_) | NotADirectoryAbove(_) => format!("cp: cannot unlink existing file: {error}"),
            UnflushedLimit(_) => error.to_string(),
            error => format!("cp: cannot put node in path {shown}: {error}"),
        })
    })?;
    Ok(Response::Empty)
}

/// Why a source is not copied.
enum Refused {
    Missing(String),
    NotUnixFs(String),
}

/// Only files, directories and symbolic links go into the tree. Their root block is fetched for that.
async fn check_unixfs(node: &Node, cid: Cid) -> Result<(), Refused> {
    if !matches!(cid.codec(), codec::RAW | codec::DAG_PB) {
        return Err(Refused::NotUnixFs(NOT_UNIXFS.to_owned()));
    }
    let block = node.fetch().get(&cid).await.map_err(|error| Refused::Missing(error.to_string()))?;
    match NodeInfo::of(&cid, &block) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refused::NotUnixFs(format!("{NOT_UNIXFS}: {error}"))),
    }
}

pub(super) fn mv() -> Command {
    Command::new("mv", "Move files.")
        .help("Moves an entry to another path, or into the directory there.")
        .arg(Arg::text("source", "Source file to move.").required())
        .arg(Arg::text("dest", "Destination path for file to be moved to.").required())
        .run(run_mv)
}

async fn run_mv(context: Context, request: Request) -> Result<Response, CommandError> {
    let files = context.node().await?.files();
    let (from, to) = (path(request.arg(0))?, path(request.arg(1))?);
    files.mv(from, to, request.bool("flush")).await.map_err(CommandError::from_error)?;
    Ok(Response::Empty)
}

pub(super) fn rm() -> Command {
    Command::new("rm", "Remove a file from MFS.")
        .help("Removes entries. What they held stays in the repository until it is collected, unless it is pinned.")
        .arg(Arg::text("path", "File to remove.").required().variadic())
        .opt(Opt::bool("recursive r", "Recursively remove directories."))
        .opt(Opt::bool("force", "Forcibly remove target at path; implies -r for directories."))
        .run(run_rm)
}

async fn run_rm(context: Context, request: Request) -> Result<Response, CommandError> {
    if request.bool_opt("flush") == Some(false) {
        return Err(CommandError::new(
            "files rm always flushes for safety. The --flush flag cannot be set to false for this command",
        ));
    }
    let files = context.node().await?.files();
    let (mut paths, mut errors) = (Vec::new(), Vec::new());
    for arg in request.args() {
        match path(arg) {
            Ok(path) => paths.push(path),
            Err(error) => errors.push(format!("{arg} is not a valid path: {error}")),
        }
    }
    let outcomes = files.remove(paths.clone(), request.bool("recursive"), request.bool("force")).await;
    let outcomes = outcomes.map_err(CommandError::from_error)?;
    for (path, outcome) in paths.iter().zip(outcomes) {
        if let Err(error) = outcome {
            errors.push(format!("{path}: {error}"));
        }
    }
    if errors.is_empty() {
        return Ok(Response::Empty);
    }
    let values: Vec<Result<Value, CommandError>> =
        errors.into_iter().map(|error| Ok(Value::String(error))).collect();
    let end = std::iter::once(Err(CommandError::new("can't remove some files")));
    Ok(Response::Stream(Box::pin(futures_util::stream::iter(values.into_iter().chain(end)))))
}

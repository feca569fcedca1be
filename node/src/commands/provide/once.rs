//! `provide once`.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use holdfast_dag::cid::{Cid, Multihash, identity_data};
use holdfast_dag::read::RefsOptions;
use serde_json::{Value, json};

use super::super::Context;
use super::super::cid_text::CidText;
use super::super::finding::cid_of;
use super::super::registry::{
    Arg, Call, Command, CommandError, Needs, Opt, Request, Response, Status, TextForm,
};
use crate::node::Node;

/// CIDs that are queued together.
const BATCH: usize = 256;

/// CIDs of one call that are known to be queued already: 1 million, about 150 MB where so many are asked for. Beyond, one
/// that comes twice is queued twice.
const SEEN_MAX: usize = 1 << 20;

pub(super) fn command() -> Command {
    Command::new("once", "Announce CIDs to the routing system on demand.")
        .help(
            "Queues CIDs to be announced as soon as possible, once: they are not added to what is announced again and again. \
             The blocks must be here. With -r everything below them is announced too, as far as it is here.",
        )
        .status(Status::Experimental)
        .arg(Arg::text("cid", "The CID(s) to announce.").required().variadic().stdin())
        .opt(Opt::bool("recursive r", "Recursively announce the entire DAG."))
        .needs(Needs::Config)
        .run(run)
        .text_with(|_| Count(0))
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = super::super::swarm::of_command(&context)?;
    let provider = super::enabled(&context).map_err(|error| {
        let is_off = error.to_string() == super::SWITCHED_OFF;
        if is_off { CommandError::new("cannot provide: Provide.Enabled is false") } else { error }
    })?;
    let provider = provider.clone();
    if swarm.connections().await.map_err(CommandError::from_error)?.is_empty() {
        return Err(CommandError::new("cannot provide: no connected peers"));
    }
    let (cids, node) = (CidText::of_call(&request)?, context.node().await?.clone());
    let (args, recursive) = (request.args().to_vec(), request.bool("recursive"));
    let mut seen: HashSet<Multihash> = HashSet::new();
    let found = stream::iter(args).then(move |text| below(node.clone(), text, recursive)).flatten().filter(
        move |found| {
            let hash = found.as_ref().ok().map(|cid| *cid.hash());
            let is_new = hash.is_none_or(|hash| seen.len() >= SEEN_MAX || seen.insert(hash));
            std::future::ready(is_new)
        },
    );
    let queued = found.ready_chunks(BATCH).then(move |batch| {
        let provider = provider.clone();
        async move {
            let mut failed = None;
            let taken = batch.into_iter().map_while(|found| found.map_err(|error| failed = Some(error)).ok());
            let taken: Vec<Cid> = taken.collect();
            let stored = taken.iter().filter(|cid| identity_data(cid).is_none());
            let hashes: Vec<Multihash> = stored.map(|cid| *cid.hash()).collect();
            if let Err(error) = provider.once(&hashes).await {
                return vec![Err(CommandError::from_error(error))];
            }
            let told = taken.iter().map(|cid| Ok(json!({ "Queued": cids.text(cid) })));
            told.chain(failed.map(Err)).collect()
        }
    });
    Ok(Response::Stream(queued.flat_map(stream::iter).boxed()))
}

/// A CID whose block is here, and those below it.
async fn below(node: Node, text: String, recursive: bool) -> BoxStream<'static, Result<Cid, CommandError>> {
    match root(&node, &text).await {
        Err(error) => stream::iter([Err(error)]).boxed(),
        Ok(root) if recursive => {
            let options = RefsOptions { recursive: true, unique: true, ..RefsOptions::default() };
            let edges = node.refs(vec![root], options);
            let below = edges.map(|edge| edge.map(|edge| edge.dst).map_err(CommandError::from_error));
            stream::iter([Ok(root)]).chain(below).boxed()
        }
        Ok(root) => stream::iter([Ok(root)]).boxed(),
    }
}

async fn root(node: &Node, text: &str) -> Result<Cid, CommandError> {
    let invalid = |error: CommandError| {
        CommandError::new(format!("invalid CID {}: {error}", super::super::registry::quote(text)))
    };
    let cid = cid_of(text).map_err(invalid)?;
    let (store, hash) = (node.store().clone(), *cid.hash());
    let has = node.pool().run(move || store.has(&hash)).await.map_err(CommandError::from_error)?;
    if has.map_err(CommandError::from_error)? || identity_data(&cid).is_some() {
        return Ok(cid);
    }
    Err(CommandError::new(format!("block {cid} not found locally, cannot provide")))
}

/// How many were queued, in one line at the end.
struct Count(u64);

impl TextForm for Count {
    fn value(&mut self, _: &Call, value: &Value, _: &mut Vec<u8>) -> Result<(), CommandError> {
        self.0 += u64::from(value.get("Queued").is_some());
        Ok(())
    }

    fn end(&mut self, _: &Call, out: &mut Vec<u8>) -> Result<(), CommandError> {
        out.extend_from_slice(format!("queued {} CID(s) for immediate provide\n", self.0).as_bytes());
        Ok(())
    }
}

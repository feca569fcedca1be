//! CARs of a path: the blocks that lead to its end, then what of the DAG there is asked for.

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use holdfast_dag::cid::{Cid, identity_data};
use holdfast_dag::read::{DagWalk, FileBlocks, NodeInfo, NodeKind, ShardBlocks};
use http::StatusCode;
use http::header::{ACCEPT_RANGES, HeaderValue};

use super::Answer;
use super::ask::Ask;
use super::body::{self, content};
use super::car_options::{CarOptions, Scope};
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::headers::{self, Disposition, without_content};
use super::target::Target;
use crate::services::dag::{Archive, ExportError};

/// Blocks in the order of the archive.
type Blocks = BoxStream<'static, Result<(Cid, Bytes), ExportError>>;

pub(super) async fn serve(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    let options = CarOptions::read(&ask.query, &ask.wanted)?;
    let root = target.roots.first().unwrap_or(&target.cid);
    let etag = format!("W/\"{root}.car.{}\"", options.digest(&target.path.to_string()));
    let validators = Validators { etag, modified: None };
    let mut answer = headers::of_content(ask, target, &validators);
    if conditional::held(&ask.headers, &[&validators.etag]).is_some() {
        return Ok(without_content(answer, StatusCode::NOT_MODIFIED));
    }
    let headers = answer.headers_mut();
    headers::set_opaque_type(headers, &options.media_type());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    headers::name_file(headers, Disposition::Attachment, &file_name(ask, root));
    // What is not there is told before the archive begins.
    let last = ask.fetch.get(&target.cid).await?;
    let blocks = on_the_way(ask, target).chain(at_the_end(ask, target.cid, last, options)).boxed();
    *answer.body_mut() = body::gathered(content(Archive::new(&[target.cid], blocks))).await?;
    Ok(answer)
}

fn file_name(ask: &Ask, root: &Cid) -> String {
    match (ask.query.filled("filename"), ask.last_segment()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(last)) => format!("{root}_{last}.car"),
        (None, None) => format!("{root}.car"),
    }
}

/// The blocks that the path was followed through. They were there a moment ago, and are read again one by one.
fn on_the_way(ask: &Ask, target: &Target) -> Blocks {
    let (fetch, end) = (ask.fetch.clone(), target.cid);
    let blocks: Vec<Cid> = target.blocks.iter().copied().filter(|cid| *cid != end).collect();
    stream::iter(blocks)
        .then(move |cid| {
            let fetch = fetch.clone();
            async move { Ok((cid, fetch.get(&cid).await?)) }
        })
        .boxed()
}

/// What is asked for of the DAG at the end of the path, whose first block is `last`.
fn at_the_end(ask: &Ask, cid: Cid, last: Bytes, options: CarOptions) -> Blocks {
    let (fetch, window) = (&ask.fetch, ask.window_bytes);
    let info = NodeInfo::of(&cid, &last).ok();
    match (options.scope, info.as_ref().map(|info| info.kind)) {
        (Scope::All, _) => {
            let walk = DagWalk::new([cid]);
            let walk = if options.duplicates { walk.with_duplicates() } else { walk };
            fetch.walk(walk, window).into_stream().boxed()
        }
        (Scope::Entity, Some(NodeKind::File)) => {
            let size = info.map_or(0, |info| info.filesize);
            let (offset, length) = options.bytes.map_or((0, size), |bytes| bytes.of(size));
            let walk = FileBlocks::new(cid, offset, Some(length));
            let walk = if options.duplicates { walk.with_duplicates() } else { walk };
            fetch.walk(walk, window).into_stream().boxed()
        }
        (Scope::Entity, Some(NodeKind::HamtShard)) => {
            let walk = ShardBlocks::new(cid);
            let walk = if options.duplicates { walk.with_duplicates() } else { walk };
            fetch.walk(walk, window).into_stream().boxed()
        }
        // Anything else is one block; what a CID carries itself is not stored.
        _ => stream::iter(identity_data(&cid).is_none().then_some(Ok((cid, last)))).boxed(),
    }
}

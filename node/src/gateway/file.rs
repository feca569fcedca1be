//! Files and symbolic links, whole or in part.

use bytes::Bytes;
use futures_util::StreamExt as _;
use holdfast_dag::cid::Cid;
use holdfast_dag::read::{FileReader, NodeInfo, NodeKind};
use holdfast_dag::walk::Walker as _;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RANGE};

use super::Answer;
use super::ask::Ask;
use super::block::{outside, whole};
use super::body::{self, Content, content};
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::headers::{self, Disposition, put};
use super::media_type;
use super::range::Part;
use super::target::Target;
use crate::http::ResponseBody;

/// Bytes at a file's beginning that its type is told by.
const SNIFF_BYTES: u64 = 512;

/// The root block of something, read.
pub(super) struct Opened {
    pub(super) cid: Cid,
    pub(super) block: Bytes,
    pub(super) info: NodeInfo,
}

/// Reads the root block of something.
pub(super) async fn open(ask: &Ask, cid: Cid) -> Result<Opened, Failure> {
    let block = ask.fetch.get(&cid).await?;
    let info = NodeInfo::of(&cid, &block)?;
    if let NodeKind::Other(code) = info.kind {
        return Err(Failure::not_acceptable(format!(
            "{cid} is no file or directory (codec {code:#x}): ask for the block with ?format=raw or for a CAR with ?format=car"
        )));
    }
    Ok(Opened { cid, block, info })
}

/// What a file is called.
#[derive(Debug, Clone, Default)]
pub(super) struct Naming {
    /// What its type is told by.
    name: Option<String>,
    /// What it is to be saved as, and whether it is to be saved at all, where the client says so.
    saved_as: Option<(String, Disposition)>,
}

impl Naming {
    /// As the URL says: `?filename=`, else the last segment.
    pub(super) fn of_path(ask: &Ask) -> Self {
        let disposition = if ask.is_download() { Disposition::Attachment } else { Disposition::Inline };
        match ask.query.filled("filename") {
            Some(name) => {
                Self { name: Some(name.to_owned()), saved_as: Some((name.to_owned(), disposition)) }
            }
            None => Self { name: ask.last_segment().map(str::to_owned), saved_as: None },
        }
    }

    /// The page of a directory.
    pub(super) fn index() -> Self {
        Self { name: Some("index.html".to_owned()), saved_as: None }
    }
}

/// Answers with a file. `target` is what it is known by: for the page of a directory, the directory.
pub(super) async fn serve(
    ask: &Ask,
    target: &Target,
    file: &Opened,
    naming: &Naming,
) -> Result<Answer, Failure> {
    let size = file.info.filesize;
    if ask.headers.contains_key(RANGE) && ask.settings.range_file_bytes_max.is_some_and(|max| size > max) {
        let words = "ranges of files of this size are not served (Gateway.MaxRangeRequestFileSize): ask for the blocks \
                     that you need with ?format=raw";
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, words));
    }
    let modified = conditional::modified(file.info.mtime);
    let validators = Validators { etag: format!("\"{}\"", target.cid), modified };
    let mut answer = headers::of_content(ask, target, &validators);
    if let Some((name, disposition)) = &naming.saved_as {
        headers::name_file(answer.headers_mut(), *disposition, name);
    }
    if let Some(target) = &file.info.target {
        put(answer.headers_mut(), CONTENT_TYPE, "inode/symlink");
        return whole(ask, answer, &Bytes::copy_from_slice(target), &validators);
    }
    if let Some(status) = conditional::outcome(&ask.headers, &validators) {
        return Ok(headers::without_content(answer, status));
    }
    let part = ask.part(size, &validators)?;
    *answer.status_mut() = part.describe(size, answer.headers_mut());
    if part == Part::Outside {
        return Ok(outside(answer));
    }
    let by_name = naming.name.as_deref().and_then(media_type::by_name);
    let (first, length) = part.bytes(size);
    // The type of what has no name is told by its beginning, which is read anyway if the part begins there.
    let (beginning, rest) = if ask.is_head || length == 0 {
        (Bytes::new(), futures_util::stream::empty().boxed())
    } else {
        body::begin(file.bytes(ask, first, length)).await?
    };
    let media_type = match by_name {
        Some(media_type) => media_type,
        None if first == 0 && !beginning.is_empty() => media_type::by_content(&beginning),
        None => file.sniff(ask).await,
    };
    put(answer.headers_mut(), CONTENT_TYPE, media_type);
    *answer.body_mut() = if ask.is_head {
        ResponseBody::Sized(length, futures_util::stream::empty().boxed())
    } else {
        body::sized(length, beginning, rest)
    };
    Ok(answer)
}

impl Opened {
    /// Its bytes from `offset` on.
    fn bytes(&self, ask: &Ask, offset: u64, length: u64) -> Content {
        let mut reader = FileReader::new(self.cid, offset, Some(length));
        // The root is at hand already.
        reader.wants(1, &mut Vec::new());
        reader.supply(&self.cid, self.block.clone());
        content(ask.fetch.walk(reader, ask.window_bytes))
    }

    /// Its type, as far as its beginning can be had.
    async fn sniff(&self, ask: &Ask) -> &'static str {
        let length = SNIFF_BYTES.min(self.info.filesize);
        match body::begin(self.bytes(ask, 0, length)).await {
            Ok((beginning, _)) => media_type::by_content(&beginning),
            Err(_) => media_type::UNKNOWN,
        }
    }
}

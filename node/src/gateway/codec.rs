//! Documents: blocks of JSON and CBOR, with links or without, as they are stored; and a page that shows them.

use bytes::Bytes;
use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::ipld;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, VARY};

use super::ask::Ask;
use super::block::whole;
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::format::Format;
use super::headers::{self, Disposition, put, without_content};
use super::target::Target;
use super::{Answer, page, redirect};

/// What the looks of pages are called.
const LOOKS: &str = "holdfast1";
/// Characters of a document that a page shows.
const SHOWN_MAX: usize = 256 << 10;

/// The format that a codec's blocks are in by themselves.
fn own_format(code: u64) -> Option<Format> {
    match code {
        codec::JSON => Some(Format::Json),
        codec::CBOR => Some(Format::Cbor),
        codec::DAG_JSON => Some(Format::DagJson),
        codec::DAG_CBOR => Some(Format::DagCbor),
        _ => None,
    }
}

/// The codec of a format.
fn code_of(format: Format) -> Option<u64> {
    match format {
        Format::Json => Some(codec::JSON),
        Format::Cbor => Some(codec::CBOR),
        Format::DagJson => Some(codec::DAG_JSON),
        Format::DagCbor => Some(codec::DAG_CBOR),
        _ => None,
    }
}

/// The tag of a block in a format, or as it comes by itself.
pub(super) fn etag(cid: &Cid, format: Option<Format>) -> String {
    match format.or_else(|| own_format(cid.codec())) {
        None => format!("\"{cid}\""),
        Some(Format::Tar) => format!("W/\"{cid}.x-tar\""),
        Some(format) => format!("\"{cid}.{}\"", format.name()),
    }
}

/// The tag of a page that shows a document.
pub(super) fn page_etag(cid: &Cid) -> String {
    format!("\"DagIndex-{LOOKS}_CID-{cid}\"")
}

pub(super) async fn serve(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    let code = target.cid.codec();
    let format = match (ask.format(), own_format(code)) {
        (None, Some(own)) => {
            let is_dag = matches!(own, Format::DagJson | Format::DagCbor);
            if is_dag && ask.reads_html() && !ask.is_download() {
                return shown(ask, target).await;
            }
            own
        }
        (Some(format), _) => format,
        (None, None) => return Err(Failure::not_acceptable("there is no document at this path")),
    };
    let block = ask.fetch.get(&target.cid).await?;
    let is_as_stored = match format {
        Format::Json => matches!(code, codec::JSON | codec::DAG_JSON),
        Format::Cbor => matches!(code, codec::CBOR | codec::DAG_CBOR),
        format => own_format(code) == Some(format),
    };
    let data = if is_as_stored { block } else { converted(ask, target.cid, block, format).await? };
    let validators = Validators { etag: etag(&target.cid, Some(format)), modified: None };
    let mut answer = headers::of_content(ask, target, &validators);
    let headers = answer.headers_mut();
    headers::set_opaque_type(headers, format.media_type());
    if ask.format().is_none() {
        headers.insert(VARY, HeaderValue::from_static("Accept"));
    }
    let (ending, disposition) = match format {
        Format::Json | Format::DagJson => ("json", Disposition::Inline),
        _ => ("cbor", Disposition::Attachment),
    };
    let disposition = if ask.is_download() { Disposition::Attachment } else { disposition };
    let name = ask.query.filled("filename").map_or_else(|| format!("{}.{ending}", target.cid), str::to_owned);
    headers::name_file(headers, disposition, &name);
    whole(ask, answer, &data, &validators)
}

/// A document in another codec than it is stored in, where the config allows that.
async fn converted(ask: &Ask, cid: Cid, block: Bytes, format: Format) -> Result<Bytes, Failure> {
    let code = code_of(format).filter(|_| ask.settings.converts);
    let Some(code) = code else {
        let stored =
            ipld::codec_name(cid.codec()).map_or_else(|| format!("{:#x}", cid.codec()), str::to_owned);
        return Err(Failure::not_acceptable(format!(
            "format {:?} requested but block has codec {stored:?}: codec conversion is not enabled on this gateway; \
             ask for ?format=raw and convert at your end",
            format.name()
        )));
    };
    let convert = move || {
        let value = ipld::decode(cid.codec(), &block)?;
        Ok::<_, Failure>(Bytes::from(ipld::encode(code, &value)?))
    };
    ask.node.pool().run(convert).await?
}

/// A page that shows a document to people.
async fn shown(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    if !ask.url_path.ends_with('/') {
        return Ok(redirect::to(StatusCode::MOVED_PERMANENTLY, &ask.with_slash()));
    }
    let validators = Validators { etag: page_etag(&target.cid), modified: None };
    let mut answer = headers::of_content(ask, target, &validators);
    let headers = answer.headers_mut();
    // Its looks may change, as those of listings.
    headers::set_listing_cache(headers, ask.is_mutable(), target.ttl);
    put(headers, CONTENT_TYPE, "text/html");
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    page::protect(headers);
    if let Some(status) = conditional::outcome(&ask.headers, &validators) {
        return Ok(without_content(answer, status));
    }
    let (cid, block) = (target.cid, ask.fetch.get(&target.cid).await?);
    let text = ask.node.pool().run(move || preview(&cid, &block)).await?;
    let title = ask.path.to_string();
    let name = ipld::codec_name(cid.codec()).unwrap_or_default();
    *answer.body_mut() = format!(
        "{}<h1>{}</h1>\n<p>CID <a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{cid}\">{cid}</a>, codec {} ({:#x}). \
         <a href=\"?format=raw\">Raw block</a>, <a href=\"?download=true\">document</a>.</p>\n<pre>{}</pre>\n{}",
        page::begin(&title),
        page::escape(&title),
        page::escape(name),
        cid.codec(),
        page::escape_text(&text),
        page::END
    )
    .into();
    Ok(answer)
}

/// A document as dag-json, as far as a page shows it.
fn preview(cid: &Cid, block: &[u8]) -> String {
    let encoded = ipld::decode(cid.codec(), block)
        .map_err(|error| error.to_string())
        .and_then(|value| ipld::encode(codec::DAG_JSON, &value).map_err(|error| error.to_string()));
    let text = match encoded {
        Ok(json) => serde_json::from_slice(&json)
            .and_then(|value: serde_json::Value| serde_json::to_string_pretty(&value))
            .unwrap_or_else(|_| String::from_utf8_lossy(&json).into_owned()),
        Err(words) => format!("The document cannot be shown: {words}"),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}\n(cut here)", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

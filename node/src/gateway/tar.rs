//! A file or directory as a tar stream: `?format=tar`.

use holdfast_dag::read::{TarOptions, TarReader};

use super::Answer;
use super::ask::Ask;
use super::body::{self, content};
use super::codec::etag;
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::file;
use super::format::Format;
use super::headers::{self, Disposition, without_content};
use super::target::Target;

pub(super) async fn serve(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    let info = file::open(ask, target.cid).await?.info;
    let modified = conditional::modified(info.mtime);
    let validators = Validators { etag: etag(&target.cid, Some(Format::Tar)), modified };
    let mut answer = headers::of_content(ask, target, &validators);
    let headers = answer.headers_mut();
    headers::set_opaque_type(headers, Format::Tar.media_type());
    let name = ask.query.filled("filename").map_or_else(|| format!("{}.tar", target.cid), str::to_owned);
    headers::name_file(headers, Disposition::Attachment, &name);
    if let Some(status) = conditional::outcome(&ask.headers, &validators) {
        return Ok(without_content(answer, status));
    }
    // Entries without a time get 1970, so that the same DAG is the same archive.
    let reader = TarReader::new(target.cid, target.cid.to_string(), TarOptions::default());
    *answer.body_mut() = body::gathered(content(ask.fetch.walk(reader, ask.window_bytes))).await?;
    Ok(answer)
}

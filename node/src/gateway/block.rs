//! A block as it is: `?format=raw`.

use bytes::Bytes;
use http::StatusCode;

use super::Answer;
use super::ask::Ask;
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::format::Format;
use super::headers::{self, Disposition};
use super::range::Part;
use super::target::Target;
use crate::http::ResponseBody;

pub(super) async fn serve(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    let block = ask.fetch.get(&target.cid).await?;
    let validators = Validators { etag: format!("\"{}.raw\"", target.cid), modified: None };
    let mut answer = headers::of_content(ask, target, &validators);
    let headers = answer.headers_mut();
    headers::set_opaque_type(headers, Format::Raw.media_type());
    let name = ask.query.filled("filename").map_or_else(|| format!("{}.bin", target.cid), str::to_owned);
    headers::name_file(headers, Disposition::Attachment, &name);
    whole(ask, answer, &block, &validators)
}

/// Ends an answer whose content is at hand: conditions, ranges, body.
pub(super) fn whole(
    ask: &Ask,
    mut answer: Answer,
    data: &Bytes,
    validators: &Validators,
) -> Result<Answer, Failure> {
    if let Some(status) = conditional::outcome(&ask.headers, validators) {
        return Ok(headers::without_content(answer, status));
    }
    let size = data.len() as u64;
    let part = ask.part(size, validators)?;
    *answer.status_mut() = part.describe(size, answer.headers_mut());
    *answer.body_mut() = match part {
        Part::Outside => return Ok(outside(answer)),
        part => {
            let (first, length) = part.bytes(size);
            // Both lie in the data.
            ResponseBody::Full(data.slice(first as usize..(first + length) as usize))
        }
    };
    Ok(answer)
}

/// Ends an answer to a range of nothing.
pub(super) fn outside(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.remove(http::header::CACHE_CONTROL);
    headers.remove(http::header::CONTENT_DISPOSITION);
    headers::put(headers, http::header::CONTENT_TYPE, "text/plain; charset=utf-8");
    *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    *answer.body_mut() = "the range lies outside of the content\n".into();
    answer
}

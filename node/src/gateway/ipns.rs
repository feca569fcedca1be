//! Signed records of names: `?format=ipns-record`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use data_encoding::BASE32_DNSSEC;
use holdfast_dag::hash::HashKind;
use holdfast_dag::path::PathRoot;
use holdfast_dht::ipns::{self, Name, Record, Timestamp};
use http::header::CACHE_CONTROL;
use http::{Response, StatusCode};

use super::Answer;
use super::ask::Ask;
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::format::Format;
use super::headers::{self, Disposition, put, without_content};
use crate::http::ResponseBody;
use crate::services::names::Wanted;

pub(super) async fn serve(ask: &Ask) -> Result<Answer, Failure> {
    let PathRoot::Ipns(text) = ask.path.root() else {
        return Err(Failure::bad_request(format!("{} is not an IPNS link", ask.path)));
    };
    if !ask.path.segments().is_empty() {
        return Err(Failure::bad_request(
            "cannot find ipns key for subpath: a record belongs to a name alone",
        ));
    }
    let name: Name = text.parse().map_err(|_| {
        Failure::bad_request(format!("{text:?} is no key's name, and only those have records"))
    })?;
    let record = ask.node.names().find(name, Wanted::Fresh).await;
    let record = record.map_err(|error| Failure::new(StatusCode::NOT_FOUND, error.to_string()))?;
    let digest = HashKind::Sha2_256.digest(&[record.as_bytes()]);
    let etag = format!("\"{}\"", BASE32_DNSSEC.encode(digest.digest().get(..16).unwrap_or_default()));
    let validators = Validators { etag, modified: None };
    let mut answer = Response::new(ResponseBody::Empty);
    let headers = answer.headers_mut();
    headers::set_validators(headers, &validators);
    put(headers, CACHE_CONTROL, format!("public, max-age={}", lasts(&record).as_secs()));
    if let Some(status) = conditional::outcome(&ask.headers, &validators) {
        return Ok(without_content(answer, status));
    }
    headers::set_opaque_type(headers, Format::IpnsRecord.media_type());
    let file = ask.query.filled("filename").map_or_else(|| format!("{text}.ipns-record"), str::to_owned);
    headers::name_file(headers, Disposition::Attachment, &file);
    *answer.body_mut() = ResponseBody::Full(Bytes::copy_from_slice(record.as_bytes()));
    Ok(answer)
}

/// How long a record may be kept: as long as it says, and never longer than it is valid.
fn lasts(record: &Record) -> Duration {
    let ttl = record.ttl_nanos().ok().flatten().map_or(ipns::TTL_DEFAULT, Duration::from_nanos);
    let now = Timestamp::from(SystemTime::now());
    record.end_of_life().map_or(Duration::ZERO, |end| ttl.min(end.since(now)))
}

//! Headers of answers.

use std::time::Duration;

use holdfast_dag::cid::Cid;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::conditional::Validators;
use super::url;
use super::{Answer, ask::Ask, target::Target};
use crate::http::ResponseBody;

/// What never changes: 48 weeks, as Kubo's gateway says.
const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// A generated listing: its content never changes, its looks may. A week, and a month while a new one is made.
const LISTING: &str = "public, max-age=604800, stale-while-revalidate=2678400";

const X_IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");
pub(super) const X_IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");

/// Sets a header, unless the value cannot stand in one.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        headers.insert(name, value);
    }
}

/// How a file is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    Inline,
    Attachment,
}

/// Names a file: in ASCII for old clients, and as it is.
pub(super) fn name_file(headers: &mut HeaderMap, disposition: Disposition, name: &str) {
    let word = match disposition {
        Disposition::Inline => "inline",
        Disposition::Attachment => "attachment",
    };
    let ascii: String = name.chars().map(|char| if char.is_ascii() { char } else { '_' }).collect();
    let (ascii, whole) = (url::segment(ascii.as_bytes()), url::segment(name.as_bytes()));
    put(headers, CONTENT_DISPOSITION, format!("{word}; filename=\"{ascii}\"; filename*=UTF-8''{whole}"));
}

/// How long content may be kept: for ever, or as long as the name says.
pub(super) fn set_cache(headers: &mut HeaderMap, is_mutable: bool, ttl: Option<Duration>) {
    match (is_mutable, ttl) {
        (false, _) => put(headers, CACHE_CONTROL, IMMUTABLE),
        (true, Some(ttl)) => put(headers, CACHE_CONTROL, format!("public, max-age={}", ttl.as_secs())),
        (true, None) => {}
    }
}

/// The same for a listing.
pub(super) fn set_listing_cache(headers: &mut HeaderMap, is_mutable: bool, ttl: Option<Duration>) {
    match (is_mutable, ttl) {
        (false, _) => put(headers, CACHE_CONTROL, LISTING),
        (true, Some(ttl)) => {
            let seconds = ttl.as_secs();
            put(headers, CACHE_CONTROL, format!("public, max-age={seconds}, stale-while-revalidate=2678400"));
        }
        (true, None) => {}
    }
}

/// What tells this version from others.
pub(super) fn set_validators(headers: &mut HeaderMap, validators: &Validators) {
    put(headers, ETAG, &validators.etag);
    if let Some(modified) = validators.modified {
        put(headers, LAST_MODIFIED, httpdate::fmt_http_date(modified));
    }
}

/// The type of content, which no browser is to guess again.
pub(super) fn set_opaque_type(headers: &mut HeaderMap, media_type: &str) {
    put(headers, CONTENT_TYPE, media_type);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The nodes that the path leads through.
pub(super) fn set_roots(headers: &mut HeaderMap, roots: &[Cid]) {
    let roots: Vec<String> = roots.iter().map(Cid::to_string).collect();
    put(headers, X_IPFS_ROOTS, roots.join(","));
}

/// An answer with what every answer with this content has: 200 so far, without a body.
pub(super) fn of_content(ask: &Ask, target: &Target, validators: &Validators) -> Answer {
    let mut answer = Response::new(ResponseBody::Empty);
    let headers = answer.headers_mut();
    set_roots(headers, &target.roots);
    set_validators(headers, validators);
    set_cache(headers, ask.is_mutable(), target.ttl);
    answer
}

/// An answer that ends a conditional request: with what tells the version and how long it may be kept, and nothing else.
pub(super) fn without_content(mut answer: Answer, status: StatusCode) -> Answer {
    *answer.status_mut() = status;
    *answer.body_mut() = ResponseBody::Empty;
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
    if status == StatusCode::PRECONDITION_FAILED {
        headers.remove(CACHE_CONTROL);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> String {
        let mut headers = HeaderMap::new();
        name_file(&mut headers, Disposition::Attachment, name);
        headers.get(CONTENT_DISPOSITION).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn no_name_of_a_file_breaks_out_of_its_header() {
        assert_eq!(named("a.bin"), "attachment; filename=\"a.bin\"; filename*=UTF-8''a.bin");
        assert_eq!(
            named("ą\".tar\r\nX: y"),
            "attachment; filename=\"_%22.tar%0D%0AX:%20y\"; filename*=UTF-8''%C4%85%22.tar%0D%0AX:%20y"
        );
    }
}

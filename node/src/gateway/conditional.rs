//! Conditional requests: does the client have it already (RFC 9110 section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_dag::unixfs::Mtime;
use http::StatusCode;
use http::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

/// The first second that a date in a header cannot tell: the year 10000.
const DATE_END: u64 = 253_402_300_800;

/// What tells one version of some content from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Validators {
    /// With its quotes, and `W/` where it is weak.
    pub(super) etag: String,
    pub(super) modified: Option<SystemTime>,
}

/// When something was modified, if a header can say it; whole seconds.
pub(super) fn modified(mtime: Option<Mtime>) -> Option<SystemTime> {
    let seconds = u64::try_from(mtime?.seconds).ok().filter(|seconds| (1..DATE_END).contains(seconds))?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?).ok()
}

/// The tags of a list. `*` is a tag of its own; what is no tag ends the list.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            return Some("*");
        }
        let start = if rest.starts_with("W/") { 2 } else { 0 };
        let opened = rest.get(start..)?.strip_prefix('"')?;
        let end = start + 1 + opened.find('"')? + 1;
        let (tag, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(tag)
    })
}

fn strong(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// Which of these tags the client says that it has (`If-None-Match`, compared weakly).
pub(super) fn held<'t>(headers: &HeaderMap, candidates: &[&'t str]) -> Option<&'t str> {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let held: Vec<&str> = lists.flat_map(tags).collect();
    let is_held = |tag: &str| held.iter().any(|given| *given == "*" || strong(given) == strong(tag));
    candidates.iter().copied().find(|tag| is_held(tag))
}

/// Whether the client has any version that there may be (`If-None-Match: *`).
pub(super) fn holds_any(headers: &HeaderMap) -> bool {
    held(headers, &["\"\""]).is_some()
}

/// The status that ends a request before its content is sent: 304 or 412.
pub(super) fn outcome(headers: &HeaderMap, validators: &Validators) -> Option<StatusCode> {
    let Validators { etag, modified } = validators;
    let precondition = match text(headers, &IF_MATCH) {
        Some(list) => {
            tags(list).any(|tag| tag == "*" || (tag == etag && !etag.starts_with("W/") && !etag.is_empty()))
        }
        None => match (date(headers, &IF_UNMODIFIED_SINCE), modified) {
            (Some(since), Some(modified)) => *modified <= since,
            _ => true,
        },
    };
    if !precondition {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let is_held = if headers.contains_key(IF_NONE_MATCH) {
        held(headers, &[etag]).is_some()
    } else {
        matches!((date(headers, &IF_MODIFIED_SINCE), modified), (Some(since), Some(modified)) if *modified <= since)
    };
    is_held.then_some(StatusCode::NOT_MODIFIED)
}

/// Whether a `Range` still holds (`If-Range`): the client's copy is of this version.
pub(super) fn range_holds(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(given) = text(headers, &IF_RANGE).map(str::trim) else { return true };
    match tags(given).next() {
        Some(tag) => tag == validators.etag && !tag.starts_with("W/"),
        None => validators.modified.is_some() && date(headers, &IF_RANGE) == validators.modified,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn version() -> Validators {
        let modified = modified(Some(Mtime { seconds: 784_111_777, nanos: None }));
        Validators { etag: "\"cid\"".to_owned(), modified }
    }

    #[test]
    fn a_copy_is_known_by_any_tag_of_the_list() {
        let is_held = |list| held(&headers(&[(IF_NONE_MATCH, list)]), &["\"cid\""]).is_some();
        assert!(
            is_held("\"cid\"") && is_held("W/\"cid\"") && is_held("\"a\", \"b,c\", \"cid\"") && is_held("*")
        );
        assert!(
            !is_held("\"other\"") && !is_held("cid") && !is_held("") && !is_held("\"cid") && !is_held("W/")
        );
        assert!(held(&headers(&[(IF_NONE_MATCH, "\"x\"")]), &["W/\"x\""]).is_some());
        assert_eq!(held(&HeaderMap::new(), &["\"cid\""]), None);
    }

    #[test]
    fn the_first_condition_that_says_something_counts() {
        let outcome = |pairs: &[(HeaderName, &'static str)]| outcome(&headers(pairs), &version());
        let (now, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
        assert_eq!(outcome(&[]), None);
        assert_eq!(outcome(&[(IF_NONE_MATCH, "\"cid\"")]), Some(StatusCode::NOT_MODIFIED));
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, now)]), Some(StatusCode::NOT_MODIFIED));
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, before)]), None);
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, now), (IF_NONE_MATCH, "\"x\"")]), None);
        assert_eq!(outcome(&[(IF_MATCH, "\"x\"")]), Some(StatusCode::PRECONDITION_FAILED));
        assert_eq!(outcome(&[(IF_MATCH, "\"x\", \"cid\"")]), None);
        assert_eq!(outcome(&[(IF_MATCH, "W/\"cid\"")]), Some(StatusCode::PRECONDITION_FAILED));
        assert_eq!(outcome(&[(IF_UNMODIFIED_SINCE, before)]), Some(StatusCode::PRECONDITION_FAILED));
        assert_eq!(outcome(&[(IF_UNMODIFIED_SINCE, now)]), None);
        assert_eq!(outcome(&[(IF_MODIFIED_SINCE, "yesterday")]), None);
    }

    #[test]
    fn a_range_of_another_version_is_not_given() {
        let holds = |value| range_holds(&headers(&[(IF_RANGE, value)]), &version());
        assert!(holds("\"cid\"") && holds("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!holds("\"x\"") && !holds("W/\"cid\"") && !holds("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(range_holds(&HeaderMap::new(), &version()));
    }

    #[test]
    fn times_that_no_header_can_tell_are_left_out() {
        let modified = |seconds| modified(Some(Mtime { seconds, nanos: None }));
        assert!(
            [i64::MIN, -1, 0, 253_402_300_800, i64::MAX]
                .into_iter()
                .all(|seconds| modified(seconds).is_none())
        );
        assert!(modified(253_402_300_799).is_some_and(|time| httpdate::fmt_http_date(time).contains("9999")));
    }
}

//! Requests that are answered before a path is followed: what stands elsewhere, and what no page may have.

use holdfast_dht::ipns::Name;
use http::header::{HeaderMap, LOCATION};
use http::{Response, StatusCode};

use super::Answer;
use super::failure::Failure;
use super::headers::put;
use super::url::{self, Query};
use crate::http::ResponseBody;

/// The answer to a request whose content stands elsewhere, or is not to be had so.
pub(super) fn instead(path: &str, query: &Query, headers: &HeaderMap) -> Result<Option<Answer>, Failure> {
    if let Some(uri) = query.filled("uri") {
        return Ok(Some(to(StatusCode::MOVED_PERMANENTLY, &of_uri(uri)?)));
    }
    let mut segments = path.split('/').skip(1);
    let (namespace, root, rest) = (segments.next(), segments.next().unwrap_or_default(), segments.next());
    let is_script = headers.get("service-worker").is_some_and(|value| value == "script");
    if is_script && !root.is_empty() && rest.is_none() {
        return Err(Failure::bad_request(
            "navigator.serviceWorker: registration is not allowed for this scope",
        ));
    }
    if let Some(intended) = superfluous(path) {
        return Ok(Some(to(StatusCode::MOVED_PERMANENTLY, &with_query(intended, query))));
    }
    if namespace == Some("ipns")
        && let Some(name) = canonical(root)
    {
        let below = path.split('/').skip(3).fold(String::new(), |below, segment| below + "/" + segment);
        let location = with_query(&format!("/ipns/{name}{below}"), query);
        return Ok(Some(to(StatusCode::FOUND, &location)));
    }
    Ok(None)
}

/// A redirect within this gateway: `location` begins with a namespace.
pub(super) fn to(status: StatusCode, location: &str) -> Answer {
    let mut answer = Response::new(ResponseBody::Empty);
    *answer.status_mut() = status;
    put(answer.headers_mut(), LOCATION, location);
    answer
}

fn with_query(path: &str, query: &Query) -> String {
    let path = url::path(path);
    if query.raw().is_empty() { path } else { format!("{path}?{}", query.raw()) }
}

/// Where `?uri=ipfs://..` leads.
fn of_uri(uri: &str) -> Result<String, Failure> {
    let wrong =
        || Failure::bad_request("invalid uri query parameter: it must be an ipfs:// or ipns:// address");
    let (scheme, rest) = uri.split_once("://").ok_or_else(wrong)?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "ipfs" | "ipns") || rest.trim_matches('/').is_empty() {
        return Err(wrong());
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = url::decode(path.trim_start_matches('/')).ok_or_else(wrong)?;
    Ok(with_query(&format!("/{scheme}/{path}"), &Query::new(query)))
}

/// The path that is meant where a namespace stands before a whole path.
fn superfluous(path: &str) -> Option<&str> {
    let intended = path.strip_prefix("/ipfs")?;
    (intended.starts_with("/ipfs/") || intended.starts_with("/ipns/")).then_some(intended)
}

/// A key's name as it is to be written, where it is written otherwise.
fn canonical(text: &str) -> Option<String> {
    let name = text.parse::<Name>().ok()?.to_string();
    (name != text).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(path: &str, query: &str) -> Option<(u16, String)> {
        let answer = instead(path, &Query::new(query), &HeaderMap::new()).unwrap()?;
        let location = answer.headers().get(LOCATION).unwrap().to_str().unwrap().to_owned();
        Some((answer.status().as_u16(), location))
    }

    #[test]
    fn addresses_of_the_old_kinds_lead_to_the_new() {
        let to = |status, location: &str| Some((status, location.to_owned()));
        assert_eq!(location("/ipfs/ipfs/bafkqaaa/a b", "x=1"), to(301, "/ipfs/bafkqaaa/a%20b?x=1"));
        assert_eq!(location("/ipfs/ipns/example.com", ""), to(301, "/ipns/example.com"));
        assert_eq!(
            location("/ipfs/", "uri=ipfs%3A%2F%2Fbafkqaaa%2Fx%2520y%3Fz%3D1"),
            to(301, "/ipfs/bafkqaaa/x%20y?z=1")
        );
        let key = "12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d";
        let name = key.parse::<Name>().unwrap().to_string();
        assert_eq!(location(&format!("/ipns/{key}/a/"), ""), to(302, &format!("/ipns/{name}/a/")));
        assert_eq!(location(&format!("/ipns/{name}/a"), ""), None);
        assert_eq!(location("/ipns/example.com/a", ""), None);
    }

    #[test]
    fn no_redirect_leaves_this_host() {
        for uri in
            ["https://evil.example", "ipfs:", "ipfs://", "javascript://x", "//evil.example", "ipfs:////"]
        {
            let query = Query::new(&Query::default().with(&[("uri".to_owned(), uri.to_owned())]));
            assert!(instead("/ipfs/", &query, &HeaderMap::new()).is_err(), "{uri}");
        }
        let (_, to) = location("/ipfs/", "uri=ipfs%3A%2F%2F%2F%2Fevil.example").unwrap();
        assert!(to.starts_with("/ipfs/"), "{to}");
        let (_, to) = location("/ipfs/ipfs//evil.example\r\nX: y", "").unwrap();
        assert_eq!(to, "/ipfs//evil.example%0D%0AX:%20y");
    }

    #[test]
    fn no_page_takes_the_whole_namespace_for_its_own() {
        let mut headers = HeaderMap::new();
        headers.insert("service-worker", "script".parse().unwrap());
        assert!(instead("/ipfs/bafkqaaa", &Query::default(), &headers).is_err());
        assert!(instead("/ipfs/bafkqaaa/sw.js", &Query::default(), &headers).unwrap().is_none());
    }
}

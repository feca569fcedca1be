//! Pages of the API's port that are no commands: `/version` and `/webui`.

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};

use super::path::Segments;
use super::reply::text;
use crate::http::ResponseBody;
use crate::identify::AGENT_VERSION;

/// What is said where Kubo leads to its web UI.
const NO_WEB_UI: &str = "There is no web UI in this version of holdfast.\n\nOne that runs elsewhere can use this API: allow its \
                         origin with\n\n  holdfast config --json API.HTTPHeaders.Access-Control-Allow-Origin \
                         '[\"https://its.origin\"]'\n\nand restart the daemon.";

/// The page at a path, if there is one. `given` is the path as it stands in the URI.
pub(super) fn find(
    path: &Segments,
    given: &str,
    method: &Method,
    version: &str,
) -> Option<Response<ResponseBody>> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if path.are(&["version"]) {
        let commit = concat!("holdfast-", env!("CARGO_PKG_VERSION"));
        return Some(text(
            StatusCode::OK,
            format!("Commit: {commit}\nClient Version: {AGENT_VERSION} (kubo/{version})"),
        ));
    }
    if !path.are(&["webui"]) || !is_read {
        return None;
    }
    if given.ends_with('/') {
        return Some(text(StatusCode::SERVICE_UNAVAILABLE, NO_WEB_UI));
    }
    let mut response = Response::new("<a href=\"/webui/\">Temporary Redirect</a>.\n".into());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/webui/"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Some(response)
}

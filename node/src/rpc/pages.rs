//! Pages of the API's port that are no commands: `/version` and `/webui`.

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};

use super::path::Segments;
use super::reply::{empty, not_found, text};
use crate::http::ResponseBody;
use crate::identify::version_page;

/// What is said where Kubo leads to its web UI.
const NO_WEB_UI: &str = "There is no web UI in the repo. `dag import` of the CAR of a release of ipfs-webui brings one.\n\nOne that \
                         runs elsewhere can use this API: allow its origin with\n\n  holdfast config --json API.HTTPHeaders.Access-Control-Allow-Origin \
                         '[\"https://its.origin\"]'\n\nand restart the daemon.";

/// The page at a path, if there is one. `given` is the path as it stands in the URI.
pub(super) fn find(
    path: &Segments,
    given: &str,
    method: &Method,
    version: &str,
) -> Option<Response<ResponseBody>> {
    if path.are(&["version"]) {
        return Some(text(StatusCode::OK, version_page(version)));
    }
    path.are(&["webui"]).then(|| web_ui(given, method, None))
}

/// What is at `/webui`: the way to a web UI that is `stored` here, by its CID.
pub(crate) fn web_ui(given: &str, method: &Method, stored: Option<&str>) -> Response<ResponseBody> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return not_found();
    }
    if given.ends_with('/') {
        let Some(cid) = stored else { return text(StatusCode::SERVICE_UNAVAILABLE, NO_WEB_UI) };
        let mut response = empty(StatusCode::FOUND);
        if let Ok(to) = HeaderValue::from_str(&format!("/ipfs/{cid}/")) {
            response.headers_mut().insert(LOCATION, to);
        }
        return response;
    }
    let mut response = Response::new("<a href=\"/webui/\">Temporary Redirect</a>.\n".into());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/webui/"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

//! The HTTP paths beside the commands: metrics and health.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

use super::{health, text};
use crate::commands::Context;
use crate::http::ResponseBody;

/// How long a check may take before it is answered for it.
const CHECK_MAX: Duration = Duration::from_secs(10);

/// An answer on its way.
type Answer = BoxFuture<'static, Response<ResponseBody>>;

/// One path. It is read with GET or HEAD, takes no options, and its answer is never kept by a cache.
#[derive(Clone, Copy)]
pub struct Route {
    /// The whole path.
    pub path: &'static str,
    /// Whether it answers without credentials, also where the API asks for them: probes have none.
    pub without_credentials: bool,
    answer: fn(Context) -> Answer,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("path", &self.path).finish_non_exhaustive()
    }
}

/// All of them.
pub const ROUTES: [Route; 4] = [
    Route {
        path: "/debug/metrics/prometheus",
        without_credentials: false,
        answer: |context| Box::pin(metrics(context)),
    },
    Route { path: "/healthz", without_credentials: true, answer: |context| Box::pin(healthz(context)) },
    Route { path: "/readyz", without_credentials: true, answer: |context| Box::pin(readyz(context)) },
    Route {
        path: "/api/v1/ipfs/health",
        without_credentials: true,
        answer: |context| Box::pin(report(context)),
    },
];

impl Route {
    /// The route of this path, if there is one. A slash at the end makes no difference.
    pub fn find(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        ROUTES.into_iter().find(|route| route.path == path)
    }

    /// Answers a request for it.
    pub async fn answer(self, context: Context, method: &Method) -> Response<ResponseBody> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "405 - Method Not Allowed\n".to_owned());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match tokio::time::timeout(CHECK_MAX, (self.answer)(context)).await {
            Ok(answer) => answer,
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "the node does not answer in time\n".to_owned()),
        }
    }
}

async fn metrics(context: Context) -> Response<ResponseBody> {
    match super::scrape(&context).await {
        Some(metrics) => response(StatusCode::OK, text::CONTENT_TYPE, metrics),
        None => plain(StatusCode::NOT_FOUND, "this process keeps no metrics\n".to_owned()),
    }
}

/// Whether the process is well: a reason to start it again where it is not. A daemon that stops is well.
async fn healthz(context: Context) -> Response<ResponseBody> {
    match health::check(&context).await {
        Ok(()) | Err(health::Unwell::Stopping) => plain(StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

/// Whether it should be sent requests.
async fn readyz(context: Context) -> Response<ResponseBody> {
    let unavailable = |reason: String| plain(StatusCode::SERVICE_UNAVAILABLE, reason);
    match health::check(&context).await {
        Err(reason) => unavailable(format!("{reason}\n")),
        Ok(()) if context.runtime().is_some_and(|runtime| !runtime.is_ready()) => {
            unavailable("the daemon is starting: not all of its listeners are up\n".to_owned())
        }
        Ok(()) => plain(StatusCode::OK, "ok\n".to_owned()),
    }
}

async fn report(context: Context) -> Response<ResponseBody> {
    let (healthy, report) = health::report(&context).await;
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, "application/json", format!("{report}\n"))
}

fn plain(status: StatusCode, text: String) -> Response<ResponseBody> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Full(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;

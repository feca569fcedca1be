//! The door: who may come in, and where to.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SERVER, USER_AGENT};
use http::{Method, Request, Response, StatusCode};

use super::auth::{Caller, DENIED};
use super::call::{Refusal, find};
use super::cors::is_preflight;
use super::multipart::too_large;
use super::path::Segments;
use super::rate::{RateLimit, address};
use super::reply::{empty, error, not_found, text};
use super::routes::{Access, Routes};
use super::watch::{Unwatched, Watch};
use super::{Settings, host, pages, run};
use crate::commands::registry::{CommandError, Encoding, Registry};
use crate::commands::{CALL_HEADER, Context};
use crate::http::{Body, Handler, Peer, ResponseBody};
use crate::identify::AGENT_VERSION;
use crate::pool::on_behalf_of;

/// The command that is also at `/logs`.
const LOGS: [&str; 2] = ["log", "tail"];

type Answer = Response<ResponseBody>;

/// Answers the requests of the API's port. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    registry: Arc<Registry>,
    settings: Settings,
    routes: Routes,
    watch: Arc<dyn Watch>,
    server: HeaderValue,
    per_address: Option<RateLimit<std::net::IpAddr>>,
    per_credential: Option<RateLimit<usize>>,
}

impl Door {
    /// A door to the commands of a registry, which run in `context`.
    pub fn new(context: Context, registry: Arc<Registry>, settings: Settings) -> Self {
        Self::with_routes(context, registry, settings, Routes::new(), Arc::new(Unwatched))
    }

    /// The same, with routes beside the commands, and somebody who is told what runs.
    pub fn with_routes(
        context: Context,
        registry: Arc<Registry>,
        settings: Settings,
        routes: Routes,
        watch: Arc<dyn Watch>,
    ) -> Self {
        // What this is, and whose interface it speaks.
        let server = format!("{AGENT_VERSION} (kubo/{})", settings.version);
        let server = HeaderValue::from_str(&server).unwrap_or(HeaderValue::from_static(AGENT_VERSION));
        let per_address = settings.per_address.map(RateLimit::new);
        let per_credential = settings.per_credential.map(RateLimit::new);
        let inner = Inner { context, registry, settings, routes, watch, server, per_address, per_credential };
        Self { inner: Arc::new(inner) }
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("routes", &self.inner.routes).finish_non_exhaustive()
    }
}

impl Handler for Door {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Answer> {
        let inner = Arc::clone(&self.inner);
        async move {
            let mut answer = inner.answer(request).await;
            answer.headers_mut().entry(SERVER).or_insert_with(|| inner.server.clone());
            answer
        }
        .boxed()
    }
}

impl Inner {
    /// The checks, in Kubo's order; the host and the limits are ours.
    async fn answer(&self, request: Request<Body>) -> Answer {
        let path = Segments::of_uri(request.uri().path());
        if let Some(mismatch) = self.version_mismatch(&request, &path) {
            return text(StatusCode::BAD_REQUEST, mismatch);
        }
        let route = self.routes.find(&path).map(|(access, handler)| (access, Arc::clone(handler)));
        if let Some((Access::Open, handler)) = &route {
            return handler.handle(request).await;
        }
        if let Err(refused) = host::check(&request, &self.settings.allowed_hosts) {
            tracing::warn!(target: "holdfast::rpc", "refused: {refused}");
            return text(StatusCode::FORBIDDEN, refused);
        }
        if let Some(refusal) = self.refuse_address(&request) {
            return refusal;
        }
        // A browser asks without credentials what it may send with them, and learns nothing else.
        let is_preflight = path.below_api().is_some() && is_preflight(&request);
        if !is_preflight && let Some(refusal) = self.refuse_caller(&request, &path) {
            return refusal;
        }
        match (route, path.below_api()) {
            (Some((_, handler)), _) => {
                if !matches!(*request.method(), Method::GET | Method::HEAD)
                    && !self.settings.cors.admits(&request)
                {
                    return text(StatusCode::FORBIDDEN, "403 - Forbidden");
                }
                handler.handle(request).await
            }
            (None, Some(segments)) => self.answer_command(request, segments).await,
            (None, None) => self.answer_page(request, &path).await,
        }
    }

    /// A Go client of another version speaks to us only to ask for ours.
    fn version_mismatch(&self, request: &Request<Body>, path: &Segments) -> Option<String> {
        let command = path.below_api()?.first()?;
        let agent = request.headers().get(USER_AGENT)?.to_str().ok()?;
        let own = format!("/kubo/{}/", self.settings.version);
        let is_checked = command != "version" && (agent.contains("/kubo/") || agent.contains("/go-ipfs/"));
        (is_checked && agent != own).then(|| format!("api version mismatch ({own} != {agent})"))
    }

    fn refuse_address(&self, request: &Request<Body>) -> Option<Answer> {
        match (&self.per_address, request.extensions().get::<Peer>()) {
            (Some(limit), Some(Peer::Tcp { remote, .. })) => {
                limit.take(address(remote.ip()), Instant::now()).err().map(too_many)
            }
            _ => None,
        }
    }

    fn refuse_caller(&self, request: &Request<Body>, path: &Segments) -> Option<Answer> {
        match (self.settings.authorizations.check(request.headers(), path), &self.per_credential) {
            (None, _) => Some(text(StatusCode::FORBIDDEN, DENIED)),
            (Some(Caller::Entry(entry)), Some(limit)) => {
                limit.take(entry, Instant::now()).err().map(too_many)
            }
            (Some(_), _) => None,
        }
    }

    /// What is at a path that is neither a command's nor a route.
    async fn answer_page(&self, request: Request<Body>, path: &Segments) -> Answer {
        if path.are(&["logs"]) && self.settings.cors.admits(&request) {
            let words: Vec<String> = LOGS.iter().map(|word| (*word).to_owned()).collect();
            return self.call(request, &words).await;
        }
        pages::find(path, request.uri().path(), request.method(), &self.settings.version)
            .unwrap_or_else(not_found)
    }

    /// Answers what is below `/api/v0`.
    async fn answer_command(&self, request: Request<Body>, segments: &[String]) -> Answer {
        let cors = &self.settings.cors;
        if is_preflight(&request) {
            let mut answer = empty(StatusCode::NO_CONTENT);
            *answer.headers_mut() = cors.preflight(&request);
            return answer;
        }
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts.clone(), ());
        let mut answer = match self.refuse_method(&head) {
            Some(refusal) => refusal,
            None if !cors.admits(&head) => {
                tracing::warn!(target: "holdfast::rpc", "refused a request to {} that may be forged", head.uri().path());
                text(StatusCode::FORBIDDEN, "403 - Forbidden")
            }
            None => self.call(Request::from_parts(parts, body), segments).await,
        };
        cors.decorate(&head, answer.headers_mut());
        answer
    }

    fn refuse_method(&self, request: &Request<()>) -> Option<Answer> {
        let allow_get = self.settings.allow_get;
        let status = match *request.method() {
            Method::POST => return None,
            Method::GET | Method::HEAD if allow_get => return None,
            Method::OPTIONS => StatusCode::NO_CONTENT,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        let mut answer = match status {
            StatusCode::NO_CONTENT => empty(status),
            _ => text(status, "405 - Method Not Allowed"),
        };
        let allow = if allow_get { "OPTIONS, POST, HEAD, GET" } else { "OPTIONS, POST" };
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        Some(answer)
    }

    /// Runs the command that these segments name.
    async fn call(&self, request: Request<Body>, segments: &[String]) -> Answer {
        let (parts, body) = request.into_parts();
        let upload_max = self.settings.upload_bytes_max;
        let found = match find(&self.registry, segments, parts.uri.query().unwrap_or_default()) {
            Ok(found) => found,
            Err(refusal) => return refused(refusal),
        };
        let command = found.path.command();
        if let Some(bytes_max) = upload_max.filter(|max| body.length().is_some_and(|length| length > *max)) {
            return text(StatusCode::PAYLOAD_TOO_LARGE, too_large(bytes_max));
        }
        let prepared = match found.prepare(&parts.headers, body, upload_max).await {
            Ok(prepared) => prepared,
            Err(refusal) => return refused(refusal),
        };
        let watched = self.watch.begin(&prepared.call);
        let mark = parts.headers.get(CALL_HEADER).and_then(|mark| mark.to_str().ok());
        let context = self.context.for_call(&prepared.call, mark);
        let running = run::run(command, context, prepared, upload_max, watched);
        let mut answer = match parts.extensions.get::<Peer>() {
            Some(Peer::Tcp { remote, .. }) => on_behalf_of(address(remote.ip()), running).await,
            _ => running.await,
        };
        self.add_headers(answer.headers_mut());
        answer
    }
}

impl Inner {
    /// Adds the headers of the config. What an answer says of itself stands.
    fn add_headers(&self, headers: &mut HeaderMap) {
        let own: Vec<HeaderName> = headers.keys().cloned().chain([SERVER]).collect();
        for (name, value) in self.settings.headers.iter().filter(|(name, _)| !own.contains(name)) {
            headers.append(name.clone(), value.clone());
        }
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::NotFound => not_found(),
        // As a handler that fails answers: clients show its message.
        Refusal::Unsupported(words) => error(&CommandError::new(words), Encoding::Json),
        Refusal::Bad(words) => text(StatusCode::BAD_REQUEST, words),
    }
}

/// Says when to come again.
fn too_many(wait: std::time::Duration) -> Answer {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut answer = text(
        StatusCode::TOO_MANY_REQUESTS,
        format_args!(
            "429 - Too Many Requests: try again in {seconds} s (API.RateLimitPerAddress, API.RateLimitPerCredential)"
        ),
    );
    answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    answer
}

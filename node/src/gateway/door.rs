//! Who is let in: bounds, time limits, counters; and which paths there are.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use holdfast_dag::path::ContentPath;
use http::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::ask::{Ask, only_if_cached};
use super::failure::Failure;
use super::format::{Wanted, reads_html};
use super::headers::{X_IPFS_PATH, put};
use super::url::{self, Query};
use super::{Answer, Settings, redirect, serve};
use crate::http::{Body, Handler, Piece, ResponseBody};
use crate::node::Node;
use crate::observe::{Metrics, Served};

/// Segments that a path may have below its root.
pub const SEGMENTS_MAX: usize = 256;
/// Bytes that all requests together read ahead. One may have 8 MiB of them, and 1 MiB however many there are.
pub const WINDOWS_BYTES: u64 = 128 << 20;
/// The most and the least that one request reads ahead.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=8 << 20;
/// When whoever finds no room is to come again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What is said of what there is not.
const NOT_FOUND: &str = "404 page not found";

/// Answers the requests of the gateway's port. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    node: Node,
    settings: Arc<Settings>,
    metrics: Metrics,
    room: Arc<Semaphore>,
    room_max: usize,
}

impl Gateway {
    /// A gateway to what a node has.
    pub fn new(node: Node, settings: Settings, metrics: Metrics) -> Self {
        let room_max = settings.concurrent_max.unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(room_max));
        Self { inner: Arc::new(Inner { node, settings: Arc::new(settings), metrics, room, room_max }) }
    }

    /// The node whose content it serves.
    pub(crate) fn node(&self) -> &Node {
        &self.inner.node
    }

    /// Whether files and pages are served, and not only what can be checked.
    pub(crate) fn serves_pages(&self) -> bool {
        self.inner.settings.deserialized
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl Handler for Gateway {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Answer> {
        let inner = Arc::clone(&self.inner);
        async move {
            let mut answer = inner.admit(request).await;
            inner.metrics.gateway_answered(answer.status());
            add_headers(answer.headers_mut(), &inner.settings.headers);
            answer
        }
        .boxed()
    }
}

/// Adds the headers of the config. What an answer says of itself stands.
fn add_headers(headers: &mut HeaderMap, configured: &HeaderMap) {
    for name in configured.keys() {
        if !headers.contains_key(name) {
            for value in configured.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
    }
}

/// Notes what an answer serves, for whoever counts how long it takes.
pub(super) fn of(served: Served, mut answer: Answer) -> Answer {
    answer.extensions_mut().insert(served);
    answer
}

/// What an answer with content serves; nothing for one without.
fn served(answer: &Answer) -> Option<Served> {
    let has_content = matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    answer.extensions().get::<Served>().copied().filter(|_| has_content)
}

/// A request that is being answered. It is over when this is dropped, after the last byte of the answer.
pub(super) struct Running {
    metrics: Metrics,
    began: Instant,
    /// What is served, and out of which namespace.
    served: Option<(Served, &'static str)>,
    _permit: OwnedSemaphorePermit,
}

impl Running {
    pub(super) fn new(metrics: Metrics, permit: OwnedSemaphorePermit) -> Self {
        metrics.gateway_began();
        Self { metrics, began: Instant::now(), served: None, _permit: permit }
    }

    /// The answer is out, or it broke off.
    fn ended(&mut self, whole: bool) {
        if let Some((served, namespace)) = self.served.take() {
            self.metrics.gateway_served(served, namespace, whole, self.began.elapsed());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.gateway_ended();
    }
}

impl Inner {
    /// Finds room for a request and answers it in time.
    async fn admit(&self, request: Request<Body>) -> Answer {
        let in_html = self.settings.html_errors && reads_html(request.headers());
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            let words = "too many requests at once (Gateway.MaxConcurrentRequests); try again later";
            return Failure::new(StatusCode::TOO_MANY_REQUESTS, words)
                .retry_after(RETRY_AFTER)
                .answer(in_html);
        };
        let mut running = Running::new(self.metrics.clone(), permit);
        let is_get = *request.method() == Method::GET;
        let namespace = if request.uri().path().starts_with("/ipns/") { "ipns" } else { "ipfs" };
        let deadline = self.settings.duration_max.map(|time| Instant::now() + time);
        let limit = self.settings.retrieval_timeout;
        let answered = match limit {
            Some(limit) => timeout(limit, self.answer(request)).await,
            None => Ok(self.answer(request).await),
        };
        match answered {
            Ok(Ok(answer)) => {
                running.served = served(&answer).filter(|_| is_get).map(|served| (served, namespace));
                answer.map(|body| watched(body, running, limit, deadline))
            }
            Ok(Err(failure)) => failure.answer(in_html),
            Err(_) => {
                self.metrics.gateway_timed_out(StatusCode::GATEWAY_TIMEOUT, false);
                let words = "the content could not be had in time (Gateway.RetrievalTimeout)";
                Failure::new(StatusCode::GATEWAY_TIMEOUT, words).retry_after(RETRY_AFTER).answer(in_html)
            }
        }
    }

    /// Chooses by method and path.
    async fn answer(&self, request: Request<Body>) -> Result<Answer, Failure> {
        let is_head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            Method::OPTIONS => return Ok(Response::new(ResponseBody::Empty)),
            _ => return Ok(not_allowed(request.method())),
        };
        let path = request.uri().path();
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let rules = self.settings.host(host);
        if rules.is_some_and(|rules| !rules.serves(path)) {
            return Err(Failure::new(StatusCode::NOT_FOUND, NOT_FOUND));
        }
        match path {
            "/" => self.root(host),
            "/version" => Ok(version()),
            _ if is_content(path) => {
                let deserialized = rules.map_or(self.settings.deserialized, |rules| rules.deserialized);
                self.content(request, is_head, deserialized).await
            }
            _ => Err(Failure::new(StatusCode::NOT_FOUND, not_here(host))),
        }
    }

    /// What is at `/`: where the config leads.
    fn root(&self, host: &str) -> Result<Answer, Failure> {
        let Some(to) = &self.settings.root_redirect else {
            return Err(Failure::new(StatusCode::NOT_FOUND, not_here(host)));
        };
        let mut answer = Response::new(ResponseBody::Empty);
        *answer.status_mut() = StatusCode::FOUND;
        answer.headers_mut().insert(LOCATION, to.clone());
        Ok(answer)
    }

    /// What is at `/ipfs/` and `/ipns/`.
    async fn content(
        &self,
        request: Request<Body>,
        is_head: bool,
        deserialized: bool,
    ) -> Result<Answer, Failure> {
        let (parts, _) = request.into_parts();
        let query = Query::new(parts.uri.query().unwrap_or_default());
        let decoded = url::decode(parts.uri.path());
        let url_path = decoded.ok_or_else(|| Failure::bad_request("the path of the request is not UTF-8"))?;
        if let Some(answer) = redirect::instead(&url_path, &query, &parts.headers)? {
            return Ok(answer);
        }
        let path = ContentPath::parse(&url_path)?;
        if path.segments().len() > SEGMENTS_MAX {
            let words = format!("the path has more than {SEGMENTS_MAX} segments");
            return Err(Failure::bad_request(words));
        }
        let wanted = Wanted::read(&query, &parts.headers)?;
        // One session for all that it needs of others, if it may ask any.
        let node = self.node.for_request(self.settings.no_fetch || only_if_cached(&parts.headers));
        let ask = Ask {
            fetch: node.fetch().clone(),
            node,
            settings: Arc::clone(&self.settings),
            window_bytes: self.window_bytes(),
            is_head,
            headers: parts.headers,
            query,
            url_path,
            path,
            wanted,
        };
        let shown = url::header_text(&ask.path.to_string());
        let in_html = self.settings.html_errors && ask.reads_html();
        let mut answer = match serve::serve(ask, deserialized).await {
            Ok(answer) => answer,
            Err(failure) => failure.answer(in_html),
        };
        put(answer.headers_mut(), X_IPFS_PATH, shown);
        Ok(answer)
    }

    /// This request's share of what may be read ahead.
    fn window_bytes(&self) -> u64 {
        let running = (self.room_max - self.room.available_permits()).max(1) as u64;
        (WINDOWS_BYTES / running).clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end())
    }
}

fn is_content(path: &str) -> bool {
    ["/ipfs", "/ipns"].iter().any(|namespace| {
        path.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What is said where a client takes this for a gateway with an origin for each root.
fn not_here(host: &str) -> String {
    let label = host.split_once('.').map(|(label, _)| label).unwrap_or_default();
    if holdfast_dag::cid::parse_cid(label).is_err() {
        return NOT_FOUND.to_owned();
    }
    format!("{NOT_FOUND}: this version serves no subdomains; ask for /ipfs/{label} of the host without it")
}

fn not_allowed(method: &Method) -> Answer {
    let mut answer = Response::new(format!("405 - Method Not Allowed: {method}\n").into());
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn version() -> Answer {
    let mut answer =
        Response::new(format!("{}\n", crate::identify::version_page(crate::commands::KUBO_VERSION)).into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// A body whose request is over with its last byte, and which is cut where its content does not come.
pub(super) fn watched(
    body: ResponseBody,
    mut running: Running,
    stall: Option<Duration>,
    deadline: Option<Instant>,
) -> ResponseBody {
    if matches!(body, ResponseBody::Empty | ResponseBody::Full(_)) {
        running.ended(true);
        return body;
    }
    let watch = |pieces| {
        let watch = Watch { pieces, running, stall, deadline, is_over: false };
        stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) }).boxed()
    };
    match body {
        ResponseBody::Stream(pieces) => ResponseBody::Stream(watch(pieces)),
        ResponseBody::Sized(length, pieces) => ResponseBody::Sized(length, watch(pieces)),
        whole => whole,
    }
}

struct Watch {
    pieces: BoxStream<'static, Piece>,
    running: Running,
    stall: Option<Duration>,
    deadline: Option<Instant>,
    is_over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Piece> {
        if self.is_over {
            return None;
        }
        // The time that the client takes is not the content's.
        let stalled = self.stall.map(|stall| Instant::now() + stall);
        let until = stalled.into_iter().chain(self.deadline).min();
        let next = match until {
            Some(until) => timeout_at(until, self.pieces.next()).await.unwrap_or_else(|_| {
                self.running.metrics.gateway_timed_out(StatusCode::OK, true);
                Some(Piece::Abort)
            }),
            None => self.pieces.next().await,
        };
        self.is_over = matches!(next, Some(Piece::Abort) | None);
        if self.is_over {
            self.running.ended(next.is_none());
        }
        next
    }
}

//! One connection: requests one after the other, each with its response.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, response};
use tokio::io::AsyncRead;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::body::{Activity, Rest, Source};
use super::framing::Framing;
use super::head::{self, BadHead, Head};
use super::write::{Length, Sink, Writer};
use super::{Body, Handler, Limits, Peer, Piece, ResponseBody};

/// Bytes that an idle connection has room for.
const IDLE_READ_BYTES: usize = 1 << 10;
/// Bytes that are read of a head at a time, and of what comes while a request is answered.
const HEAD_READ_BYTES: usize = 8 << 10;
/// How long a handler goes on for a client that closed its side. It may have closed only that, and still listen.
const HALF_CLOSED_MAX: Duration = Duration::from_secs(2);
/// How long a connection is kept to give the client time to read the last response.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// What becomes of the connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another request.
    Keep,
    /// It ends; the client may still be sending.
    Close,
}

/// A connection, and what it serves.
pub(super) struct Connection {
    /// Away while a request has it.
    source: Option<Source>,
    sink: Sink,
    peer: Peer,
    handler: Arc<dyn Handler>,
    limits: Limits,
    stop: watch::Receiver<bool>,
    /// Nothing was asked yet.
    is_new: bool,
}

impl Connection {
    pub(super) fn new(
        (reader, writer): (impl AsyncRead + Send + Sync + Unpin + 'static, impl Writer),
        peer: Peer,
        handler: Arc<dyn Handler>,
        limits: Limits,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let activity = Activity::new();
        let source = Some(Source::new(reader, activity.clone(), &limits));
        let sink = Sink::new(writer, activity, limits.stall_timeout);
        Self { source, sink, peer, handler, limits, stop, is_new: true }
    }

    /// Serves requests until the client, the server or a mistake ends it.
    pub(super) async fn serve(mut self) {
        while let Some(mut source) = self.source.take() {
            let head = match self.read_head(&mut source).await {
                Ok(Some(head)) => head,
                Ok(None) => return,
                Err(bad) => {
                    // Nothing more can be told to a client that does not read.
                    let _ = self.refuse(bad).await;
                    let mut rest = Rest { source, framing: Framing::Length(u64::MAX), failed: false };
                    dismiss(&mut self.sink, &mut rest, &self.limits).await;
                    return;
                }
            };
            match self.answer(head, source).await {
                Ok(Next::Keep) => {}
                Ok(Next::Close) | Err(_) => return,
            }
        }
    }

    /// The next head; `None` where there is none to come.
    async fn read_head(&mut self, source: &mut Source) -> Result<Option<Head>, BadHead> {
        if source.buffer.is_empty() {
            // What a request needed is given back while nobody asks for anything.
            source.buffer = BytesMut::new();
            let is_new = std::mem::replace(&mut self.is_new, false);
            let patience = if is_new { self.limits.head_timeout } else { self.limits.idle_timeout };
            let first = tokio::select! {
                first = timeout(patience, source.fill(IDLE_READ_BYTES)) => first,
                _ = self.stop.wait_for(|stop| *stop) => return Ok(None),
            };
            if !matches!(first, Ok(Ok(1..))) {
                return Ok(None);
            }
        }
        let deadline = Instant::now() + self.limits.head_timeout;
        let mut first = true;
        loop {
            if let Some(head) = head::take(&mut source.buffer, first, &self.limits)? {
                return Ok(Some(head));
            }
            first = false;
            match timeout_at(deadline, source.fill(HEAD_READ_BYTES)).await {
                Ok(Ok(1..)) => {}
                Ok(_) => return Ok(None),
                Err(_) => {
                    let text = "the head of the request took too long";
                    return Err(BadHead(StatusCode::REQUEST_TIMEOUT, text));
                }
            }
        }
    }

    /// Says why a request is none.
    async fn refuse(&mut self, BadHead(status, text): BadHead) -> io::Result<()> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = status;
        let body = format!("{text}\n");
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        self.sink.head(&head, Length::Known(body.len() as u64), Some("close"));
        self.sink.plain(body.as_bytes()).await?;
        self.sink.flush().await
    }

    async fn answer(&mut self, head: Head, source: Source) -> io::Result<Next> {
        let Head { request, framing, keep_alive, expects_continue } = head;
        let (ask, mut asked) = oneshot::channel();
        let ask = (expects_continue && framing != Framing::Done).then_some(ask);
        let (body, given_back) = Body::new(source, framing, ask);
        let (method, version) = (request.method().clone(), request.version());
        let mut request = request.map(|()| body);
        request.extensions_mut().insert(self.peer);
        let room = self.limits.head_bytes_max;
        let mut client = Client { given_back, rest: None, room, has_closed: false };
        let mut handling = Box::pin(handle(Arc::clone(&self.handler), request));
        let mut waits = true;
        let response = loop {
            tokio::select! {
                biased;
                response = &mut handling => break response,
                wanted = &mut asked, if waits => {
                    waits = false;
                    if wanted.is_ok() {
                        self.sink.go_on().await?;
                    }
                }
                () = client.gone() => return Ok(Next::Close),
            }
        };
        drop(handling);
        let (head, body) = response.into_parts();
        let has_body = method != Method::HEAD
            && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let keep = keep_alive && client.is_ready() && !*self.stop.borrow() && !closes(&head);
        let outcome = self.write(head, body, has_body, version, keep, &mut client).await?;
        client.given_back(LINGER_MAX).await;
        match client.rest.take() {
            Some(rest) if keep && outcome == Next::Keep && rest.framing == Framing::Done => {
                self.source = Some(rest.source);
                Ok(Next::Keep)
            }
            Some(mut rest) => {
                linger(&mut self.sink, &mut rest, &self.limits).await;
                Ok(Next::Close)
            }
            None => self.sink.shut_down().await.map(|()| Next::Close),
        }
    }

    /// Writes a response.
    async fn write(
        &mut self,
        head: response::Parts,
        body: ResponseBody,
        has_body: bool,
        version: Version,
        keep: bool,
        client: &mut Client,
    ) -> io::Result<Next> {
        let is_old = version == Version::HTTP_10;
        let keep = keep && !(is_old && matches!(body, ResponseBody::Stream(_)));
        let word = match (keep, is_old) {
            _ if head.headers.contains_key(CONNECTION) => None,
            (false, _) => Some("close"),
            (true, true) => Some("keep-alive"),
            (true, false) => None,
        };
        let length = match &body {
            // A client that asked for the head alone is told the length where it is known.
            ResponseBody::Full(data) if has_body || !data.is_empty() => Length::Known(data.len() as u64),
            ResponseBody::Sized(length, _) => Length::Known(*length),
            _ if !has_body => Length::None,
            ResponseBody::Empty | ResponseBody::Full(_) => Length::Known(0),
            ResponseBody::Stream(_) if is_old => Length::ToTheEnd,
            ResponseBody::Stream(_) => Length::Chunked,
        };
        self.sink.head(&head, length, word);
        match body {
            ResponseBody::Full(data) if has_body => client.beside(self.sink.plain(&data)).await?,
            ResponseBody::Stream(pieces) | ResponseBody::Sized(_, pieces) if has_body => {
                // So that a client sees the head before the first piece, however long that takes.
                return Ok(match self.stream(pieces, length, client).await? {
                    Next::Keep if keep => Next::Keep,
                    _ => Next::Close,
                });
            }
            _ => {}
        }
        client.beside(self.sink.flush()).await?;
        Ok(if keep { Next::Keep } else { Next::Close })
    }

    /// Writes pieces as they come, until the last, or until the client goes away.
    async fn stream(
        &mut self,
        pieces: BoxStream<'static, Piece>,
        length: Length,
        client: &mut Client,
    ) -> io::Result<Next> {
        let mut pieces = AssertUnwindSafe(pieces).catch_unwind();
        let mut trailers = HeaderMap::new();
        let mut due = match length {
            Length::Known(bytes) => bytes,
            _ => u64::MAX,
        };
        loop {
            let piece = if let Some(piece) = pieces.next().now_or_never() {
                piece
            } else {
                if self.sink.holds_back() {
                    client.beside(self.sink.flush()).await?;
                }
                tokio::select! {
                    biased;
                    piece = pieces.next() => piece,
                    () = client.gone() => return Ok(Next::Close),
                }
            };
            match piece {
                Some(Ok(Piece::Data(data))) if length == Length::Chunked => {
                    client.beside(self.sink.chunk(&data)).await?;
                }
                Some(Ok(Piece::Data(mut data))) => {
                    data.truncate(usize::try_from(due).unwrap_or(usize::MAX));
                    due -= data.len() as u64;
                    client.beside(self.sink.plain(&data)).await?;
                }
                Some(Ok(Piece::Trailer(name, value))) => {
                    trailers.append(name, value);
                }
                None if length == Length::Chunked => {
                    client.beside(self.sink.last_chunk(&trailers)).await?;
                    return Ok(Next::Keep);
                }
                None if due == 0 => {
                    client.beside(self.sink.flush()).await?;
                    return Ok(Next::Keep);
                }
                Some(Ok(Piece::Abort) | Err(_)) | None => {
                    if let Some(Err(panic)) = &piece {
                        report(&**panic);
                    }
                    client.beside(self.sink.flush()).await?;
                    // An older client knows no other sign of a failure: not even a trailer reaches it.
                    if length == Length::ToTheEnd && (piece.is_some() || !trailers.is_empty()) {
                        self.sink.reset();
                    }
                    return Ok(Next::Close);
                }
            }
        }
    }
}

/// Asks the handler; a panic in it becomes a 500.
async fn handle(handler: Arc<dyn Handler>, request: Request<Body>) -> Response<ResponseBody> {
    // In a future of its own, so that a panic before the first await is caught too.
    let handling = async move { handler.handle(request).await };
    AssertUnwindSafe(handling).catch_unwind().await.unwrap_or_else(|panic| {
        report(&*panic);
        let mut response = Response::new("the node made a mistake; its log says more\n".into());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    })
}

fn report(panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown");
    tracing::error!("a handler of requests panicked: {text}");
}

/// Whether the handler wants the connection closed.
fn closes(head: &response::Parts) -> bool {
    head.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// Ends a connection so that the client can read what was written last: a socket that is closed with unread bytes in it
/// takes the response back.
async fn linger(sink: &mut Sink, rest: &mut Rest, limits: &Limits) {
    let ending = async {
        // A client that is gone needs no goodbye.
        if sink.shut_down().await.is_ok() {
            let whole = rest.drain(limits.drain_bytes_max).await;
            if !whole && !rest.failed {
                // It sends on, and would learn of a closed socket before it reads the response: it is let stand, with
                // nothing more read, until the time is over.
                std::future::pending::<()>().await;
            }
            if rest.framing == Framing::Done && !rest.failed {
                // Then it is the client's turn to close.
                while matches!(rest.source.fill(IDLE_READ_BYTES).await, Ok(1..)) {
                    rest.source.buffer.clear();
                }
            }
        }
    };
    let _ = timeout(LINGER_MAX, ending).await;
}

/// Ends a connection whose head was none: it is read on a little, so that the client sees why, and nothing is owed to one
/// that goes on sending.
async fn dismiss(sink: &mut Sink, rest: &mut Rest, limits: &Limits) {
    let ending = async {
        if sink.shut_down().await.is_ok() {
            rest.drain(limits.drain_bytes_max).await;
        }
    };
    let _ = timeout(LINGER_MAX, ending).await;
}

/// The other end, while its request is answered.
struct Client {
    given_back: oneshot::Receiver<Rest>,
    rest: Option<Rest>,
    /// Bytes of further requests that are kept.
    room: usize,
    /// It closed its side while it was written to.
    has_closed: bool,
}

impl Client {
    /// Whether its request was read to the end, so that another can follow.
    fn is_ready(&mut self) -> bool {
        if self.rest.is_none() {
            self.rest = self.given_back.try_recv().ok();
        }
        self.rest.as_ref().is_some_and(|rest| rest.framing == Framing::Done)
    }

    /// Waits for the handler to let go of the request.
    async fn given_back(&mut self, limit: Duration) {
        if self.rest.is_none() {
            self.rest = timeout(limit, &mut self.given_back).await.ok().and_then(Result::ok);
        }
    }

    /// Ends when the client is gone. Can be dropped and asked again.
    async fn gone(&mut self) {
        if std::mem::take(&mut self.has_closed) {
            return sleep(HALF_CLOSED_MAX).await;
        }
        match self.listen().await {
            Ended::Closed => sleep(HALF_CLOSED_MAX).await,
            Ended::Failed => {}
        }
    }

    /// Writes to it, and takes meanwhile what it says: an empty line now and then is how one that reads slowly, because a
    /// person does, shows that it is there.
    async fn beside<T>(&mut self, writing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut writing = pin!(writing);
        tokio::select! {
            biased;
            written = &mut writing => return written,
            ended = self.listen() => self.has_closed = ended == Ended::Closed,
        }
        writing.await
    }

    /// Takes what the client says, as far as there is room, until its side ends.
    async fn listen(&mut self) -> Ended {
        let rest = match &mut self.rest {
            Some(rest) => rest,
            None => match (&mut self.given_back).await {
                Ok(rest) => self.rest.insert(rest),
                Err(_) => return std::future::pending().await,
            },
        };
        // An unread body says nothing about the client; a failed one is the handler's to tell of.
        while rest.framing == Framing::Done && !rest.failed && rest.source.buffer.len() < self.room {
            match rest.source.fill(IDLE_READ_BYTES).await {
                // The next request, before its time. Empty lines before it are nothing (RFC 9112 section 2.2).
                Ok(1..) => {
                    while rest.source.buffer.starts_with(b"\r\n") {
                        rest.source.buffer.advance(2);
                    }
                }
                Ok(0) => {
                    rest.failed = true;
                    return Ended::Closed;
                }
                Err(_) => return Ended::Failed,
            }
        }
        std::future::pending().await
    }
}

/// How the client's side of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It sends nothing more, and may still listen.
    Closed,
    /// The connection is gone.
    Failed,
}

/// Tells a client that there is no room for it.
pub(super) fn no_room() -> Bytes {
    Bytes::from_static(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n\
          Connection: close\r\nContent-Length: 21\r\n\r\ntoo many connections\n",
    )
}

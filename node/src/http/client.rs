//! A small HTTP/1.1 client: one request a connection, whose body may still be going out while the response comes in.
//!
//! It is made for the command line that talks to a daemon: chunks both ways, trailers, TCP, TLS and Unix sockets; pinning
//! services are asked with it too. It follows no redirects and keeps no connections.
//!
//! Limits: a head of 64 KiB and 128 headers, as much for trailers; a body is read as it comes and held nowhere.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::framing::Framing;
use super::incoming::Incoming;
use super::{Endpoint, Remote, tls};

/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of a response.
const HEADERS_MAX: usize = 128;
/// How long making a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// How long a body may have nothing to send before the server is shown that this end is alive: servers end connections
/// on which a body stalls, and a pipe may be slow.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often that is shown in one pause: it goes into the extension of a chunk, whose line servers bound.
const SIGNS_OF_LIFE_MAX: usize = 3_000;
/// Pieces of a body that wait to be written.
pub const PIECES_MAX: usize = 4;

/// Why a request has no response, or no whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("cannot connect to {endpoint}: {error}")]
    Connect {
        /// Where.
        endpoint: String,
        /// Why.
        error: io::Error,
    },
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The server ended the connection without a response.
    #[error("the server closed the connection without an answer")]
    NoAnswer,
    /// The response ended before its end.
    #[error("unexpected EOF: the server closed the connection before the end of its answer")]
    Cut,
    /// What came is not HTTP.
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// The body of the request could not be made; in full words.
    #[error("{0}")]
    Body(String),
}

/// The body of a request, piece by piece. An error, in full words, ends the connection instead of the body.
pub type Outgoing = mpsc::Receiver<Result<Bytes, String>>;

type Writer = Box<dyn AsyncWrite + Send + Sync + Unpin>;

/// A connection on which nothing has been sent yet.
pub struct Connection {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    writer: Writer,
    host: String,
}

impl Connection {
    /// Connects.
    pub async fn open(remote: &Remote) -> Result<Self, ClientError> {
        Self::open_trusting(remote, tls::roots_of_system).await
    }

    /// The same; where there is TLS, with these certificates trusted.
    pub(super) async fn open_trusting(
        remote: &Remote,
        roots: impl FnOnce() -> io::Result<RootCertStore>,
    ) -> Result<Self, ClientError> {
        let connecting = timeout(CONNECT_TIME_MAX, Self::connect(remote, roots));
        let connected = connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error| ClientError::Connect { endpoint: remote.to_string(), error })
    }

    async fn connect(remote: &Remote, roots: impl FnOnce() -> io::Result<RootCertStore>) -> io::Result<Self> {
        let host = remote.host();
        let stream = match &remote.endpoint {
            Endpoint::Ip(address) => TcpStream::connect(address).await?,
            Endpoint::Name { host, port, .. } => TcpStream::connect((host.as_str(), *port)).await?,
            Endpoint::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                return Ok(Self { reader: Box::new(reader), writer: Box::new(writer), host });
            }
        };
        stream.set_nodelay(true)?;
        if remote.tls {
            let (reader, writer) = split(tls::wrap(stream, &remote.endpoint, roots()?).await?);
            return Ok(Self { reader: Box::new(reader), writer: Box::new(writer), host });
        }
        let (reader, writer) = stream.into_split();
        Ok(Self { reader: Box::new(reader), writer: Box::new(writer), host })
    }

    /// Posts a request, and waits for the head of its response. `body` goes on being sent while the response is read.
    pub async fn post(
        self,
        request: Request<()>,
        body: Option<Outgoing>,
    ) -> Result<Response<Incoming>, ClientError> {
        let end = if body.is_some() { "Transfer-Encoding: chunked" } else { "Content-Length: 0" };
        let head = request_head(&Method::POST, &request, &self.host, Some(end));
        self.ask(head.into(), body).await
    }

    /// Sends a request by its own method, with a body that is known, and waits for the head of its response.
    pub async fn send(self, request: Request<Bytes>) -> Result<Response<Incoming>, ClientError> {
        let (parts, body) = request.into_parts();
        let has_length =
            !body.is_empty() || matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        let length = has_length.then(|| format!("Content-Length: {}", body.len()));
        let method = parts.method.clone();
        let request = Request::from_parts(parts, ());
        let mut head = request_head(&method, &request, &self.host, length.as_deref());
        head.extend_from_slice(&body);
        self.ask(head.into(), None).await
    }

    async fn ask(self, head: Bytes, body: Option<Outgoing>) -> Result<Response<Incoming>, ClientError> {
        let Self { mut reader, writer, .. } = self;
        let mut sending = Sending::start(writer, head, body);
        let mut buffer = BytesMut::new();
        let response = tokio::select! {
            biased;
            // A body that fails has a better reason than what the server makes of it.
            error = sending.failed() => Err(error),
            answered = read_head(&mut reader, &mut buffer) => answered,
        }?;
        let framing = framing(&response)?;
        Ok(response.map(|()| Incoming::new(reader, buffer, framing, sending)))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The task that sends a request. It ends with this handle.
pub(super) struct Sending {
    task: JoinHandle<()>,
    /// Why the body could not be made.
    failure: watch::Receiver<Option<String>>,
    /// Whether somebody waits for the response.
    is_awaited: Arc<AtomicBool>,
}

impl Sending {
    fn start(writer: Writer, head: Bytes, body: Option<Outgoing>) -> Self {
        let (failed, failure) = watch::channel(None);
        let is_awaited = Arc::new(AtomicBool::new(true));
        let awaited = Arc::clone(&is_awaited);
        let task = tokio::spawn(async move {
            // What the connection has to say comes to its reading end: the server may have left its reason there.
            if let Err(ClientError::Body(words)) = send(writer, head, body, &awaited).await {
                failed.send_replace(Some(words));
            }
        });
        Self { task, failure, is_awaited }
    }

    /// Says whether somebody waits for the response. While nobody does, the server is shown that this end is alive.
    pub(super) fn set_awaited(&self, is_awaited: bool) {
        self.is_awaited.store(is_awaited, Ordering::Relaxed);
    }

    /// Waits for the body's own failure. Never returns if there is none.
    pub(super) async fn failed(&mut self) -> ClientError {
        let words = match self.failure.wait_for(Option::is_some).await {
            Ok(words) => words.clone(),
            Err(_) => None,
        };
        match words {
            Some(words) => ClientError::Body(words),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `framing`: the header that says how the end of the body is known, if there is one.
fn request_head(method: &Method, request: &Request<()>, host: &str, framing: Option<&str>) -> Vec<u8> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n").into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if let Some(framing) = framing {
        head.extend_from_slice(framing.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

async fn send(
    mut writer: Writer,
    head: Bytes,
    body: Option<Outgoing>,
    is_awaited: &AtomicBool,
) -> Result<(), ClientError> {
    writer.write_all(&head).await?;
    if let Some(mut body) = body {
        send_body(&mut writer, &mut body, PAUSE_MAX).await?;
    }
    keep(writer, PAUSE_MAX, is_awaited).await
}

/// Writes a body in chunks, as it comes. Where it pauses for `pause_max`, it shows a sign of life.
pub(super) async fn send_body(
    writer: &mut (impl AsyncWrite + Unpin),
    body: &mut Outgoing,
    pause_max: Duration,
) -> Result<(), ClientError> {
    // One byte is held back: what shows a sign of life is the line of the chunk that it goes into.
    let mut held: Option<u8> = None;
    loop {
        let piece = match timeout(pause_max, body.recv()).await {
            Ok(piece) => piece,
            Err(_) => match held.take() {
                Some(byte) => pause(writer, byte, body, pause_max).await?,
                None => body.recv().await,
            },
        };
        let piece = match piece {
            None => break,
            Some(Err(words)) => return Err(ClientError::Body(words)),
            Some(Ok(piece)) => piece,
        };
        let Some((last, rest)) = piece.split_last() else { continue };
        let count = rest.len() + usize::from(held.is_some());
        if count > 0 {
            writer.write_all(format!("{count:x}\r\n").as_bytes()).await?;
            if let Some(byte) = held {
                writer.write_all(&[byte]).await?;
            }
            writer.write_all(rest).await?;
            writer.write_all(b"\r\n").await?;
            // TLS gathers; a socket does not.
            writer.flush().await?;
        }
        held = Some(*last);
    }
    if let Some(byte) = held {
        writer.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).await?;
    }
    Ok(writer.write_all(b"0\r\n\r\n").await?)
}

/// Keeps the writing end open until the response has been read: a server may take its end for that of the client. While the
/// response is not awaited, since it goes to a person who reads it page by page, an empty line now and then shows that
/// this end is alive. Before a request, servers pass over those (RFC 9112 section 2.2), and there is none to come.
pub(super) async fn keep(
    mut writer: impl AsyncWrite + Unpin,
    pause_max: Duration,
    is_awaited: &AtomicBool,
) -> Result<(), ClientError> {
    writer.flush().await?;
    loop {
        sleep(pause_max).await;
        if !is_awaited.load(Ordering::Relaxed) {
            writer.write_all(b"\r\n").await?;
            writer.flush().await?;
        }
    }
}

/// Waits for the next piece, and meanwhile writes the line of a chunk that holds `byte`, slowly.
async fn pause(
    writer: &mut (impl AsyncWrite + Unpin),
    byte: u8,
    body: &mut Outgoing,
    pause_max: Duration,
) -> Result<Option<Result<Bytes, String>>, ClientError> {
    writer.write_all(b"1;").await?;
    let mut piece = None;
    for _ in 0..SIGNS_OF_LIFE_MAX {
        writer.write_all(b"-").await?;
        writer.flush().await?;
        piece = timeout(pause_max, body.recv()).await.ok();
        if piece.is_some() {
            break;
        }
    }
    writer.write_all(&[b'\r', b'\n', byte, b'\r', b'\n']).await?;
    writer.flush().await?;
    match piece {
        Some(piece) => Ok(piece),
        None => Ok(body.recv().await),
    }
}

/// Reads heads until one is of a response.
async fn read_head(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Response<()>, ClientError> {
    loop {
        match take_head(buffer)? {
            // "100 Continue" and its like announce the response.
            Some(response) if response.status().is_informational() => continue,
            Some(response) => return Ok(response),
            None if buffer.len() >= HEAD_BYTES_MAX => {
                return Err(ClientError::Malformed("its head is too long"));
            }
            None => {}
        }
        match reader.read_buf(buffer).await {
            Ok(0) => return Err(ClientError::NoAnswer),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(ClientError::NoAnswer);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes a whole head out of the buffer.
fn take_head(buffer: &mut BytesMut) -> Result<Option<Response<()>>, ClientError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(buffer).map_err(|_| ClientError::Malformed("its head cannot be read"))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
    let mut response = Response::new(());
    *response.status_mut() = status.ok_or(ClientError::Malformed("it has no status"))?;
    *response.headers_mut() = headers_of(head.headers)?;
    drop(buffer.split_to(length));
    Ok(Some(response))
}

/// Headers, or trailers.
fn headers_of(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(ClientError::Malformed("one of its headers is none"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// How the end of a response's body is known.
fn framing(response: &Response<()>) -> Result<Framing, ClientError> {
    let headers = response.headers();
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Done);
    }
    if let Some(encoding) = headers.get(TRANSFER_ENCODING) {
        return if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            Ok(Framing::CHUNKED)
        } else {
            Err(ClientError::Malformed("its transfer encoding is unknown"))
        };
    }
    match headers.get(CONTENT_LENGTH) {
        None => Ok(Framing::ToTheEnd),
        Some(length) => {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            length.map(Framing::Length).ok_or(ClientError::Malformed("its length is no number"))
        }
    }
}

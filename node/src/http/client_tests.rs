//! The client against the server of this program, and against servers that misbehave.

use std::io::{Read as _, Write as _};
use std::net::TcpListener as StdTcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};

use super::client::{ClientError, Connection, Outgoing, keep};
use super::{Body, Endpoint, Handler, Incoming, Limits, Listener, Piece, ResponseBody, Server};

/// Answers each piece of the request's body at once, then with a trailer.
struct Echo;

impl Handler for Echo {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(async move {
            if request.uri().path() == "/refuse" {
                let mut refusal = Response::new(ResponseBody::from("not today"));
                *refusal.status_mut() = StatusCode::FORBIDDEN;
                return refusal;
            }
            let aborts = request.uri().path() == "/abort";
            let trailer = HeaderName::from_static("x-stream-error");
            let end = if aborts {
                Piece::Abort
            } else {
                Piece::Trailer(trailer, HeaderValue::from_static("it broke"))
            };
            let pieces = stream::unfold(request.into_body(), |mut body| async {
                let piece = body.next().await?.ok()?;
                Some((Piece::Data(piece), body))
            });
            Response::new(ResponseBody::Stream(pieces.chain(stream::iter([end])).boxed()))
        })
    }
}

/// A server of it on loopback, until the switch is dropped.
async fn serve(limits: Limits) -> (Endpoint, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Ip(listener.local_addr().unwrap());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(
        async move { Server::new(Arc::new(Echo), limits).serve(Listener::Tcp(listener), stopped).await },
    );
    (endpoint, stop)
}

async fn post(
    endpoint: &Endpoint,
    path: &str,
    body: Option<Outgoing>,
) -> Result<Response<Incoming>, ClientError> {
    let request = Request::builder().uri(path).header("x-mine", "1").body(()).unwrap();
    Connection::open(&endpoint.clone().into()).await?.post(request, body).await
}

async fn rest(body: &mut Incoming) -> Result<Vec<u8>, ClientError> {
    let mut data = Vec::new();
    while let Some(piece) = body.next().await {
        data.extend_from_slice(&piece?);
    }
    Ok(data)
}

#[tokio::test]
async fn the_response_comes_while_the_request_still_goes_out() {
    let (endpoint, _stop) = serve(Limits::default()).await;
    let (pieces, body) = mpsc::channel(1);
    // The last byte of each piece goes out with the next one.
    pieces.send(Ok(Bytes::from("one-"))).await.unwrap();
    let mut answer = post(&endpoint, "/", Some(body)).await.unwrap();
    assert_eq!(answer.body_mut().next().await.unwrap().unwrap(), "one");
    pieces.send(Ok(Bytes::from("two-"))).await.unwrap();
    let next = answer.body_mut().next().await.unwrap().unwrap();
    assert!(b"-two".starts_with(&next), "{next:?}");
    drop(pieces);
    let (mut all, end) = (next.to_vec(), rest(answer.body_mut()).await.unwrap());
    all.extend_from_slice(&end);
    assert_eq!(all, b"-two-");
    assert_eq!(answer.body().trailers().get("x-stream-error").unwrap(), "it broke");
}

#[tokio::test]
async fn large_bodies_go_both_ways() {
    let (endpoint, _stop) = serve(Limits::default()).await;
    let (pieces, body) = mpsc::channel(4);
    let sending = tokio::spawn(async move {
        for number in 0..200_u8 {
            pieces.send(Ok(Bytes::from(vec![number; 100_001]))).await.unwrap();
        }
    });
    let mut answer = post(&endpoint, "/", Some(body)).await.unwrap();
    let all = rest(answer.body_mut()).await.unwrap();
    sending.await.unwrap();
    assert_eq!(all.len(), 200 * 100_001);
    assert!(all.chunks(100_001).zip(0..).all(|(chunk, number)| chunk.iter().all(|byte| *byte == number)));
}

#[tokio::test]
async fn a_response_that_is_given_up_is_an_error_and_not_an_end() {
    let (endpoint, _stop) = serve(Limits::default()).await;
    let mut answer = post(&endpoint, "/abort", None).await.unwrap();
    assert!(matches!(rest(answer.body_mut()).await, Err(ClientError::Cut)));
    assert!(answer.body_mut().next().await.is_none(), "an error is the end");
}

#[tokio::test]
async fn a_refusal_is_read_though_the_body_was_not_wanted() {
    let (endpoint, _stop) = serve(Limits::default()).await;
    let (pieces, body) = mpsc::channel(1);
    pieces.send(Ok(Bytes::from(vec![0; 100_000]))).await.unwrap();
    let mut answer = post(&endpoint, "/refuse", Some(body)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(rest(answer.body_mut()).await.unwrap(), b"not today");
}

#[tokio::test]
async fn a_body_that_cannot_be_made_says_why() {
    let (endpoint, _stop) = serve(Limits::default()).await;
    let (pieces, body) = mpsc::channel(2);
    pieces.send(Ok(Bytes::from("some"))).await.unwrap();
    pieces.send(Err("read x: input/output error".to_owned())).await.unwrap();
    let outcome = match post(&endpoint, "/", Some(body)).await {
        Ok(mut answer) => rest(answer.body_mut()).await,
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().to_string(), "read x: input/output error");
}

#[tokio::test]
async fn a_unix_socket_is_as_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api");
    let endpoint = Endpoint::Unix(path.clone());
    assert!(matches!(Connection::open(&endpoint.clone().into()).await, Err(ClientError::Connect { .. })));
    let listener = UnixListener::bind(&path).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let server = Server::new(Arc::new(Echo), Limits::default());
    tokio::spawn(async move { server.serve(Listener::Unix(listener), stopped).await });
    let (pieces, body) = mpsc::channel(1);
    pieces.send(Ok(Bytes::from("x"))).await.unwrap();
    drop(pieces);
    let mut answer = post(&endpoint, "/", Some(body)).await.unwrap();
    assert_eq!(rest(answer.body_mut()).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_pipe_that_pauses_shows_that_it_is_alive() {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (pieces, mut body) = mpsc::channel(1);
    let sending = tokio::spawn(async move {
        let mut client = client;
        super::client::send_body(&mut client, &mut body, Duration::from_millis(5)).await.unwrap();
    });
    pieces.send(Ok(Bytes::from("ab"))).await.unwrap();
    // As long as nothing comes, the line of the next chunk grows.
    let mut wire = Vec::new();
    while !wire.ends_with(b"1;----") {
        assert_ne!(tokio::io::AsyncReadExt::read_buf(&mut server, &mut wire).await.unwrap(), 0);
    }
    pieces.send(Ok(Bytes::from("cd"))).await.unwrap();
    drop(pieces);
    sending.await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut server, &mut wire).await.unwrap();
    let wire = String::from_utf8(wire).unwrap();
    let (before, after) = wire.split_once("1;----").unwrap();
    assert_eq!(before, "1\r\na\r\n");
    let after = after.trim_start_matches('-');
    assert!(after.starts_with("\r\nb\r\n1\r\nc\r\n1"), "{wire:?}");
    assert!(after.ends_with("d\r\n0\r\n\r\n"), "{wire:?}");
}

/// A server that sends these bytes and closes.
fn canned(bytes: &'static [u8]) -> Endpoint {
    let listener = StdTcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Ip(listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let _ = connection.read(&mut [0; 4096]);
        let _ = connection.write_all(bytes);
    });
    endpoint
}

#[tokio::test]
async fn what_is_no_answer_is_told_apart() {
    assert!(matches!(post(&canned(b""), "/", None).await, Err(ClientError::NoAnswer)));
    assert!(matches!(post(&canned(b"SSH-2.0-x\r\n\r\n"), "/", None).await, Err(ClientError::Malformed(_))));
    let early = canned(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(rest(post(&early, "/", None).await.unwrap().body_mut()).await.unwrap(), b"ok");
    let to_the_end = canned(b"HTTP/1.0 200 OK\r\n\r\nall of it");
    assert_eq!(rest(post(&to_the_end, "/", None).await.unwrap().body_mut()).await.unwrap(), b"all of it");
    let short = canned(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
    let mut answer = post(&short, "/", None).await.unwrap();
    assert!(matches!(rest(answer.body_mut()).await, Err(ClientError::Cut)));
}

#[tokio::test]
async fn a_response_that_nobody_reads_for_a_while_is_not_given_up() {
    let (near, mut far) = tokio::io::duplex(64);
    let is_awaited = Arc::new(AtomicBool::new(false));
    let shown = Arc::clone(&is_awaited);
    let keeping = tokio::spawn(async move { keep(near, Duration::from_millis(5), &shown).await.is_ok() });
    let mut signs = [0; 8];
    tokio::time::timeout(Duration::from_secs(60), far.read_exact(&mut signs)).await.unwrap().unwrap();
    assert_eq!(&signs, b"\r\n\r\n\r\n\r\n");
    keeping.abort();
}

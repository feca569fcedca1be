//! The server from outside, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Body, Handler, Limits, Listener, Piece, ResponseBody, Server};

const LARGE_PIECES: usize = 64;
const LARGE_PIECE_BYTES: usize = 1 << 20;

/// Answers by path. Counts the handlers that run.
#[derive(Default)]
struct Paths {
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Paths {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        Box::pin(async move {
            let body = answer(request).await;
            drop(running);
            Response::new(body)
        })
    }
}

async fn answer(request: Request<Body>) -> ResponseBody {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let data = |text: &'static str| Piece::Data(Bytes::from_static(text.as_bytes()));
    match path.as_str() {
        "/echo" => {
            // Answers while the request still comes.
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                while let Some(piece) = body.next().await {
                    let piece = piece.map_or(Piece::Abort, Piece::Data);
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
            });
            let pieces =
                stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
            ResponseBody::Stream(pieces.boxed())
        }
        "/length" => {
            let mut bytes = 0;
            while let Some(piece) = body.next().await {
                match piece {
                    Ok(piece) => bytes += piece.len(),
                    Err(error) => return format!("error: {error}").into(),
                }
            }
            bytes.to_string().into()
        }
        "/trailer" => {
            let name = HeaderName::from_static("x-stream-error");
            let trailer = Piece::Trailer(name, HeaderValue::from_static("it broke"));
            ResponseBody::Stream(stream::iter([data("half"), trailer]).boxed())
        }
        "/abort" => ResponseBody::Stream(stream::iter([data("half"), Piece::Abort]).boxed()),
        "/forever" => {
            ResponseBody::Stream(stream::once(async move { data("x") }).chain(stream::pending()).boxed())
        }
        // More than fits into the buffers of a connection.
        "/large" => {
            let pieces = stream::repeat(Bytes::from(vec![b'x'; LARGE_PIECE_BYTES])).take(LARGE_PIECES);
            ResponseBody::Sized((LARGE_PIECES * LARGE_PIECE_BYTES) as u64, pieces.map(Piece::Data).boxed())
        }
        "/never" => std::future::pending().await,
        "/panic" => panic!("as the test asked"),
        "/panic-later" => {
            let pieces =
                stream::iter([1, 2]).map(move |n| if n == 1 { data("half") } else { panic!("later") });
            ResponseBody::Stream(pieces.boxed())
        }
        "/sized" | "/short" | "/long" => {
            let length = match path.as_str() {
                "/sized" => 8,
                "/short" => 9,
                _ => 7,
            };
            ResponseBody::Sized(length, stream::iter([data("half"), data("half")]).boxed())
        }
        "/empty" => ResponseBody::Empty,
        _ => "hello\n".into(),
    }
}

struct Bed {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    running: Arc<AtomicUsize>,
    server: Server,
}

async fn bed(limits: Limits) -> Bed {
    let handler = Paths::default();
    let running = Arc::clone(&handler.running);
    let server = Server::new(Arc::new(handler), limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let serving = {
        let server = server.clone();
        tokio::spawn(async move { server.serve(Listener::Tcp(listener), stopping).await })
    };
    Bed { address, stop, serving, running, server }
}

impl Bed {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that comes back for some bytes, up to the end of the connection. `Date` is left out.
    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut out = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut out)).await.unwrap().unwrap();
    let text = String::from_utf8(out).unwrap();
    text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut out = Vec::new();
    while !out.ends_with(end.as_bytes()) {
        let byte = tokio::time::timeout(Duration::from_secs(30), stream.read_u8()).await.unwrap().unwrap();
        out.push(byte);
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_their_order() {
    let bed = bed(Limits::default()).await;
    let text = bed
        .say(
            "GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
             POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345\
             POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
             HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n\
                    HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n5\
                    HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3\
                    HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\
                    HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn trailers_reach_clients_that_do_not_ask_for_them() {
    let bed = bed(Limits::default()).await;
    let text = bed.say("GET /trailer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(text.ends_with("\r\n\r\n4\r\nhalf\r\n0\r\nX-Stream-Error: it broke\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn what_went_wrong_resets_the_connection_of_a_client_that_knows_no_trailers_and_no_chunks() {
    let bed = bed(Limits::default()).await;
    for path in ["/trailer", "/abort", "/panic-later"] {
        let mut stream = bed.connect().await;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut out = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut out)).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset, "{path}");
    }
}

#[tokio::test]
async fn what_went_wrong_does_not_look_like_an_end() {
    let bed = bed(Limits::default()).await;
    for path in ["/abort", "/panic-later"] {
        let text = bed.say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(text.ends_with("4\r\nhalf\r\n"), "{path}: {text}");
    }
    let text = bed.say("GET /panic HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{text}");
    assert!(bed.say("GET / HTTP/1.0\r\n\r\n").await.ends_with("hello\n"), "and it goes on");
}

#[tokio::test]
async fn a_stream_of_known_length_is_sent_with_it_and_never_ends_early_as_if_it_were_whole() {
    let bed = bed(Limits::default()).await;
    let ask = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let close = "GET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let closed = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let text = bed.say(&(ask("HEAD", "/sized") + &ask("GET", "/sized") + &ask("GET", "/long") + close)).await;
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\
                    HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalfhalf\
                    HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhalfhal";
    assert_eq!(text, format!("{expected}{closed}"));
    let text = bed.say(&(ask("GET", "/short") + close)).await;
    assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalfhalf", "and the connection ends");
}

#[tokio::test]
async fn an_answer_streams_while_the_request_still_comes() {
    let bed = bed(Limits::default()).await;
    let mut stream = bed.connect().await;
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await
        .unwrap();
    assert!(read_until(&mut stream, "3\r\nabc\r\n").await.contains("Connection: close\r\n"));
    stream.write_all(b"2\r\nde\r\n").await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\nde\r\n").await, "2\r\nde\r\n");
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_all(&mut stream).await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_is_told_to_go_on() {
    let bed = bed(Limits::default()).await;
    let mut stream = bed.connect().await;
    let head = "POST /length HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ab").await.unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n2").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let refused =
        bed.say("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(refused, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
}

#[tokio::test]
async fn a_handler_ends_when_its_client_goes_away() {
    let bed = bed(Limits::default()).await;
    let mut stream = bed.connect().await;
    stream.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    while bed.running.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    let ended = async {
        while bed.running.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
}

#[tokio::test]
async fn a_cut_body_is_an_error_and_a_stalled_one_is_too() {
    let limits = Limits { stall_timeout: Duration::from_millis(200), ..Limits::default() };
    let bed = bed(limits).await;
    let head = "POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
    let mut stream = bed.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(read_all(&mut stream).await.contains("error: unexpected EOF"));
    assert!(bed.say(head).await.contains("error: the body of the request stalled for 200ms"));
}

#[tokio::test]
async fn a_reader_that_shows_that_it_is_there_is_waited_for_and_a_silent_one_is_not() {
    let bed = bed(Limits { stall_timeout: Duration::from_secs(2), ..Limits::default() }).await;
    let ask = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (mut reader, mut writer) = bed.connect().await.into_split();
    writer.write_all(ask).await.unwrap();
    let signs = tokio::spawn(async move {
        while writer.write_all(b"\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // It is waited for as long as three that say nothing, one after the other.
    for _ in 0..3 {
        let mut silent = bed.connect().await;
        silent.write_all(ask).await.unwrap();
        read_until(&mut silent, "\r\n\r\n").await;
        let until = tokio::time::Instant::now() + Duration::from_secs(60);
        while bed.server.connections() > 1 {
            assert!(tokio::time::Instant::now() < until, "a silent reader is waited for");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let mut read = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), reader.read_to_end(&mut read)).await.unwrap().unwrap();
    assert!(read.len() > LARGE_PIECES * LARGE_PIECE_BYTES, "{} bytes", read.len());
    signs.abort();
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let limits = Limits {
        head_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let bed = bed(limits).await;
    assert!(bed.say("GET / HT").await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(bed.say("").await, "", "an idle connection is closed without a word");
    let text = bed.say("GET /forever HTTP/1.1\r\nHost: x").await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
}

/// Many clients read the response only when their upload has ended or stalls, and take an upload that is cut off for the
/// failure of the whole.
#[tokio::test]
async fn a_client_that_sends_more_than_is_wanted_can_read_its_answer() {
    let bed = bed(Limits::default()).await;
    let (mut reader, mut writer) = bed.connect().await.into_split();
    writer.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 268435456\r\n\r\n").await.unwrap();
    let piece = vec![0; 1 << 20];
    let upload = async {
        loop {
            if let Err(error) = writer.write_all(&piece).await {
                return error;
            }
        }
    };
    let stalled = tokio::time::timeout(Duration::from_millis(300), upload).await;
    assert!(stalled.is_err(), "the upload was cut off: {stalled:?}");
    let mut response = vec![0; 17];
    reader.read_exact(&mut response).await.unwrap();
    assert_eq!(response, b"HTTP/1.1 200 OK\r\n");
}

#[tokio::test]
async fn bad_heads_are_refused_and_the_connection_ends() {
    let bed = bed(Limits::default()).await;
    let two =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /";
    let text = bed.say(two).await;
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n") && text.ends_with("is not clear\n"), "{text}");
}

#[tokio::test]
async fn there_is_room_for_so_many_connections() {
    let bed = bed(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = bed.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut first, "hello\n").await;
    assert_eq!(bed.server.connections(), 1);
    let mut second = bed.connect().await;
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 503 "));
    drop(first);
    while bed.server.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bed.say("GET / HTTP/1.0\r\n\r\n").await.ends_with("hello\n"));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_lets_answers_finish() {
    let bed = bed(Limits::default()).await;
    let mut idle = bed.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    read_until(&mut idle, "hello\n").await;
    let mut busy = bed.connect().await;
    busy.write_all(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    read_until(&mut busy, "ab\r\n").await;
    bed.stop.send_replace(true);
    assert_eq!(read_all(&mut idle).await, "");
    busy.write_all(b"cd").await.unwrap();
    assert_eq!(read_all(&mut busy).await, "2\r\ncd\r\n0\r\n\r\n");
    drop((busy, idle));
    tokio::time::timeout(Duration::from_secs(30), bed.serving).await.unwrap().unwrap();
}

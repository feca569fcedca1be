//! Over a socket: answers while the upload still runs, and clients that go away.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::http::{Limits, Listener, Server};

/// Serves a door on a free port, until it is dropped.
struct Served {
    address: std::net::SocketAddr,
    serving: tokio::task::JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Served {
    async fn new(door: &Door) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = Server::new(Arc::new(door.clone()), Limits::default());
        let serving = tokio::spawn(async move { server.serve(Listener::Tcp(listener), stopped).await });
        Self { address, serving, _stop: stop }
    }

    async fn connect(&self, path: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; \
             boundary=b\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        socket
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn chunk(socket: &mut TcpStream, data: &str) {
    socket.write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes()).await.unwrap();
}

/// Reads until the text holds `words`.
async fn read_until(socket: &mut TcpStream, seen: &mut String, words: &str) {
    let read = async {
        while !seen.contains(words) {
            let mut buffer = [0; 4096];
            let count = socket.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the connection ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    soon(read).await;
}

const PART: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_come_while_the_upload_still_runs() {
    let rig = Rig::new().await;
    let served = Served::new(&rig.door).await;
    let mut socket = served.connect("/api/v0/add?progress=true").await;
    chunk(&mut socket, PART).await;
    for _ in 0..4 {
        chunk(&mut socket, &"z".repeat(75_000)).await;
    }
    let mut seen = String::new();
    read_until(&mut socket, &mut seen, "{\"Name\":\"f\",\"Bytes\":262144}").await;
    assert!(!seen.contains("Hash"));
    for _ in 0..4 {
        chunk(&mut socket, &"z".repeat(75_000)).await;
    }
    chunk(&mut socket, "\r\n--b--\r\n").await;
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    read_until(&mut socket, &mut seen, "\r\n0\r\n\r\n").await;
    assert!(seen.contains("\"Hash\":\"QmRJtuzk1aMKRJm9bh25c9obCHp32h7bs2H5pE6hmxs6TR\""), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_in_the_middle_leaves_no_pin() {
    let rig = Rig::new().await;
    let served = Served::new(&rig.door).await;
    for bytes in [0, 1, 100_000, 600_000] {
        let mut socket = served.connect("/api/v0/add?progress=true").await;
        chunk(&mut socket, PART).await;
        if bytes > 0 {
            chunk(&mut socket, &"z".repeat(bytes)).await;
        }
        drop(socket);
    }
    // An add of our own waits for no other; when nothing runs any more, nothing was pinned.
    soon(rig.node.pool().idle()).await;
    let got = post(&rig.door, "/api/v0/pin/ls").await;
    assert_eq!(got.json(), serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_beyond_its_limit_is_refused_while_it_comes() {
    let rig = Rig::with_api("{ \"MaxUploadSize\": \"100KB\" }").await;
    let served = Served::new(&rig.door).await;
    let mut socket = served.connect("/api/v0/add").await;
    chunk(&mut socket, PART).await;
    chunk(&mut socket, &"z".repeat(60_000)).await;
    chunk(&mut socket, &"z".repeat(60_000)).await;
    let mut seen = String::new();
    read_until(&mut socket, &mut seen, "API.MaxUploadSize").await;
    assert!(seen.starts_with("HTTP/1.1 413 "), "{seen}");
}

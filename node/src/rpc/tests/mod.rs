//! The door as clients see it.

mod commands;
mod doors;
mod encoding;
mod sockets;
mod waits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Request, Response};
use serde_json::Value;

use super::{Door, Routes, Settings};
use crate::commands::registry::{Call, Registry};
use crate::commands::{Context, ContextParams};
use crate::config::Config;
use crate::http::{Body, Handler as _, Peer, Piece, ResponseBody};
use crate::rpc::{Outcome, Watch, Watched};
use crate::{Node, node};

/// What a client got.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    is_cut: bool,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn got(response: Response<ResponseBody>) -> Got {
    let (head, body) = response.into_parts();
    let mut got = Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: Vec::new(),
        trailers: HeaderMap::new(),
        is_cut: false,
    };
    match body {
        ResponseBody::Empty => {}
        ResponseBody::Full(data) => got.body = data.to_vec(),
        ResponseBody::Stream(mut pieces) | ResponseBody::Sized(_, mut pieces) => {
            while let Some(piece) = pieces.next().await {
                match piece {
                    Piece::Data(data) => got.body.extend_from_slice(&data),
                    Piece::Trailer(name, value) => drop(got.trailers.insert(name, value)),
                    Piece::Abort => got.is_cut = true,
                }
            }
        }
    }
    got
}

/// A request as a program on this machine sends it.
fn request(method: &str, uri: &str) -> http::request::Builder {
    let local = "127.0.0.1:5001".parse().unwrap();
    let remote = "127.0.0.1:40000".parse().unwrap();
    Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "127.0.0.1:5001")
        .extension(Peer::Tcp { remote, local })
}

async fn send(door: &Door, request: http::request::Builder, body: impl Into<Bytes>) -> Got {
    got(door.handle(request.body(Body::from_bytes(body)).unwrap()).await).await
}

async fn post(door: &Door, uri: &str) -> Got {
    send(door, request("POST", uri), "").await
}

/// A part of an upload.
fn part(filename: &str, content_type: &str, data: &str) -> String {
    format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\nContent-Type: {content_type}\
         \r\n\r\n{data}\r\n"
    )
}

async fn upload(door: &Door, uri: &str, parts: &[String]) -> Got {
    let body = format!("{}--b--\r\n", parts.concat());
    let request = request("POST", uri).header("content-type", "multipart/form-data; boundary=b");
    send(door, request, body).await
}

/// A node in a folder of its own, and the door to it.
struct Rig {
    door: Door,
    node: Node,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        Self::with_api("{}").await
    }

    /// With this section `API` in the config.
    async fn with_api(api: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = crate::repo_init::InitParams {
            repo: repo.clone(),
            profiles: "test".to_owned(),
            ..Default::default()
        };
        node::init(&params, &mut |_| {}).unwrap();
        let path = repo.join("config");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["API"] = serde_json::from_str(api).unwrap();
        std::fs::write(&path, config.to_string()).unwrap();
        let node = Node::builder().repo(&repo).maintenance(false).open().await.unwrap();
        let params = ContextParams { repo_dir: repo, config_file: None, program: "ipfs".to_owned() };
        let context = Context::of_node(params, node.clone());
        let door = Door::new(context, Arc::new(crate::commands::registry()), settings(api));
        Self { door, node, _folder: folder }
    }
}

fn settings(api: &str) -> Settings {
    let config = Config::parse(&format!("{{ \"API\": {api} }}")).unwrap();
    Settings::of_config(&config).unwrap()
}

/// A door to commands of a test, without a repo.
fn door_to(registry: Registry, api: &str) -> Door {
    let params =
        ContextParams { repo_dir: PathBuf::default(), config_file: None, program: "ipfs".to_owned() };
    Door::new(Context::new(params), Arc::new(registry), settings(api))
}

/// Waits for something that has to come, and fails if it does not.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it never came")
}

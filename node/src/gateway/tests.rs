//! The door from inside: content that does not come.

use std::sync::mpsc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::Request;
use serde_json::json;
use tokio::sync::Semaphore;

use super::door::{Running, watched};
use super::{Gateway, Settings};
use crate::config::Config;
use crate::http::{Body, Handler as _, Piece, ResponseBody};
use crate::runtime::Runtime;
use crate::{Node, node};

/// A node with one thread for short work.
async fn narrow_node(folder: &std::path::Path) -> Node {
    let repo = folder.join("repo");
    let params = crate::repo_init::InitParams {
        repo: repo.clone(),
        profiles: "test".to_owned(),
        ..Default::default()
    };
    node::init(&params, &mut |_| {}).unwrap();
    Node::builder().repo(&repo).maintenance(false).threads(1).open().await.unwrap()
}

async fn status(gateway: &Gateway, path: &str) -> (u16, Option<String>) {
    let request = Request::get(path).body(Body::from_bytes("")).unwrap();
    let answer = gateway.handle(request).await;
    let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), retry)
}

#[tokio::test]
async fn content_that_does_not_come_in_time_is_a_504_and_the_next_request_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = narrow_node(folder.path()).await;
    let mut config = Config::defaults();
    config.put("Gateway.RetrievalTimeout", json!("50ms"));
    let runtime = Runtime::new();
    let settings = Settings::of_config(&config).unwrap();
    let gateway = Gateway::new(node.clone(), settings, runtime.metrics().clone());
    // The thread that would read it is busy.
    let (release, released) = mpsc::channel::<()>();
    let busy = node.pool().start(move || released.recv().is_ok());
    let path = "/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    assert_eq!(status(&gateway, path).await, (504, Some("60".to_owned())));
    let text = runtime.metrics().text(None, None);
    assert!(
        text.contains("ipfs_http_gw_retrieval_timeouts_total{code=\"504\",truncated=\"false\"} 1"),
        "{text}"
    );
    assert!(text.contains("ipfs_http_gw_concurrent_requests 0"), "{text}");
    release.send(()).unwrap();
    assert_eq!(busy.await, Ok(true));
    // Time is no matter any more: nobody has it.
    let patient = Gateway::new(node, Settings::default(), runtime.metrics().clone());
    assert_eq!(status(&patient, path).await, (404, None));
}

#[tokio::test]
async fn an_answer_whose_content_stops_coming_is_cut_and_its_place_is_free() {
    let runtime = Runtime::new();
    let room = std::sync::Arc::new(Semaphore::new(1));
    let permit = std::sync::Arc::clone(&room).try_acquire_owned().unwrap();
    let running = Running::new(runtime.metrics().clone(), permit);
    let first = Piece::Data("first".into());
    let body = ResponseBody::Sized(9, stream::iter([first.clone()]).chain(stream::pending()).boxed());
    let body = watched(body, running, Some(Duration::from_millis(50)), None);
    let ResponseBody::Sized(9, pieces) = body else { panic!("{body:?}") };
    let pieces: Vec<Piece> = pieces.collect().await;
    assert_eq!(pieces, [first, Piece::Abort]);
    assert_eq!(room.available_permits(), 1);
    let text = runtime.metrics().text(None, None);
    assert!(
        text.contains("ipfs_http_gw_retrieval_timeouts_total{code=\"200\",truncated=\"true\"} 1"),
        "{text}"
    );
}

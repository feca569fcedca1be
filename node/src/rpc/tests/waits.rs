//! Calls that wait for what others have.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use holdfast_dag::cid::Cid;

use super::{Rig, got, post, request, soon};
use crate::fetch::{Exchange, Session, Tried};
use crate::http::{Body, Handler as _};

/// Peers that say nothing.
#[derive(Clone)]
struct Silent;

impl Exchange for Silent {
    fn session(&self, _: &Cid) -> Arc<dyn Session> {
        Arc::new(Self)
    }

    fn stored(&self, _: Vec<(Cid, u64)>) {}
}

impl Session for Silent {
    fn get(&self, _: Vec<Cid>) -> BoxStream<'static, (Cid, Bytes)> {
        stream::pending().boxed()
    }

    fn tried(&self) -> Tried {
        Tried { peers: vec!["12D3KooWTest".to_owned()], peers_asked: 3, dont_have: 2, searches: 1 }
    }
}

const MISSING: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
/// One whose links have to be read.
const FOLDER: &str = "QmYmW4HiZhotsoSqnv2o1oSssvkRM8b9RweBoH7ao5nki2";

async fn online() -> Rig {
    let rig = Rig::new().await;
    rig.node.fetch().set_exchange(Some(Arc::new(Silent)));
    rig
}

#[tokio::test]
async fn a_timeout_names_the_missing_block_and_who_was_asked() {
    let rig = online().await;
    for command in ["cat", "block/get", "pin/add", "dag/stat", "files/stat"] {
        let arg = if command == "files/stat" { format!("/ipfs/{MISSING}") } else { MISSING.to_owned() };
        let answer = soon(post(&rig.door, &format!("/api/v0/{command}?arg={arg}&timeout=2s"))).await;
        let json = answer.json();
        let words = json["Message"].as_str().unwrap();
        assert!(words.starts_with("context deadline exceeded: waited for block "), "{command}: {words}");
        assert!(words.contains(MISSING), "{command}: {words}");
        let tried = "3 peers asked (12D3KooWTest, ...), 2 of them do not have it, 1 search for providers";
        assert!(words.ends_with(tried), "{command}: {words}");
    }
}

#[tokio::test]
async fn refs_tell_as_a_value_that_their_time_is_over_and_as_an_error_where_the_path_took_it() {
    let rig = online().await;
    let answer = soon(post(&rig.door, &format!("/api/v0/refs?arg={FOLDER}&timeout=2s"))).await;
    assert_eq!((answer.status, &answer.json()["Ref"]), (200, &serde_json::json!("")));
    assert!(answer.trailers.is_empty(), "{:?}", answer.trailers);
    let words = answer.json()["Err"].as_str().unwrap().to_owned();
    assert!(
        words.starts_with("context deadline exceeded: waited for block ") && words.contains(FOLDER),
        "{words}"
    );
    let answer = soon(post(&rig.door, &format!("/api/v0/refs?arg={FOLDER}/a&timeout=2s"))).await;
    assert_eq!(answer.status, 500);
    assert!(answer.json()["Message"].as_str().unwrap().contains(FOLDER));
}

#[tokio::test]
async fn a_call_that_is_offline_waits_for_nobody() {
    let rig = online().await;
    let answer = soon(post(&rig.door, &format!("/api/v0/cat?arg={MISSING}&offline=true"))).await;
    let words = format!("block was not found locally (offline): ipld: could not find {MISSING}");
    assert_eq!(answer.json()["Message"], words);
}

#[tokio::test]
async fn what_a_call_waits_for_can_be_asked_by_its_mark_until_it_goes_away() {
    let rig = online().await;
    let door = rig.door.clone();
    let call = request("POST", &format!("/api/v0/cat?arg={MISSING}")).header("x-holdfast-call", "mine");
    let call = call.body(Body::from_bytes("")).unwrap();
    let waiting = tokio::spawn(async move { got(door.handle(call).await).await });
    let waits = async || post(&rig.door, "/api/v0/diag/waits?call=mine").await.json();
    let wait = soon(async {
        loop {
            if let Some(wait) = waits().await.get(0) {
                return wait.clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((wait["Command"].as_str(), wait["Cid"].as_str()), (Some("cat"), Some(MISSING)));
    assert_eq!(wait["Peers"][0], "12D3KooWTest");
    assert_eq!(post(&rig.door, "/api/v0/diag/waits?call=other").await.text(), "[]\n");
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(waits().await, serde_json::json!([]));
}

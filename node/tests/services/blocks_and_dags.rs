//! Single blocks and IPLD values.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use holdfast::services::blocks::{BlockPutError, BlockPutOptions};
use holdfast::services::dag::DagPutOptions;
use holdfast::services::unixfs::add::AddOptions;
use holdfast::services::verify::{Verified, VerifyParams};
use holdfast_dag::cid::{codec, parse_cid};
use holdfast_dag::hash::HashKind;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::RefsOptions;

use crate::support::TestNode;

#[tokio::test]
async fn blocks_are_named_as_asked() {
    let test = TestNode::new().await;
    let put = async |data: &'static [u8], options| {
        test.node.blocks().put(Bytes::from_static(data), options).await.unwrap().cid.to_string()
    };
    let options = BlockPutOptions::default();
    let hello = b"hello holdfast\n";
    assert_eq!(put(hello, options).await, "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm");
    let sha512 = BlockPutOptions { hash: HashKind::Sha2_512, ..options };
    assert!(
        put(hello, sha512).await.starts_with("bafkrgqh7tz4hyl2oexxabembigrwgrxd7pgzrvigl7xxdaqtz5j7hm4kfv7")
    );
    let v0 = BlockPutOptions { codec: codec::DAG_PB, v0: true, ..options };
    assert_eq!(put(b"", v0).await, "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n");
    let big = test.node.blocks().put(vec![0; 3 << 20].into(), options).await.unwrap_err();
    assert!(matches!(big, BlockPutError::TooBig));
    test.node
        .blocks()
        .put(vec![0; 3 << 20].into(), BlockPutOptions { allow_big: true, ..options })
        .await
        .unwrap();
}

#[tokio::test]
async fn pinned_blocks_stay_and_missing_ones_are_named() {
    let test = TestNode::new().await;
    let options = BlockPutOptions::default();
    let pinned = BlockPutOptions { pin: true, ..options };
    let kept = test.node.blocks().put(Bytes::from("kept"), pinned).await.unwrap().cid;
    let gone = test.node.blocks().put(Bytes::from("gone"), options).await.unwrap().cid;
    let missing = parse_cid("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG").unwrap();
    let removed = test.node.blocks().remove(vec![kept, gone, missing], false).await.unwrap();
    let words: Vec<_> = removed.iter().map(|one| one.error.as_ref().map(ToString::to_string)).collect();
    let not_found = "ipld: could not find QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    assert_eq!(words, [Some("pinned: recursive".to_owned()), None, Some(not_found.to_owned())]);
    assert!(test.node.blocks().get(&gone).await.is_err());
    assert_eq!(test.node.blocks().stat(&kept).await.unwrap().size, 4);
    assert!(test.node.blocks().remove(vec![missing], true).await.unwrap()[0].error.is_none());
}

#[tokio::test]
async fn values_go_in_as_json_and_come_out_by_path() {
    let test = TestNode::new().await;
    test.write("hello.txt", "hello holdfast\n");
    let hello = test.add(&test.path("hello.txt"), AddOptions::default()).await[0].cid;
    let text =
        format!("{{\"hello\":\"worldholdfast\",\"n\":[1,2,{{\"x\":null}}],\"l\":{{\"/\":\"{hello}\"}}}}");
    let cid = test.node.dag().put(Bytes::from(text), DagPutOptions::default()).await.unwrap();
    assert_eq!(cid.to_string(), "bafyreifnigvfwh25murkv74z44nh7pfbc36w7notzs4hejv3z7g3vhrmfe");
    let get = async |path: &str| {
        let path = ContentPath::parse_user(&format!("{cid}{path}")).unwrap();
        let value = test.node.dag().get(&path, codec::DAG_JSON).await;
        value.map(|value| String::from_utf8(value).unwrap()).map_err(|error| error.to_string())
    };
    assert_eq!(get("/n/2/x").await.unwrap(), "null");
    assert_eq!(get("/n").await.unwrap(), "[1,2,{\"x\":null}]");
    let linked = get("/l").await.unwrap();
    assert_eq!(linked, "{\"Data\":{\"/\":{\"bytes\":\"CAISD2hlbGxvIGhvbGRmYXN0ChgP\"}},\"Links\":[]}");
    assert_eq!(get("/zzz").await.unwrap_err(), "key not found: \"zzz\"");
    let bad = test.node.dag().put(Bytes::from("{\"hello\":"), DagPutOptions::default()).await.unwrap_err();
    assert_eq!(bad.to_string(), "EOF");
}

#[tokio::test]
async fn links_and_blocks_are_listed() {
    let test = TestNode::new().await;
    test.write("dir/a", "a");
    test.write("dir/sub/b", "b");
    let root = test.add(&test.path("dir"), AddOptions::default()).await.pop().unwrap().cid;
    let direct: Vec<_> = test.node.refs(vec![root], RefsOptions::default()).try_collect().await.unwrap();
    assert_eq!(direct.len(), 2);
    let options = RefsOptions { recursive: true, ..RefsOptions::default() };
    let all: Vec<_> = test.node.refs(vec![root], options).try_collect().await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(&all[1].link_name[..], b"sub");
    let local: Vec<_> = test.node.local_refs().try_concat().await.unwrap();
    assert_eq!(local.len(), 4);
    let verified: Vec<_> = test.node.repo_verify(VerifyParams::default()).try_collect().await.unwrap();
    assert_eq!(verified.len(), 4);
    assert!(verified.iter().all(|event| matches!(event, Verified::Block { damage: None, .. })));
    let stats: Vec<_> = test.node.dag().stat(vec![root, root]).try_collect().await.unwrap();
    let stats = stats.last().unwrap();
    assert_eq!((stats.unique_blocks, stats.dags[0].blocks), (4, 4));
    assert_eq!(stats.shared_size, stats.total_size);
}

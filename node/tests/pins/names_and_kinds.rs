//! One CID is pinned again: under another name, as another kind, under its other version.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use holdfast::services::dag::{ExportOptions, ImportEvent, ImportOptions};
use holdfast::services::pins::{PinHow, PinTypes};
use holdfast::services::unixfs::add::{AddEvent, AddOptions, DiskSource, Root, WalkOptions};
use holdfast_dag::cid::codec;

use crate::support::{PinNode, other_version};

#[tokio::test]
async fn a_second_pin_of_a_kind_brings_its_name_along() {
    let test = PinNode::new().await;
    let leaf = test.leaf("kept").await;
    test.pin(leaf, true, "first").await.unwrap();
    assert_eq!(test.state(leaf).await, Some((PinHow::Recursive, "first".to_owned())));
    test.pin(leaf, true, "second").await.unwrap();
    assert_eq!(test.state(leaf).await, Some((PinHow::Recursive, "second".to_owned())));
    test.pin(leaf, true, "").await.unwrap();
    assert_eq!(test.state(leaf).await, Some((PinHow::Recursive, String::new())));
}

#[tokio::test]
async fn a_direct_pin_becomes_recursive_and_never_the_other_way() {
    let test = PinNode::new().await;
    let leaf = test.leaf("kept").await;
    test.pin(leaf, false, "direct").await.unwrap();
    assert_eq!(test.state(leaf).await, Some((PinHow::Direct, "direct".to_owned())));
    test.pin(leaf, true, "recursive").await.unwrap();
    let refused = test.pin(leaf, false, "again").await.unwrap_err();
    assert_eq!(refused.to_string(), format!("pin: {leaf} already pinned recursively"));
    let direct = test.node.pins().states(vec![leaf], PinTypes::Direct).await.unwrap();
    assert_eq!(direct, [None], "the recursive pin took the place of the direct one");
    let refused = test.node.pins().remove(leaf, false).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("{leaf} is pinned recursively"));
    test.node.pins().remove(leaf, true).await.unwrap();
    let refused = test.node.pins().remove(leaf, true).await.unwrap_err();
    assert_eq!(refused.to_string(), "not pinned or pinned indirectly");
}

#[tokio::test]
async fn what_other_commands_pin_takes_the_place_of_a_direct_pin_too() {
    let test = PinNode::new().await;
    let leaf = test.leaf("kept").await;
    test.pin(leaf, false, "direct").await.unwrap();
    let options = holdfast::services::blocks::BlockPutOptions { pin: true, ..Default::default() };
    test.node.blocks().put("kept".into(), options).await.unwrap();
    assert_eq!(test.state(leaf).await, Some((PinHow::Recursive, String::new())));
    let direct = test.node.pins().states(vec![leaf], PinTypes::Direct).await.unwrap();
    assert_eq!(direct, [None]);
}

/// `add` and `dag import` of what is pinned under a name: the pin has the name that they give, which may be none.
#[tokio::test]
async fn adding_or_importing_what_is_pinned_gives_the_pin_its_name() {
    let test = PinNode::new().await;
    let file = test.folder.path().join("file");
    std::fs::write(&file, "contents").unwrap();
    let add = async |pin_name: &str| {
        let source = DiskSource::new(vec![Root::Path(file.clone())], WalkOptions::default()).unwrap();
        let options = AddOptions { pin_name: pin_name.to_owned(), ..AddOptions::default() };
        let events: Vec<AddEvent> = test.node.unixfs().add(source, options).try_collect().await.unwrap();
        let added = events.into_iter().find_map(|event| match event {
            AddEvent::Added(added) => Some(added.cid),
            _ => None,
        });
        added.unwrap()
    };
    let cid = add("first").await;
    assert_eq!(test.state(cid).await, Some((PinHow::Recursive, "first".to_owned())));
    test.pin(cid, true, "second").await.unwrap();
    assert_eq!(add("").await, cid);
    assert_eq!(test.state(cid).await, Some((PinHow::Recursive, String::new())));

    test.pin(cid, true, "third").await.unwrap();
    let export = test.node.dag().export(&cid, ExportOptions::default()).await.unwrap();
    let car: Vec<Bytes> = export.try_collect().await.unwrap();
    let archive: Box<dyn std::io::Read + Send> = Box::new(std::io::Cursor::new(car.concat()));
    let events = test.node.dag().import(vec![Ok(archive)].into_iter(), ImportOptions::default());
    let events: Vec<ImportEvent> = events.try_collect().await.unwrap();
    assert_eq!(events, [ImportEvent::Root { cid, error: None }]);
    assert_eq!(test.state(cid).await, Some((PinHow::Recursive, String::new())));
}

#[tokio::test]
async fn a_pin_is_of_a_cid_and_not_of_its_block() {
    let test = PinNode::new().await;
    let options =
        holdfast::services::blocks::BlockPutOptions { codec: codec::DAG_PB, v0: true, ..Default::default() };
    let v0 = test.node.blocks().put("\x0a\x04\x08\x02\x18\x00".into(), options).await.unwrap().cid;
    let v1 = other_version(&v0);
    test.pin(v0, true, "v0").await.unwrap();
    assert_eq!(test.state(v1).await, None);
    test.pin(v1, false, "v1").await.unwrap();
    assert_eq!(test.state(v0).await, Some((PinHow::Recursive, "v0".to_owned())));
    assert_eq!(test.state(v1).await, Some((PinHow::Direct, "v1".to_owned())));
    test.node.pins().remove(v0, true).await.unwrap();
    assert_eq!(test.state(v1).await, Some((PinHow::Direct, "v1".to_owned())));
    let removed = test.node.blocks().remove(vec![v0], false).await.unwrap();
    assert!(removed[0].error.is_some(), "the block is kept by the pin of its other CID");
}

#[tokio::test]
async fn a_name_holds_255_bytes() {
    let test = PinNode::new().await;
    let leaf = test.leaf("kept").await;
    let longest = "\u{e4}".repeat(127) + "x";
    test.pin(leaf, true, &longest).await.unwrap();
    assert_eq!(test.state(leaf).await.unwrap().1, longest);
    let refused = test.pin(leaf, true, &"\u{e4}".repeat(128)).await.unwrap_err();
    assert_eq!(refused.to_string(), "pin name is 256 bytes (max 255 bytes)");
    assert_eq!(test.state(leaf).await.unwrap().1, longest, "the pin is as it was");
}

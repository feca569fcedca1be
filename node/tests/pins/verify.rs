//! A disk rots: `pin verify` names the pins that are no longer whole, and what of them is bad.

use futures_util::TryStreamExt as _;
use holdfast::services::pins::PinVerified;

use crate::support::PinNode;

#[tokio::test]
async fn every_pin_that_a_bad_block_belongs_to_is_named_and_no_other() {
    let test = PinNode::new().await;
    let (bad, good) = (test.leaf("a leaf that rots").await, test.leaf("a leaf that stays").await);
    let shared = test.branch("a shared branch", &[bad, good]).await;
    let mut broken =
        vec![test.branch("first", &[shared]).await, test.branch("second", &[shared, good]).await];
    let mut sound = vec![test.branch("third", &[good]).await, good];
    for cid in broken.iter().chain(&sound) {
        test.pin(*cid, true, "").await.unwrap();
    }
    let verify = async || test.node.pins().verify().try_collect::<Vec<PinVerified>>().await.unwrap();
    assert!(verify().await.iter().all(|pin| pin.bad_nodes.is_empty()));

    test.damage(bad, b"a leaf that rots").await;
    let verified = verify().await;
    let mut named: Vec<_> =
        verified.iter().filter(|pin| !pin.bad_nodes.is_empty()).map(|pin| pin.cid).collect();
    let mut others: Vec<_> =
        verified.iter().filter(|pin| pin.bad_nodes.is_empty()).map(|pin| pin.cid).collect();
    for list in [&mut named, &mut others, &mut broken, &mut sound] {
        list.sort();
    }
    assert_eq!((named, others), (broken.clone(), sound));
    for pin in verified.iter().filter(|pin| !pin.bad_nodes.is_empty()) {
        assert_eq!(pin.bad_nodes.len(), 1);
        assert_eq!(pin.bad_nodes[0].cid, bad);
        assert!(pin.bad_nodes[0].error.contains("damaged"), "{:?}", pin.bad_nodes);
    }
    let error = test.pin(shared, true, "").await.unwrap_err();
    let words = format!("pin: block {bad} is damaged on disk");
    assert!(error.to_string().starts_with(&words), "a damaged block cannot be pinned: {error}");

    assert_eq!(test.leaf("a leaf that rots").await, bad);
    assert!(verify().await.iter().all(|pin| pin.bad_nodes.is_empty()), "adding it again repairs it");
}

/// Nobody has read the branch since its bytes went bad: verification reads blocks that have links.
#[tokio::test]
async fn damage_that_nobody_knows_of_yet_is_found_in_blocks_with_links() {
    let test = PinNode::new().await;
    let root = test.branch("the root of it all", &[test.leaf("leaf").await]).await;
    test.pin(root, true, "").await.unwrap();
    let segments = test.folder.path().join("repo/segments");
    for entry in std::fs::read_dir(segments).unwrap() {
        let path = entry.unwrap().path();
        let text = b"the root of it all";
        let mut data = std::fs::read(&path).unwrap();
        let at = data.windows(text.len()).position(|window| window == text).unwrap();
        data[at] = b'T';
        std::fs::write(&path, data).unwrap();
    }
    let verified: Vec<_> = test.node.pins().verify().try_collect().await.unwrap();
    assert_eq!((verified[0].cid, verified[0].bad_nodes[0].cid), (root, root));
}

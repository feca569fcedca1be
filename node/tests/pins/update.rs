//! `pin update`: the new pin comes and the old one goes in one step, and only the difference is walked.

use holdfast::services::pins::{PinHow, PinProgress};
use holdfast_dag::cid::{Cid, parse_cid};

use crate::support::PinNode;

/// A tree of `width` folders with `width` leaves each, where one leaf of folder 3 has this text.
async fn tree(test: &PinNode, width: usize, text: &str) -> Cid {
    let mut folders = Vec::new();
    for folder in 0..width {
        let mut leaves = Vec::new();
        for leaf in 0..width {
            let same = format!("leaf {folder} {leaf}");
            leaves.push(test.leaf(if (folder, leaf) == (3, 3) { text } else { &same }).await);
        }
        folders.push(test.branch(&format!("folder {folder}"), &leaves).await);
    }
    test.branch("root", &folders).await
}

#[tokio::test]
async fn only_the_difference_is_walked_and_all_of_the_new_dag_is_kept() {
    let test = PinNode::new().await;
    let (old, new) = (tree(&test, 12, "old").await, tree(&test, 12, "new").await);
    test.pin(old, true, "site").await.unwrap();
    let progress = PinProgress::default();
    test.node.pins().update(old, new, true, &progress).await.unwrap();
    assert_eq!(progress.nodes(), 3, "the root, the folder, the leaf");
    assert_eq!(test.state(old).await, None);
    assert_eq!(test.state(new).await, Some((PinHow::Recursive, "site".to_owned())));
    let same = test.leaf("leaf 7 7").await;
    assert_eq!(test.state(same).await, PinNode::through(new));
    let verified: Vec<_> = futures_util::TryStreamExt::try_collect(test.node.pins().verify()).await.unwrap();
    assert!(verified.len() == 1 && verified[0].bad_nodes.is_empty(), "{verified:?}");
}

#[tokio::test]
async fn the_old_pin_stays_if_asked_to() {
    let test = PinNode::new().await;
    let (old, new) = (tree(&test, 4, "old").await, tree(&test, 4, "new").await);
    test.pin(old, true, "site").await.unwrap();
    test.node.pins().update(old, new, false, &PinProgress::default()).await.unwrap();
    for cid in [old, new] {
        assert_eq!(test.state(cid).await, Some((PinHow::Recursive, "site".to_owned())));
    }
}

#[tokio::test]
async fn refusals_are_those_of_kubo() {
    let test = PinNode::new().await;
    let (a, b) = (test.leaf("a").await, test.leaf("b").await);
    let update = async |from, to| {
        let done = test.node.pins().update(from, to, true, &PinProgress::default()).await;
        done.err().map(|error| error.to_string())
    };
    let not_pinned = Some("'from' cid was not recursively pinned already".to_owned());
    assert_eq!(update(a, b).await, not_pinned);
    test.pin(a, false, "").await.unwrap();
    assert_eq!(update(a, b).await, not_pinned, "a direct pin is not enough");
    test.pin(a, true, "").await.unwrap();
    assert_eq!(update(a, a).await, None, "nothing to do");
    test.pin(b, true, "").await.unwrap();
    assert_eq!(update(a, b).await.unwrap(), "'to' cid was already recursively pinned");
    let missing = parse_cid("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG").unwrap();
    let offline = "block was not found locally (offline): ipld: could not find";
    assert_eq!(update(a, missing).await.unwrap(), format!("get {missing}: {offline} {missing}"));
    let lacking = test.branch("lacking", &[missing]).await;
    assert_eq!(update(a, lacking).await.unwrap(), format!("{offline} {missing}"));
    assert_eq!(test.state(a).await, Some((PinHow::Recursive, String::new())), "all of it or nothing");
}

#[tokio::test]
async fn a_direct_pin_of_the_new_root_stays_beside_the_recursive_one() {
    let test = PinNode::new().await;
    let (a, b) = (test.leaf("a").await, test.leaf("b").await);
    test.pin(a, true, "site").await.unwrap();
    test.pin(b, false, "direct").await.unwrap();
    test.node.pins().update(a, b, true, &PinProgress::default()).await.unwrap();
    assert_eq!(test.state(b).await, Some((PinHow::Recursive, "site".to_owned())));
    let pins = test.node.store().pins().of(&b).unwrap();
    assert_eq!(pins.direct.unwrap().name, "direct");
    test.node.pins().remove(b, true).await.unwrap();
    assert_eq!(test.state(b).await, None, "both are removed together");
}

/// `pin update` from A to B against `pin rm` of A: at no moment is B acknowledged with blocks that nobody kept.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_old_pin_goes_away_fails_and_pins_nothing() {
    let test = PinNode::new().await;
    for round in 0..60 {
        let shared = test.leaf(&format!("shared {round}")).await;
        let old = test.branch(&format!("old {round}"), &[shared]).await;
        let new = test.branch(&format!("new {round}"), &[shared]).await;
        test.pin(old, true, "").await.unwrap();
        let remover = test.node.clone();
        let removing = tokio::spawn(async move {
            let removed = remover.pins().remove(old, true).await.is_ok();
            let gone = remover.blocks().remove(vec![shared], false).await.unwrap()[0].error.is_none();
            (removed, gone)
        });
        let updated = test.node.pins().update(old, new, true, &PinProgress::default()).await;
        let (removed, gone) = removing.await.unwrap();
        assert!(updated.is_ok() != removed, "round {round}: the old pin went away once");
        assert!(!(updated.is_ok() && gone), "round {round}: what the new pin needs was deleted");
        assert_eq!(test.state(new).await.is_some(), updated.is_ok(), "round {round}");
    }
}

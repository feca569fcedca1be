//! Paths: the directories above are renewed, the rest is shared.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::import::ImportParams;

#[test]
fn a_path_is_copied_and_the_rest_is_shared() {
    let (memory, params) = (Memory::default(), ImportParams::default());
    let mut overlay = Overlay::new(&memory);
    let empty = dir::empty(&mut overlay, V0).unwrap();
    let mut tree = Tree::new(&mut overlay, &params, empty.cid);
    for path in [vec!["a"], vec!["a", "b"], vec!["a", "b", "c"], vec!["z"]] {
        tree.put(&path, empty).unwrap();
    }
    let before = tree.root();
    let file = FileEdit::create(tree.overlay(), V0);
    let mut tree = Tree::new(&mut overlay, &params, before);
    tree.put(&["a", "b", "f"], file).unwrap();
    assert_eq!(tree.lookup(&["a", "b", "f"]).unwrap(), Found::Entry(file));
    assert_eq!(tree.lookup(&["a", "x", "f"]).unwrap(), Found::Absent(1));
    assert_eq!(tree.lookup(&["a", "b", "f", "g"]).unwrap(), Found::NotADirectory(3));
    assert_eq!(tree.lookup(&[""; 0]).unwrap(), Found::Root(tree.root()));
    assert!(matches!(tree.put(&["no", "where"], file), Err(EditError::NoParent)));
    assert!(matches!(tree.put(&["a", "b", "f", "g"], file), Err(EditError::NotADirectory { .. })));
    assert!(!tree.remove(&["a", "nothing"]).unwrap());
    assert!(tree.remove(&["a", "b", "f"]).unwrap());
    assert_eq!(tree.root(), before, "the same entries give the same root");
    // Only what the root needs is handed out: the empty directory, b, a and the root itself.
    let blocks = overlay.finish(&before);
    assert_eq!(blocks.len(), 4);
    assert_eq!(blocks.last().map(|block| block.cid), Some(before));
}

#[test]
fn the_root_is_named_as_the_rules_say_and_directories_below_as_they_were() {
    let (memory, v1) = (Memory::default(), ImportParams { cid: V1, ..ImportParams::default() });
    let mut overlay = Overlay::new(&memory);
    let empty = dir::empty(&mut overlay, V0).unwrap();
    let mut tree = Tree::new(&mut overlay, &v1, empty.cid);
    tree.put(&["a"], empty).unwrap();
    tree.put(&["a", "b"], empty).unwrap();
    assert_eq!(tree.root().version(), Version::V1);
    assert_eq!(tree.lookup(&["a"]).unwrap().cid().unwrap().version(), Version::V0);
}

/// Directories by path; every directory's parent is there too.
type Model = BTreeSet<Vec<u8>>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_of_directories_follows_its_model(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(b'a'..b'd', 1..5)), 1..60)
    ) {
        let (memory, params) = (Memory::default(), ImportParams { hamt_threshold_bytes: 80, hamt_fanout: 8, ..ImportParams::default() });
        let mut overlay = Overlay::new(&memory);
        let empty = dir::empty(&mut overlay, V0).unwrap();
        let mut tree = Tree::new(&mut overlay, &params, empty.cid);
        let mut model = Model::new();
        for (put, path) in &steps {
            let segments: Vec<[u8; 1]> = path.iter().map(|name| [*name]).collect();
            let parent = path.len() == 1 || model.contains(&path[..path.len() - 1]);
            let under = |other: &Vec<u8>| other.starts_with(path);
            if *put {
                let done = tree.put(&segments, empty);
                prop_assert_eq!(done.is_ok(), parent);
                if parent {
                    model.retain(|other| !under(other));
                    model.insert(path.clone());
                }
            } else {
                let done = tree.remove(&segments);
                if parent {
                    prop_assert_eq!(done.unwrap(), model.contains(path));
                    model.retain(|other| !under(other));
                } else {
                    prop_assert!(matches!(done, Err(EditError::NoParent)));
                }
            }
        }
        let edited = tree.root();
        // The same tree, built in the order of its paths.
        let mut tree = Tree::new(&mut overlay, &params, empty.cid);
        for path in &model {
            let segments: Vec<[u8; 1]> = path.iter().map(|name| [*name]).collect();
            prop_assert!(matches!(Tree::new(tree.overlay(), &params, edited).lookup(&segments), Ok(Found::Entry(_))));
            tree.put(&segments, empty).unwrap();
        }
        prop_assert_eq!(tree.root(), edited);
    }
}

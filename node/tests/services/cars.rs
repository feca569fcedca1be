//! DAGs leave as archives and come back.

use std::io::Read;

use futures_util::TryStreamExt as _;
use holdfast::services::dag::{DagImportError, ExportOptions, ImportEvent, ImportOptions};
use holdfast::services::unixfs::CatOptions;
use holdfast::services::unixfs::add::AddOptions;
use holdfast_dag::cid::Cid;

use crate::support::{TestNode, noise};

async fn export(test: &TestNode, root: Cid) -> Vec<u8> {
    let archive = test.node.dag().export(&root, ExportOptions::default()).await.unwrap();
    archive.try_collect::<Vec<_>>().await.unwrap().concat()
}

async fn import(
    test: &TestNode,
    car: Vec<u8>,
    options: ImportOptions,
) -> Result<Vec<ImportEvent>, DagImportError> {
    let archive: Box<dyn Read + Send> = Box::new(std::io::Cursor::new(car));
    test.node.dag().import(std::iter::once(Ok(archive)), options).try_collect().await
}

#[tokio::test]
async fn an_exported_dag_is_imported_whole_and_pinned() {
    let (from, to) = (TestNode::new().await, TestNode::new().await);
    from.write("dir/big", noise(9_000_000, 1));
    for index in 0..100 {
        from.write(&format!("dir/small/{index}"), noise(1_500, index + 2));
    }
    let root = from.add(&from.path("dir"), AddOptions::default()).await.pop().unwrap().cid;
    let car = export(&from, root).await;
    let options = ImportOptions { stats: true, ..ImportOptions::default() };
    let events = import(&to, car.clone(), options).await.unwrap();
    assert_eq!(events[0], ImportEvent::Root { cid: root, error: None });
    assert!(
        matches!(events[1], ImportEvent::Stats { blocks, .. } if blocks == to.node.repo_stat().await.unwrap().blocks)
    );
    assert!(to.is_pinned(root).await);
    assert!(export(&to, root).await == car);
    let big = to.node.resolve_block(&format!("/ipfs/{root}/big").parse_path()).await.unwrap();
    assert!(to.cat(big, CatOptions::default()).await == noise(9_000_000, 1));
}

trait ParsePath {
    fn parse_path(&self) -> holdfast_dag::path::ContentPath;
}

impl ParsePath for String {
    fn parse_path(&self) -> holdfast_dag::path::ContentPath {
        holdfast_dag::path::ContentPath::parse(self).unwrap()
    }
}

#[tokio::test]
async fn incomplete_and_damaged_archives_pin_nothing() {
    let (from, to) = (TestNode::new().await, TestNode::new().await);
    let root = from.add(&from.write("file", noise(3_000_000, 5)), AddOptions::default()).await[0].cid;
    let car = export(&from, root).await;
    // The last leaf is missing: the archive is sound, the DAG is not complete.
    let events = from.node.dag().stat(vec![root]).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(events.last().unwrap().unique_blocks, 13);
    let last = 3_000_000 - 11 * 262_144 + 14;
    let whole_sections = car.len() - last - 2 - 36;
    let cut = import(&to, car[..whole_sections + 10].to_vec(), ImportOptions::default()).await;
    assert!(cut.unwrap_err().to_string().starts_with("import failed after block \""));
    assert!(!to.is_pinned(root).await);
    // A flipped bit in a leaf.
    let mut flipped = car.clone();
    flipped[whole_sections - 1000] ^= 1;
    let error = import(&to, flipped, ImportOptions::default()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("import failed at block \"") && error.contains("does not match its hash"),
        "{error}"
    );
    assert!(!to.is_pinned(root).await);
    // And the sound one.
    import(&to, car, ImportOptions::default()).await.unwrap();
    assert!(to.is_pinned(root).await);
}

#[tokio::test]
async fn what_is_no_archive_is_refused_in_kubos_words() {
    let test = TestNode::new().await;
    let error = import(&test, b"junk".to_vec(), ImportOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "unexpected EOF");
}

//! Adds that meet what cannot be read, and adds that are given up.

use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use futures_util::StreamExt as _;
use holdfast::services::unixfs::add::{
    AddError, AddEvent, AddOptions, Body, DiskSource, Entry, Root, WalkOptions,
};

use crate::support::{TestNode, noise};

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_added() {
    let test = TestNode::new().await;
    test.write("dir/a", "a");
    test.write("dir/z", "z");
    let _socket = UnixListener::bind(test.path("dir/socket")).unwrap();
    symlink("nowhere", test.path("dir/dangling")).unwrap();
    let walk = WalkOptions { recursive: true, dereference_symlinks: true, ..WalkOptions::default() };
    let source = DiskSource::new(vec![Root::Path(test.path("dir"))], walk).unwrap();
    let (events, end) = test.events(source, AddOptions::default()).await;
    let mut named = Vec::new();
    let mut added = Vec::new();
    for event in events {
        match event {
            AddEvent::Unreadable(unreadable) => named.push(unreadable.path),
            AddEvent::Added(entry) => added.push(entry),
            AddEvent::Progress { .. } => {}
        }
    }
    let path = |name: &str| test.path(name).display().to_string();
    assert_eq!(named, [path("dir/dangling"), path("dir/socket")]);
    let names: Vec<_> = added.iter().map(|added| added.name.as_str()).collect();
    assert_eq!(names, ["dir/a", "dir/z", "dir"]);
    assert!(test.is_pinned(added[2].cid).await);
    let Err(AddError::Unreadable { count, first }) = end else { panic!("{end:?}") };
    assert_eq!(count, 2);
    assert_eq!(first, format!("stat {}: no such file or directory", path("dir/dangling")));
}

#[tokio::test]
async fn roots_that_do_not_exist_are_refused_before_anything_is_added() {
    let test = TestNode::new().await;
    let there = test.write("there", "x");
    let gone = test.path("gone");
    let roots = vec![Root::Path(there), Root::Path(gone.clone())];
    let error = DiskSource::new(roots, WalkOptions::default()).err().unwrap();
    assert_eq!(error.to_string(), format!("lstat {}: no such file or directory", gone.display()));
    std::fs::create_dir(&gone).unwrap();
    let error = DiskSource::new(vec![Root::Path(gone.clone())], WalkOptions::default()).err().unwrap();
    let words = format!("'{}' is a directory, use the '-r' flag to specify directories", gone.display());
    assert_eq!(error.to_string(), words);
}

#[tokio::test]
async fn a_dropped_add_pins_nothing_and_the_next_is_not_disturbed() {
    let test = TestNode::new().await;
    for index in 0..2_000 {
        test.write(&format!("dir/{index}"), noise(2_000, index));
    }
    let walk = WalkOptions { recursive: true, ..WalkOptions::default() };
    let source = || DiskSource::new(vec![Root::Path(test.path("dir"))], walk.clone()).unwrap();
    let mut stream = test.node.unixfs().add(source(), AddOptions::default());
    for _ in 0..10 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    let (added, end) = test.add_source(source(), AddOptions::default()).await;
    end.unwrap();
    let root = added.last().unwrap().cid;
    let node = test.node.clone();
    let pins = test.node.pool().run(move || node.store().pins().iter(None).count()).await.unwrap();
    assert_eq!(pins, 1);
    assert!(test.is_pinned(root).await);
}

/// Gives bytes without end, and counts them.
struct Endless(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fetch_add(buffer.len() as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(buffer.len())
    }
}

#[tokio::test]
async fn dropping_the_stream_ends_the_reading_of_a_large_file() {
    let test = TestNode::new().await;
    let read = std::sync::Arc::default();
    let reader = Box::new(Endless(std::sync::Arc::clone(&read)));
    let entry = Entry::new("endless", Body::Reader { reader, size: None });
    let options = AddOptions { progress: true, ..AddOptions::default() };
    let mut stream = test.node.unixfs().add(vec![entry].into_iter().fuse(), options);
    assert!(matches!(stream.next().await, Some(Ok(AddEvent::Progress { .. }))));
    drop(stream);
    let node = test.node.clone();
    drop(test.node);
    node.close().await.unwrap();
    // The reader is let go of once the add has ended.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::sync::Arc::strong_count(&read) > 1 {
        assert!(std::time::Instant::now() < deadline, "the add goes on");
        tokio::task::yield_now().await;
    }
}

/// Fails after some bytes.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.0);
        self.0 -= count;
        if count == 0 { Err(io::Error::other("the line is cut")) } else { Ok(count) }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_fails_the_add() {
    let test = TestNode::new().await;
    for bytes in [10, 10_000_000] {
        let body = Body::Reader { reader: Box::new(Broken(bytes)), size: None };
        let source = vec![Entry::new("broken", body)].into_iter().fuse();
        let (added, end) = test.add_source(source, AddOptions::default()).await;
        assert!(added.is_empty());
        assert!(end.unwrap_err().to_string().contains("the line is cut"));
    }
}

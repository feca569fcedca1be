//! Many who use the mutable file system at the same time.

use std::io::{self, Read};
use std::sync::mpsc;
use std::time::Duration;

use holdfast::services::files::{FilesError, MkdirOptions, WriteOptions};
use holdfast::services::unixfs::add::AddOptions;

use crate::support::{Repo, TestNode, files_root, get_file, mfs, names, noise, put_file};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_different_paths_all_succeed_and_are_durable() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    let writers: Vec<_> = (0..48_u64)
        .map(|number| {
            let node = node.clone();
            tokio::spawn(async move {
                for round in 0..4 {
                    let path = format!("/{}/{number}/{round}", number % 5);
                    put_file(&node, &path, &noise(2000, number * 10 + round)).await;
                    assert_eq!(get_file(&node, &path).await, noise(2000, number * 10 + round));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let root = files_root(&node).await;
    // Not closed: all of it was acknowledged.
    drop(node);
    let node = repo.open().await;
    assert_eq!(files_root(&node).await, root);
    for number in 0..48 {
        assert_eq!(names(&node, &format!("/{}/{number}", number % 5)).await, ["0", "1", "2", "3"]);
    }
    node.close().await.unwrap();
}

/// Each write goes to an offset of its own: none may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_one_file_come_one_after_the_other() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/shared", &[0; 64]).await;
    let writers: Vec<_> = (0..64_u64)
        .map(|offset| {
            let files = node.files();
            tokio::spawn(async move {
                let options = WriteOptions { offset, unflushed: offset % 2 == 0, ..Default::default() };
                files.write(mfs("/shared"), options, io::Cursor::new(vec![offset as u8 + 1])).await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(get_file(&node, "/shared").await, (1..=64).collect::<Vec<u8>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_make_the_same_directory_one_succeeds() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    let makers: Vec<_> = (0..20)
        .map(|_| {
            let files = node.files();
            tokio::spawn(async move { files.mkdir(mfs("/once"), MkdirOptions::default()).await })
        })
        .collect();
    let mut made = 0;
    for maker in makers {
        match maker.await.unwrap() {
            Ok(()) => made += 1,
            Err(error) => assert!(matches!(error, FilesError::Exists)),
        }
    }
    assert_eq!(made, 1);
}

/// A reader that gives what it is sent, and waits for it.
struct Slow {
    pieces: mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.recv_timeout(Duration::from_secs(60)) {
                Ok(piece) => self.rest = piece,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(0),
                Err(mpsc::RecvTimeoutError::Timeout) => return Err(io::Error::other("nobody wrote")),
            }
        }
        let take = self.rest.len().min(buffer.len());
        buffer[..take].copy_from_slice(&self.rest[..take]);
        self.rest.drain(..take);
        Ok(take)
    }
}

/// Nobody but writers of the same file waits for a slow input; and whoever takes the file away meanwhile wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_input_holds_up_nobody_else() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/slow", b"before").await;
    put_file(&node, "/taken", b"before").await;
    let start = |path: &'static str| {
        // Without room: what was sent was read, so the write has begun.
        let (send, pieces) = mpsc::sync_channel(0);
        let options = WriteOptions { create: true, truncate: true, ..Default::default() };
        let files = node.files();
        let input = Slow { pieces, rest: Vec::new() };
        (send, tokio::spawn(async move { files.write(mfs(path), options, input).await }))
    };
    let ((slow, slow_write), (taken, taken_write)) = (start("/slow"), start("/taken"));
    slow.send(b"after".to_vec()).unwrap();
    taken.send(b"after".to_vec()).unwrap();
    put_file(&node, "/other", b"quick").await;
    assert_eq!(get_file(&node, "/slow").await, b"before", "half a write is never seen");
    node.files().mkdir(mfs("/dir"), MkdirOptions::default()).await.unwrap();
    node.files().mv(mfs("/taken"), mfs("/dir/"), true).await.unwrap();
    drop((slow, taken));
    slow_write.await.unwrap().unwrap();
    assert_eq!(get_file(&node, "/slow").await, b"after");
    let lost = taken_write.await.unwrap().unwrap_err();
    assert!(matches!(lost, FilesError::ChangedMeanwhile(_)), "{lost}");
    assert_eq!(get_file(&node, "/dir/taken").await, b"before");
    assert_eq!(names(&node, "/").await, ["dir", "other", "slow"]);
}

#[tokio::test]
async fn an_input_that_fails_changes_nothing() {
    struct Broken(u32);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 20 { Err(io::Error::other("the line went dead")) } else { Ok(buffer.len()) }
        }
    }
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    put_file(&node, "/file", b"before").await;
    let root = files_root(&node).await;
    let failed = node.files().write(mfs("/file"), WriteOptions::default(), Broken(0)).await;
    assert_eq!(failed.unwrap_err().to_string(), "the line went dead");
    assert_eq!(files_root(&node).await, root);
}

#[tokio::test]
async fn what_is_added_can_be_linked_at_once() {
    let test = TestNode::new().await;
    let path = test.write("dir/file", "content");
    let to = |path: &str| AddOptions { to_files: Some(path.to_owned()), pin: false, ..Default::default() };
    let added = test.add(&path, to("/")).await;
    assert_eq!(test.node.files().resolve(mfs("/file")).await.unwrap(), added[0].cid);
    assert!(!test.is_pinned(added[0].cid).await);
    let added = test.add(&test.path("dir"), to("/named")).await;
    assert_eq!(test.node.files().resolve(mfs("/named")).await.unwrap(), added[1].cid);
    assert_eq!(get_file(&test.node, "/named/file").await, b"content");
    let walk = holdfast::services::unixfs::add::WalkOptions::default();
    for (target, words) in [
        ("/", "to-files: cannot put node in path \"/file\": directory already has entry by that name"),
        ("/no/", "to-files: MFS destination directory \"/no/\" does not exist: file does not exist"),
        ("/file/", "to-files: MFS destination \"/file/\" is not a directory"),
        ("/no/x", "to-files: MFS destination parent \"/no/x\" \"/no\" does not exist: file does not exist"),
        ("rel", "to-files: paths must start with a leading slash"),
    ] {
        let roots = vec![holdfast::services::unixfs::add::Root::Path(path.clone())];
        let source = holdfast::services::unixfs::add::DiskSource::new(roots, walk.clone()).unwrap();
        let (added, end) = test.add_source(source, to(target)).await;
        assert_eq!((added.len(), end.unwrap_err().to_string()), (1, words.to_owned()));
    }
}

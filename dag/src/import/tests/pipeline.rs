//! Large files: the pipeline makes what the calling thread alone makes, whatever goes wrong beside it.

use std::io::{Error, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::import::draft::leaf as leaf_child;
use crate::import::file::new_layout;
use crate::import::leaf::LeafFormat;
use crate::testdata::drand;

/// Gives at most so many bytes a read, and an error or a panic at the end if asked to.
struct Slow<'a> {
    rest: &'a [u8],
    step: usize,
    fails: bool,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() && self.fails {
            return Err(Error::other("the disk is gone"));
        }
        let step = self.step.min(buffer.len());
        self.rest.read(&mut buffer[..step])
    }
}

/// The root that the calling thread alone would make: cut by cut, through the same layout, without the pipeline.
fn alone(params: &ImportParams, data: &[u8]) -> Cid {
    let naming = Naming::of(params);
    let format = LeafFormat::of(params);
    let (mut layout, mut batch) = (new_layout(params), Batch::default());
    let mut rest = data;
    while let Some(cut) = params.chunker.cut(rest, true) {
        let leaf = format.frame(bytes::Bytes::copy_from_slice(&rest[..cut]), None);
        let cid = naming.name(format.codec(), &leaf).unwrap();
        layout.add(&leaf_child(cid, leaf.len(), cut as u64), &naming, &mut batch).unwrap();
        rest = &rest[cut..];
    }
    layout.finish(FileMeta::default(), &naming, &mut batch).unwrap().cid
}

#[test]
fn any_chunker_over_several_slabs_and_any_reads() {
    let data = drand("slabs", 3 * SLAB_BYTES + 12_345);
    for chunker in
        ["size-262144", "size-1048576", "size-2096896", "size-999983", "size-700", "rabin", "buzhash"]
    {
        let params = ImportParams { chunker: chunker.parse().unwrap(), ..ImportParams::default() };
        let expected = alone(&params, &data);
        for (step, hint, threads) in [
            (usize::MAX, Some(data.len() as u64), 2),
            (77_777, None, 1),
            (1_000_003, Some(5), 0),
            (1 << 20, None, 3),
        ] {
            let pool = ImportPool::new(threads, 8 << 20);
            let (mut told, sink) = (0, Memory::default());
            let mut reader = Slow { rest: &data, step, fails: false };
            let made =
                import_file(&params, FileMeta::default(), &mut reader, hint, &pool, &sink, &mut |read| {
                    told += read;
                })
                .unwrap();
            assert_eq!(made.cid, expected, "{chunker} by {step}");
            assert_eq!((made.filesize, told), (data.len() as u64, data.len() as u64));
        }
    }
}

#[test]
fn wrong_size_hints_change_nothing() {
    let pool = pool();
    for size in [0, 1, INLINE_FILE_BYTES_MAX, INLINE_FILE_BYTES_MAX + 1, SLAB_BYTES, SLAB_BYTES + 1] {
        let data = drand("hints", size);
        for params in [ImportParams::unixfs_v0_2015(), ImportParams::unixfs_v1_2025()] {
            let cids = [None, Some(0), Some(size as u64), Some(u64::MAX)].map(|hint| {
                let sink = Memory::default();
                import_file(&params, FileMeta::default(), &mut &data[..], hint, pool, &sink, &mut |_| {})
                    .unwrap()
                    .cid
            });
            assert!(cids.iter().all(|cid| *cid == cids[0]), "{size}: {cids:?}");
        }
    }
}

/// Many imports at once through a pool that has buffers for two of them.
#[test]
fn concurrent_imports_share_a_small_pool() {
    let pool = ImportPool::new(2, 8 << 20);
    let files: Vec<Vec<u8>> = (0..8).map(|seed| drand(&format!("file {seed}"), 9 << 20)).collect();
    let params = ImportParams::default();
    std::thread::scope(|scope| {
        for file in &files {
            let (pool, params) = (&pool, &params);
            scope.spawn(move || {
                let sink = Memory::default();
                let made =
                    import_file(params, FileMeta::default(), &mut &file[..], None, pool, &sink, &mut |_| {});
                assert_eq!(made.unwrap().cid, alone(params, file));
            });
        }
    });
    assert!(pool.buffer_bytes() <= 8 << 20, "{}", pool.buffer_bytes());
    pool.trim();
    assert_eq!(pool.buffer_bytes(), 0);
}

/// A sink that keeps every slice ever given to it.
struct Hoard(Mutex<Vec<Block>>);

impl BlockSink for Hoard {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        self.0.lock().unwrap().extend(blocks);
        Ok(())
    }
}

#[test]
fn a_sink_that_keeps_all_blocks_stops_nothing() {
    let data = drand("hoard", 40 << 20);
    let pool = ImportPool::new(1, 8 << 20);
    let (params, sink) = (ImportParams::default(), Hoard(Mutex::default()));
    let made =
        import_file(&params, FileMeta::default(), &mut &data[..], None, &pool, &sink, &mut |_| {}).unwrap();
    assert_eq!(made.cid, alone(&params, &data));
    // Leaves came in order: what they hold, joined, is the file.
    let blocks = sink.0.into_inner().unwrap();
    let leaves = blocks.iter().filter(|block| block.data.len() > 100_000);
    assert_eq!(leaves.flat_map(|block| block.data.parts()[1].to_vec()).collect::<Vec<u8>>(), data);
    drop(blocks);
    assert!(pool.buffer_bytes() <= 8 << 20);
}

/// Fails at the nth call.
struct Failing {
    calls_left: AtomicUsize,
    panics: bool,
}

impl BlockSink for Failing {
    fn put(&self, _: Vec<Block>) -> Result<(), SinkError> {
        if self.calls_left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return Ok(());
        }
        assert!(!self.panics, "the sink panics");
        self.calls_left.store(1, Ordering::SeqCst);
        Err("no space left on device".into())
    }
}

#[test]
fn errors_end_the_import_and_leave_the_pool_usable() {
    let data = drand("errors", 30 << 20);
    for threads in [0, 2] {
        let pool = ImportPool::new(threads, 8 << 20);
        let params = ImportParams::default();
        let run = |reader: &mut dyn Read, sink: &dyn BlockSink| {
            import_file(&params, FileMeta::default(), reader, None, &pool, sink, &mut |_| {})
        };
        for calls in [1, 3, 8] {
            let sink = Failing { calls_left: calls.into(), panics: false };
            let error = run(&mut &data[..], &sink).unwrap_err();
            assert_eq!(error.to_string(), "cannot store: no space left on device");
        }
        let mut reader = Slow { rest: &data, step: 1 << 20, fails: true };
        let error = run(&mut reader, &Memory::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read: the disk is gone");

        let sink = Failing { calls_left: 2.into(), panics: true };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut &data[..], &sink)));
        assert!(caught.is_err());

        assert_eq!(run(&mut &data[..], &Memory::default()).unwrap().cid, alone(&params, &data));
    }
}

#[test]
fn parameters_that_make_no_dag_are_refused() {
    let good = ImportParams::default();
    for (params, words) in [
        (ImportParams { file_links_max: 1, ..good.clone() }, "file nodes need a maximum of at least 2 links"),
        (
            ImportParams { hamt_fanout: 12, ..good.clone() },
            "HAMT fanout must be a positive power of 2 and multiple of 8, at most 1024: 12",
        ),
        (
            ImportParams { inline_bytes_max: Some(200), ..good.clone() },
            "inline-limit 200 exceeds maximum allowed size of 128 bytes",
        ),
    ] {
        assert_eq!(params.check().unwrap_err().to_string(), words);
        let sink = Memory::default();
        let none = FileMeta::default();
        assert!(import_file(&params, none, &mut &b"x"[..], None, pool(), &sink, &mut |_| {}).is_err());
        assert!(DirectoryBuilder::new(&params, none).finish(&sink).is_err());
        assert!(import_symlink(&params, b"x", none, &sink).is_err());
    }
    let identity =
        ImportParams { cid: crate::cid::CidBuilder { hash: hash::HashKind::Identity, ..good.cid }, ..good };
    let run = |data: &[u8]| {
        import_file(
            &identity,
            FileMeta::default(),
            &mut { data },
            None,
            pool(),
            &Memory::default(),
            &mut |_| {},
        )
    };
    assert!(run(&[0; 100]).is_ok());
    assert_eq!(run(&[0; 200]).unwrap_err().to_string(), "digest too large: must be at most 128 bytes");
    assert_eq!(
        run(&vec![0; 2 << 20]).unwrap_err().to_string(),
        "digest too large: must be at most 128 bytes"
    );
}

//! Where should values lie? SST files, blob files, or append-only segments with RocksDB as their index.
//!
//! Each layout takes GIB gibibytes (default 12) of unique 256 KiB blocks into a growing store, as adds of 1 GiB that
//! each end with a durable barrier, hashing every block as an add does. Then: bytes written until compaction is idle,
//! sequential reading cold and warm, and what a damaged value does to further writes.
//!
//! Run: `cargo run --release -p holdfast-bench --bin layouts [GIB] [DIR]`

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use holdfast_bench::data::Blocks;
use holdfast_bench::meter::{Meter, drop_page_cache, median};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, FlushOptions, Options,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use sha2::{Digest as _, Sha256};

type Res<T> = Result<T, Box<dyn Error>>;

const BLOCK_BYTES: usize = 256 << 10;
const BLOCKS_PER_ADD: usize = (1 << 30) / BLOCK_BYTES;
const BATCH_BLOCKS: usize = 16;
const SEGMENT_BYTES: u64 = 512 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Sst,
    Blob,
    Segments,
}

struct Store {
    layout: Layout,
    db: DB,
    dir: PathBuf,
    segment: Option<(u32, File, u64)>,
    rows: WriteBatch,
}

fn options(layout: Layout, family: &str) -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(64 << 20));
    table.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&table);
    if family == "blocks" {
        options.set_write_buffer_size(64 << 20);
        options.set_max_write_buffer_number(4);
        options.set_target_file_size_base(if layout == Layout::Blob { 8 << 20 } else { 128 << 20 });
        options.set_max_bytes_for_level_base(512 << 20);
        if layout == Layout::Blob {
            options.set_enable_blob_files(true);
            options.set_min_blob_size(4 << 10);
            options.set_blob_file_size(256 << 20);
            options.set_enable_blob_gc(false);
        }
    }
    options
}

impl Store {
    fn open(layout: Layout, dir: &Path) -> Res<Self> {
        let mut options_db = Options::default();
        options_db.create_if_missing(true);
        options_db.create_missing_column_families(true);
        options_db.set_atomic_flush(layout != Layout::Segments);
        options_db.increase_parallelism(2);
        options_db.set_bytes_per_sync(1 << 20);
        let families =
            ["blocks", "meta"].map(|name| ColumnFamilyDescriptor::new(name, options(layout, name)));
        let db = DB::open_cf_descriptors(&options_db, dir.join("db"), families)?;
        Ok(Self { layout, db, dir: dir.to_owned(), segment: None, rows: WriteBatch::default() })
    }

    fn family(&self, name: &str) -> Res<&rocksdb::ColumnFamily> {
        self.db.cf_handle(name).ok_or_else(|| "no such family".into())
    }

    fn put(&mut self, batch: &[([u8; 32], Vec<u8>)]) -> Res<()> {
        if self.layout == Layout::Segments {
            return self.append(batch);
        }
        let mut writes = WriteBatch::default();
        for (key, value) in batch {
            writes.put_cf(self.family("blocks")?, key, value);
            writes.put_cf(self.family("meta")?, key, (value.len() as u64).to_le_bytes());
        }
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        Ok(self.db.write_opt(writes, &unlogged)?)
    }

    fn append(&mut self, batch: &[([u8; 32], Vec<u8>)]) -> Res<()> {
        for (key, value) in batch {
            if self.segment.as_ref().is_none_or(|(.., len)| *len >= SEGMENT_BYTES) {
                let id = self.segment.take().map_or(Ok::<u32, Box<dyn Error>>(0), |(id, file, _)| {
                    file.sync_data()?;
                    Ok(id + 1)
                })?;
                let path = self.segment_path(id);
                let file =
                    OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
                File::open(&self.dir)?.sync_all()?;
                self.segment = Some((id, file, 0));
            }
            let Some((id, file, len)) = self.segment.as_mut() else { return Err("no segment".into()) };
            file.write_all_at(value, *len)?;
            let place =
                [&id.to_le_bytes()[..], &len.to_le_bytes(), &(value.len() as u32).to_le_bytes()].concat();
            *len += value.len() as u64;
            let family = self.db.cf_handle("meta").ok_or("no such family")?;
            self.rows.put_cf(family, key, place);
        }
        Ok(())
    }

    /// All that was put is on disk when this returns.
    fn barrier(&mut self) -> Res<()> {
        if let Some((_, file, _)) = &self.segment {
            file.sync_data()?;
            let mut synced = WriteOptions::default();
            synced.set_sync(true);
            return Ok(self.db.write_opt(std::mem::take(&mut self.rows), &synced)?);
        }
        let families = [self.family("blocks")?, self.family("meta")?];
        Ok(self.db.flush_cfs_opt(&families, &FlushOptions::default())?)
    }

    fn read(&self, key: &[u8; 32]) -> Res<Vec<u8>> {
        if self.layout != Layout::Segments {
            return Ok(self.db.get_cf(self.family("blocks")?, key)?.ok_or("missing")?);
        }
        let place = self.db.get_pinned_cf(self.family("meta")?, key)?.ok_or("missing")?;
        let (id, offset, len) = (place.get(..4), place.get(4..12), place.get(12..16));
        let (Some(id), Some(offset), Some(len)) = (id, offset, len) else { return Err("bad row".into()) };
        let file = File::open(self.segment_path(u32::from_le_bytes(id.try_into()?)))?;
        let mut value = vec![0; u32::from_le_bytes(len.try_into()?) as usize];
        file.read_exact_at(&mut value, u64::from_le_bytes(offset.try_into()?))?;
        Ok(value)
    }

    fn segment_path(&self, id: u32) -> PathBuf {
        self.dir.join(format!("{id:08}.seg"))
    }

    /// A file that holds values: where damage is done.
    fn value_file(&self) -> Res<PathBuf> {
        let wanted = match self.layout {
            Layout::Sst => "sst",
            Layout::Blob => "blob",
            Layout::Segments => "seg",
        };
        let folder = if self.layout == Layout::Segments { self.dir.clone() } else { self.dir.join("db") };
        let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let largest = files
            .filter(|path| path.extension().is_some_and(|extension| extension == wanted))
            .max_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
        Ok(largest.ok_or("no value file")?)
    }
}

fn hash_batch(blocks: &mut Blocks, keys: &mut Vec<[u8; 32]>) -> Vec<([u8; 32], Vec<u8>)> {
    let values: Vec<Vec<u8>> = (0..BATCH_BLOCKS).map(|_| blocks.next_block().to_vec()).collect();
    let batch: Vec<_> = values.into_iter().map(|value| (Sha256::digest(&value).into(), value)).collect();
    keys.extend(batch.iter().map(|(key, _)| *key));
    batch
}

fn run(layout: Layout, adds: usize, root: &Path) -> Res<()> {
    let dir = tempfile::Builder::new().prefix("layouts-").tempdir_in(root)?;
    let mut store = Store::open(layout, dir.path())?;
    let mut blocks = Blocks::new(BLOCK_BYTES, layout as u64 + 7);
    let mut keys = Vec::new();
    let whole = Meter::start();
    let mut rates = Vec::new();
    for _ in 0..adds {
        let add = Meter::start();
        for _ in 0..BLOCKS_PER_ADD / BATCH_BLOCKS {
            let batch = hash_batch(&mut blocks, &mut keys);
            store.put(&batch)?;
        }
        store.barrier()?;
        rates.push(1_073.741_824 / add.seconds());
    }
    let (seconds, cpu) = (whole.seconds(), whole.cpu_seconds());
    store.db.wait_for_compact(&WaitForCompactOptions::default())?;
    let gib = adds as f64;
    let (first, last) =
        (rates.first().copied().unwrap_or_default(), rates.last().copied().unwrap_or_default());
    println!(
        "{layout:?}: durable {:.0} MB/s overall, median add {:.0}, first {first:.0}, last {last:.0}; \
         {:.2} CPU s/GiB; written {:.2} x data until idle",
        1_073.741_824 * gib / seconds,
        median(&mut rates),
        cpu / gib,
        whole.bytes_written() as f64 / (gib * 1_073_741_824.0),
    );

    let sample = keys.get(..BLOCKS_PER_ADD.min(keys.len())).unwrap_or_default();
    let dropped = drop_page_cache();
    for temperature in ["cold", "warm"] {
        let meter = Meter::start();
        for key in sample {
            let value = store.read(key)?;
            if Sha256::digest(&value)[..] != key[..] {
                return Err("wrong bytes".into());
            }
        }
        let note = if temperature == "cold" && !dropped { " (page cache was not dropped)" } else { "" };
        println!(
            "  cat {temperature}, one thread, verified: {:.0} MB/s{note}",
            1_073.741_824 / meter.seconds()
        );
    }

    let damaged = store.value_file()?;
    let file = OpenOptions::new().write(true).open(&damaged)?;
    let length = file.metadata()?.len();
    for at in (4096..length).step_by(64 << 20) {
        file.write_all_at(&[0xa5; 512], at)?;
    }
    let mut outcome = "writes and compactions go on".to_owned();
    for _ in 0..2 {
        for _ in 0..BLOCKS_PER_ADD / BATCH_BLOCKS {
            let batch = hash_batch(&mut blocks, &mut keys);
            if let Err(error) = store.put(&batch) {
                outcome = format!("writes stop: {error}");
            }
        }
        store.db.compact_range_cf(store.family("blocks")?, None::<&[u8]>, None::<&[u8]>);
        if let Err(error) = store.barrier() {
            outcome = format!("writes stop: {error}");
        }
    }
    println!("  a damaged value file, then 2 GiB more and a full compaction: {outcome}");
    Ok(())
}

fn main() -> Res<()> {
    let mut args = std::env::args().skip(1);
    let gib = args.next().map_or(Ok(12), |text| text.parse())?;
    let root = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    println!(
        "values of 256 KiB, {gib} adds of 1 GiB, one writer thread that also hashes, in {}",
        root.display()
    );
    for layout in [Layout::Sst, Layout::Blob, Layout::Segments] {
        run(layout, gib, &root)?;
    }
    Ok(())
}

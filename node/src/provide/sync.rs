//! Brings the table of keys up to date with the repo: at the start, and once an interval. What it finds that is not in the
//! table (blocks that came while no daemon ran) is announced at once; what it does not find any more is removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_dag::cid::Multihash;
use tokio::sync::{Notify, watch};

use super::feed::Feed;
use super::strategy::Strategy;
use super::table::{Synced, Table};
use super::walk::{KeysError, Source};
use crate::pool::Pool;

/// How long after something was missed the next sync begins: a flood is over by then, or goes on to be missed.
const MISSED_DELAY: Duration = Duration::from_secs(10);

/// Syncs are this far apart where there is no schedule.
const PERIOD_WITHOUT_SCHEDULE: Duration = Duration::from_secs(22 * 3600);

/// Keeps the table up to date.
pub(super) struct Sync {
    pub(super) table: Arc<Table>,
    pub(super) pool: Pool,
    pub(super) folder: PathBuf,
    pub(super) strategy: Strategy,
    pub(super) interval: Duration,
    pub(super) feeds: Vec<Arc<Feed>>,
    pub(super) wanted: Arc<Notify>,
    pub(super) is_ready: watch::Sender<bool>,
    pub(super) is_stopping: watch::Receiver<bool>,
}

impl Sync {
    /// Runs until it is aborted.
    pub(super) async fn run(self) {
        let period = if self.interval.is_zero() { PERIOD_WITHOUT_SCHEDULE } else { self.interval };
        loop {
            match self.once().await {
                Ok(keys) => tracing::debug!("{keys} keys are announced by the strategy {}", self.strategy),
                Err(words) => tracing::warn!("the keys to be announced were not all found: {words}"),
            }
            // After a failure too: what is in the table is announced.
            self.is_ready.send_replace(true);
            for feed in &self.feeds {
                feed.ring();
            }
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                () = self.wanted.notified() => tokio::time::sleep(MISSED_DELAY).await,
            }
        }
    }

    async fn once(&self) -> Result<u64, String> {
        let (table, folder, strategy) = (Arc::clone(&self.table), self.folder.clone(), self.strategy);
        let is_stopping = self.is_stopping.clone();
        let synced = self.pool.operation(move || {
            let source = Source { store: table.store(), folder: &folder, strategy, skips_known: false };
            sync(&table, &source, &|| !*is_stopping.borrow())
        });
        synced.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// One sync; how many keys there are. Blocks.
pub(super) fn sync(table: &Table, source: &Source<'_>, go_on: &dyn Fn() -> bool) -> Result<u64, KeysError> {
    let before = table.synced()?;
    let strategy = source.strategy.to_string();
    // The first time everything is due anyway.
    let announce = before.as_ref().is_some_and(|before| before.strategy == strategy);
    let generation = table.begin_sync()?;
    source.all(&mut |hashes: &[Multihash], is_whole| {
        if !go_on() {
            return Err(KeysError::Stopped);
        }
        Ok(table.note(hashes, is_whole, announce)?)
    })?;
    let left = table.purge(go_on)?;
    if !go_on() {
        return Err(KeysError::Stopped);
    }
    table.set_synced(&Synced { generation, strategy })?;
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use holdfast_blockstore::{Change, Pin, PinKind, Store, StoreConfig};
    use holdfast_dag::block::Block;
    use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
    use holdfast_dag::hash::HashKind;
    use holdfast_dht::kad::{Key, Scope};

    use super::*;

    fn put(store: &Store, number: u8) -> Cid {
        let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
        let cid = builder.cid_of(codec::RAW, &[&[number]]);
        store.writer().put([Block::trusted(cid, vec![number])]).unwrap();
        cid
    }

    /// Stores a block that links to another.
    fn parent(store: &Store, child: &Cid) -> Cid {
        let mut data = vec![0xd8, 42, 0x58, u8::try_from(child.to_bytes().len() + 1).unwrap(), 0];
        data.extend(child.to_bytes());
        let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
        let cid = builder.cid_of(codec::DAG_CBOR, &[&data]);
        store.writer().put([Block::trusted(cid, data)]).unwrap();
        cid
    }

    fn source<'a>(
        table: &'a Table,
        folder: &'a tempfile::TempDir,
        strategy: &str,
        skips_known: bool,
    ) -> Source<'a> {
        let strategy = Strategy::parse(strategy).unwrap();
        Source { store: table.store(), folder: folder.path(), strategy, skips_known }
    }

    fn run(table: &Table, folder: &tempfile::TempDir, strategy: &str) -> u64 {
        sync(table, &source(table, folder, strategy, false), &|| true).unwrap()
    }

    #[test]
    fn only_what_came_after_the_first_sync_is_announced_out_of_turn() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        let table = Table::new(store.clone(), vec![Scope::Lan]);
        let _stored: Vec<Cid> = (0..5).map(|number| put(&store, number)).collect();
        assert_eq!(run(&table, &folder, "all"), 5);
        assert_eq!(table.waiting_len(Scope::Lan), 0);
        put(&store, 100);
        assert_eq!(run(&table, &folder, "all"), 6);
        assert_eq!(table.waiting_len(Scope::Lan), 1);
    }

    #[test]
    fn another_strategy_leaves_only_its_own_keys() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        let table = Table::new(store.clone(), vec![Scope::Lan]);
        let _stored: Vec<Cid> = (0..5).map(|number| put(&store, number)).collect();
        let pinned = put(&store, 100);
        store.writer().commit(&[Change::Pin(Pin::new(pinned, PinKind::Direct, ""))]).unwrap();
        assert_eq!(run(&table, &folder, "all"), 6);
        assert_eq!(run(&table, &folder, "roots"), 1);
        assert_eq!(table.synced().unwrap(), Some(Synced { generation: 2, strategy: "roots".to_owned() }));
    }

    #[test]
    fn what_is_pinned_beside_a_sync_that_does_not_see_it_is_not_purged_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        let table = Table::new(store.clone(), vec![Scope::Lan]);
        let [leaf, other] = [1, 2].map(|number| put(&store, number));
        let inner = parent(&store, &leaf);
        let outer = parent(&store, &inner);
        let commit = |change| store.writer().commit(&[change]).unwrap();
        let pin = |cid| commit(Change::Pin(Pin::new(cid, PinKind::Recursive, "")));
        pin(outer);
        assert_eq!(run(&table, &folder, "pinned"), 3);
        pin(other);
        commit(Change::Unpin { cid: outer, kind: PinKind::Recursive });
        // The pins were read when this is asked first. What is below the new one was walked whole for the one that is gone.
        let is_pinned = Cell::new(false);
        let pin_inner = || {
            if !is_pinned.replace(true) {
                pin(inner);
                let source = source(&table, &folder, "pinned", true);
                let mut sink = |hashes: &[Multihash], is_whole| Ok(table.note(hashes, is_whole, true)?);
                source.pinned(&inner, PinKind::Recursive, &mut sink).unwrap();
            }
            true
        };
        assert_eq!(sync(&table, &source(&table, &folder, "pinned", false), &pin_inner).unwrap(), 3);
        for (cid, is_known) in [(other, true), (inner, true), (leaf, true), (outer, false)] {
            let key = Key::new(&cid.hash().to_bytes()).unwrap();
            assert_eq!(Table::has(&store, &key).unwrap(), is_known, "{cid}");
        }
    }

    #[test]
    fn a_sync_that_is_cut_off_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        let table = Table::new(store.clone(), vec![Scope::Lan]);
        put(&store, 1);
        run(&table, &folder, "all");
        let before = table.synced().unwrap();
        let cut = sync(&table, &source(&table, &folder, "roots", false), &|| false);
        assert!(matches!(cut, Err(KeysError::Stopped)));
        assert_eq!(table.synced().unwrap(), before);
    }
}

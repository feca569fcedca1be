//! How many records of other people's names are kept: whoever can have this node follow a name can have it keep one.

use holdfast_blockstore::{NameEntry, Store};

use super::keep::KeepError;

/// Records of others that are kept, at most: 640 MiB if each is as long as may be, 30 MiB as they mostly are.
const RECORDS_MAX: usize = 1 << 16;

/// The records of others. It is used by whoever may change records.
#[derive(Debug)]
pub(super) struct Others {
    /// How many there are, once they were counted. One that was replaced by a record of this node's own counts until then.
    count: Option<usize>,
    max: usize,
}

impl Default for Others {
    fn default() -> Self {
        Self { count: None, max: RECORDS_MAX }
    }
}

impl Others {
    /// One more was kept. Where they are too many, the quarter that was stored first is forgotten.
    pub(super) fn grew(&mut self, store: &Store) -> Result<(), KeepError> {
        let count = match self.count {
            Some(count) => count + 1,
            None => of_others(store)?.len(),
        };
        self.count = Some(count);
        if count > self.max {
            let mut all = of_others(store)?;
            all.sort_unstable_by_key(|entry| entry.stored_unix_ms);
            let too_many = all.len().saturating_sub(self.max / 4 * 3);
            self.count = Some(all.len() - too_many);
            store.remove_name_records(all.into_iter().take(too_many).map(|entry| entry.name).collect())?;
        }
        Ok(())
    }
}

fn of_others(store: &Store) -> Result<Vec<NameEntry>, KeepError> {
    let others = store.names().filter(|entry| entry.as_ref().map_or(true, |entry| !entry.is_own));
    Ok(others.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use holdfast_blockstore::{NameRecord, StoreConfig};

    use super::*;

    #[test]
    fn the_oldest_records_of_others_make_room_and_own_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreConfig::default()).unwrap();
        let name = |number: u8| [&[0x12, 0x20][..], &[number; 32]].concat();
        let keep = |number: u8, is_own| {
            let record = NameRecord { record: vec![number; 100], stored_unix_ms: u64::from(number), is_own };
            store.put_name_record(&name(number), record).unwrap();
        };
        let kept = || store.names().map(|entry| entry.unwrap().name[2]).collect::<Vec<u8>>();
        keep(1, true);
        // Some were there before it began to count.
        (2..6).for_each(|number| keep(number, false));
        let mut others = Others { count: None, max: 8 };
        for number in 6..10 {
            keep(number, false);
            others.grew(&store).unwrap();
        }
        assert_eq!(kept(), (1..10).collect::<Vec<u8>>());
        keep(10, false);
        others.grew(&store).unwrap();
        assert_eq!(kept(), [1, 5, 6, 7, 8, 9, 10], "six of others, and our own");
        for number in 11..200 {
            keep(number, false);
            others.grew(&store).unwrap();
            let kept = kept();
            assert!((7..=9).contains(&kept.len()) && kept[0] == 1 && kept.ends_with(&[number]), "{kept:?}");
        }
    }
}

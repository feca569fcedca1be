//! How what is kept of records changes: by publishing, which continues the numbers, and by putting what others signed.

use std::cmp::Ordering;
use std::time::Duration;

use libp2p_identity::Keypair;

use super::{Draft, DraftError, Name, Record, RecordError, Timestamp, ValidateError, compare};

/// Where a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Signed elsewhere, and given to this node.
    Put,
    /// Signed by this node: what a republisher keeps alive.
    Published,
}

/// What keeps one record a name. Whoever calls the functions of this module sees to it that nobody else changes the same
/// store meanwhile.
pub trait RecordStore {
    /// Why the store does not answer.
    type Error;

    /// The record that is kept, valid or not.
    fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Replaces it. It survives a power cut when this returns.
    fn put(&self, name: &Name, record: &[u8], origin: Origin) -> Result<(), Self::Error>;

    /// Others have nothing better than the record that is kept: unless this node signed it, it counts as put just now.
    fn confirm(&self, name: &Name) -> Result<(), Self::Error>;
}

/// What is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// What the name is to point at: a content path in its canonical form.
    pub value: String,
    /// How long the record is to be valid.
    pub lifetime: Duration,
    /// How long readers may keep it.
    pub ttl: Duration,
    /// Its number, if it is not to be the next one.
    pub sequence: Option<u64>,
    /// Whether it is to be readable for programs that know the first version only.
    pub v1_compatible: bool,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError<E> {
    /// The number asked for is not above the last one, or 0. The words are Kubo's.
    #[error("sequence number must be greater than the current record sequence")]
    Sequence,
    /// All numbers are used up.
    #[error("the last record has the highest sequence number there is: nothing can come after it")]
    NoMoreNumbers,
    /// The last record cannot be read, so that its number is not known.
    #[error(
        "the last record of {name} cannot be read ({reason}): say with --sequence which number to go on with, above all \
         that were published before"
    )]
    Last {
        /// The name.
        name: Name,
        /// What is wrong with the record.
        reason: RecordError,
    },
    /// The record was not made.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The store failed.
    #[error(transparent)]
    Store(E),
}

/// Why a record was not put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError<E> {
    /// It is no record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is not to be believed.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    /// A better one is kept. The words are Kubo's.
    #[error("can't replace a newer value with an older value")]
    Older {
        /// The one that is kept.
        kept: Box<Record>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(E),
}

/// Why there is no record to go by.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError<E> {
    /// None is kept.
    #[error("there is no record of {0}")]
    Missing(Name),
    /// The one that is kept is no longer valid.
    #[error("the record of {name} is not valid: {reason}")]
    Invalid {
        /// The name.
        name: Name,
        /// Why not.
        reason: ValidateError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(E),
}

/// Signs a record and keeps it. Its number is the last one, or one more if it points at something else; the first is 0.
///
/// An expired record still counts: numbers never go back.
pub fn publish<S: RecordStore>(
    store: &S,
    key: &Keypair,
    publish: &Publish,
    now: Timestamp,
) -> Result<Record, PublishError<S::Error>> {
    let name = Name::from(key.public().to_peer_id());
    let last = store.get(&name).map_err(PublishError::Store)?;
    let draft = Draft {
        value: publish.value.clone(),
        sequence: next_sequence(&name, last.as_deref(), publish)?,
        end_of_life: now.after(publish.lifetime),
        ttl: publish.ttl,
        v1_compatible: publish.v1_compatible,
    };
    let record = draft.sign(key)?;
    store.put(&name, record.as_bytes(), Origin::Published).map_err(PublishError::Store)?;
    Ok(record)
}

fn next_sequence<E>(name: &Name, last: Option<&[u8]>, publish: &Publish) -> Result<u64, PublishError<E>> {
    let read = |last| {
        let last = Record::decode(last)?;
        let same = last.value().is_ok_and(|value| value.to_string() == publish.value);
        Ok((last.sequence()?, same))
    };
    match (last.map(read).transpose(), publish.sequence) {
        // Asked for by hand, a number is one that other readers prefer: 0 is preferred to nothing.
        (Ok(None) | Err(_), Some(0)) => Err(PublishError::Sequence),
        (Ok(Some((last, _))), Some(asked)) if asked <= last => Err(PublishError::Sequence),
        (_, Some(asked)) => Ok(asked),
        (Ok(None), None) => Ok(0),
        (Ok(Some((last, true))), None) => Ok(last),
        (Ok(Some((last, false))), None) => last.checked_add(1).ok_or(PublishError::NoMoreNumbers),
        (Err(reason), None) => Err(PublishError::Last { name: *name, reason }),
    }
}

/// Keeps a record that somebody signed, if it is valid and no better one that is valid is kept. The same one again is no
/// error, and only confirms the one that is kept.
pub fn put<S: RecordStore>(
    store: &S,
    name: &Name,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Record, PutError<S::Error>> {
    let record = Record::decode(bytes)?;
    record.validate(name, now)?;
    if let Some(kept) = store.get(name).map_err(PutError::Store)? {
        if kept == bytes {
            store.confirm(name).map_err(PutError::Store)?;
            return Ok(record);
        }
        let kept = Record::decode(&kept).ok().filter(|kept| kept.validate(name, now).is_ok());
        if let Some(kept) = kept
            && compare(&kept, &record)? == Ordering::Greater
        {
            return Err(PutError::Older { kept: Box::new(kept) });
        }
    }
    store.put(name, bytes, Origin::Put).map_err(PutError::Store)?;
    Ok(record)
}

/// The record of a name that is kept, if it is valid at `now`.
pub fn stored<S: RecordStore>(
    store: &S,
    name: &Name,
    now: Timestamp,
) -> Result<Record, StoredError<S::Error>> {
    let bytes = store.get(name).map_err(StoredError::Store)?.ok_or(StoredError::Missing(*name))?;
    let read = || {
        let record = Record::decode(&bytes)?;
        record.validate(name, now)?;
        Ok(record)
    };
    read().map_err(|reason| StoredError::Invalid { name: *name, reason })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::convert::Infallible;

    use super::*;

    /// Records, and how often each was confirmed.
    #[derive(Default)]
    struct Memory(RefCell<HashMap<Name, (Vec<u8>, usize)>>);

    impl RecordStore for Memory {
        type Error = Infallible;

        fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, Infallible> {
            Ok(self.0.borrow().get(name).map(|(record, _)| record.clone()))
        }

        fn put(&self, name: &Name, record: &[u8], _: Origin) -> Result<(), Infallible> {
            self.0.borrow_mut().insert(*name, (record.to_vec(), 0));
            Ok(())
        }

        fn confirm(&self, name: &Name) -> Result<(), Infallible> {
            self.0.borrow_mut().entry(*name).and_modify(|(_, count)| *count += 1);
            Ok(())
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        Timestamp::from_unix(1_700_000_000, 0)
    }

    fn wish(value: &str, sequence: Option<u64>) -> Publish {
        Publish { value: value.to_owned(), lifetime: HOUR, ttl: HOUR, sequence, v1_compatible: true }
    }

    fn numbers(store: &Memory, key: &Keypair, wishes: &[(&str, Option<u64>)]) -> Vec<Option<u64>> {
        let one = |(value, sequence): &(&str, Option<u64>)| {
            publish(store, key, &wish(value, *sequence), now()).ok().map(|record| record.sequence().unwrap())
        };
        wishes.iter().map(one).collect()
    }

    #[test]
    fn numbers_count_changes_and_never_go_back() {
        let (store, key) = (Memory::default(), Keypair::generate_ed25519());
        let (a, b) = ("/ipfs/bafkqaaa", "/ipfs/bafkqaaa/b");
        let wishes = [
            (a, Some(0)),
            (a, None),
            (a, None),
            (b, None),
            (b, Some(1)),
            (b, Some(7)),
            (b, None),
            (a, None),
            (a, Some(u64::MAX)),
        ];
        let expected = [None, Some(0), Some(0), Some(1), None, Some(7), Some(7), Some(8), None];
        assert_eq!(numbers(&store, &key, &wishes), expected);
        let late = now().after(HOUR * 1000);
        let record = publish(&store, &key, &wish(b, None), late).unwrap();
        assert_eq!(record.sequence().unwrap(), 9, "an expired record still counts");
    }

    #[test]
    fn a_last_record_that_cannot_be_read_is_not_written_over_unasked() {
        let (store, key) = (Memory::default(), Keypair::generate_ed25519());
        let name = Name::from(key.public().to_peer_id());
        store.put(&name, b"junk", Origin::Published).unwrap();
        assert!(matches!(
            publish(&store, &key, &wish("/ipfs/bafkqaaa", None), now()),
            Err(PublishError::Last { .. })
        ));
        assert_eq!(numbers(&store, &key, &[("/ipfs/bafkqaaa", Some(5))]), [Some(5)]);
    }

    #[test]
    fn an_older_record_does_not_replace_a_newer_one_that_is_valid() {
        let (store, key) = (Memory::default(), Keypair::generate_ed25519());
        let name = Name::from(key.public().to_peer_id());
        let record = |value: &str, sequence, lifetime| {
            let wish = Publish { lifetime, ..wish(value, Some(sequence)) };
            publish(&Memory::default(), &key, &wish, now()).unwrap()
        };
        let (old, new) = (record("/ipfs/bafkqaaa", 3, HOUR * 9), record("/ipfs/bafkqaaa/new", 4, HOUR));
        put(&store, &name, new.as_bytes(), now()).unwrap();
        assert!(
            matches!(put(&store, &name, old.as_bytes(), now()), Err(PutError::Older { kept }) if *kept == new)
        );
        assert_eq!(store.0.borrow()[&name].1, 0);
        put(&store, &name, new.as_bytes(), now()).unwrap();
        assert_eq!(store.0.borrow()[&name].1, 1, "the same one says that it still holds");
        assert_eq!(stored(&store, &name, now()).unwrap(), new);
        let later = now().after(HOUR * 2);
        assert!(matches!(stored(&store, &name, later), Err(StoredError::Invalid { .. })));
        assert!(matches!(put(&store, &name, new.as_bytes(), later), Err(PutError::Invalid(_))));
        put(&store, &name, old.as_bytes(), later).unwrap();
        assert_eq!(stored(&store, &name, later).unwrap(), old, "what has expired stands in nobody's way");
    }

    #[test]
    fn a_record_of_another_name_is_not_kept() {
        let (store, key) = (Memory::default(), Keypair::generate_ed25519());
        let record = publish(&store, &key, &wish("/ipfs/bafkqaaa", None), now()).unwrap();
        let other = Name::from(Keypair::generate_ed25519().public().to_peer_id());
        assert!(matches!(put(&store, &other, record.as_bytes(), now()), Err(PutError::Invalid(_))));
        assert!(matches!(stored(&store, &other, now()), Err(StoredError::Missing(_))));
    }
}

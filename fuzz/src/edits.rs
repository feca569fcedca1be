//! Editing what strangers wrote.

use bytes::Bytes;
use holdfast_dag::chunker::ChunkerSpec;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec, identity_data};
use holdfast_dag::edit::meta::{self, Field};
use holdfast_dag::edit::{BlockSource, FileEdit, FileRules, Overlay, dir};
use holdfast_dag::hash::HashKind;
use holdfast_dag::import::{ImportParams, SinkError};
use holdfast_dag::unixfs::Mtime;

/// A block that is every block: children are the block itself again.
struct Echo(Bytes);

impl BlockSource for Echo {
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, SinkError> {
        Ok(Some(identity_data(cid).map_or_else(|| self.0.clone(), Bytes::copy_from_slice)))
    }
}

/// Any block, taken as a directory and as a file, is edited or refused, in bounded time; what was edited holds what was
/// written.
pub fn edit(data: &[u8]) {
    let source = Echo(Bytes::copy_from_slice(data));
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let root = builder.cid_of(codec::DAG_PB, &[data]);
    directory(&source, &root);
    file(&source, root);
    let mut overlay = Overlay::new(&source);
    if let Ok(set) = meta::set(&mut overlay, &root, Field::Set(0o644), Field::Clear) {
        let again = meta::set(&mut overlay, &set.cid, Field::Set(0o644), Field::Clear);
        assert_eq!(again.ok(), Some(set), "metadata that is there changes nothing");
    }
}

fn directory(source: &Echo, root: &Cid) {
    let params = ImportParams { hamt_threshold_bytes: 200, ..ImportParams::default() };
    let mut overlay = Overlay::new(source);
    let Ok(empty) = dir::empty(&mut overlay, params.cid) else { return };
    for name in [b"a".as_slice(), b"some-name", b"\xff"] {
        let Ok(set) = dir::set(&mut overlay, &params, root, None, name, empty) else { continue };
        assert_eq!(dir::lookup(&overlay, &set.cid, name).ok(), Some(Some(empty)));
        if let Ok(removed) = dir::remove(&mut overlay, &params, &set.cid, None, name) {
            let removed = removed.expect("the entry was set");
            assert_eq!(dir::lookup(&overlay, &removed.cid, name).ok(), Some(None));
        }
    }
}

fn file(source: &Echo, root: Cid) {
    let rules = FileRules {
        chunker: ChunkerSpec::size(16).expect("16 bytes are a chunk"),
        raw_leaves: None,
        now: Mtime { seconds: 0, nanos: None },
    };
    for offset in [0, 1, 1000, 1 << 40] {
        let mut overlay = Overlay::new(source);
        let Ok(mut file) = FileEdit::open(&mut overlay, rules, root) else { return };
        let before = file.size();
        let written = file.write_at(offset, &mut b"twenty bytes of data".as_slice(), &mut |_| Ok(()));
        if written.is_ok() {
            assert_eq!(file.size(), before.max(offset + 20));
            if file.truncate(offset / 2).is_ok() {
                assert_eq!(file.size(), offset / 2);
            }
        }
        drop(file.finish());
    }
}

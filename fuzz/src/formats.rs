//! Blocks: dag-pb, UnixFS, dag-cbor, dag-json.

use bytes::Bytes;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;
use holdfast_dag::ipld::{self, DecodeError, EncodeError, Value};
use holdfast_dag::pb;
use holdfast_dag::read::{FileReader, NodeInfo, ReadError};
use holdfast_dag::unixfs::UnixFs;
use holdfast_dag::walk::drive;

/// A dag-pb node survives the way through its encoder, and through the data model; all decoders see the same links.
pub fn dag_pb(data: &[u8]) {
    let node = pb::decode(data);
    let value = ipld::dag_pb::decode(data);
    assert_eq!(node.is_ok(), value.is_ok(), "both decoders or none accept a block");
    let (Ok(node), Ok(value)) = (node, value) else { return };
    let encoded = pb::encode(&node);
    assert_eq!(pb::decode(&encoded).as_ref(), Ok(&node), "encoding loses nothing");
    assert_eq!(pb::encode(&node), encoded);
    let links: Vec<Cid> = node.links.iter().map(|link| link.cid).collect();
    assert_eq!(ipld::links(codec::DAG_PB, data), Ok(links));
    let sorted = ipld::dag_pb::encode(&value).expect("what was decoded can be encoded");
    let again = ipld::dag_pb::decode(&sorted).expect("what was encoded can be decoded");
    assert_eq!(ipld::dag_pb::encode(&again).as_ref(), Ok(&sorted), "sorted once is sorted");
    if node.links.is_sorted_by_key(pb::PbLinkRef::name) {
        assert_eq!(sorted, encoded, "what is sorted keeps its order");
    }
}

/// A UnixFS message survives its encoder, and reading any node as a file ends and gives no more than it holds.
pub fn unixfs(data: &[u8]) {
    if let Ok(mut message) = UnixFs::decode(data) {
        let encoded = message.encode();
        if let Some(mtime) = &mut message.mtime {
            mtime.nanos = mtime.nanos.filter(|nanos| *nanos > 0); // left out, as the specification wants
        }
        assert_eq!(UnixFs::decode(&encoded).as_ref(), Ok(&message), "encoding loses nothing");
    }
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let leaf = Bytes::from_static(b"leaf");
    let leaf_cid = builder.cid_of(codec::RAW, &[&leaf]);
    let root = pb::encode(&pb::PbNodeRef {
        links: vec![pb::PbLinkRef { cid: leaf_cid, name: Some(b""), tsize: Some(4) }],
        data: Some(data),
    });
    for block in [Bytes::copy_from_slice(data), Bytes::from(root)] {
        let cid = builder.cid_of(codec::DAG_PB, &[&block]);
        let known = NodeInfo::of(&cid, &block);
        let get = |wanted: &Cid| Ok(if *wanted == cid { block.clone() } else { leaf.clone() });
        let mut given = 0;
        let read = drive(&mut FileReader::new(cid, 0, None), 1 << 20, get, |piece| {
            given += piece.len();
            assert!(given <= block.len() + leaf.len(), "a file holds what its blocks hold");
            Ok::<(), ReadError>(())
        });
        assert!(known.is_ok() || read.is_err(), "what has no info cannot be read");
    }
}

/// Canonical bytes are a fixed point, and the scan for links finds what the decoder finds.
pub fn dag_cbor(data: &[u8]) {
    let plain = ipld::cbor::decode(data);
    let scanned = ipld::links(codec::DAG_CBOR, data);
    let Ok(value) = ipld::dag_cbor::decode(data) else {
        assert!(plain.is_err(), "DAG-CBOR takes all that plain CBOR takes");
        return;
    };
    let mut links = Vec::new();
    collect(&value, &mut links);
    assert_eq!(scanned.as_ref(), Ok(&links), "the scan finds the decoder's links, in order");
    assert_eq!(plain.is_ok(), links.is_empty(), "links are all that plain CBOR lacks");
    let encoded = ipld::dag_cbor::encode(&value).expect("what was decoded can be encoded");
    let again = ipld::dag_cbor::decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!(ipld::dag_cbor::encode(&again).as_ref(), Ok(&encoded), "canonical bytes are a fixed point");
    assert!(ipld::dag_json::encode(&value).is_ok(), "every value prints as dag-json");
}

/// Canonical text is a fixed point, and everything that reads as dag-json can be stored as dag-cbor.
pub fn dag_json(data: &[u8]) {
    if let Ok(plain) = ipld::json::decode(data) {
        settles(plain, ipld::json::encode, ipld::json::decode);
    }
    let Ok(value) = ipld::dag_json::decode(data) else { return };
    settles(value.clone(), ipld::dag_json::encode, ipld::dag_json::decode);
    let mut links = Vec::new();
    collect(&value, &mut links);
    assert_eq!(ipld::links(codec::DAG_JSON, data).as_ref(), Ok(&links));
    let cbor = ipld::dag_cbor::encode(&value).expect("dag-cbor has every value");
    assert!(ipld::dag_cbor::decode(&cbor).is_ok());
}

/// Text is a fixed point from the second writing on: the float -0.0 is written -0, which reads as the integer 0.
fn settles(
    mut value: Value,
    encode: fn(&Value) -> Result<Vec<u8>, EncodeError>,
    decode: fn(&[u8]) -> Result<Value, DecodeError>,
) {
    let mut texts = Vec::new();
    for _ in 0..3 {
        let text = encode(&value).expect("what was decoded can be encoded");
        value = decode(&text).expect("what was encoded can be decoded");
        texts.push(text);
    }
    assert_eq!(texts.get(1), texts.get(2), "written twice, text no longer changes");
}

/// Links, depth first.
fn collect(value: &Value, links: &mut Vec<Cid>) {
    match value {
        Value::Link(cid) => links.push(**cid),
        Value::List(items) => items.iter().for_each(|item| collect(item, links)),
        Value::Map(map) => map.iter().for_each(|(_, value)| collect(value, links)),
        _ => {}
    }
}

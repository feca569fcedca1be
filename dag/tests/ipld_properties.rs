//! Every value survives every codec that has a form for it.

#![cfg(test)]

use holdfast_dag::car::{CarEvent, CarLimits, CarReader, encode_header, encode_section_head};
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;
use holdfast_dag::ipld::{self, Map, Value, dag_cbor, dag_json, dag_pb};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn cids() -> impl Strategy<Value = Cid> {
    let hashes = prop_oneof![Just(HashKind::Sha2_256), Just(HashKind::Identity), Just(HashKind::Blake2b(20))];
    let codecs = prop_oneof![Just(codec::RAW), Just(codec::DAG_PB), Just(codec::DAG_CBOR)];
    let versions = prop_oneof![Just(Version::V0), Just(Version::V1)];
    (hashes, codecs, versions, vec(any::<u8>(), 0..40))
        .prop_map(|(hash, codec, version, data)| CidBuilder { version, hash }.cid_of(codec, &[&data]))
}

/// Keys in the order of DAG-CBOR, so that values compare equal after it sorted them. None is `/`.
fn map(entries: std::collections::BTreeMap<String, Value>) -> Value {
    let mut entries: Vec<_> = entries.into_iter().filter(|(key, _)| key != "/").collect();
    entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    Value::Map(entries.into_iter().collect())
}

fn values() -> impl Strategy<Value = Value> {
    let float =
        any::<f64>().prop_filter("dag-cbor has no NaN", |float| float.is_finite()).prop_map(Value::Float);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1_i128 << 64)..1 << 64).prop_map(Value::Int),
        (-300_i128..300).prop_map(Value::Int),
        float,
        any::<String>().prop_map(Value::String),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        cids().prop_map(Value::link),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::List),
            btree_map(any::<String>(), inner, 0..8).prop_map(map),
        ]
    })
}

/// The value as dag-json gives it back: maps sorted by bytes, floats without fraction as the integers that
/// their shortest digits spell.
fn through_json(value: &Value) -> Value {
    match value {
        Value::Float(float) if float.fract() == 0.0 && float.abs() < 18_446_744_073_709_551_616.0 => {
            Value::Int(float.to_string().parse().unwrap())
        }
        Value::List(items) => Value::List(items.iter().map(through_json).collect()),
        Value::Map(map) => {
            let mut entries: Vec<_> =
                map.iter().map(|(key, value)| (key.clone(), through_json(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Map(entries.into_iter().collect())
        }
        other => other.clone(),
    }
}

fn links_of(value: &Value, links: &mut Vec<Cid>) {
    match value {
        Value::Link(cid) => links.push(**cid),
        Value::List(items) => items.iter().for_each(|item| links_of(item, links)),
        Value::Map(map) => map.iter().for_each(|(_, value)| links_of(value, links)),
        _ => {}
    }
}

fn pb_nodes() -> impl Strategy<Value = Value> {
    let link = (cids(), proptest::option::of(".{0,12}"), proptest::option::of(any::<u64>()));
    (proptest::option::of(vec(any::<u8>(), 0..100)), vec(link, 0..12)).prop_map(|(data, mut links)| {
        links.sort_by(|(_, a, _), (_, b, _)| a.as_deref().unwrap_or("").cmp(b.as_deref().unwrap_or("")));
        let links = links.into_iter().map(|(cid, name, tsize)| {
            let mut link = Map::new();
            link.push("Hash", Value::link(cid));
            if let Some(name) = name {
                link.push("Name", Value::String(name));
            }
            if let Some(tsize) = tsize {
                link.push("Tsize", Value::Int(i128::from(tsize)));
            }
            Value::Map(link)
        });
        let mut node = Map::new();
        if let Some(data) = data {
            node.push("Data", Value::Bytes(data));
        }
        node.push("Links", Value::List(links.collect()));
        Value::Map(node)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dag_cbor_gives_back_what_it_took(value in values()) {
        let block = dag_cbor::encode(&value).unwrap();
        prop_assert_eq!(&dag_cbor::decode(&block).unwrap(), &value);
        let mut links = Vec::new();
        links_of(&value, &mut links);
        prop_assert_eq!(ipld::links(codec::DAG_CBOR, &block).unwrap(), links);
    }

    #[test]
    fn dag_json_gives_back_what_it_took(value in values()) {
        let block = dag_json::encode(&value).unwrap();
        prop_assert_eq!(dag_json::decode(&block).unwrap(), through_json(&value));
    }

    #[test]
    fn dag_pb_gives_back_what_it_took(node in pb_nodes()) {
        let block = dag_pb::encode(&node).unwrap();
        prop_assert_eq!(&dag_pb::decode(&block).unwrap(), &node);
        let mut links = Vec::new();
        links_of(&node, &mut links);
        prop_assert_eq!(ipld::links(codec::DAG_PB, &block).unwrap(), links);
    }

    #[test]
    fn floats_are_printed_to_be_read_back(bits in any::<u64>()) {
        let float = f64::from_bits(bits);
        prop_assume!(float.is_finite());
        let text = dag_json::encode(&Value::Float(float)).unwrap();
        let read_back: f64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
        prop_assert_eq!(read_back.to_bits(), bits);
    }

    #[test]
    fn an_archive_gives_back_its_blocks_in_pieces_of_any_size(
        roots in vec(cids(), 0..4),
        blocks in vec((cids(), vec(any::<u8>(), 0..200)), 0..12),
        piece in 1_usize..300,
    ) {
        let mut archive = encode_header(&roots);
        for (cid, data) in &blocks {
            archive.extend(encode_section_head(cid, data.len()));
            archive.extend_from_slice(data);
        }
        let mut pieces = archive.chunks(piece);
        let mut reader = CarReader::new(CarLimits::default());
        let mut events = Vec::new();
        loop {
            match reader.next_event().unwrap() {
                CarEvent::NeedMore => match pieces.next() {
                    Some(piece) => reader.push(piece.to_vec()),
                    None => reader.finish(),
                },
                CarEvent::End => break,
                event => events.push(event),
            }
        }
        let mut expected = vec![CarEvent::Header { version: 1, roots }];
        expected.extend(
            blocks.into_iter().map(|(cid, data)| CarEvent::Block { cid: Box::new(cid), data: data.into() }),
        );
        prop_assert_eq!(events, expected);
    }
}

//! Records made by other programs are read to the byte and judged as the specification says; ours are read by the same
//! rules, and no changed bit of them is believed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_dht::ipns::{
    Draft, Name, RECORD_BYTES_MAX, Record, RecordError, SignatureType, Timestamp, ValidateError, best,
    compare,
};
use libp2p_identity::Keypair;
use proptest::prelude::*;

/// The fixtures in the folder of recorded data that `HOLDFAST_TEST_DATA` names, if it is there.
fn fixtures() -> Option<PathBuf> {
    let data = PathBuf::from(std::env::var_os("HOLDFAST_TEST_DATA").unwrap_or_default());
    let folder = data.join("gateway-fixtures");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("REQUIRE_ALL").is_none(), "{} is not there", folder.display());
    eprintln!("skipped: there are no IPNS fixtures in {}", folder.display());
    None
}

fn fixture(folder: &Path, path: &str) -> (Name, Vec<u8>) {
    let path = folder.join(path);
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let name = stem.split('_').next().unwrap().parse().unwrap();
    (name, fs::read(&path).unwrap())
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_750_000_000, 0)
}

const HOUR: Duration = Duration::from_secs(3600);

fn draft(value: &str, sequence: u64, v1_compatible: bool) -> Draft {
    Draft { value: value.to_owned(), sequence, end_of_life: now().after(HOUR), ttl: HOUR / 60, v1_compatible }
}

fn name_of(key: &Keypair) -> Name {
    Name::from(key.public().to_peer_id())
}

#[test]
fn records_of_the_gateway_fixtures_say_what_the_specification_says() {
    let Some(folder) = fixtures() else { return };
    let v1_v2 =
        "ipns_records/k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w_v1-v2.ipns-record";
    let v2 = "ipns_records/k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f_v2.ipns-record";
    for (path, signature, value) in [
        (v1_v2, SignatureType::V1AndV2, "/ipfs/bafkqaddwgevxmmraojswg33smq"),
        (v2, SignatureType::V2, "/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"),
    ] {
        let (name, bytes) = fixture(&folder, path);
        let record = Record::decode(&bytes).unwrap();
        record.validate(&name, now()).unwrap();
        assert_eq!(record.signature_type(), signature);
        assert_eq!(record.value().unwrap().to_string(), value);
        assert_eq!(record.end_of_life().unwrap().to_string(), "2123-08-14T12:17:03.694052Z");
        assert_eq!(record.sequence().unwrap(), 0);
        assert_eq!(record.ttl_nanos().unwrap(), Some(1_800_000_000_000));
        let end = record.end_of_life().unwrap();
        assert_eq!(record.validate(&name, end), Ok(()), "it is valid up to its end of life");
        let after = end.after(Duration::from_nanos(1));
        assert_eq!(record.validate(&name, after), Err(ValidateError::Expired { end_of_life: end }));
    }
    for path in [
        "gateway-cache/k51qzi5uqu5dlxdsdu5fpuu7h69wu4ohp32iwm9pdt9nq3y5rpn3ln9j12zfhe.ipns-record",
        "path_gateway_dag/k51qzi5uqu5dghjous0agrwavl8vzl64xckoqzwqeqwudfr74kfd11zcyk3b7l.ipns-record",
        "path_gateway_dag/k51qzi5uqu5dhjghbwdvbo6mi40htrq6e2z4pwgp15pgv3ho1azvidttzh8yy2.ipns-record",
        "subdomain_gateway/12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d.ipns-record",
    ] {
        let (name, bytes) = fixture(&folder, path);
        Record::decode(&bytes)
            .unwrap()
            .validate(&name, now())
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[test]
fn fixtures_that_must_not_be_believed_are_not() {
    let Some(folder) = fixtures() else { return };
    let (_, v1) = fixture(
        &folder,
        "ipns_records/k51qzi5uqu5dm4tm0wt8srkg9h9suud4wuiwjimndrkydqm81cqtlb5ak6p7ku_v1.ipns-record",
    );
    assert_eq!(Record::decode(&v1), Err(RecordError::NoData), "the first version alone cannot be checked");
    let (name, broken) = fixture(
        &folder,
        "ipns_records/k51qzi5uqu5diamp7qnnvs1p1gzmku3eijkeijs3418j23j077zrkok63xdm8c_v1-v2-broken-signature-v2.ipns-record",
    );
    assert_eq!(Record::decode(&broken).unwrap().validate(&name, now()), Err(ValidateError::Signature));
}

/// Ed25519 signatures are the same each time: a record of a known key is known to the byte.
#[test]
fn a_record_of_a_known_key_is_known_to_the_byte() {
    let key = Keypair::ed25519_from_bytes([7; 32]).unwrap();
    let draft = Draft {
        value: "/ipfs/bafkqaaa".to_owned(),
        sequence: 300,
        end_of_life: "2030-01-02T03:04:05.6Z".parse().unwrap(),
        ttl: Duration::from_secs(60),
        v1_compatible: true,
    };
    let data = [
        &b"\xa5\x63TTL\x1b\x00\x00\x00\x0d\xf8\x47\x58\x00"[..],
        b"\x65Value\x4e/ipfs/bafkqaaa",
        b"\x68Sequence\x19\x01\x2c",
        b"\x68Validity\x562030-01-02T03:04:05.6Z",
        b"\x6cValidityType\x00",
    ]
    .concat();
    let signed = key.sign(&[b"ipns-signature:".as_slice(), &data].concat()).unwrap();
    let signed_v1 = key.sign(b"/ipfs/bafkqaaa2030-01-02T03:04:05.6ZEOL").unwrap();
    let tail = [b"\x42\x40".as_slice(), &signed, &[0x4a, u8::try_from(data.len()).unwrap()], &data].concat();
    let head = [
        &b"\x0a\x0e/ipfs/bafkqaaa\x12\x40"[..],
        &signed_v1,
        b"\x18\x00\x22\x162030-01-02T03:04:05.6Z\x28\xac\x02\x30\x80\xb0\x9d\xc2\xdf\x01",
    ]
    .concat();
    assert_eq!(draft.sign(&key).unwrap().as_bytes(), [head, tail.clone()].concat());
    let v2 = Draft { v1_compatible: false, ..draft };
    assert_eq!(v2.sign(&key).unwrap().as_bytes(), tail);
}

#[test]
fn records_of_every_kind_of_key_are_believed_under_its_name_only() {
    let secp256k1 = Keypair::generate_secp256k1();
    let (ed25519, ecdsa) = (Keypair::generate_ed25519(), Keypair::generate_ecdsa());
    for key in [&ed25519, &secp256k1, &ecdsa] {
        for v1_compatible in [true, false] {
            let record = draft("/ipfs/bafkqaaa", 0, v1_compatible).sign(key).unwrap();
            let record = Record::decode(record.as_bytes()).unwrap();
            assert_eq!(record.validate(&name_of(key), now()), Ok(()), "{:?}", key.key_type());
            let other = name_of(&Keypair::generate_ed25519());
            assert!(record.validate(&other, now()).is_err(), "{:?}", key.key_type());
        }
    }
    let hashed = name_of(&Keypair::generate_ecdsa());
    let record = draft("/ipfs/bafkqaaa", 0, true).sign(&ed25519).unwrap();
    assert_eq!(
        record.validate(&hashed, now()),
        Err(ValidateError::NoKey),
        "the name is only a hash of its key"
    );
    let record = draft("/ipfs/bafkqaaa", 0, true).sign(&ecdsa).unwrap();
    assert_eq!(record.validate(&hashed, now()), Err(ValidateError::OtherKey));
}

#[test]
fn what_readers_of_the_first_version_are_told_must_be_what_was_signed() {
    let key = Keypair::ed25519_from_bytes([9; 32]).unwrap();
    let record = draft("/ipfs/bafkqaaa", 1, true).sign(&key).unwrap();
    // The value is the first field, and not signed by the signature that counts.
    let mut other_value = record.as_bytes().to_vec();
    other_value[15] = b'b';
    let changed = Record::decode(&other_value).unwrap();
    assert_eq!(changed.validate(&name_of(&key), now()), Err(ValidateError::Mismatch("Value")));
    // And one of the second version that gets a value added says something unsigned.
    let plain = draft("/ipfs/bafkqaaa", 1, false).sign(&key).unwrap();
    let added = [b"\x0a\x0e/ipfs/bafkqaaa".as_slice(), plain.as_bytes()].concat();
    let added = Record::decode(&added).unwrap();
    assert_eq!(added.validate(&name_of(&key), now()), Err(ValidateError::Mismatch("Validity")));
    // The signature of the first version counts for nothing.
    let mut broken = record.as_bytes().to_vec();
    broken[20] ^= 1;
    assert_eq!(Record::decode(&broken).unwrap().validate(&name_of(&key), now()), Ok(()));
}

#[test]
fn a_record_is_at_most_ten_kib() {
    let key = Keypair::ed25519_from_bytes([9; 32]).unwrap();
    let value = |bytes: usize| format!("/ipfs/bafkqaaa/{}", "x".repeat(bytes - 15));
    let overhead = draft(&value(RECORD_BYTES_MAX / 2), 0, false).sign(&key).unwrap().as_bytes().len()
        - RECORD_BYTES_MAX / 2;
    let largest = draft(&value(RECORD_BYTES_MAX - overhead), 0, false).sign(&key).unwrap();
    assert_eq!(largest.as_bytes().len(), RECORD_BYTES_MAX);
    Record::decode(largest.as_bytes()).unwrap().validate(&name_of(&key), now()).unwrap();
    let error = draft(&value(RECORD_BYTES_MAX - overhead + 1), 0, false).sign(&key).unwrap_err();
    assert!(error.to_string().starts_with("record exceeds allowed size limit"), "{error}");
    // Longer than that, it is not even looked at.
    let longer = [largest.as_bytes(), b"\x52\x00"].concat();
    assert_eq!(Record::decode(&longer), Err(RecordError::TooLarge { bytes: RECORD_BYTES_MAX + 2 }));
}

#[test]
fn the_newest_record_is_chosen_whatever_their_order() {
    let key = Keypair::ed25519_from_bytes([9; 32]).unwrap();
    let with = |sequence, hours: u32, v1| {
        Draft { end_of_life: now().after(HOUR * hours), ..draft("/ipfs/bafkqaaa", sequence, v1) }
            .sign(&key)
            .unwrap()
    };
    let ascending =
        [with(1, 9, true), with(2, 1, true), with(2, 3, true), with(2, 3, false), with(10, 1, true)];
    for (at, a) in ascending.iter().enumerate() {
        for (against, b) in ascending.iter().enumerate() {
            let tie = [at, against].iter().all(|place| (2..=3).contains(place)) && at != against;
            if tie {
                assert_eq!(compare(a, b).unwrap(), a.as_bytes().cmp(b.as_bytes()));
            } else {
                assert_eq!(compare(a, b).unwrap(), at.cmp(&against), "{at} {against}");
            }
        }
    }
    assert_eq!(best(ascending.clone()), Some(ascending[4].clone()));
    assert_eq!(best(ascending.iter().rev().cloned()), Some(ascending[4].clone()));
    assert_eq!(best([]), None);
}

#[test]
fn values_of_other_programs_are_read() {
    let key = Keypair::ed25519_from_bytes([9; 32]).unwrap();
    let value = |value: &str| draft(value, 0, true).sign(&key).unwrap().value().map(|path| path.to_string());
    assert_eq!(value("").unwrap(), "/ipfs/bafkqaaa");
    assert_eq!(value("/ipns/example.com/a").unwrap(), "/ipns/example.com/a");
    assert!(matches!(value("example.com"), Err(RecordError::Value(_))));
    assert!(matches!(value("/nowhere"), Err(RecordError::Value(_))));
    // A binary CID: version 1, raw, identity, nothing.
    assert_eq!(value("\u{1}\u{55}\u{0}\u{0}").unwrap(), "/ipfs/bafkqaaa");
}

#[test]
fn no_changed_bit_of_the_signed_part_is_believed() {
    let key = Keypair::ed25519_from_bytes([9; 32]).unwrap();
    let record = draft("/ipfs/bafkqaaa", 3, false).sign(&key).unwrap();
    for place in 0..record.as_bytes().len() * 8 {
        let mut bytes = record.as_bytes().to_vec();
        bytes[place / 8] ^= 1 << (place % 8);
        let believed =
            Record::decode(&bytes).is_ok_and(|record| record.validate(&name_of(&key), now()).is_ok());
        assert!(!believed, "bit {place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_is_read_back(
        value in "/ipfs/bafkqaaa(/[a-zA-Z0-9]{1,9}){0,4}",
        sequence in 0..=i64::MAX as u64,
        ttl_ms in 0..1_000_000_u64,
        seed in 1..255_u8,
        v1_compatible in any::<bool>(),
    ) {
        let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let ttl = Duration::from_millis(ttl_ms);
        let made = Draft { ttl, ..draft(&value, sequence, v1_compatible) }.sign(&key).unwrap();
        let read = Record::decode(made.as_bytes()).unwrap();
        prop_assert_eq!(&read, &made);
        prop_assert_eq!(read.validate(&name_of(&key), now()), Ok(()));
        prop_assert_eq!(read.value().unwrap().to_string(), value);
        prop_assert_eq!(read.sequence().unwrap(), sequence);
        prop_assert_eq!(read.ttl_nanos().unwrap(), Some(ttl_ms * 1_000_000));
        prop_assert_eq!(read.end_of_life().unwrap(), now().after(HOUR));
    }
}

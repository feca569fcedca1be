//! IPNS records, names and the times in records.

use std::cmp::Ordering;

use holdfast_dht::ipns::{Name, RECORD_BYTES_MAX, Record, Timestamp, compare};

/// The moment at which records are judged: the seeds are valid then.
const NOW_UNIX: i64 = 1_750_000_000;

/// Two names whose keys nobody has.
const STRANGERS: [&str; 2] = [
    "k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam",
    "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
];

/// A record that is read is as large as it may be and says the same each time; nobody's key signs it but its own; times and
/// names have one written form.
pub fn ipns(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        assert!(data.len() <= RECORD_BYTES_MAX && record.as_bytes() == data);
        let now = Timestamp::from_unix(NOW_UNIX, 0);
        let names = STRANGERS.map(|name| name.parse::<Name>().expect("a constant"));
        let believed = names.iter().filter(|name| record.validate(name, now).is_ok()).count();
        assert!(believed <= 1, "a record belongs to one name");
        if let Ok(end) = record.end_of_life() {
            assert_eq!(end.to_string().parse(), Ok(end), "a time has one form");
        }
        if let Ok(order) = compare(&record, &record) {
            assert_eq!(order, Ordering::Equal);
            assert!(record.sequence().is_ok() && record.end_of_life().is_ok());
        }
        let complete =
            record.sequence().is_ok() && record.ttl_nanos().is_ok() && record.end_of_life().is_ok();
        assert!(complete || believed == 0, "what readers rely on is there");
    }
    if let Ok(name) = Name::from_routing_key(data) {
        assert_eq!(Name::from_routing_key(&name.routing_key()), Ok(name));
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time), "a time has one form");
    }
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}

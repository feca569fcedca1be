//! The codecs against go-ipld-prime, whose answers are recorded in `data/go-ipld-prime.txt`.
//!
//! Known differences on purpose are not in the file: integers of 65 bits are taken as JSON too, text in CBOR has to be
//! UTF-8, tags other than 42 are refused on everything, and a Tsize of 2^63 or more is not read as negative.

#![cfg(test)]

use holdfast_dag::ipld;
use multibase::Base;

/// In the order of the file: dag-cbor, dag-json, cbor, json, dag-pb.
const OUTPUTS: [u64; 5] = [0x71, 0x0129, 0x51, 0x0200, 0x70];

fn answer(codec: u64, block: &[u8]) -> String {
    let value = match ipld::decode(codec, block) {
        Ok(value) => value,
        Err(error) => return format!("! {error}"),
    };
    let outputs = OUTPUTS.map(|output| match ipld::encode(output, &value) {
        Ok(bytes) if bytes.is_empty() => "-".to_owned(),
        Ok(bytes) => Base::Base16Lower.encode(bytes),
        Err(_) => "E".to_owned(),
    });
    format!("= {}", outputs.join(" "))
}

#[test]
fn blocks_mean_what_they_mean_to_kubo() {
    let recorded = include_str!("data/go-ipld-prime.txt");
    let mut checked = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let (codec, rest) = line.split_once(' ').unwrap();
        let (block, expected) = rest.split_once(' ').unwrap();
        let block = Base::Base16Lower.decode(block).unwrap();
        assert_eq!(answer(codec.parse().unwrap(), &block), expected, "{line}");
        checked += 1;
    }
    assert!(checked > 150, "only {checked} lines");
}

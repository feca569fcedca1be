use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::testdata::{drand, hex};

fn lengths(spec: &str, data: &[u8]) -> Vec<usize> {
    let spec: ChunkerSpec = spec.parse().unwrap();
    let (mut rest, mut lengths) = (data, Vec::new());
    while let Some(cut) = spec.cut(rest, true) {
        lengths.push(cut);
        rest = &rest[cut..];
    }
    assert!(rest.is_empty());
    lengths
}

#[test]
fn the_buzhash_table_is_boxo_s() {
    let bytes: Vec<u8> = buzhash::TABLE.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    assert_eq!(
        hex(&Sha256::digest(bytes)),
        "5682f46a3226102a4f113d61841ab4f3e815b43ba590f1a1ecab7561369fc0cb"
    );
}

#[test]
fn content_defined_cuts_are_kubo_s() {
    assert_eq!(
        lengths("buzhash", &drand("buzhash-test", 4 << 20)),
        [
            320_184, 211_036, 217_569, 208_499, 198_691, 156_965, 420_579, 524_288, 220_761, 522_312,
            352_340, 137_270, 337_127, 353_794, 12_889
        ]
    );
    let rabin = lengths("rabin", &drand("rabin-test", 4 << 20));
    assert_eq!(rabin[..3], [115_994, 393_216, 274_454]);
    assert_eq!((rabin.len(), rabin.last()), (17, Some(&426)));
}

/// The fingerprint by the book: state reset at each chunk, one byte after the other, as the original does it.
fn rabin_by_the_book(data: &[u8], min: usize, avg: usize, max: usize) -> Vec<usize> {
    const POLYNOMIAL: u128 = 17_437_180_132_763_653;
    let modulo = |mut value: u128| {
        while value >> 53 != 0 {
            value ^= POLYNOMIAL << (value.ilog2() - 53);
        }
        value
    };
    let mask = (1_u128 << avg.ilog2()) - 1;
    let (mut lengths, mut start) = (Vec::new(), 0);
    while start < data.len() {
        let mut window = std::collections::VecDeque::from(vec![0; 15]);
        window.push_back(1);
        let mut length = min - 16;
        while let Some(byte) = data.get(start + length) {
            window.pop_front();
            window.push_back(*byte);
            length += 1;
            let digest = window.iter().fold(0, |digest, byte| modulo(digest << 8 | u128::from(*byte)));
            if length >= min && (digest & mask == 0 || length == max) {
                break;
            }
        }
        let length = length.min(data.len() - start);
        lengths.push(length);
        start += length;
    }
    lengths
}

#[test]
fn rabin_equals_its_definition() {
    let data = drand("rabin-by-the-book", 200_000);
    for (min, avg, max) in [(16, 32, 64), (36, 512, 1024), (16, 1000, 100_000), (4096, 16_384, 65_536)] {
        let spec = format!("rabin-{min}-{avg}-{max}");
        assert_eq!(lengths(&spec, &data), rabin_by_the_book(&data, min, avg, max), "{spec}");
    }
}

#[test]
fn options_read_as_kubo_reads_them() {
    let same = [
        ("", "size-262144"),
        ("default", "size-262144"),
        ("size-1", "size-1"),
        ("size-2096896", "size-2096896"),
        ("rabin", "rabin-87381-262144-393216"),
        ("rabin-48", "rabin-16-48-72"),
        ("rabin-16-17-18", "rabin-16-17-18"),
        ("rabin-min:36-avg:512-max:1024", "rabin-36-512-1024"),
        ("buzhash", "buzhash"),
        ("buzhash-7", "buzhash"),
    ];
    for (text, shown) in same {
        let spec: ChunkerSpec = text.parse().unwrap();
        assert_eq!(spec.to_string(), shown);
        assert_eq!(shown.parse(), Ok(spec));
    }
}

#[test]
fn options_are_refused_in_kubo_s_words() {
    let refused = [
        ("foo", "unrecognized chunker option: foo"),
        ("size", "incorrect chunker string format (expected size-{size})"),
        ("size-1-2", "incorrect chunker string format (expected size-{size})"),
        ("size-0", "chunker size must be greater than 0"),
        ("size-x", "strconv.Atoi: parsing \"x\": invalid syntax"),
        ("size-99999999999999999999", "strconv.Atoi: parsing \"99999999999999999999\": value out of range"),
        ("size-99999999", "chunker parameters may not exceed the maximum chunk size of 2096896"),
        ("rabin-1398000", "chunker parameters may not exceed the maximum chunk size of 2096896"),
        ("rabin-10", "rabin min must be greater than 16"),
        ("rabin-15-16-17", "rabin min must be greater than 16"),
        ("rabin-16-16-17", "incorrect format: rabin-min must be smaller than rabin-avg"),
        ("rabin-16-17-17", "incorrect format: rabin-avg must be smaller than rabin-max"),
        ("rabin-16-17-2096897", "chunker parameters may not exceed the maximum chunk size of 2096896"),
        ("rabin-max:16-17-18", "first label must be min"),
        ("rabin-16-min:17-18", "second label must be avg"),
        ("rabin-16-17-x:18", "final label must be max"),
        ("rabin-1-2", "incorrect format (expected 'rabin' 'rabin-[avg]' or 'rabin-[min]-[avg]-[max]'"),
    ];
    for (text, words) in refused {
        assert_eq!(text.parse::<ChunkerSpec>().unwrap_err().to_string(), words);
    }
}

fn specs() -> impl Strategy<Value = ChunkerSpec> {
    prop_oneof![
        (1_usize..5000).prop_map(|bytes| ChunkerSpec::size(bytes).unwrap()),
        (16_usize..300, 1_usize..600, 1_usize..20_000).prop_map(|(min, more, most)| ChunkerSpec::rabin(
            min,
            min + more,
            min + more + most
        )
        .unwrap()),
        Just(ChunkerSpec::buzhash()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the input arrives, the chunks are the same, and joined they are the input.
    #[test]
    fn cuts_do_not_depend_on_reads(
        spec in specs(),
        seed in any::<u64>(),
        length in 0_usize..1_200_000,
        reads in proptest::collection::vec(1_usize..200_000, 1..20),
    ) {
        let data = drand(&seed.to_string(), length);
        let whole = lengths(&spec.to_string(), &data);
        prop_assert_eq!(whole.iter().sum::<usize>(), length);

        let (mut streamed, mut start, mut seen) = (Vec::new(), 0, 0);
        let mut reads = reads.iter().cycle();
        while start < length {
            let last = seen == length;
            if let Some(cut) = spec.cut(&data[start..seen], last) {
                prop_assert!(cut <= spec.chunk_bytes_max());
                streamed.push(cut);
                start += cut;
            } else {
                prop_assert!(!last);
                prop_assert!(seen - start < spec.chunk_bytes_max());
                seen = length.min(seen + reads.next().unwrap());
            }
        }
        prop_assert_eq!(streamed, whole);
    }
}

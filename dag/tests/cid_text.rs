//! CIDs as text, against what Kubo prints.

#![cfg(test)]

use holdfast_dag::base::{self, BASES, Base, BaseError};
use holdfast_dag::cid::{CID_TEXT_BYTES_MAX, cid_from_bytes, parse_cid};
use holdfast_dag::cid_text::{CidConversion, format_cid, inspect};

const V0: &str = "QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi";
const V1: &str = "bafybeibdvkmoue5cginfmw4avefjhnlgoj33qr62dcvkfeelmfhfklng7e";

fn converted(options: [&str; 4], text: &str) -> Result<String, String> {
    let [format, version, codec, base] = options;
    let conversion = CidConversion::new(format, version, codec, base).map_err(|error| error.to_string())?;
    conversion.apply(text).map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn cid_format_prints_what_kubo_prints() {
    let format = |format: &str| converted([format, "", "", ""], V0).unwrap();
    assert_eq!(format("%M-%b-%v-%c-%h-%L"), format!("{V0}-base58btc-cidv0-dag-pb-sha2-256-32"));
    assert_eq!(format("%P %V %C %H %B %% x"), "cidv0-dag-pb-sha2-256-32 0 112 18 z % x");
    assert_eq!(converted(["%s", "1", "", "base32"], V0).unwrap(), V1);
    assert_eq!(converted(["%s", "", "", "b"], V0).unwrap(), V1, "a base asks for v1");
    assert_eq!(converted(["%s", "0", "", ""], V1).unwrap(), V0);
    assert_eq!(converted(["%s", "", "raw", ""], V0).unwrap()[..6], *"zb2rhZ", "another codec asks for v1");
    let upper = V1.to_ascii_uppercase();
    assert_eq!(converted(["%s", "", "", ""], &upper).unwrap(), upper, "v1 keeps its base");
    assert_eq!(converted(["%d %D", "", "", ""], "f01551203616263").unwrap(), "f616263 616263");
    assert_eq!(converted(["%m %M %S", "", "", "f"], "bafkqaaa").unwrap(), "f0000 0000 01550000");
    assert_eq!(converted(["%c %h", "", "", ""], "f0180022203616263").unwrap(), "Code(256) murmur3-x64-64");
    assert_eq!(converted(["%h", "", "", ""], "f0155b1e40203616263").unwrap(), "blake2b-392");
    assert_eq!(converted(["%h", "", "", ""], "f0155ff7f03616263").unwrap(), "hash?16383");
    assert_eq!(String::from_utf8(CidConversion::base32().apply(V0).unwrap()).unwrap(), V1);
}

#[test]
fn cid_format_refuses_in_kubos_words() {
    for (options, text, words) in [
        (["x", "", "", ""], V0, "invalid format string: \"x\""),
        (["%", "", "", ""], V0, "premature end of format string"),
        (["%x", "", "", ""], V0, "unrecognized specifier in format string: %x"),
        (["%s", "2", "", ""], V0, "invalid cid version: \"2\""),
        (["%s", "", "foo", ""], V0, "unknown multicodec: \"foo\""),
        (["%s", "0", "raw", ""], V0, "cannot convert to CIDv0 with any codec other than dag-pb"),
        (
            ["%s", "0", "", "base32"],
            V0,
            "cannot convert to CIDv0 with any multibase other than the implicit base58btc",
        ),
        (["%s", "", "", "base99"], V0, "unsupported multibase encoding: base99"),
        (["%s", "0", "", ""], "bafkqaaa", "can't convert non-dag-pb nodes to cidv0"),
        (
            ["%s", "", "", ""],
            "zzz",
            "invalid cid: invalid cid: expected 1 as the cid version number, got: 13",
        ),
        (["%s", "", "", ""], "b", "invalid cid: cid too short"),
        (["%s", "", "", ""], "f0155000000", "invalid cid: trailing bytes in data buffer passed to cid Cast"),
        (["%s", "", "", ""], "7002", "invalid cid: selected encoding not supported"),
    ] {
        assert_eq!(converted(options, text).unwrap_err(), words);
    }
    let one_by_one = |text: &str| CidConversion::base32().apply(text).unwrap_err();
    assert!(!one_by_one("zzz").is_fatal(), "the next CID may fare better");
    assert!(format_cid("%", Base::Base58Btc, &parse_cid(V0).unwrap()).unwrap_err().is_fatal());
}

#[test]
fn a_cid_is_one_text_and_nothing_around_it() {
    for text in ["/ipfs/bafkqaaa", "x/ipfs/bafkqaaa", "f0155000000", " bafkqaaa", "bafkqaaa ", "Qmbafkqaaa"] {
        assert!(parse_cid(text).is_err(), "{text:?}");
    }
    for text in ["bafkqaaa", "BAFKQAAA", "bAfKqAaA", "f01550000", "mAVUAAA", "uAVUAAA", "MAVUAAA=="] {
        assert_eq!(parse_cid(text).unwrap().to_string(), "bafkqaaa", "{text:?}");
    }
    let identity =
        |len: usize| format!("f015500{}{}", if len == 128 { "8001" } else { "8101" }, "ab".repeat(len));
    assert!(parse_cid(&identity(128)).is_ok());
    assert!(parse_cid(&identity(129)).is_err());
    assert!(parse_cid(&"z".repeat(CID_TEXT_BYTES_MAX + 1)).is_err());
}

/// A varint of ten bytes has room for 70 bits; those above the 64th were once dropped.
#[test]
fn a_cid_has_one_binary_form() {
    let cid = |codec: &[u8]| cid_from_bytes(&[&[1][..], codec, &[0, 0]].concat());
    assert!(cid(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_ok());
    for last in [0x01, 0x02, 0x29, 0x7f] {
        let codec = [&[0xd5][..], &[0x80; 8], &[last]].concat();
        assert!(cid(&codec).is_err(), "{last:#x}");
    }
    assert!(cid(&[0xd5, 0]).is_err(), "not minimal");
}

#[test]
fn bases_are_listed_as_kubo_lists_them() {
    let line = |(base, name): &(Base, &str)| {
        format!("{} {:7}  {name}\n", base::base_prefix(*base), base::base_code(*base))
    };
    let listed = BASES.iter().map(line).collect::<Vec<_>>().concat();
    let expected = "        0  identity\n0      48  base2\nb      98  base32\nB      66  base32upper\n\
        c      99  base32pad\nC      67  base32padupper\nf     102  base16\nF      70  base16upper\n\
        k     107  base36\nK      75  base36upper\nm     109  base64\nM      77  base64pad\n\
        t     116  base32hexpad\nT      84  base32hexpadupper\nu     117  base64url\nU      85  base64urlpad\n\
        v     118  base32hex\nV      86  base32hexupper\nz     122  base58btc\nZ      90  base58flickr\n\
        \u{1f680}  128640  base256emoji\n";
    assert_eq!(listed, expected);
    for (base, name) in BASES {
        assert_eq!(base::base_by_name(name), Ok(base));
        assert_eq!(base::base_by_name(&base.code().to_string()), Ok(base));
        let bytes = [0, 0, 1, 2, 0xff, 0xfe];
        assert_eq!(base::decode(&base::encode(base, &bytes)), Ok((base, bytes.to_vec())), "{name}");
    }
    assert_eq!(base::encode(Base::Base32Lower, b"hello"), b"bnbswy3dp");
    assert_eq!(base::decode(b"nbswy3dp"), Err(BaseError::Unsupported));
    assert_eq!(base::decode(b""), Err(BaseError::Empty));
    assert_eq!(base::base_by_name(""), Err(BaseError::EmptyName));
    assert!(base::base_by_name("base8").is_err(), "not supported by Kubo");
}

#[test]
fn cid_inspect_takes_apart() {
    let shown = inspect(V0).unwrap().to_string();
    let expected = "CID:        QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi\n\
        Version:    0\n\
        Multibase:  base58btc (implicit)\n\
        Multicodec: dag-pb (0x70, implicit)\n\
        Multihash:  sha2-256 (0x12, implicit)\n\
        \x20 Length:   32 bytes\n\
        \x20 Digest:   23aa98ea13a2321a565b80a90a93b5667277b847da18aaa2908b614e552da6f9\n";
    let (head, tail) = shown.split_at(shown.find("CIDv0:").unwrap());
    assert_eq!(head, expected);
    assert_eq!(tail, format!("CIDv0:      {V0}\nCIDv1:      {V1}\n"));
    let raw = inspect("bafkqaaa").unwrap().to_string();
    assert!(raw.contains("Multibase:  base32 (b)\n"));
    assert!(raw.contains("CIDv0:      not possible, requires dag-pb (0x70), got raw (0x55)\n"));
    let key = inspect("12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d").unwrap_err();
    assert!(
        key.ends_with(
            "Note: the value is a PeerID; inspect its CID representation instead:\n  \
         k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam"
        ),
        "{key}"
    );
    assert!(inspect("zzz").unwrap_err().starts_with("invalid CID: invalid cid: "));
}

//! The codecs against what Kubo answers, and against their own limits.

#![cfg(test)]

use holdfast_dag::cid::{Cid, CidBuilder, Version, codec, parse_cid};
use holdfast_dag::hash::HashKind;
use holdfast_dag::ipld::{self, DEPTH_MAX, DecodeError, EncodeError, Map, Value, dag_cbor, dag_json, dag_pb};
use multibase::Base;

fn cid() -> Cid {
    parse_cid("QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi").unwrap()
}

fn name(codec: u64, block: &[u8]) -> String {
    CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 }.cid_of(codec, &[block]).to_string()
}

fn hex(text: &str) -> Vec<u8> {
    Base::Base16Lower.decode(text.replace(' ', "")).unwrap()
}

fn cbor_error(text: &str) -> String {
    dag_cbor::decode(&hex(text)).unwrap_err().to_string()
}

fn json_error(text: &str) -> String {
    dag_json::decode(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn dag_put_names_an_object_as_kubo_does() {
    let text = format!(r#"{{"hello":"worldholdfast","n":[1,2,{{"x":null}}],"l":{{"/":"{}"}}}}"#, cid());
    let value = dag_json::decode(text.as_bytes()).unwrap();
    let cbor = dag_cbor::encode(&value).unwrap();
    assert_eq!(name(codec::DAG_CBOR, &cbor), "bafyreifnigvfwh25murkv74z44nh7pfbc36w7notzs4hejv3z7g3vhrmfe");
    let json = dag_json::encode(&value).unwrap();
    assert_eq!(name(codec::DAG_JSON, &json), "baguqeerad66dy2x6u6gmk65myrcdujp33gmmf6eydi2j5gfv74gjzh3gntdq");
    let printed = r#"{"hello":"worldholdfast","l":{"/":"QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi"},"n":[1,2,{"x":null}]}"#;
    let read_back = dag_json::encode(&dag_cbor::decode(&cbor).unwrap()).unwrap();
    assert_eq!(String::from_utf8(read_back).unwrap(), printed);
    assert_eq!(ipld::links(codec::DAG_CBOR, &cbor).unwrap(), [cid()]);
    assert_eq!(ipld::links(codec::DAG_JSON, &json).unwrap(), [cid()]);
}

#[test]
fn one_node_has_one_name_in_each_codec_whatever_it_was_read_from() {
    let json = br#"{"Data":{"/":{"bytes":"AAECAwQ"}},"Links":[]}"#;
    let value = dag_json::decode(json).unwrap();
    let cbor = dag_cbor::encode(&value).unwrap();
    let pb = dag_pb::encode(&value).unwrap();
    assert_eq!(name(codec::DAG_CBOR, &cbor), "bafyreieculsmrexh3ty5jentbvuku452o27mst4h2tq2rb2zntqhgcstji");
    assert_eq!(name(codec::DAG_PB, &pb), "bafybeibazl2z4vqp2tmwcfag6wirmtpnomxknqcgrauj7m2yisrz3qjbom");
    assert_eq!(name(codec::DAG_JSON, json), "baguqeerajwksxu3lxpomdwxvosl542zl3xknhjgxtq3277gafrhl6vdw5tcq");
    assert_eq!(dag_cbor::decode(&cbor).unwrap(), value);
    assert_eq!(dag_pb::decode(&pb).unwrap(), value);
    assert_eq!(dag_json::encode(&value).unwrap(), json);
}

#[test]
fn dag_pb_prints_as_kubo_prints_it() {
    let block = hex("0a150802120f68656c6c6f20686f6c64666173740a180f");
    let printed = dag_json::encode(&dag_pb::decode(&block).unwrap()).unwrap();
    let expected: &[u8] = br#"{"Data":{"/":{"bytes":"CAISD2hlbGxvIGhvbGRmYXN0ChgP"}},"Links":[]}"#;
    assert_eq!(printed, expected);
}

#[test]
fn dag_pb_sorts_links_by_name_and_keeps_the_order_of_equals() {
    let link = |name: Option<&str>, tsize: i128| {
        let mut map = Map::new();
        map.push("Hash", Value::link(cid()));
        if let Some(name) = name {
            map.push("Name", Value::String(name.to_owned()));
        }
        map.push("Tsize", Value::Int(tsize));
        Value::Map(map)
    };
    let mut map = Map::new();
    let links =
        vec![link(Some("b"), 1), link(Some("a"), 2), link(None, 3), link(Some("a"), 4), link(Some(""), 5)];
    map.push("Links", Value::List(links));
    let block = dag_pb::encode(&Value::Map(map)).unwrap();
    let Value::Map(node) = dag_pb::decode(&block).unwrap() else { panic!("not a map") };
    let Some(Value::List(links)) = node.get("Links") else { panic!("no links") };
    let order: Vec<_> = links.iter().map(|link| link.get("Tsize").unwrap().clone()).collect();
    assert_eq!(order, [3, 5, 2, 4, 1].map(Value::Int));
    assert_eq!(links[0].get("Name"), None);
    assert_eq!(links[1].get("Name"), Some(&Value::String(String::new())));
}

#[test]
fn dag_pb_takes_only_its_form() {
    for (json, words) in [
        ("{}", "Links must be a list"),
        ("[]", "node must be a map"),
        (r#"{"Links":null}"#, "Links must be a list"),
        (r#"{"Data":null,"Links":[]}"#, "Data must be bytes"),
        (r#"{"Links":[{}]}"#, "link must have a Hash"),
        (r#"{"Links":[null]}"#, "bad link"),
        (r#"{"Links":[],"extraneous":1}"#, "invalid key \"extraneous\""),
        (r#"{"Links":[{"Hash":1}]}"#, "link Hash must be a CID"),
        (r#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Name":1}]}"#, "link Name must be a string"),
        (
            r#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Name":{"/":{"bytes":"AQID"}}}]}"#,
            "link Name must be a string",
        ),
        (r#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Tsize":-1}]}"#, "link Tsize cannot be negative"),
        (r#"{"Links":[{"Hash":{"/":"bafkqaaa"},"Tsize":1.5}]}"#, "link Tsize must be an integer"),
    ] {
        let error = dag_pb::encode(&dag_json::decode(json.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error, EncodeError::Form(format!("invalid DAG-PB form ({words})")), "{json}");
    }
}

#[test]
fn a_dag_pb_name_that_is_not_utf8_survives() {
    let block = [&hex("120a0a0401550000")[..], &hex("1202ff41")[..]].concat();
    let value = dag_pb::decode(&block).unwrap();
    assert_eq!(dag_pb::encode(&value).unwrap(), block);
}

#[test]
fn links_of_dag_pb_may_follow_data_but_not_surround_it() {
    let link = hex("12060a0401550000");
    let data = hex("0a0101");
    let identity = parse_cid("bafkqaaa").unwrap();
    for block in [[&link[..], &link, &data].concat(), [&data[..], &link, &link].concat()] {
        assert_eq!(ipld::links(codec::DAG_PB, &block).unwrap(), [identity, identity]);
    }
    let around = ipld::links(codec::DAG_PB, &[&link[..], &data, &link].concat());
    assert!(around.unwrap_err().to_string().contains("duplicate Links section"));
    let twice = ipld::links(codec::DAG_PB, &[&data[..], &data].concat());
    assert!(twice.unwrap_err().to_string().contains("duplicate Data section"));
}

#[test]
fn dag_cbor_is_canonical() {
    let mut map = Map::new();
    for key in ["aaa", "c", "bb", "b"] {
        map.push(key, Value::Null);
    }
    assert_eq!(dag_cbor::encode(&Value::Map(map)).unwrap(), hex("a4 6162f6 6163f6 626262f6 63616161f6"));
    for (int, bytes) in [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65_536, "1a00010000"),
        (1 << 32, "1b0000000100000000"),
        ((1 << 64) - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-24, "37"),
        (-25, "3818"),
        (-(1 << 64), "3bffffffffffffffff"),
    ] {
        assert_eq!(dag_cbor::encode(&Value::Int(int)).unwrap(), hex(bytes));
        assert_eq!(dag_cbor::decode(&hex(bytes)).unwrap(), Value::Int(int));
    }
    assert_eq!(dag_cbor::encode(&Value::Float(0.5)).unwrap(), hex("fb3fe0000000000000"));
    assert_eq!(dag_cbor::encode(&Value::Int(1 << 64)), Err(EncodeError::IntegerRange(1 << 64)));
    assert!(matches!(dag_cbor::encode(&Value::Float(f64::NAN)), Err(EncodeError::Float(_))));
}

#[test]
fn dag_cbor_reads_old_forms_and_refuses_ambiguous_ones() {
    for (bytes, value) in [
        ("f7", Value::Null),
        ("f93800", Value::Float(0.5)),
        ("f98001", Value::Float(-(2_f64.powi(-24)))),
        ("f97bff", Value::Float(65_504.0)),
        ("fa3f000000", Value::Float(0.5)),
    ] {
        assert_eq!(dag_cbor::decode(&hex(bytes)).unwrap(), value);
    }
    assert!(dag_cbor::decode(&hex("a2 626262f6 6161f6")).is_ok(), "keys in any order");
    for (bytes, words) in [
        ("", "unexpected EOF"),
        ("81", "EOF"),
        ("a1", "EOF"),
        ("a16161", "unexpected EOF"),
        ("62ff", "unexpected EOF"),
        ("0000", "unexpected content after end of cbor object"),
        ("9fff", "cbor: indefinite-length encoding rejected"),
        ("bfff", "cbor: indefinite-length encoding rejected"),
        ("7f6161ff", "cbor: indefinite-length encoding rejected"),
        ("5f4161ff", "cbor: indefinite-length encoding rejected"),
        ("1817", "cbor: integer not minimally encoded"),
        ("5800", "cbor: integer not minimally encoded"),
        ("f97e00", "cbor: NaN float value rejected"),
        ("fb7ff0000000000000", "cbor: infinite float value rejected"),
        ("a2 6161f6 6161f5", "duplicate map key \"a\""),
        ("a3 63626172f6 63666f6ff6 63666f6ff6", "duplicate map key \"foo\""),
        ("a101f6", "unexpected uint token while expecting map key"),
        ("c100", "unhandled cbor tag 1"),
        ("d82a00", "unhandled cbor tag 42"),
        ("d82a40", "invalid multibase on IPLD link"),
        ("d82ad82a4100", "unsupported multiple tags on a single data item"),
        ("ff", "invalid majorByte: 0xff"),
        ("1c", "invalid majorByte: 0x1c"),
        ("61ff", "cbor: string is not UTF-8"),
    ] {
        assert_eq!(cbor_error(bytes), words, "{bytes}");
    }
    let trailing = [&hex("d82a58250001551220")[..], &[7; 32], &[0]].concat();
    assert!(dag_cbor::decode(&trailing).is_err(), "a byte after the CID");
}

/// A header of nine bytes once made decoders allocate gigabytes, and a run of `[` overflowed their stack.
#[test]
fn what_a_header_claims_costs_nothing_and_depth_is_bounded() {
    for claim in ["9b7fffffffffffffff", "bb7fffffffffffffff", "9bffffffffffffffff"] {
        assert_eq!(dag_cbor::decode(&hex(claim)), Err(DecodeError::BudgetExceeded));
        assert!(ipld::links(codec::DAG_CBOR, &hex(claim)).is_err());
    }
    assert_eq!(cbor_error("5b7fffffffffffffff00"), "unexpected EOF");
    let on_a_small_stack = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        let nested = |depth: usize| [vec![0x81; depth], vec![0xf6]].concat();
        let deepest = dag_cbor::decode(&nested(DEPTH_MAX)).unwrap();
        assert_eq!(dag_cbor::encode(&deepest).unwrap(), nested(DEPTH_MAX));
        assert_eq!(dag_cbor::decode(&nested(DEPTH_MAX + 1)), Err(DecodeError::TooDeep));
        assert_eq!(dag_cbor::decode(&nested(5_000_000)), Err(DecodeError::TooDeep));
        assert_eq!(ipld::links(codec::DAG_CBOR, &nested(DEPTH_MAX)), Ok(Vec::new()));
        assert_eq!(ipld::links(codec::DAG_CBOR, &nested(5_000_000)), Err(DecodeError::TooDeep));
        assert_eq!(dag_cbor::encode(&Value::List(vec![deepest.clone()])), Err(EncodeError::TooDeep));

        let json = dag_json::encode(&deepest).unwrap();
        assert_eq!(dag_json::decode(&json).unwrap(), deepest);
        assert_eq!(dag_json::encode(&Value::List(vec![deepest])), Err(EncodeError::TooDeep));
        assert_eq!(dag_json::decode(&vec![b'['; 5_000_000]), Err(DecodeError::TooDeep));
        assert_eq!(dag_json::decode("{\"/\":".repeat(1_000_000).as_bytes()), Err(DecodeError::TooDeep));
    });
    on_a_small_stack.unwrap().join().unwrap();
}

/// Two bytes of list make 32 bytes of value: a block may not unfold without end.
#[test]
fn a_block_may_not_unfold_without_end() {
    let list = |items: u32| [&[0x9a][..], &items.to_be_bytes(), &vec![0xf6; items as usize]].concat();
    assert!(dag_cbor::decode(&list(2_000_000)).is_ok());
    assert_eq!(dag_cbor::decode(&list(3_000_000)), Err(DecodeError::BudgetExceeded));
    let json = format!("[{}0]", "0,".repeat(3_000_000));
    assert_eq!(dag_json::decode(json.as_bytes()), Err(DecodeError::BudgetExceeded));
}

#[test]
fn dag_json_writes_floats_as_ecmascript_does() {
    for (float, text) in [
        (0.5, "0.5"),
        (1.0, "1"),
        (-0.0, "-0"),
        (1e20, "100000000000000000000"),
        (2_f64.powi(65), "36893488147419103000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (8.940_696_716_308_594e-8, "8.940696716308594e-8"),
        (-1e-7, "-1e-7"),
        (f64::from_bits(0x3f55_0400_0000_0000), "0.0012826919555664062"),
        (-123.456, "-123.456"),
        (1234.0, "1234"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
    ] {
        assert_eq!(String::from_utf8(dag_json::encode(&Value::Float(float)).unwrap()).unwrap(), text);
        match dag_json::decode(text.as_bytes()).unwrap() {
            Value::Float(read_back) => assert_eq!(read_back.to_bits(), float.to_bits()),
            Value::Int(int) => assert_eq!(int, float as i128),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn dag_json_knows_its_reserved_forms_and_only_those() {
    let link = format!(r#" {{ "/" : "{}" }} "#, cid());
    assert_eq!(dag_json::decode(link.as_bytes()).unwrap(), Value::link(cid()));
    let bytes = Value::Bytes(b"\x00\x01\x02\x03".to_vec());
    for text in [r#"{"/":{"bytes":"AAECAw"}}"#, r#"{ "/": {"bytes" :"AAECAw=="} }"#] {
        assert_eq!(dag_json::decode(text.as_bytes()).unwrap(), bytes);
    }
    assert_eq!(dag_json::decode(br#"{"/":{"bytes":"AAECAw",},}"#).unwrap(), bytes, "commas change nothing");
    assert_eq!(dag_json::decode(br#"{"/":"bafkqaaa",}"#).unwrap().kind(), "link");
    assert!(json_error(r#"{"/":"zzz"}"#).starts_with("invalid cid: "));
    assert_eq!(json_error(r#"{"/":{"bytes":"A"}}"#), "illegal base64 data");
    assert_eq!(json_error(r#"{"/":{"bytes":"AAECAw="}}"#), "illegal base64 data");
    for map in [
        r#"{"/":1}"#,
        r#"{"/":"x","y":1}"#,
        r#"{"x":1,"/":"y"}"#,
        r#"{"/":{"bytes":1}}"#,
        r#"{"/":{"bytes":"","x":1}}"#,
    ] {
        let value = dag_json::decode(map.as_bytes()).unwrap();
        assert!(matches!(value, Value::Map(_)), "{map}");
        assert_eq!(dag_json::decode(&dag_json::encode(&value).unwrap()).unwrap().kind(), "map");
    }
}

#[test]
fn dag_json_says_what_is_wrong() {
    for (text, words) in [
        ("", "unexpected EOF"),
        (r#"{"hello":"#, "EOF"),
        ("[1", "EOF"),
        ("nul", "unexpected EOF"),
        ("nulx", "invalid literal suffix: expected \"ull\", got \"ulx\""),
        ("1 2", "unexpected content after end of json object"),
        ("01", "unexpected content after end of json object"),
        ("[1 2]", "expected comma or array close after array value; got 0x32"),
        (r#"{"a":1]"#, "expected comma or map close after map value; got array close"),
        (r#"{"a" 1}"#, "expected colon after map key; got 0x31"),
        ("{1:2}", "invalid char while expecting start of key: 0x31"),
        ("x", "invalid char while expecting start of value: 0x78"),
        (r#"{"a":1,"a":2}"#, "duplicate map key \"a\""),
        ("\"\n\"", "invalid unprintable byte in string literal: 0xa"),
        (r#""\x""#, "invalid byte in string escape sequence: 0x78"),
        (r#""\u12g4""#, "invalid byte in \\u hexadecimal character escape: 0x67"),
        ("-", "invalid byte in numeric literal: 0x0"),
        ("1.", "invalid byte after decimal in numeric literal: 0x0"),
        ("1e+x", "invalid byte in exponent of numeric literal: 0x78"),
        ("18446744073709551616", "strconv.ParseInt: parsing \"18446744073709551616\": value out of range"),
        ("1e999", "strconv.ParseFloat: parsing \"1e999\": value out of range"),
    ] {
        assert_eq!(json_error(text), words, "{text}");
    }
    assert!(dag_json::decode(b"\"\xff\"").is_err());
}

#[test]
fn json_strings_are_escaped_and_unescaped() {
    let text = "\u{0}\u{1f}\"\\/\n\r\t\u{7f}\u{e9}\u{2028}\u{2029}\u{1f680}";
    let json = dag_json::encode(&Value::String(text.to_owned())).unwrap();
    let expected = "\"\\u0000\\u001f\\\"\\\\/\\n\\r\\t\u{7f}\u{e9}\\u2028\\u2029\u{1f680}\"";
    assert_eq!(String::from_utf8(json.clone()).unwrap(), expected);
    assert_eq!(dag_json::decode(&json).unwrap(), Value::String(text.to_owned()));
    let escaped = dag_json::decode(br#""\ud83d\ude80\/\b\f\u00E9\ud83d\ud83dx""#).unwrap();
    assert_eq!(escaped, Value::String("\u{1f680}/\u{8}\u{c}\u{e9}\u{fffd}\u{fffd}x".to_owned()));
}

#[test]
fn plain_codecs_have_no_links() {
    let value = dag_json::decode(br#"{"b":[1,{}],"a":[],"c":{"/":"x"}}"#);
    assert!(value.is_err(), "not a CID");
    let value = ipld::json::decode(br#"{"b":[1,{}],"a":[],"c":{"/":"x"}}"#).unwrap();
    let plain = ipld::json::encode(&value).unwrap();
    let expected =
        "{\n\t\"b\": [\n\t\t1,\n\t\t{}\n\t],\n\t\"a\": [],\n\t\"c\": {\n\t\t\"/\": \"x\"\n\t}\n}\n";
    assert_eq!(String::from_utf8(plain).unwrap(), expected);
    assert_eq!(ipld::json::encode(&Value::Int(1)).unwrap(), b"1");
    let cbor = ipld::cbor::encode(&value).unwrap();
    assert_eq!(cbor[..3], hex("a36162")[..], "in the order of the map");
    assert_eq!(ipld::cbor::decode(&cbor).unwrap(), value);
    let link = Value::link(cid());
    assert_eq!(ipld::json::encode(&link).unwrap_err().to_string(), "cannot Marshal ipld links to JSON");
    assert_eq!(ipld::cbor::encode(&link).unwrap_err().to_string(), "cannot Marshal ipld links to CBOR");
    let tagged = dag_cbor::encode(&link).unwrap();
    assert_eq!(ipld::cbor::decode(&tagged), Err(DecodeError::UnhandledTag(42)));
    assert_eq!(ipld::links(codec::CBOR, &tagged).unwrap(), []);
}

#[test]
fn codecs_go_by_name_and_number() {
    for text in ["dag-cbor", "113", "0x71", "0X71", "0161", "0o161", "0b1110001"] {
        assert_eq!(ipld::codec_by_name(text), Some(codec::DAG_CBOR), "{text}");
    }
    assert_eq!(ipld::codec_by_name("0x300001"), Some(0x30_0001));
    for text in ["foo", "", "7", "+113", "-1", "0x", "08"] {
        assert_eq!(ipld::codec_by_name(text), None, "{text}");
    }
    assert!(ipld::CODECS.is_sorted() && ipld::SUPPORTED.is_sorted());
    assert!(ipld::SUPPORTED.iter().all(|code| ipld::codec_name(*code).is_some()));
    assert_eq!(ipld::decode(codec::LIBP2P_KEY, b""), Err(DecodeError::NoDecoder(codec::LIBP2P_KEY)));
    assert_eq!(ipld::links(codec::LIBP2P_KEY, b"x"), Ok(Vec::new()));
}

#[test]
fn git_objects_link_by_sha1() {
    let name = "0123456789abcdef0123456789abcdef01234567";
    let object =
        |kind: &str, content: &[u8]| [format!("{kind} {}\0", content.len()).as_bytes(), content].concat();
    let tree = [b"100644 a\0".as_slice(), &[1; 20], b"40000 b\0", &[2; 20]].concat();
    let commit = format!("tree {name}\nparent {name}\nauthor x <y> 1 +0000\n\nparent {name}\n");
    let tag = format!("object {name}\ntype commit\n\nmessage");
    let count = |block: &[u8]| ipld::links(codec::GIT_RAW, block).map(|links| links.len());
    assert_eq!(count(&object("blob", b"tree")), Ok(0));
    assert_eq!(count(&object("tree", &tree)), Ok(2));
    assert_eq!(count(&object("commit", commit.as_bytes())), Ok(2));
    assert_eq!(count(&object("tag", tag.as_bytes())), Ok(1));
    for bad in [&b"blob 3\0ab"[..], b"blob", b"tree 5\0a b\0c", b"x 0\0", b"commit 6\0tree 0"] {
        assert!(count(bad).is_err());
    }
}

#[test]
fn a_signed_object_links_to_its_payload() {
    let mut map = Map::new();
    map.push("payload", Value::Bytes(cid().to_bytes()));
    map.push("signatures", Value::List(Vec::new()));
    let block = dag_cbor::encode(&Value::Map(map)).unwrap();
    assert_eq!(ipld::links(codec::DAG_JOSE, &block).unwrap(), [cid()]);
    assert_eq!(ipld::links(codec::DAG_CBOR, &block).unwrap(), []);
}

#[test]
fn dag_jose_takes_signed_and_encrypted_objects_and_nothing_else() {
    let map = |entries: Vec<(&str, Value)>| {
        Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let bytes = |text: &str| Value::Bytes(text.as_bytes().to_vec());
    let payload = Value::Bytes(cid().to_bytes());
    let signature = map(vec![("protected", bytes("{}")), ("signature", bytes("s"))]);
    let signed =
        map(vec![("payload", payload.clone()), ("signatures", Value::List(vec![signature.clone()]))]);
    let encrypted = map(vec![("iv", bytes("i")), ("ciphertext", bytes("c"))]);
    for value in [&signed, &encrypted] {
        let block = ipld::encode(codec::DAG_JOSE, value).unwrap();
        assert_eq!(block, ipld::encode(codec::DAG_CBOR, value).unwrap());
        // Canonical whatever the order was.
        let back = ipld::decode(codec::DAG_JOSE, &block).unwrap();
        assert_eq!(ipld::encode(codec::DAG_JOSE, &back).unwrap(), block);
    }
    let block = ipld::encode(codec::DAG_JOSE, &signed).unwrap();
    assert_eq!(ipld::links(codec::DAG_JOSE, &block).unwrap(), [cid()]);
    for (value, words) in [
        (map(vec![("a", bytes("b"))]), "either a payload or a ciphertext"),
        (bytes("no map"), "either a payload or a ciphertext"),
        (
            map(vec![("payload", bytes("no CID")), ("signatures", Value::List(Vec::new()))]),
            "the bytes of a CID",
        ),
        (map(vec![("payload", payload.clone())]), "a list of signatures"),
        (
            map(vec![("payload", payload.clone()), ("signatures", Value::List(vec![bytes("s")]))]),
            "a field `signature`",
        ),
        (map(vec![("payload", payload), ("ciphertext", bytes("c"))]), "no payload beside"),
        (map(vec![("ciphertext", Value::Int(1))]), "is bytes"),
    ] {
        let error = ipld::encode(codec::DAG_JOSE, &value).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

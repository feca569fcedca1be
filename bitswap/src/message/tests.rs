use holdfast_dag::cid::Multihash;
use proptest::prelude::*;

use super::*;

fn cid_of(data: &[u8]) -> Cid {
    Cid::new_v1(codec::RAW, HashKind::Sha2_256.digest(&[data]))
}

fn frame(pieces: &[Bytes]) -> Bytes {
    let joined = pieces.concat();
    let (len, rest) = unsigned_varint::decode::usize(&joined).unwrap();
    assert_eq!(len, rest.len());
    Bytes::copy_from_slice(rest)
}

fn round_trip(message: &Message, version: Version) -> Message {
    decode(&frame(&encode(message, version))).unwrap()
}

fn arb_cid() -> impl Strategy<Value = Cid> {
    let digest = prop::collection::vec(any::<u8>(), 20..=64);
    (digest, 0..3_u8, any::<u32>()).prop_map(|(digest, kind, codec)| {
        let code = HashKind::Blake2b(digest.len() as u8).code();
        match kind {
            0 => Cid::new_v0(HashKind::Sha2_256.digest(&[&digest])).unwrap(),
            1 => Cid::new_v1(u64::from(codec), HashKind::Sha2_256.digest(&[&digest])),
            _ => Cid::new_v1(u64::from(codec), Multihash::wrap(code, &digest).unwrap()),
        }
    })
}

fn arb_entry() -> impl Strategy<Value = Entry> {
    (arb_cid(), any::<i32>(), any::<[bool; 3]>()).prop_map(
        |(cid, priority, [cancel, have, send_dont_have])| {
            let want_type = if have { WantType::Have } else { WantType::Block };
            Entry { cid, priority, cancel, want_type, send_dont_have }
        },
    )
}

fn arb_message() -> impl Strategy<Value = Message> {
    let blocks = prop::collection::vec((arb_cid(), prop::collection::vec(any::<u8>(), 0..9000)), 0..4);
    let presences = prop::collection::vec((arb_cid(), any::<bool>()), 0..9);
    let entries = prop::collection::vec(arb_entry(), 0..9);
    (entries, any::<bool>(), blocks, presences, 0..=i32::MAX as u32).prop_map(
        |(entries, full, blocks, presences, pending_bytes)| Message {
            entries,
            full,
            blocks: blocks
                .into_iter()
                .map(|(cid, data)| Payload { prefix: Prefix::of(&cid).unwrap(), data: data.into() })
                .collect(),
            presences: presences.into_iter().map(|(cid, have)| Presence { cid, have }).collect(),
            pending_bytes,
            skipped: 0,
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(message in arb_message()) {
        prop_assert_eq!(round_trip(&message, Version::V1_2), message.clone());
        prop_assert_eq!(round_trip(&message, Version::V1_1).blocks, message.blocks);
    }

    #[test]
    fn old_peers_get_only_what_they_know(message in arb_message()) {
        for version in [Version::V1_0, Version::Plain] {
            let read = round_trip(&message, version);
            prop_assert!(read.presences.is_empty() && read.pending_bytes == 0);
            prop_assert!(read.entries.iter().all(|entry| entry.cancel || entry.want_type == WantType::Block));
            prop_assert!(read.blocks.iter().all(|block| block.prefix == Prefix::V0));
            prop_assert!(read.blocks.iter().map(|block| &block.data).eq(message.blocks.iter().map(|block| &block.data)));
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = decode(&bytes.into()) {
            let again = round_trip(&message, Version::V1_2);
            prop_assert_eq!(again.entries, message.entries);
            prop_assert_eq!(again.blocks, message.blocks);
            prop_assert_eq!(again.presences, message.presences);
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 1..6),
        cuts in prop::collection::vec(1..9000_usize, 1..20),
    ) {
        let mut wire = Vec::new();
        for frame in &frames {
            let mut buffer = unsigned_varint::encode::usize_buffer();
            wire.extend_from_slice(unsigned_varint::encode::usize(frame.len(), &mut buffer));
            wire.extend_from_slice(frame);
        }
        let mut assembler = Assembler::default();
        let mut read = Vec::new();
        let mut rest = &wire[..];
        for cut in cuts.iter().cycle() {
            while let Some(frame) = assembler.next_frame().unwrap() {
                read.push(frame.to_vec());
            }
            if rest.is_empty() {
                break;
            }
            let space = assembler.space();
            let count = rest.len().min(space.len()).min(*cut);
            space[..count].copy_from_slice(&rest[..count]);
            assembler.filled(count);
            rest = &rest[count..];
        }
        prop_assert_eq!(read, frames);
        prop_assert!(!assembler.is_amid());
    }
}

/// What boxo 0.42 writes for the same message, field by field after its message.proto.
#[test]
fn golden_bytes_of_a_message() {
    let cid = cid_of(b"block");
    let name = cid.to_bytes();
    assert_eq!(name.len(), 36);
    let message = Message {
        entries: vec![
            Entry { cid, priority: 5, cancel: false, want_type: WantType::Have, send_dont_have: true },
            Entry { cid, priority: 0, cancel: true, want_type: WantType::Block, send_dont_have: false },
        ],
        full: true,
        blocks: vec![Payload { prefix: Prefix::of(&cid).unwrap(), data: Bytes::from_static(b"block") }],
        presences: vec![Presence { cid, have: true }, Presence { cid, have: false }],
        pending_bytes: 300,
        skipped: 0,
    };
    let golden = [
        &[10, 90][..],
        &[10, 44, 10, 36],
        &name,
        &[16, 5, 32, 1, 40, 1],
        &[10, 40, 10, 36],
        &name,
        &[24, 1],
        &[16, 1],
        &[26, 13, 10, 4, 1, 0x55, 0x12, 0x20, 18, 5],
        b"block",
        &[34, 38, 10, 36],
        &name,
        &[34, 40, 10, 36],
        &name,
        &[16, 1],
        &[40, 0xac, 2],
    ]
    .concat();
    assert_eq!(frame(&encode(&message, Version::V1_2)), golden);
    let old = [&[10, 42][..], &[10, 40, 10, 36], &name, &[24, 1], &[16, 1], &[18, 5], b"block"];
    let mut bare = old.concat();
    bare[1] = 44;
    assert_eq!(frame(&encode(&message, Version::V1_0)), bare);
}

#[test]
fn an_empty_message_still_has_a_wantlist_field() {
    assert_eq!(frame(&encode(&Message::default(), Version::V1_2)), [10, 0][..]);
}

#[test]
fn large_blocks_are_neither_copied_on_writing_nor_on_reading() {
    let data = Bytes::from(vec![7; 100_000]);
    let payload = Payload { prefix: Prefix::of(&cid_of(&data)).unwrap(), data: data.clone() };
    let message = Message { blocks: vec![payload], ..Message::default() };
    let pieces = encode(&message, Version::V1_2);
    assert!(pieces.iter().any(|piece| piece.as_ptr() == data.as_ptr()));
    let frame = frame(&pieces);
    let read = decode(&frame).unwrap();
    let block = &read.blocks[0].data;
    assert!(frame.as_ptr_range().contains(&block.as_ptr()), "a slice of the frame");
}

#[test]
fn identity_cids_and_names_that_are_too_long_are_left_out_and_counted() {
    let identity = Cid::new_v1(codec::RAW, Multihash::wrap(0, b"inlined").unwrap());
    let plain =
        |cid| Entry { cid, priority: 1, cancel: false, want_type: WantType::Block, send_dont_have: false };
    let message = Message { entries: vec![plain(identity), plain(cid_of(b"x"))], ..Message::default() };
    let read = round_trip(&message, Version::V1_2);
    assert_eq!((read.entries.len(), read.skipped), (1, 1));
    // A name of 169 bytes, and one that is no CID.
    for name in [vec![1; 169], b"nonsense".to_vec(), vec![]] {
        let line = [&field(1, &name)[..], &[16, 1]].concat();
        let read = decode(&field(1, &field(1, &line)).into()).unwrap();
        assert_eq!((read.entries.len(), read.skipped), (0, 1));
    }
}

fn field(number: u8, data: &[u8]) -> Vec<u8> {
    let mut buffer = unsigned_varint::encode::usize_buffer();
    [&[number << 3 | 2], unsigned_varint::encode::usize(data.len(), &mut buffer), data].concat()
}

#[test]
fn blocks_by_functions_that_may_not_be_read_are_left_out() {
    // Identity, murmur3, a digest of 19 bytes, one of 129, a CIDv0 that is not, a version from the future, too much.
    for prefix in [
        &[1, 0x55, 0, 5][..],
        &[1, 0x55, 0x22, 20],
        &[1, 0x55, 0x12, 19],
        &[1, 0x55, 0x12, 0x81, 1],
        &[0, 0x55, 0x12, 32],
        &[2, 0x55, 0x12, 32],
        &[1, 0x55, 0x12, 32, 0],
        &[],
    ] {
        let payload = [field(1, prefix), field(2, b"block")].concat();
        let read = decode(&field(3, &payload).into()).unwrap();
        assert_eq!((read.blocks.len(), read.skipped), (0, 1), "{prefix:?}");
    }
}

#[test]
fn entries_over_the_limit_are_ignored_and_blocks_over_it_refused() {
    let line = field(1, &field(1, &cid_of(b"x").to_bytes()));
    let list = line.repeat(ENTRIES_MAX + 3);
    let read = decode(&field(1, &list).into()).unwrap();
    assert_eq!((read.entries.len(), read.skipped), (ENTRIES_MAX, 3));
    let blocks = field(2, b"").repeat(BLOCKS_MAX + 1);
    assert!(matches!(decode(&blocks.into()), Err(DecodeError::TooManyBlocks)));
}

#[test]
fn a_length_above_the_limit_is_refused_before_anything_is_allocated() {
    let mut buffer = unsigned_varint::encode::usize_buffer();
    for (len, fine) in [(MESSAGE_BYTES_MAX, true), (MESSAGE_BYTES_MAX + 1, false), (usize::MAX, false)] {
        let prefix = unsigned_varint::encode::usize(len, &mut buffer);
        let mut assembler = Assembler::default();
        assembler.space()[..prefix.len()].copy_from_slice(prefix);
        assembler.filled(prefix.len());
        assert_eq!(assembler.next_frame().is_ok(), fine, "{len}");
        assert!(assembler.held_bytes() <= 64 << 10, "what was announced is not allocated");
    }
    let mut endless = Assembler::default();
    endless.space()[..10].fill(0xff);
    endless.filled(10);
    assert_eq!(endless.next_frame(), Err(FrameError::TooLarge));
}

#[test]
fn the_names_of_the_protocols_are_those_of_kubo() {
    let names = Version::ALL.map(Version::name);
    assert_eq!(names, ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"]);
    assert!(Version::ALL.into_iter().all(|version| Version::from_name(version.name()) == Some(version)));
}

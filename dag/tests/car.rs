//! Archives: recorded ones, broken ones, and what the reader keeps of them.

#![cfg(test)]

use std::path::PathBuf;

use bytes::Bytes;
use holdfast_dag::block::Block;
use holdfast_dag::car::{CarError, CarEvent, CarLimits, CarReader, encode_header, encode_section_head};
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec, identity_data, parse_cid};
use holdfast_dag::hash::HashKind;

/// The eleven bytes every version 2 archive begins with.
const PRAGMA: [u8; 11] = *b"\x0a\xa1\x67version\x02";

fn cid_of(data: &[u8]) -> Cid {
    CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 }.cid_of(codec::RAW, &[data])
}

fn identity() -> Cid {
    parse_cid("bafkqaaa").unwrap()
}

fn section(cid: &Cid, data: &[u8]) -> Vec<u8> {
    [encode_section_head(cid, data.len()), data.to_vec()].concat()
}

/// A version 1 archive of these blocks, whose first is the root.
fn archive(blocks: &[&[u8]]) -> Vec<u8> {
    let mut out = encode_header(&[cid_of(blocks[0])]);
    for block in blocks {
        out.extend(section(&cid_of(block), block));
    }
    out
}

/// A version 2 archive with these fields in its header and this after it.
fn v2(data_offset: u64, data_size: u64, index_offset: u64, rest: &[u8]) -> Vec<u8> {
    let numbers = [data_offset, data_size, index_offset].map(u64::to_le_bytes).concat();
    [&PRAGMA[..], &[0; 16], &numbers, rest].concat()
}

/// All events, with the input pushed in pieces of this size.
fn read_with(limits: CarLimits, archive: &[u8], piece: usize) -> Result<Vec<CarEvent>, CarError> {
    let mut reader = CarReader::new(limits);
    let mut pieces = archive.chunks(piece);
    let mut events = Vec::new();
    loop {
        match reader.next_event()? {
            CarEvent::NeedMore => match pieces.next() {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => reader.finish(),
            },
            CarEvent::End => return Ok(events),
            event => events.push(event),
        }
    }
}

fn read(archive: &[u8]) -> Result<Vec<CarEvent>, CarError> {
    read_with(CarLimits::default(), archive, usize::MAX)
}

/// The archives of the recorded test data; none, loudly, where they are absent.
fn recorded() -> Vec<PathBuf> {
    let folder = std::env::var_os("HOLDFAST_TEST_DATA")
        .map_or_else(PathBuf::new, PathBuf::from)
        .join("gateway-fixtures");
    let mut folders = vec![folder.clone()];
    let mut archives = Vec::new();
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "car") {
                archives.push(path);
            }
        }
    }
    if archives.is_empty() {
        let message = format!("SKIPPED: no archives in {}", folder.display());
        assert!(std::env::var_os("REQUIRE_ALL").is_none_or(|value| value != "1"), "{message}");
        eprintln!("{message}");
    }
    archives.sort();
    archives
}

#[test]
fn recorded_archives_are_read_verified_and_written_again_byte_for_byte() {
    for path in recorded() {
        let bytes = std::fs::read(&path).unwrap();
        let events = read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut written = Vec::new();
        let mut payload = &bytes[..];
        for event in &events {
            match event {
                CarEvent::Header { version, roots } => {
                    written.extend(encode_header(roots));
                    if *version == 2 {
                        let number =
                            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
                        payload = &bytes[number(27)..number(27) + number(35)];
                    }
                }
                CarEvent::Block { cid, data } => {
                    Block::verified(**cid, data.clone()).unwrap();
                    written.extend(section(cid, data));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(written, payload, "{}", path.display());
        for piece in [1, 7, 64] {
            assert_eq!(
                read_with(CarLimits::default(), &bytes, piece).as_ref(),
                Ok(&events),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn the_header_is_what_kubo_writes() {
    let root = parse_cid("QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi").unwrap();
    let expected = [&b"\x38\xa2eroots\x81\xd8*X#\0"[..], &root.to_bytes(), b"gversion\x01"].concat();
    assert_eq!(encode_header(&[root]), expected);
    assert_eq!(encode_header(&[]), b"\x11\xa2eroots\x80gversion\x01");
}

#[test]
fn an_archive_cut_anywhere_is_an_error_unless_it_ends_at_a_section() {
    let bytes = archive(&[b"one", b"", b"three"]);
    let whole = read(&bytes).unwrap();
    let header = encode_header(&[cid_of(b"one")]).len();
    let mut ends = vec![header];
    for block in [&b"one"[..], b"", b"three"] {
        ends.push(ends.last().unwrap() + section(&cid_of(block), block).len());
    }
    for cut in 0..bytes.len() {
        match (read(&bytes[..cut]), ends.iter().position(|end| *end == cut)) {
            (Ok(events), Some(blocks)) => assert_eq!(events, whole[..=blocks]),
            (Err(CarError::Empty), None) => assert_eq!(cut, 0),
            (Err(CarError::Truncated), None) => {}
            (other, _) => panic!("cut at {cut}: {other:?}"),
        }
    }
    let wrapped = v2(51, bytes.len() as u64, 0, &bytes);
    for cut in 0..wrapped.len() {
        assert!(matches!(read(&wrapped[..cut]), Err(CarError::Truncated | CarError::Empty)), "cut at {cut}");
    }
}

#[test]
fn blocks_are_slices_of_what_was_pushed() {
    let bytes = Bytes::from(archive(&[&[1; 1000], &[2; 1000]]));
    let mut reader = CarReader::new(CarLimits::default());
    reader.push(bytes.clone());
    reader.finish();
    let mut blocks = 0;
    loop {
        match reader.next_event().unwrap() {
            CarEvent::Block { data, .. } => {
                assert!(bytes.as_ptr_range().contains(&data.as_ptr()), "not copied");
                blocks += 1;
            }
            CarEvent::End => break,
            _ => {}
        }
    }
    assert_eq!(blocks, 2);
}

#[test]
fn the_payload_of_version_2_is_read_and_nothing_else() {
    let inner = archive(&[b"one", b"two"]);
    let size = inner.len() as u64;
    let Ok(events) = read(&inner) else { panic!("not an archive") };
    let padded = [&[0xee; 9][..], &inner, b"index and anything else"].concat();
    for index_offset in [0, 60 + size, 60 + size + 5] {
        let bytes = v2(60, size, index_offset, &padded);
        for piece in [1, 50, usize::MAX] {
            let found = read_with(CarLimits::default(), &bytes, piece).unwrap();
            assert_eq!(found[0], CarEvent::Header { version: 2, roots: vec![cid_of(b"one")] });
            assert_eq!(found[1..], events[1..]);
        }
    }
    let words = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(words(&v2(50, size, 0, &inner)), "invalid CARv2 header: payload begins inside the header");
    assert_eq!(words(&v2(51, 0, 0, &inner)), "invalid CARv2 header: empty payload");
    assert_eq!(words(&v2(u64::MAX, u64::MAX, 0, &inner)), "invalid CARv2 header: payload ends beyond 2^63");
    assert_eq!(words(&v2(51, 1 << 63, 0, &inner)), "invalid CARv2 header: payload ends beyond 2^63");
    assert_eq!(words(&v2(51, size, 51, &inner)), "invalid CARv2 header: index overlaps header or payload");
    assert_eq!(words(&v2(51, size, 1, &inner)), "invalid CARv2 header: index overlaps header or payload");
    assert_eq!(words(&v2(51, size - 1, 0, &inner)), "unexpected EOF", "a section runs past the payload");
    assert_eq!(words(&v2(51, size + 1, 0, &inner)), "unexpected EOF", "the payload runs past the end");
    assert_eq!(words(&v2(1 << 62, 100, 0, &inner)), "unexpected EOF", "the payload lies past the end");
    assert_eq!(words(&v2(51, 11, 0, &PRAGMA)), "invalid data payload header version; expected 1, got 2");
}

/// Claims of 2^63 bytes once made importers allocate them.
#[test]
fn what_lengths_claim_is_checked_before_anything_is_kept() {
    let varint = |bytes: &[u8]| -> Result<Vec<CarEvent>, CarError> {
        read(&[&encode_header(&[identity()])[..], bytes].concat())
    };
    let too_long = "varint: varints larger than uint63 not supported";
    assert_eq!(varint(&[&[0x80; 9][..], &[1]].concat()).unwrap_err().to_string(), too_long);
    assert_eq!(varint(&[0xff; 10]).unwrap_err().to_string(), too_long);
    assert_eq!(varint(&[0x80, 0]).unwrap_err().to_string(), "varint: not minimally encoded");
    let most = (1 << 63) - 1;
    let longest = [&[0xff; 8][..], &[0x7f]].concat();
    assert_eq!(varint(&longest), Err(CarError::SectionTooLarge { len: most }));
    assert_eq!(read(&longest), Err(CarError::HeaderTooLarge { len: most }));

    let limits = || CarLimits { section_bytes_max: 40, block_bytes_max: 3, ..CarLimits::default() };
    let with = |block: &[u8]| read_with(limits(), &archive(&[block]), 5);
    assert!(with(b"123").is_ok());
    assert!(matches!(with(b"1234"), Err(CarError::BlockTooLarge { len: 4, .. })));
    assert_eq!(with(b"12345"), Err(CarError::SectionTooLarge { len: 41 }));
    let roots = encode_header(&[identity(); 4]);
    let limits = |roots_max| CarLimits { roots_max, ..CarLimits::default() };
    assert!(read_with(limits(4), &roots, 5).is_ok());
    let error = read_with(limits(3), &roots, 5).unwrap_err();
    assert_eq!(error.to_string(), "invalid header: more than 3 roots");
    let short = CarLimits { header_bytes_max: 30, ..CarLimits::default() };
    assert!(matches!(read_with(short, &roots, 5), Err(CarError::HeaderTooLarge { .. })));
}

#[test]
fn a_section_of_length_zero_is_an_error_or_the_end() {
    let bytes = [&archive(&[b"one"])[..], &[0, 0, 0]].concat();
    assert_eq!(read(&bytes), Err(CarError::ZeroLengthSection));
    let limits = CarLimits { zero_length_is_end: true, ..CarLimits::default() };
    assert_eq!(read_with(limits, &bytes, 1).unwrap().len(), 2);
}

#[test]
fn identity_blocks_are_blocks() {
    let inlined = CidBuilder { version: Version::V1, hash: HashKind::Identity }.cid_of(codec::RAW, &[b"abc"]);
    let bytes = [encode_header(&[inlined]), section(&inlined, b"abc"), section(&identity(), b"")].concat();
    let events = read(&bytes).unwrap();
    assert_eq!(events[1], CarEvent::Block { cid: Box::new(inlined), data: Bytes::from("abc") });
    assert_eq!(events[2], CarEvent::Block { cid: Box::new(identity()), data: Bytes::new() });
    assert_eq!(identity_data(&inlined), Some(&b"abc"[..]));
    let longest = [&[1, 0x55, 0, 0x80, 1][..], &[7; 128]].concat();
    let too_long = [&[1, 0x55, 0, 0x81, 1][..], &[7; 129]].concat();
    let framed = |cid: &[u8]| [&encode_header(&[])[..], &[cid.len() as u8 | 0x80, 1], cid].concat();
    assert!(read(&framed(&longest)).is_ok());
    assert!(matches!(read(&framed(&too_long)), Err(CarError::Cid(_))));
}

#[test]
fn what_is_no_archive_is_refused_in_kubos_words() {
    for (bytes, words) in [
        (&b""[..], "EOF"),
        (b"junk", "unexpected EOF"),
        (
            b"\x01\x02nope",
            "invalid header: malformed stream: invalid appearance of uint token; expected start of map",
        ),
        (b"\x0a\xa1\x67version\x03", "invalid car version: 3"),
        (b"\x01\xa0", "invalid car version: 0"),
        (b"\x0a\xa1\x67version\x20", "invalid header: negative version"),
        (b"\x04\xa1\x61x\x01", "invalid header: unexpected or repeated field \"x\""),
        (b"\x0b\xa1\x67version\x01\x00", "invalid header: trailing bytes"),
        (b"\x11\xa2\x65roots\x01\x67version\x01", "invalid header: roots are not a list"),
        (b"\x12\xa2\x65roots\x81\x01\x67version\x01", "invalid header: a root is not a link"),
    ] {
        assert_eq!(read(bytes).unwrap_err().to_string(), words, "{bytes:?}");
    }
    let not_a_cid = [&encode_header(&[])[..], &[2, 9, 9]].concat();
    let words = read(&not_a_cid).unwrap_err().to_string();
    assert_eq!(words, "invalid cid: expected 1 as the cid version number, got: 9");
}

#[test]
fn a_failed_reader_stays_failed_and_an_ended_one_ended() {
    let mut reader = CarReader::new(CarLimits::default());
    reader.push(&b"\x01\xa0"[..]);
    assert_eq!(reader.next_event(), Err(CarError::Version(0)));
    reader.push(encode_header(&[]));
    assert_eq!(reader.next_event(), Err(CarError::Version(0)));

    let mut reader = CarReader::new(CarLimits::default());
    reader.push(encode_header(&[]));
    assert!(matches!(reader.next_event(), Ok(CarEvent::Header { .. })));
    assert_eq!(reader.next_event(), Ok(CarEvent::NeedMore));
    reader.finish();
    assert_eq!(reader.next_event(), Ok(CarEvent::End));
    reader.push(&b"more"[..]);
    assert_eq!(reader.next_event(), Ok(CarEvent::End));
}

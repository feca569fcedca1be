//! `/libp2p/fetch/0.0.1`: asking one peer for the record that it has under a key.
//!
//! A request is a protobuf with `identifier` 1; an answer one with `status` 1 (0 found, 1 not, 2 failed) and `data` 2; each
//! with its length before it, as a varint.

use std::io;
use std::time::Duration;

use holdfast_dht::ipns::RECORD_BYTES_MAX;
use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::{Stream, StreamProtocol};
use quick_protobuf::{BytesReader, Writer};
use tokio::time::timeout;

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p/fetch/0.0.1");

/// How long one exchange may take (go-libp2p-pubsub-router's).
const TIME_MAX: Duration = Duration::from_secs(10);
/// Longest message: a record and what stands around it.
const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 64;
/// Bytes of a length.
const LENGTH_BYTES_MAX: usize = 4;

const IDENTIFIER: u32 = 1 << 3 | 2;
const STATUS: u32 = 1 << 3;
const DATA: u32 = 2 << 3 | 2;
const FOUND: u64 = 0;
const NOT_FOUND: u64 = 1;

/// Asks for what the peer has under `key`; nothing where it has nothing.
pub(super) async fn ask(mut stream: Stream, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let asking = async {
        let mut request = Vec::new();
        let mut writer = Writer::new(&mut request);
        writer.write_with_tag(IDENTIFIER, |writer| writer.write_bytes(key)).map_err(io::Error::other)?;
        write_message(&mut stream, &request).await?;
        let answer = read_message(&mut stream).await?;
        let (mut status, mut data) = (FOUND, None);
        let mut reader = BytesReader::from_bytes(&answer);
        while !reader.is_eof() {
            match reader.next_tag(&answer).map_err(io::Error::other)? {
                STATUS => status = reader.read_uint64(&answer).map_err(io::Error::other)?,
                DATA => data = Some(reader.read_bytes(&answer).map_err(io::Error::other)?.to_vec()),
                tag => reader.read_unknown(&answer, tag).map_err(io::Error::other)?,
            }
        }
        // Whoever is asked has said all; closing it cleanly is a courtesy.
        let _ = stream.close().await;
        Ok(data.filter(|_| status == FOUND))
    };
    timeout(TIME_MAX, asking).await?
}

/// Answers one question with what `look_up` finds.
pub(super) async fn answer<F>(mut stream: Stream, look_up: impl FnOnce(Vec<u8>) -> F) -> io::Result<()>
where
    F: Future<Output = Option<Vec<u8>>>,
{
    let answering = async {
        let request = read_message(&mut stream).await?;
        let mut key = Vec::new();
        let mut reader = BytesReader::from_bytes(&request);
        while !reader.is_eof() {
            match reader.next_tag(&request).map_err(io::Error::other)? {
                IDENTIFIER => key = reader.read_bytes(&request).map_err(io::Error::other)?.to_vec(),
                tag => reader.read_unknown(&request, tag).map_err(io::Error::other)?,
            }
        }
        let found = look_up(key).await;
        let mut answer = Vec::new();
        let mut writer = Writer::new(&mut answer);
        match &found {
            Some(data) => writer.write_with_tag(DATA, |writer| writer.write_bytes(data)),
            None => writer.write_with_tag(STATUS, |writer| writer.write_uint64(NOT_FOUND)),
        }
        .map_err(io::Error::other)?;
        write_message(&mut stream, &answer).await?;
        stream.close().await
    };
    timeout(TIME_MAX, answering).await?
}

async fn write_message(stream: &mut Stream, message: &[u8]) -> io::Result<()> {
    let mut length = message.len();
    let mut framed = Vec::with_capacity(message.len() + LENGTH_BYTES_MAX);
    while length >= 0x80 {
        framed.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    framed.push(length as u8);
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    stream.flush().await
}

async fn read_message(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut length = 0_usize;
    let mut shift = 0;
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if shift >= 7 * LENGTH_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the length of a message is too long"));
        }
    }
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

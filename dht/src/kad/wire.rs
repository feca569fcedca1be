//! The messages, to the byte of go-libp2p-kad-dht's protobuf.
//!
//! `type` 1, `key` 2, `record` 3, `closerPeers` 8, `providerPeers` 9 (10, a level of clusters that nobody uses, is passed over).
//! A record: `key` 1, `value` 2, `timeReceived` 5. A peer: `id` 1, `addrs` 2 (repeated), `connection` 3. On a stream each
//! message stands behind its length as a varint.

use libp2p::{Multiaddr, PeerId};
use quick_protobuf::BytesReader;

use super::PeerInfo;

/// Largest answer, in bytes, without the length before it: 4 MiB (go's limit for a message of a stream).
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Largest request that is served, in bytes, without the length before it: 64 KiB.
///
/// The largest that a peer has reason to send are a value, 10 KiB with its key twice, and its own addresses, for which 64 KiB are
/// more than 600 of 100 bytes. rust-libp2p sends and takes no message of more than 16 KiB, so what is larger than that is not
/// understood by every server today; Kubo and js-libp2p take 4 MiB and send the same two kinds.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Longest key that is read: 256 bytes. Longer ones belong to nothing that there is.
const KEY_BYTES_READ_MAX: usize = 256;

/// Closer peers that are read of one answer: go gives 20, and the target beside them.
pub(super) const CLOSER_MAX: usize = 32;

/// Providers that are read of one answer.
const PROVIDERS_READ_MAX: usize = 1_024;

/// Addresses that are read of one peer.
pub(super) const ADDRESSES_MAX: usize = 32;

/// Longest address that is read.
const ADDRESS_BYTES_MAX: usize = 512;

/// Wire type of bytes.
const LENGTH: u32 = 2;
const TYPE: u32 = 1 << 3;
const KEY: u32 = 2 << 3 | LENGTH;
const RECORD: u32 = 3 << 3 | LENGTH;
const CLOSER: u32 = 8 << 3 | LENGTH;
const PROVIDERS: u32 = 9 << 3 | LENGTH;
const RECORD_KEY: u32 = 1 << 3 | LENGTH;
const RECORD_VALUE: u32 = 2 << 3 | LENGTH;
const RECORD_TIME: u32 = 5 << 3 | LENGTH;
const PEER_ID: u32 = 1 << 3 | LENGTH;
const PEER_ADDRESS: u32 = 2 << 3 | LENGTH;

/// What a message is; the numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Store a value.
    PutValue = 0,
    /// Give a value, and closer peers.
    GetValue = 1,
    /// Remember that the sender has a block. Not answered.
    AddProvider = 2,
    /// Say who has a block, and closer peers.
    GetProviders = 3,
    /// Give closer peers.
    FindNode = 4,
    /// Say the same again.
    Ping = 5,
}

impl Kind {
    fn of(number: i32) -> Option<Self> {
        [Self::PutValue, Self::GetValue, Self::AddProvider, Self::GetProviders, Self::FindNode, Self::Ping]
            .into_iter()
            .find(|kind| *kind as i32 == number)
    }

    /// Whether a request of this kind is answered.
    pub fn is_answered(self) -> bool {
        self != Self::AddProvider
    }
}

/// A value as it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueRecord {
    /// Its key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// When the sender got it; a hint, RFC 3339. At most 64 bytes are read.
    pub time_received: String,
}

/// A request or an answer: they have the same form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// What it is about.
    pub key: Vec<u8>,
    /// The value, in PUT_VALUE and answers to GET_VALUE.
    pub record: Option<ValueRecord>,
    /// Peers that are closer to the key.
    pub closer: Vec<PeerInfo>,
    /// Who has the block; in ADD_PROVIDER the sender.
    pub providers: Vec<PeerInfo>,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// More than 4 MiB.
    #[error("the message has {bytes} bytes, and at most {MESSAGE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the protobuf.
    #[error("the message is not the protobuf that it should be: {0}")]
    Malformed(String),
    /// A type that there is not.
    #[error("the message has type {0}, which there is not")]
    Kind(i32),
    /// A key that is longer than any.
    #[error("the message's key has {bytes} bytes, and at most {KEY_BYTES_READ_MAX} are read")]
    Key {
        /// Its length.
        bytes: usize,
    },
}

impl From<quick_protobuf::Error> for WireError {
    fn from(error: quick_protobuf::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl Message {
    /// A request of a kind about a key.
    pub fn request(kind: Kind, key: &[u8]) -> Self {
        Self { kind, key: key.to_vec(), record: None, closer: Vec::new(), providers: Vec::new() }
    }

    /// Reads a message.
    ///
    /// Peers and addresses that cannot be read are passed over, as are those beyond 32 closer peers, 1,024 providers and 32
    /// addresses a peer: one bad neighbour does not spoil an answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(WireError::TooLarge { bytes: bytes.len() });
        }
        let mut message = Self::request(Kind::PutValue, &[]);
        let mut reader = BytesReader::from_bytes(bytes);
        while !reader.is_eof() {
            match reader.next_tag(bytes)? {
                TYPE => {
                    let number = reader.read_int32(bytes)?;
                    message.kind = Kind::of(number).ok_or(WireError::Kind(number))?;
                }
                KEY => {
                    let key = reader.read_bytes(bytes)?;
                    if key.len() > KEY_BYTES_READ_MAX {
                        return Err(WireError::Key { bytes: key.len() });
                    }
                    message.key = key.to_vec();
                }
                RECORD => message.record = Some(decode_record(reader.read_bytes(bytes)?)?),
                CLOSER => push_peer(&mut message.closer, reader.read_bytes(bytes)?, CLOSER_MAX)?,
                PROVIDERS => {
                    push_peer(&mut message.providers, reader.read_bytes(bytes)?, PROVIDERS_READ_MAX)?;
                }
                tag => reader.read_unknown(bytes, tag)?,
            }
        }
        Ok(message)
    }

    /// Drops of a request what serving it does not need: everything about other peers. Many short addresses take twenty times
    /// as much memory as they do on the wire.
    pub fn keep_of_sender(&mut self, sender: &PeerId) {
        self.closer = Vec::new();
        let mut providers = std::mem::take(&mut self.providers);
        if self.kind == Kind::AddProvider {
            self.providers.extend(providers.drain(..).find(|provider| provider.id == *sender));
        }
    }

    /// Writes the message, without the length before it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_varint(&mut out, u64::from(TYPE));
        put_varint(&mut out, self.kind as u64);
        put_bytes(&mut out, KEY, &self.key);
        if let Some(record) = &self.record {
            let mut inner = Vec::with_capacity(record.value.len() + 128);
            put_bytes(&mut inner, RECORD_KEY, &record.key);
            put_bytes(&mut inner, RECORD_VALUE, &record.value);
            put_bytes(&mut inner, RECORD_TIME, record.time_received.as_bytes());
            // An empty record is written too: it is another thing than none.
            put_varint(&mut out, u64::from(RECORD));
            put_varint(&mut out, inner.len() as u64);
            out.extend_from_slice(&inner);
        }
        self.closer.iter().for_each(|peer| put_peer(&mut out, CLOSER, peer));
        self.providers.iter().for_each(|peer| put_peer(&mut out, PROVIDERS, peer));
        out
    }

    /// Writes the message with its length before it, as it goes on a stream.
    pub fn encode_framed(&self) -> Vec<u8> {
        let body = self.encode();
        let mut out = Vec::with_capacity(body.len() + 4);
        put_varint(&mut out, body.len() as u64);
        out.extend_from_slice(&body);
        out
    }
}

fn decode_record(bytes: &[u8]) -> Result<ValueRecord, WireError> {
    let mut record = ValueRecord::default();
    let mut reader = BytesReader::from_bytes(bytes);
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            RECORD_KEY => record.key = reader.read_bytes(bytes)?.to_vec(),
            RECORD_VALUE => record.value = reader.read_bytes(bytes)?.to_vec(),
            RECORD_TIME => {
                let time = reader.read_bytes(bytes)?;
                let time = std::str::from_utf8(time.get(..time.len().min(64)).unwrap_or_default());
                time.unwrap_or_default().clone_into(&mut record.time_received);
            }
            tag => reader.read_unknown(bytes, tag)?,
        }
    }
    Ok(record)
}

/// Reads a peer into a list that has room for it and does not hold it yet.
fn push_peer(list: &mut Vec<PeerInfo>, bytes: &[u8], max: usize) -> Result<(), WireError> {
    if list.len() >= max {
        return Ok(());
    }
    let (mut id, mut addresses) = (None, Vec::new());
    let mut reader = BytesReader::from_bytes(bytes);
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            PEER_ID => id = PeerId::from_bytes(reader.read_bytes(bytes)?).ok(),
            PEER_ADDRESS => {
                let address = reader.read_bytes(bytes)?;
                if addresses.len() < ADDRESSES_MAX && address.len() <= ADDRESS_BYTES_MAX {
                    addresses.extend(Multiaddr::try_from(address.to_vec()).ok());
                }
            }
            tag => reader.read_unknown(bytes, tag)?,
        }
    }
    if let Some(id) = id {
        for address in &mut addresses {
            strip_peer(address, &id);
        }
        addresses.retain(|address| !address.is_empty());
        list.push(PeerInfo { id, addresses });
    }
    Ok(())
}

/// Takes the peer's own ID off the end of an address, where some write it.
pub(super) fn strip_peer(address: &mut Multiaddr, id: &PeerId) {
    while address.iter().last() == Some(libp2p::multiaddr::Protocol::P2p(*id)) {
        address.pop();
    }
}

fn put_peer(out: &mut Vec<u8>, tag: u32, peer: &PeerInfo) {
    let mut inner = Vec::with_capacity(64 + 32 * peer.addresses.len());
    put_bytes(&mut inner, PEER_ID, &peer.id.to_bytes());
    for address in peer.addresses.iter().take(ADDRESSES_MAX) {
        put_bytes(&mut inner, PEER_ADDRESS, address.as_ref());
    }
    put_bytes(out, tag, &inner);
}

fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(out, u64::from(tag));
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_varint(out: &mut Vec<u8>, number: u64) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend_from_slice(unsigned_varint::encode::u64(number, &mut buffer));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addresses: usize) -> PeerInfo {
        let address = |port: usize| format!("/ip4/10.0.0.1/tcp/{}", port + 1).parse().unwrap();
        PeerInfo { id: PeerId::random(), addresses: (0..addresses).map(address).collect() }
    }

    #[test]
    fn a_message_reads_as_it_was_written() {
        let message = Message {
            kind: Kind::GetValue,
            key: b"/ipns/x".to_vec(),
            record: Some(ValueRecord {
                key: b"/ipns/x".to_vec(),
                value: vec![7; 300],
                time_received: "2026-01-01T00:00:00Z".to_owned(),
            }),
            closer: (0..20).map(peer).collect(),
            providers: vec![peer(3)],
        };
        assert_eq!(Message::decode(&message.encode()), Ok(message.clone()));
        let framed = message.encode_framed();
        let (length, body) = unsigned_varint::decode::usize(&framed).unwrap();
        assert_eq!((length, body), (body.len(), &message.encode()[..]));
    }

    #[test]
    fn the_bytes_are_those_of_go() {
        // FIND_NODE for the key "k", as protoc writes it.
        assert_eq!(Message::request(Kind::FindNode, b"k").encode(), [0x08, 0x04, 0x12, 0x01, b'k']);
        // Without a type it is PUT_VALUE; the level of clusters (field 10) is passed over.
        let put = Message::decode(&[0x12, 0x01, b'k', 0x50, 0x01]).unwrap();
        assert_eq!((put.kind, &put.key[..]), (Kind::PutValue, &b"k"[..]));
        assert_eq!(Message::decode(&[0x08, 0x09]), Err(WireError::Kind(9)));
    }

    #[test]
    fn lists_are_capped_and_unreadable_peers_passed_over() {
        let mut message = Message::request(Kind::FindNode, b"k");
        message.closer = (0..100).map(|_| peer(40)).collect();
        let mut bytes = message.encode();
        let read = Message::decode(&bytes).unwrap();
        assert_eq!((read.closer.len(), read.closer[0].addresses.len()), (CLOSER_MAX, ADDRESSES_MAX));
        bytes.extend_from_slice(&[0x42, 0x03, 0x0a, 0x01, 0xff]);
        assert!(Message::decode(&bytes).is_ok());
        let mut spoiled = vec![0x42, 0x03, 0x0a, 0x01, 0xff];
        message.closer.truncate(1);
        spoiled.extend_from_slice(&message.encode());
        assert_eq!(Message::decode(&spoiled).unwrap().closer.len(), 1);
    }

    #[test]
    fn of_a_request_only_what_its_sender_says_of_itself_is_kept() {
        let (sender, others) = (peer(3), peer(2));
        let announced = Message {
            closer: vec![others.clone()],
            providers: vec![others.clone(), sender.clone(), sender.clone()],
            ..Message::request(Kind::AddProvider, b"k")
        };
        let mut kept = announced.clone();
        kept.keep_of_sender(&sender.id);
        assert_eq!((&kept.closer[..], &kept.providers[..]), (&[][..], &[sender.clone()][..]));
        let mut asked = Message { kind: Kind::GetProviders, ..announced };
        asked.keep_of_sender(&sender.id);
        assert_eq!(asked, Message::request(Kind::GetProviders, b"k"));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert!(matches!(Message::decode(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(WireError::TooLarge { .. })));
        let long = Message::request(Kind::FindNode, &[1; KEY_BYTES_READ_MAX + 1]).encode();
        assert!(matches!(Message::decode(&long), Err(WireError::Key { .. })));
        assert!(Message::decode(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "a length beyond the end");
    }
}

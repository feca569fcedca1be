//! What is said in each protocol that our node speaks, and how a peer without manners says it.
//!
//! The messages are written from the specifications, so that what is wrong with them is beyond their first byte. All
//! addresses in them are of the loopback range: a node that believes one dials nobody else.

use super::names::routing_key;
use super::words::{
    PRIORITY_MAX, blocks, bytes_field, framed, haves, malformed, number_field, old_blocks, raw_cid, varint,
    wants,
};
use libp2p::PeerId;

/// Bytes that a stream without an end carries before its sender has enough.
const ENDLESS_BYTES: usize = 1 << 20;
/// Bytes of it that go out at a time.
const PIECE_BYTES: usize = 16 << 10;
/// How often a right message is said on one stream.
const REPEATS: usize = 1000;
/// Bits that are turned round, one in each copy of a right message.
const FLIPS: usize = 8;

/// How a stream ends on which something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its sender drops it.
    Reset,
    /// Its sender closes its half, and reads what comes.
    HalfClose,
    /// It does not end.
    Never,
}

/// Something that is said on one stream.
#[derive(Debug, Clone)]
pub struct Speech {
    /// What it is.
    pub what: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How often they are sent.
    pub times: usize,
    /// What happens then.
    pub end: End,
}

/// Right messages of a protocol, framed as it frames them; none for a protocol that this module does not know.
pub fn right(protocol: &str) -> Option<Vec<Vec<u8>>> {
    if protocol.starts_with("/x/") {
        // Bytes of a program of somebody else.
        return Some(vec![b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()]);
    }
    Some(match protocol {
        "/ipfs/ping/1.0.0" => vec![vec![7; 32]],
        "/ipfs/id/1.0.0" | "/ipfs/id/push/1.0.0" => vec![framed(&identify(10)), framed(&identify(500))],
        "/ipfs/bitswap/1.2.0" | "/ipfs/bitswap/1.1.0" | "/ipfs/bitswap/1.0.0" | "/ipfs/bitswap" => bitswap(),
        "/ipfs/kad/1.0.0" | "/ipfs/lan/kad/1.0.0" => kad(),
        "/libp2p/autonat/1.0.0" => vec![autonat_first()],
        "/libp2p/autonat/2/dial-request" => vec![autonat_request()],
        "/libp2p/autonat/2/dial-back" => vec![framed(&fixed64(1, 7))],
        "/libp2p/circuit/relay/0.2.0/hop" => hop(),
        "/libp2p/circuit/relay/0.2.0/stop" => vec![framed(&circuit(0)), framed(&circuit(1))],
        "/libp2p/dcutr" => vec![framed(&hole_punch(100)), framed(&hole_punch(300))],
        "/libp2p/fetch/0.0.1" => vec![framed(&field(1, &routing_key(&PeerId::random())))],
        "/floodsub/1.0.0" | "/meshsub/1.0.0" | "/meshsub/1.1.0" | "/meshsub/1.2.0" | "/meshsub/1.3.0" => {
            pubsub()
        }
        _ => return None,
    })
}

/// Whether the protocol is spoken on connections through relays alone.
pub fn is_for_circuits(protocol: &str) -> bool {
    protocol == "/libp2p/dcutr"
}

/// Everything that is said wrongly in a protocol whose right messages these are. `noise` is 4 kB of it.
pub fn wrong(right: &[Vec<u8>], noise: &[u8]) -> Vec<Speech> {
    let once = |what, bytes, end| Speech { what, bytes, times: 1, end };
    let mut all: Vec<Speech> =
        malformed(noise).into_iter().map(|(what, bytes)| once(what, bytes, End::Reset)).collect();
    all.push(once("nothing, and no end", Vec::new(), End::Never));
    all.push(once("the beginning of a long frame, and no end", vec![0x80, 0x80, 0x40, 1, 2, 3], End::Never));
    all.push(once("nothing, and a half that is closed", Vec::new(), End::HalfClose));
    let endless = |what, bytes: Vec<u8>| {
        let times = ENDLESS_BYTES / bytes.len();
        Speech { what, bytes, times, end: End::Reset }
    };
    all.push(endless("empty frames without an end", vec![0; PIECE_BYTES]));
    all.push(endless("noise without an end", noise.repeat(PIECE_BYTES / noise.len())));
    for message in right {
        let half = message.len() / 2;
        all.push(once("a right message, and a half that is closed", message.clone(), End::HalfClose));
        all.push(once(
            "a message that is cut, and a half that is closed",
            message[..half].to_vec(),
            End::HalfClose,
        ));
        all.push(once("a message that is cut, and no end", message[..half].to_vec(), End::Never));
        all.push(once("a right message, and a stream that is dropped", message.clone(), End::Reset));
        all.push(Speech {
            what: "right messages, very many",
            bytes: message.clone(),
            times: REPEATS,
            end: End::Reset,
        });
        for flip in 0..FLIPS {
            let mut turned = message.clone();
            let bit = (noise[2 * flip] as usize * 256 + noise[2 * flip + 1] as usize) % (8 * turned.len());
            turned[bit / 8] ^= 1 << (bit % 8);
            all.push(once("a message with a bit turned round", turned, End::HalfClose));
        }
    }
    all
}

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes_field(&mut out, number, bytes);
    out
}

fn number(number: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    number_field(&mut out, number, value);
    out
}

fn fixed64(number: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3 | 1);
    out.extend(value.to_le_bytes());
    out
}

/// `/ip4/127.0.0.1/tcp/1`, where nobody listens.
fn address() -> Vec<u8> {
    vec![4, 127, 0, 0, 1, 6, 0, 1]
}

/// A peer that nobody is, and where it is not: in the two fields in which most protocols say it.
fn peer() -> Vec<u8> {
    [field(1, &PeerId::random().to_bytes()), field(2, &address())].concat()
}

fn identify(count: usize) -> Vec<u8> {
    let mut out = [field(5, b"ipfs/0.1.0"), field(6, b"nobody/1"), field(4, &address())].concat();
    for index in 0..count {
        bytes_field(&mut out, 2, &address());
        bytes_field(&mut out, 3, format!("/nothing/{index}").as_bytes());
    }
    out
}

fn bitswap() -> Vec<Vec<u8>> {
    let data = [vec![1; 1000], vec![2; 1000]];
    let cids: Vec<Vec<u8>> = data.iter().map(|data| raw_cid(data)).collect();
    [wants(&cids, PRIORITY_MAX), haves(&cids), blocks(&data), old_blocks(&data)]
        .map(|said| framed(&said))
        .into()
}

fn kad() -> Vec<Vec<u8>> {
    let (key, id) = (raw_cid(b"nothing"), PeerId::random());
    let message = |kind, parts: &[Vec<u8>]| framed(&[number(1, kind), parts.concat()].concat());
    let name = routing_key(&id);
    let record = field(3, &[field(1, &name), field(2, b"no record")].concat());
    vec![
        message(0, &[field(2, &name), record]),
        message(1, &[field(2, &name)]),
        message(2, &[field(2, &key), field(9, &peer())]),
        message(3, &[field(2, &key)]),
        message(4, &[field(2, &id.to_bytes()), field(8, &peer())]),
        message(5, &[]),
    ]
}

fn autonat_first() -> Vec<u8> {
    framed(&[number(1, 0), field(2, &field(1, &peer()))].concat())
}

fn autonat_request() -> Vec<u8> {
    framed(&field(1, &[field(1, &address()), field(1, &address()), fixed64(2, 9)].concat()))
}

fn hop() -> Vec<Vec<u8>> {
    let reserve = number(1, 0);
    let connect = [number(1, 1), field(2, &peer())].concat();
    let status = [number(1, 2), number(5, 100)].concat();
    [reserve, connect, status].map(|said| framed(&said)).into()
}

/// A message about a circuit from a peer that is none.
fn circuit(kind: u64) -> Vec<u8> {
    let limit = [number(1, 120), number(2, 1 << 17)].concat();
    [number(1, kind), field(2, &peer()), field(3, &limit), number(4, 100)].concat()
}

fn hole_punch(kind: u64) -> Vec<u8> {
    [number(1, kind), field(2, &address())].concat()
}

fn pubsub() -> Vec<Vec<u8>> {
    let topic = b"news";
    let follow = field(1, &[number(1, 1), field(2, topic)].concat());
    let message = [
        field(1, &PeerId::random().to_bytes()),
        field(2, b"forged"),
        field(3, &[0, 0, 0, 0, 0, 0, 0, 1]),
        field(4, topic),
        field(5, &[3; 64]),
    ]
    .concat();
    let ids: Vec<u8> = (0..200_u16).flat_map(|id| field(2, &id.to_be_bytes())).collect();
    let asked: Vec<u8> = (0..200_u16).flat_map(|id| field(1, &id.to_be_bytes())).collect();
    let prune = [field(1, topic), field(2, &peer()), number(3, u64::MAX)].concat();
    let control = [
        field(1, &[field(1, topic), ids].concat()),
        field(2, &asked),
        field(3, &field(1, topic)),
        field(4, &prune),
        field(5, &asked),
    ]
    .concat();
    [follow, field(2, &message), field(3, &control)].map(|said| framed(&said)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_right_messages_and_others_have_none() {
        for protocol in ["/ipfs/ping/1.0.0", "/ipfs/lan/kad/1.0.0", "/libp2p/dcutr", "/x/anything"] {
            let right = right(protocol).unwrap();
            assert!(!right.is_empty() && right.iter().all(|message| !message.is_empty()), "{protocol}");
        }
        assert!(right("/unheard/of/1.0.0").is_none());
    }

    #[test]
    fn what_is_said_wrongly_differs_from_what_is_right() {
        let right = vec![vec![0x20; 33]];
        let noise: Vec<u8> = (0..4000_u32).map(|at| (at * 7 % 251) as u8).collect();
        let all = wrong(&right, &noise);
        assert!(
            [End::Reset, End::HalfClose, End::Never]
                .iter()
                .all(|end| all.iter().any(|said| said.end == *end))
        );
        let turned: Vec<_> = all.iter().filter(|said| said.what.contains("turned")).collect();
        assert!(turned.len() == FLIPS && turned.iter().all(|said| said.bytes != right[0]));
    }
}

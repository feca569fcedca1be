//! Messages of mDNS, as far as peers of libp2p use it: who is there, and where (libp2p's specification of peer discovery by mDNS).

use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::RData;
use libp2p::{Multiaddr, PeerId};
use multiaddr::Protocol;

/// The service, label by label.
const SERVICE: [&str; 3] = ["_p2p", "_udp", "local"];
/// The same as a text.
const SERVICE_NAME: &str = "_p2p._udp.local.";
/// What an address begins with in a text record.
const ADDRESS_PREFIX: &str = "dnsaddr=";
/// Bytes of a text in a record (RFC 1035, section 3.3).
const TEXT_BYTES_MAX: usize = 255;
/// Bytes of all texts that we send, so that a message fits into a frame of a link.
const TEXTS_BYTES_MAX: usize = 1100;
/// Addresses that are read of one message.
const ADDRESSES_MAX: usize = 32;

const HEADER_BYTES: usize = 12;
const FLAGS_QUERY: u16 = 0;
/// An answer, by who knows best.
const FLAGS_ANSWER: u16 = 0x8400;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const CLASS_IN: u16 = 1;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Somebody asks who is there.
    Question,
    /// Peers, where they are, and for how long that may be believed: nothing for one that goes.
    Peers(Vec<(PeerId, Multiaddr, Duration)>),
}

/// The question who is there.
pub fn question() -> Vec<u8> {
    let mut out = header(FLAGS_QUERY, [1, 0, 0]);
    push_name(&mut out, &SERVICE);
    push_u16s(&mut out, &[TYPE_PTR, CLASS_IN]);
    out
}

/// That we are there, under this name, at as many of these addresses as fit.
pub fn answer(name: &str, us: PeerId, addresses: &[Multiaddr], ttl: Duration) -> Vec<u8> {
    let ttl_seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
    let mut instance = Vec::new();
    push_name(&mut instance, &[&[name], &SERVICE[..]].concat());
    let mut texts = Vec::new();
    for address in addresses {
        let text = format!("{ADDRESS_PREFIX}{address}/p2p/{us}");
        let Some(length) = u8::try_from(text.len()).ok().filter(|_| text.len() <= TEXT_BYTES_MAX) else {
            continue;
        };
        if texts.len() + 1 + text.len() <= TEXTS_BYTES_MAX {
            texts.push(length);
            texts.extend_from_slice(text.as_bytes());
        }
    }
    let mut out = header(FLAGS_ANSWER, [0, 1, 1]);
    push_name(&mut out, &SERVICE);
    push_record(&mut out, TYPE_PTR, ttl_seconds, &instance);
    out.extend_from_slice(&instance);
    push_record(&mut out, TYPE_TXT, ttl_seconds, &texts);
    out
}

/// Reads what came; nothing where it is not for us, or no message.
pub fn read(bytes: &[u8]) -> Option<Heard> {
    let message = Message::from_vec(bytes).ok()?;
    if !message.queries.is_empty() {
        let is_ours = |name: &str| name.eq_ignore_ascii_case(SERVICE_NAME);
        return message.queries.iter().any(|it| is_ours(&it.name().to_utf8())).then_some(Heard::Question);
    }
    let mut peers = Vec::new();
    // Who answers puts the texts among the answers, or behind them.
    for record in message.answers.iter().chain(&message.additionals) {
        let RData::TXT(texts) = &record.data else { continue };
        if !record.name.to_utf8().to_ascii_lowercase().ends_with(SERVICE_NAME) {
            continue;
        }
        let ttl = Duration::from_secs(record.ttl.into());
        let found = texts.txt_data.iter().filter_map(|text| read_text(text));
        peers.extend(found.map(|(peer, address)| (peer, address, ttl)).take(ADDRESSES_MAX - peers.len()));
    }
    (!peers.is_empty()).then_some(Heard::Peers(peers))
}

/// A peer and its address, without its ID.
fn read_text(text: &[u8]) -> Option<(PeerId, Multiaddr)> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix(ADDRESS_PREFIX)?;
    let mut address: Multiaddr = text.parse().ok()?;
    match address.pop() {
        Some(Protocol::P2p(peer)) => Some((peer, address)),
        _ => None,
    }
}

/// A header with the counts of questions, answers and further records. There is no number: messages of mDNS have none.
fn header(flags: u16, [questions, answers, more]: [u16; 3]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + TEXTS_BYTES_MAX + 2 * TEXT_BYTES_MAX);
    push_u16s(&mut out, &[0, flags, questions, answers, 0, more]);
    out
}

fn push_u16s(out: &mut Vec<u8>, numbers: &[u16]) {
    out.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
}

/// Labels of at most 63 bytes: ours are short.
fn push_name(out: &mut Vec<u8>, labels: &[&str]) {
    for label in labels {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

/// What follows the name of a record.
fn push_record(out: &mut Vec<u8>, kind: u16, ttl_seconds: [u8; 4], data: &[u8]) {
    push_u16s(out, &[kind, CLASS_IN]);
    out.extend_from_slice(&ttl_seconds);
    push_u16s(out, &[u16::try_from(data.len()).unwrap_or(0)]);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(360);

    fn address(number: usize) -> Multiaddr {
        format!("/ip6/fd00::{number}/tcp/4001").parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&question()), Some(Heard::Question));
        let us = PeerId::random();
        let written = answer("name", us, &[address(1), address(2)], TTL);
        let expected = vec![(us, address(1), TTL), (us, address(2), TTL)];
        assert_eq!(read(&written), Some(Heard::Peers(expected)));
        assert_eq!(read(&answer("name", us, &[], TTL)), None, "nobody could go there");
    }

    #[test]
    fn an_answer_fits_into_a_frame_however_many_addresses_there_are() {
        let many: Vec<Multiaddr> = (0..1000).map(address).collect();
        let written = answer("name", PeerId::random(), &many, TTL);
        assert!(written.len() < 1232, "{}", written.len());
        let Some(Heard::Peers(read)) = read(&written) else { panic!("nobody was read") };
        assert!(read.len() > 8, "{}", read.len());
    }

    #[test]
    fn what_is_not_for_us_or_no_message_is_passed_over() {
        let mut other = question();
        let at = other.iter().position(|byte| *byte == b'p').unwrap();
        other[at] = b'q';
        assert_eq!(read(&other), None);
        let whole = answer("name", PeerId::random(), &[address(1)], TTL);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            // Whatever it says, it does no harm.
            let _ = read(&changed);
        }
        assert_eq!(read(&[0xff; 600]), None);
    }
}

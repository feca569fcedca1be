//! Asking a node to dial back, in both versions of AutoNAT, as often as a test wants.

use std::io;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use tokio::time::timeout;

use super::words::{Value, bytes_field, fields, framed, number_field, values, varint};
use super::{Hostile, STREAM_WAIT_MAX, Stream, hear_frame, send};

/// The first version.
pub const FIRST: &str = "/libp2p/autonat/1.0.0";
/// The second version.
pub const SECOND: &str = "/libp2p/autonat/2/dial-request";

const MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes of one piece of what a node wants before it dials an address of the second version.
const DATA_BYTES: usize = 4096;
/// Pieces of it, at most: the protocol has no more than 100,000 bytes.
const DATA_PIECES_MAX: u64 = 100;

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The node dialled, whether or not somebody answered there.
    Dialled,
    /// It did not, and said so by this number.
    Refused(u64),
}

/// Connects as the peer with this key, asks to be dialled at an address, and waits for the answer; `None` where the node does not
/// speak the version.
///
/// # Panics
/// When the address of the node is none.
pub async fn ask(version: &str, key: &Keypair, node: &str, at: &Multiaddr) -> io::Result<Option<Verdict>> {
    let (peer, opened) = Hostile::connect(key, node).await?;
    let attending = tokio::spawn(super::attend(opened));
    let verdict = timeout(STREAM_WAIT_MAX, async {
        let Some(mut stream) = peer.open(version).await? else { return Ok(None) };
        let verdict = match version {
            FIRST => ask_first(&mut stream, &peer.id(), at).await?,
            _ => ask_second(&mut stream, at).await?,
        };
        Ok(Some(verdict))
    })
    .await;
    attending.abort();
    verdict?
}

async fn ask_first(stream: &mut Stream, own: &PeerId, at: &Multiaddr) -> io::Result<Verdict> {
    const OK: u64 = 0;
    const DIAL_ERROR: u64 = 100;
    let (mut peer, mut dial, mut message) = (Vec::new(), Vec::new(), Vec::new());
    bytes_field(&mut peer, 1, &own.to_bytes());
    bytes_field(&mut peer, 2, &at.to_vec());
    bytes_field(&mut dial, 1, &peer);
    number_field(&mut message, 1, 0);
    bytes_field(&mut message, 2, &dial);
    say(stream, &message).await?;
    let answer = hear_frame(stream, MESSAGE_BYTES_MAX).await?;
    match number_in(part(&answer, 3)?, 1) {
        Some(OK | DIAL_ERROR) => Ok(Verdict::Dialled),
        Some(other) => Ok(Verdict::Refused(other)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn ask_second(stream: &mut Stream, at: &Multiaddr) -> io::Result<Verdict> {
    const OK: u64 = 200;
    let (mut request, mut message) = (Vec::new(), Vec::new());
    bytes_field(&mut request, 1, &at.to_vec());
    // The nonce: eight bytes.
    varint(&mut request, 2 << 3 | 1);
    request.extend(7_u64.to_le_bytes());
    bytes_field(&mut message, 1, &request);
    say(stream, &message).await?;
    let mut answer = hear_frame(stream, MESSAGE_BYTES_MAX).await?;
    let wanted = part(&answer, 3).ok().and_then(|wanted| number_in(wanted, 2));
    if let Some(bytes) = wanted {
        // Whoever wants another address to be dialled than its own sends more than the dial costs.
        let (mut data, mut piece) = (Vec::new(), Vec::new());
        bytes_field(&mut data, 1, &[0; DATA_BYTES]);
        bytes_field(&mut piece, 4, &data);
        for _ in 0..bytes.div_ceil(DATA_BYTES as u64).min(DATA_PIECES_MAX) {
            say(stream, &piece).await?;
        }
        answer = hear_frame(stream, MESSAGE_BYTES_MAX).await?;
    }
    // No status is the one of an internal error, 0.
    match number_in(part(&answer, 2)?, 1).unwrap_or_default() {
        OK => Ok(Verdict::Dialled),
        other => Ok(Verdict::Refused(other)),
    }
}

async fn say(stream: &mut Stream, message: &[u8]) -> io::Result<()> {
    send(stream, &framed(message)).await.then_some(()).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// The field of a message that holds a message.
fn part(message: &[u8], number: u64) -> io::Result<&[u8]> {
    let found = fields(message).into_iter().find(|(found, _)| *found == number);
    found.map(|(_, bytes)| bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn number_in(message: &[u8], number: u64) -> Option<u64> {
    values(message).into_iter().find_map(|(found, value)| match value {
        Value::Number(value) if found == number => Some(value),
        _ => None,
    })
}

//! `/libp2p/fetch/0.0.1`: asking one peer for the record that it has under a key. [`super::fetch_message`] has the messages.

use std::io;
use std::time::Duration;

use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::{Stream, StreamProtocol};
use tokio::time::timeout;

use super::fetch_message::{self, Length, MessageError};

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p/fetch/0.0.1");

/// How long one exchange may take (go-libp2p-pubsub-router's).
const TIME_MAX: Duration = Duration::from_secs(10);

/// Asks for what the peer has under `key`; nothing where it has nothing.
pub(super) async fn ask(mut stream: Stream, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let asking = async {
        write(&mut stream, &fetch_message::request(key).map_err(invalid)?).await?;
        let answer = read_message(&mut stream).await?;
        let found = fetch_message::read_answer(&answer).map_err(invalid)?.map(<[u8]>::to_vec);
        // Whoever is asked has said all; closing it cleanly is a courtesy.
        let _ = stream.close().await;
        Ok(found)
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
        let key = fetch_message::read_request(&request).map_err(invalid)?.to_vec();
        let found = look_up(key).await;
        write(&mut stream, &fetch_message::answer(found.as_deref()).map_err(invalid)?).await?;
        stream.close().await
    };
    timeout(TIME_MAX, answering).await?
}

fn invalid(error: MessageError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn write(stream: &mut Stream, framed: &[u8]) -> io::Result<()> {
    stream.write_all(framed).await?;
    stream.flush().await
}

async fn read_message(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut length = Length::default();
    let bytes = loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        let [byte] = byte;
        if let Some(bytes) = length.push(byte).map_err(invalid)? {
            break bytes;
        }
    };
    let mut message = vec![0; bytes];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

//! Messages on a stream: a varint length, then the message; one after another in both directions.

use std::io;
use std::time::Duration;

use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use crate::kad::{MESSAGE_BYTES_MAX, Message, RequestFailure};

/// How long a peer may leave a stream idle before its next request: 60 s (go-libp2p-kad-dht).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one message may take to come or to go: 10 s a message, whatever its size.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a peer's message gets.
#[derive(Debug)]
pub(super) enum Answer {
    /// These bytes, with their length before them.
    Bytes(Vec<u8>),
    Nothing,
    /// The stream is closed at once.
    Reset,
}

/// A message of a peer, and where its answer goes.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) message: Message,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Reads the next message; `None` where the stream ends between messages.
///
/// The length is checked before anything is allocated for it, and room is made as bytes come.
pub(super) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    let Some(length) = read_length(stream).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = Message::decode(&bytes);
    message.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<usize>> {
    let mut length = 0_usize;
    // 4 bytes hold more than the limit.
    for index in 0..4_u32 {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if index == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let [byte] = byte;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if length > MESSAGE_BYTES_MAX {
                break;
            }
            return Ok(Some(length));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the message is larger than any may be"))
}

/// Sends a request and reads its answer, if it has one.
pub(super) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    is_answered: bool,
    timeout: Duration,
) -> Result<Option<Message>, RequestFailure> {
    let talk = async {
        stream.write_all(request).await?;
        stream.flush().await?;
        if !is_answered {
            return Ok(None);
        }
        let answer = read_message(stream).await?;
        answer.map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    match tokio::time::timeout(timeout, talk).await {
        Err(_) => Err(RequestFailure::Timeout),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(RequestFailure::Malformed),
        Ok(Err(_)) => Err(RequestFailure::Closed),
    }
}

/// Serves one stream until the peer ends it, breaks a rule or is silent for a minute. The next message is read when the one
/// before it has been answered, so a stream holds one message at a time.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: mpsc::Sender<Inbound>,
    timeout: Duration,
) {
    let _ended = serve_all(&mut stream, &requests, timeout).await;
}

async fn serve_all(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    requests: &mpsc::Sender<Inbound>,
    timeout: Duration,
) -> io::Result<()> {
    loop {
        let read = tokio::time::timeout(IDLE_TIMEOUT, read_message(stream)).await;
        let Some(message) = read.map_err(|_| io::ErrorKind::TimedOut)?? else {
            return stream.close().await;
        };
        let (answer, answered) = oneshot::channel();
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        requests.send(Inbound { message, answer }).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        let answer = tokio::time::timeout(timeout, answered).await.map_err(|_| io::ErrorKind::TimedOut)?;
        match answer.map_err(closed)? {
            Answer::Nothing => {}
            Answer::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            Answer::Bytes(bytes) => {
                let write = async {
                    stream.write_all(&bytes).await?;
                    stream.flush().await
                };
                tokio::time::timeout(MESSAGE_TIMEOUT, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::futures::io::Cursor;

    use super::*;
    use crate::kad::Kind;

    #[tokio::test]
    async fn messages_come_one_after_another() {
        let message = Message::request(Kind::FindNode, b"key");
        let bytes = [message.encode_framed(), message.encode_framed()].concat();
        let mut stream = Cursor::new(bytes);
        for _ in 0..2 {
            assert_eq!(read_message(&mut stream).await.unwrap(), Some(message.clone()));
        }
        assert_eq!(read_message(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_length_that_is_too_large_is_refused_before_its_bytes() {
        for length in [&[0x81, 0x80, 0x80, 0x02][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0x80; 10]] {
            let mut stream = Cursor::new([length, &[0; 32]].concat());
            let error = read_message(&mut stream).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(stream.position() <= 4, "nothing behind the length is read");
        }
        let mut cut = Cursor::new(vec![0x80, 0x80, 0x01, 1, 2, 3]);
        assert_eq!(read_message(&mut cut).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

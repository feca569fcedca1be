//! Messages on a stream: a varint length, then the message; one after another in both directions.

use std::io;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::room::{Place, Room};
use crate::kad::{MESSAGE_BYTES_MAX, Message, REQUEST_BYTES_MAX, RequestFailure};

/// How long a peer may leave a stream idle before its next request: 60 s (go-libp2p-kad-dht).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one message may take to come, once its length is there, or to go: 10 s, whatever its size.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a peer is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Before a request.
    idle: Duration,
    /// In the midst of a message.
    message: Duration,
}

impl Patience {
    pub(super) const USUAL: Self = Self { idle: IDLE_TIMEOUT, message: MESSAGE_TIMEOUT };
}

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

/// Reads an answer; `None` where the stream ends before one.
///
/// The length is checked before anything is allocated for it, and room is made as bytes come.
async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    let Some(length) = read_length(stream, MESSAGE_BYTES_MAX).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&bytes).map(Some)
}

/// Reads the next request, and the place that it has until it is answered; `None` where the stream ends between requests.
///
/// A peer may take its time before a request, and none in its midst. Where there is no room for it, the stream is given up at
/// once: what waits would be held by the connection instead.
async fn read_request(
    stream: &mut (impl AsyncRead + Unpin),
    room: &Room,
    patience: Patience,
) -> io::Result<Option<(Message, Place)>> {
    let read = tokio::time::timeout(patience.idle, read_length(stream, REQUEST_BYTES_MAX)).await;
    let Some(length) = read.map_err(|_| io::ErrorKind::TimedOut)?? else { return Ok(None) };
    let place = room.take(length).ok_or(io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; length];
    let read = tokio::time::timeout(patience.message, stream.read_exact(&mut bytes)).await;
    read.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(Some((decode(&bytes)?, place)))
}

fn decode(bytes: &[u8]) -> io::Result<Message> {
    Message::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn read_length(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Option<usize>> {
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
            if length > most {
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
        let answer = read_answer(stream).await?;
        answer.map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    match tokio::time::timeout(timeout, talk).await {
        Err(_) => Err(RequestFailure::Timeout),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(RequestFailure::Malformed),
        Ok(Err(_)) => Err(RequestFailure::Closed),
    }
}

/// Who is served on a connection, and with what.
#[derive(Debug, Clone)]
pub(super) struct Serve {
    pub(super) peer: PeerId,
    pub(super) room: Room,
    pub(super) requests: mpsc::Sender<Inbound>,
    /// How long this node may take to answer.
    pub(super) timeout: Duration,
    pub(super) patience: Patience,
}

/// Serves one stream until the peer ends it, breaks a rule or is silent for a minute. The next message is read when the one
/// before it has been answered, so a stream holds one message at a time.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, serve: Serve) {
    let _ended = serve_all(&mut stream, &serve).await;
}

async fn serve_all(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    Serve { peer, room, requests, timeout, patience }: &Serve,
) -> io::Result<()> {
    loop {
        let Some((mut message, place)) = read_request(stream, room, *patience).await? else {
            return stream.close().await;
        };
        message.keep_of_sender(peer);
        let (answer, answered) = oneshot::channel();
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        requests.send(Inbound { message, answer }).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        let answer = tokio::time::timeout(*timeout, answered).await.map_err(|_| io::ErrorKind::TimedOut)?;
        drop(place);
        match answer.map_err(closed)? {
            Answer::Nothing => {}
            Answer::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            Answer::Bytes(bytes) => {
                let write = async {
                    stream.write_all(&bytes).await?;
                    stream.flush().await
                };
                tokio::time::timeout(patience.message, write)
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)??;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use libp2p::futures::io::Cursor;

    use super::super::room::{FREE_BYTES_MAX, ROOM_BYTES};
    use super::*;
    use crate::kad::Kind;

    /// The varint of a length.
    fn framed(length: usize) -> Vec<u8> {
        let mut buffer = unsigned_varint::encode::usize_buffer();
        unsigned_varint::encode::usize(length, &mut buffer).to_vec()
    }

    #[tokio::test]
    async fn messages_come_one_after_another() {
        let message = Message::request(Kind::FindNode, b"key");
        let bytes = [message.encode_framed(), message.encode_framed()].concat();
        let (mut stream, room) = (Cursor::new(&bytes), Room::new(ROOM_BYTES));
        for _ in 0..2 {
            assert_eq!(read_request(&mut stream, &room, Patience::USUAL).await.unwrap().unwrap().0, message);
        }
        assert!(read_request(&mut stream, &room, Patience::USUAL).await.unwrap().is_none());
        assert_eq!(read_answer(&mut Cursor::new(&bytes)).await.unwrap(), Some(message));
    }

    #[tokio::test]
    async fn a_length_that_is_too_large_is_refused_before_its_bytes() {
        for length in [&[0x81, 0x80, 0x80, 0x02][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[0x80; 10]] {
            let mut stream = Cursor::new([length, &[0; 32]].concat());
            let error = read_answer(&mut stream).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(stream.position() <= 4, "nothing behind the length is read");
        }
        let mut cut = Cursor::new(vec![0x80, 0x80, 0x01, 1, 2, 3]);
        assert_eq!(read_answer(&mut cut).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// A request of so many bytes: the rest are of a field that is passed over.
    fn request_of(bytes: usize) -> Vec<u8> {
        let mut request = Message::request(Kind::FindNode, b"key").encode();
        // Field 15: its tag, and a length of three bytes.
        let rest = bytes - request.len() - 4;
        request.push(15 << 3 | 2);
        request.extend([rest as u8 | 0x80, (rest >> 7) as u8 | 0x80, (rest >> 14) as u8]);
        request.resize(bytes, 0);
        request
    }

    #[tokio::test]
    async fn a_request_of_64_kib_is_served_and_one_byte_more_is_not() {
        let room = Room::new(ROOM_BYTES);
        let frame = |bytes| [framed(bytes), request_of(bytes)].concat();
        let mut stream = Cursor::new(frame(REQUEST_BYTES_MAX));
        let (message, _place) = read_request(&mut stream, &room, Patience::USUAL).await.unwrap().unwrap();
        assert_eq!(message, Message::request(Kind::FindNode, b"key"));
        let mut stream = Cursor::new(frame(REQUEST_BYTES_MAX + 1));
        let error = read_request(&mut stream, &room, Patience::USUAL).await.unwrap_err();
        assert_eq!((error.kind(), stream.position()), (io::ErrorKind::InvalidData, 3));
        let mut stream = Cursor::new(frame(REQUEST_BYTES_MAX + 1));
        assert!(read_answer(&mut stream).await.unwrap().is_some(), "an answer may be larger");
    }

    /// A stream that stays open when everything was said.
    struct Silent(Cursor<Vec<u8>>);

    impl AsyncRead for Silent {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            to: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            match ready!(Pin::new(&mut self.0).poll_read(cx, to))? {
                0 => Poll::Pending,
                read => Poll::Ready(Ok(read)),
            }
        }
    }

    impl AsyncWrite for Silent {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(from.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether a stream on which this is said, and nothing more, is given up at once when there is no patience in the midst
    /// of a message. It is given up later when there is none before one.
    async fn is_given_up(said: &[u8]) -> bool {
        let served = async |patience| {
            let stream = Silent(Cursor::new(said.to_vec()));
            let (requests, _inbound) = mpsc::channel(1);
            let (peer, room, timeout) = (PeerId::random(), Room::new(ROOM_BYTES), MESSAGE_TIMEOUT);
            let serving = serve(stream, Serve { peer, room, requests, timeout, patience });
            tokio::time::timeout(Duration::from_millis(500), serving).await.is_ok()
        };
        let [short, long] = [Duration::from_millis(1), Duration::from_secs(60)];
        let is_in_its_midst = served(Patience { idle: long, message: short }).await;
        assert_ne!(is_in_its_midst, served(Patience { idle: short, message: long }).await);
        is_in_its_midst
    }

    #[tokio::test]
    async fn a_request_whose_length_is_there_has_to_come_soon() {
        assert!(!is_given_up(&[]).await, "who says nothing has a minute");
        assert!(!is_given_up(&framed(1000)[..1]).await, "half a length");
        assert!(is_given_up(&framed(1000)).await);
        assert!(is_given_up(&[&framed(1000)[..], &request_of(1000)[..999]].concat()).await);
    }

    #[tokio::test]
    async fn a_large_request_holds_its_place_until_it_is_dropped_and_small_ones_need_none() {
        let room = Room::new(REQUEST_BYTES_MAX);
        let frame = |bytes| Cursor::new([framed(bytes), request_of(bytes)].concat());
        let held = read_request(&mut frame(REQUEST_BYTES_MAX), &room, Patience::USUAL).await.unwrap();
        let refused = read_request(&mut frame(FREE_BYTES_MAX + 1), &room, Patience::USUAL).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::OutOfMemory);
        assert!(read_request(&mut frame(FREE_BYTES_MAX), &room, Patience::USUAL).await.is_ok());
        drop(held);
        assert!(read_request(&mut frame(FREE_BYTES_MAX + 1), &room, Patience::USUAL).await.is_ok());
    }
}

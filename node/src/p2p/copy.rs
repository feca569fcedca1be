//! Bytes between a TCP connection and a stream, both ways, as fast as the slower end takes them.

use std::io;

use libp2p::futures::{AsyncReadExt as FuturesRead, AsyncWriteExt as FuturesWrite};
use libp2p::swarm::Stream;
use tokio::io::{AsyncReadExt as TokioRead, AsyncWriteExt as TokioWrite};
use tokio::net::TcpStream;

/// Bytes of one direction that are held.
const BUFFER_BYTES: usize = 32 << 10;

/// Carries bytes until both ends are done. An end that is done is closed on the other side, and what is still to come from
/// there is carried; a failure ends both.
pub(super) async fn both_ways(tcp: TcpStream, stream: Stream) -> io::Result<()> {
    let (mut tcp_reader, mut tcp_writer) = tcp.into_split();
    let (mut stream_reader, mut stream_writer) = FuturesRead::split(stream);
    let outwards = async {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = TokioRead::read(&mut tcp_reader, &mut buffer).await?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return FuturesWrite::close(&mut stream_writer).await;
            };
            FuturesWrite::write_all(&mut stream_writer, bytes).await?;
            FuturesWrite::flush(&mut stream_writer).await?;
        }
    };
    let inwards = async {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = FuturesRead::read(&mut stream_reader, &mut buffer).await?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                return TokioWrite::shutdown(&mut tcp_writer).await;
            };
            TokioWrite::write_all(&mut tcp_writer, bytes).await?;
        }
    };
    tokio::try_join!(outwards, inwards).map(|_| ())
}

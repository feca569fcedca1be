//! Bodies on their way.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use crate::http::{Piece, ResponseBody};

/// Bytes of a body that are waited for before its head is sent: what fits is sent with its length, and what fails until then
/// is told with a status of its own.
const GATHER_BYTES: usize = 64 << 10;
/// How long what comes after the first bytes is waited for.
const GATHER_TIME: Duration = Duration::from_secs(1);

/// Bytes of content, in order, then an error if it fails.
pub(super) type Content = BoxStream<'static, Result<Bytes, Failure>>;

/// Content of any kind.
pub(super) fn content<S, E>(stream: S) -> Content
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Failure> + 'static,
{
    stream.map(|piece| piece.map_err(Into::into)).boxed()
}

/// The first bytes, and what follows. An error before them is the whole answer.
pub(super) async fn begin(mut content: Content) -> Result<(Bytes, Content), Failure> {
    loop {
        match content.next().await.transpose()? {
            None => return Ok((Bytes::new(), content)),
            Some(first) if first.is_empty() => {}
            Some(first) => return Ok((first, content)),
        }
    }
}

/// A body of `length` bytes whose first ones are there.
pub(super) fn sized(length: u64, first: Bytes, rest: Content) -> ResponseBody {
    if first.len() as u64 >= length {
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(first.len());
        return ResponseBody::Full(first.slice(..length));
    }
    ResponseBody::Sized(length, pieces(first, rest))
}

/// A body of a length that nobody knows before its end. What is short or fails soon is known before the head.
pub(super) async fn gathered(content: Content) -> Result<ResponseBody, Failure> {
    let (first, mut rest) = begin(content).await?;
    if first.len() >= GATHER_BYTES {
        return Ok(ResponseBody::Stream(pieces(first, rest)));
    }
    let mut gathered = BytesMut::from(&first[..]);
    let until = Instant::now() + GATHER_TIME;
    while gathered.len() < GATHER_BYTES {
        match timeout_at(until, rest.next()).await {
            Ok(Some(piece)) => gathered.extend_from_slice(&piece?),
            Ok(None) => return Ok(ResponseBody::Full(gathered.freeze())),
            Err(_) => break,
        }
    }
    Ok(ResponseBody::Stream(pieces(gathered.freeze(), rest)))
}

fn pieces(first: Bytes, rest: Content) -> BoxStream<'static, Piece> {
    let rest = rest.map(|piece| match piece {
        Ok(data) => Piece::Data(data),
        Err(failure) => {
            tracing::debug!(target: "holdfast::gateway", "an answer is cut: {}", failure.words());
            Piece::Abort
        }
    });
    stream::iter([Piece::Data(first)]).chain(rest).boxed()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn of(pieces: Vec<Result<&'static str, ()>>) -> Content {
        let failure = |()| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "broken");
        stream::iter(pieces)
            .map(move |piece| piece.map(|text| Bytes::from_static(text.as_bytes())).map_err(failure))
            .boxed()
    }

    #[tokio::test]
    async fn what_is_short_has_a_length_and_what_fails_soon_has_a_status() {
        let body = gathered(of(vec![Ok(""), Ok("ab"), Ok("c")])).await.unwrap();
        assert!(matches!(body, ResponseBody::Full(data) if &data[..] == b"abc"));
        assert!(gathered(of(vec![Ok("ab"), Err(())])).await.is_err());
        let long = "x".repeat(GATHER_BYTES).leak();
        let ResponseBody::Stream(pieces) = gathered(of(vec![Ok(long), Err(())])).await.unwrap() else {
            panic!("it is long");
        };
        let pieces: Vec<Piece> = pieces.collect().await;
        assert!(matches!(&pieces[..], [Piece::Data(_), Piece::Abort]), "{}", pieces.len());
    }

    #[tokio::test]
    async fn a_length_that_is_known_is_kept() {
        let (first, rest) = begin(of(vec![Ok(""), Ok("abc")])).await.unwrap();
        assert!(matches!(sized(2, first, rest), ResponseBody::Full(data) if &data[..] == b"ab"));
        let (first, rest) = begin(of(vec![Ok("abc"), Ok("d")])).await.unwrap();
        assert!(matches!(sized(4, first, rest), ResponseBody::Sized(4, _)));
    }
}

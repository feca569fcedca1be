//! A server's handler, with its exchanges counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, Stream};
use http::{Method, Request, Response, StatusCode};

use super::{HttpExchange, Metrics};
use crate::http::{Body, Handler, Piece, ResponseBody};

/// Counts what another handler answers. An exchange ends with the last byte of its answer, or when the client goes away.
pub struct Measured {
    inner: Arc<dyn Handler>,
    metrics: Metrics,
    name: &'static str,
}

impl Measured {
    /// Counts the exchanges of `inner` under the label `handler`: `api` or `gateway`.
    pub fn new(inner: Arc<dyn Handler>, metrics: Metrics, name: &'static str) -> Self {
        Self { inner, metrics, name }
    }
}

impl std::fmt::Debug for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Measured").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Handler for Measured {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
        let mut exchange = Exchange {
            metrics: self.metrics.clone(),
            handler: self.name,
            method: request.method().clone(),
            // A handler that panics is a 500, and drops this on its way.
            status: StatusCode::INTERNAL_SERVER_ERROR,
            began: Instant::now(),
            // What a client says of its body; nothing where it sends chunks.
            request_bytes: request.body().length().unwrap_or(0),
            response_bytes: 0,
        };
        let answer = self.inner.handle(request);
        async move {
            let (head, body) = answer.await.into_parts();
            exchange.status = head.status;
            let body = match body {
                ResponseBody::Empty => ResponseBody::Empty,
                ResponseBody::Full(data) => {
                    exchange.answered(&data);
                    ResponseBody::Full(data)
                }
                ResponseBody::Stream(pieces) => {
                    ResponseBody::Stream(Box::pin(CountedPieces { pieces, exchange: Some(exchange) }))
                }
            };
            Response::from_parts(head, body)
        }
        .boxed()
    }
}

/// An exchange that goes on. It is counted when it is dropped.
struct Exchange {
    metrics: Metrics,
    handler: &'static str,
    method: Method,
    status: StatusCode,
    began: Instant,
    request_bytes: u64,
    response_bytes: u64,
}

impl Exchange {
    fn answered(&mut self, data: &Bytes) {
        self.response_bytes += data.len() as u64;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Self { handler, status, request_bytes, response_bytes, .. } = *self;
        let (method, took) = (&self.method, self.began.elapsed());
        self.metrics.http_exchange(&HttpExchange {
            handler,
            method,
            status,
            took,
            request_bytes,
            response_bytes,
        });
    }
}

struct CountedPieces {
    pieces: BoxStream<'static, Piece>,
    /// Away once it was counted.
    exchange: Option<Exchange>,
}

impl Stream for CountedPieces {
    type Item = Piece;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Piece>> {
        let piece = self.pieces.as_mut().poll_next(context);
        match &piece {
            Poll::Ready(Some(Piece::Data(data))) => {
                if let Some(exchange) = &mut self.exchange {
                    exchange.answered(data);
                }
            }
            Poll::Ready(None) => self.exchange = None,
            _ => {}
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;
    use crate::runtime::Runtime;

    /// Streams two pieces for GET, and panics for all else.
    struct Inner;

    impl Handler for Inner {
        fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
            async move {
                assert_eq!(request.method(), Method::GET);
                let piece = || Piece::Data(Bytes::from_static(b"12345"));
                Response::new(ResponseBody::Stream(Box::pin(stream::iter([piece(), piece()]))))
            }
            .boxed()
        }
    }

    fn request(method: Method) -> Request<Body> {
        let mut request = Request::new(Body::from_bytes("abc"));
        *request.method_mut() = method;
        request
    }

    #[tokio::test]
    async fn an_exchange_is_counted_at_its_end_with_its_bytes_and_status() {
        let runtime = Runtime::new();
        let text = || runtime.metrics().text(None, None);
        let handler = Measured::new(Arc::new(Inner), runtime.metrics().clone(), "api");
        let answer = handler.handle(request(Method::GET)).await;
        let ResponseBody::Stream(mut pieces) = answer.into_body() else { panic!("a stream is left one") };
        assert!(!text().contains("ipfs_http_requests_total"), "it goes on");
        while pieces.next().await.is_some() {}
        drop(pieces);
        let gone = tokio::spawn(handler.handle(request(Method::from_bytes(b"BREW").unwrap()))).await;
        assert!(gone.is_err(), "a panic stays one");
        let text = text();
        for line in [
            "ipfs_http_requests_total{handler=\"api\",method=\"get\",code=\"200\"} 1",
            "ipfs_http_requests_total{handler=\"api\",method=\"unknown\",code=\"500\"} 1",
            "ipfs_http_request_duration_seconds_count{handler=\"api\"} 2",
            "ipfs_http_request_size_bytes_sum{handler=\"api\"} 6.0",
            "ipfs_http_response_size_bytes_sum{handler=\"api\"} 10.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

//! A small HTTP/1.1 server: framing, time limits and bounds; what is served is a [`Handler`]'s. Beside it the client that
//! the command line speaks to a daemon with.
//!
//! It exists because Kubo's clients need three things that the common servers do not do: trailers for clients that
//! send no `TE` header, answers that stream while the request still does, and an end of a connection that says "this
//! went wrong" (a chunked body without its last chunk). Requests and responses are the types of the `http` crate.
//!
//! Limits: see [`Limits`]. Only HTTP/1.0 and HTTP/1.1; TLS in the client alone; no upgrades.

mod authorization;
mod body;
pub mod client;
#[cfg(test)]
mod client_tests;
mod connection;
mod endpoint;
mod framing;
mod head;
mod incoming;
mod limits;
mod remote;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod write;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::header::{HeaderName, HeaderValue};
use std::net::SocketAddr;

pub use authorization::authorization;
pub use body::{Body, BodyError};
pub use endpoint::{Endpoint, EndpointError};
pub use incoming::Incoming;
pub use limits::Limits;
pub use remote::Remote;
pub use server::{Listener, Server};
pub(crate) use tls::roots_of_system;

/// Who is at the other end of a connection, and which of our addresses it came to. It is an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection.
    Tcp {
        /// The other end.
        remote: SocketAddr,
        /// Our end.
        local: SocketAddr,
    },
    /// A Unix socket: whoever may open its file.
    Unix,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The future and the stream of the response are dropped when the client goes away; a panic in
    /// either is a 500, or the end of the connection if the head was sent already.
    fn handle(&self, request: http::Request<Body>) -> BoxFuture<'static, http::Response<ResponseBody>>;
}

/// A piece of a streamed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// A header that follows the body. Name it in a `Trailer` header; clients of HTTP/1.0 do not get it.
    Trailer(HeaderName, HeaderValue),
    /// Closes the connection without ending the body, so that no client takes what it got for the whole.
    Abort,
}

/// The body of a response.
pub enum ResponseBody {
    /// Nothing.
    Empty,
    /// Bytes that are known, sent with their length.
    Full(Bytes),
    /// Pieces, sent in chunks as they come.
    Stream(BoxStream<'static, Piece>),
    /// Pieces whose bytes are counted beforehand, sent with their length and not in chunks. A client that asked for the head
    /// alone is told the length. What comes beyond it is left out; where less comes, the connection ends, so that no client
    /// takes what it got for the whole. Trailers are left out.
    Sized(u64, BoxStream<'static, Piece>),
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(data) => f.debug_tuple("Full").field(&data.len()).finish(),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Sized(length, _) => f.debug_tuple("Sized").field(length).finish(),
        }
    }
}

impl From<&'static str> for ResponseBody {
    fn from(text: &'static str) -> Self {
        Self::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for ResponseBody {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

//! What one server takes.

use std::time::Duration;

/// Bounds of a server and its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once; more are told 503 and closed. An idle one costs a task and its two buffers, about 2 KiB.
    /// Default: 16,384.
    pub connections_max: usize,
    /// Bytes of the head of a request. Default: 64 KiB.
    pub head_bytes_max: usize,
    /// Headers of a request. Default: 128.
    pub headers_max: usize,
    /// Time for a head to be complete, from its first byte; and for the first byte of a connection. Default: 10 s.
    pub head_timeout: Duration,
    /// Time between requests on a kept connection. Default: 120 s.
    pub idle_timeout: Duration,
    /// Time without a byte in either direction while one is due: of the request that is waited for, or of the response that
    /// the client does not take. A response that has nothing to say yet may wait as long as it likes. A program of the same
    /// user on a Unix socket, who could end this one as well, may take its time. Default: 15 s.
    pub stall_timeout: Duration,
    /// Bytes of a request's body that are read and thrown away after the response, so that the connection can be kept or
    /// the client sees the response at all. Default: 256 KiB.
    pub drain_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            head_bytes_max: 64 << 10,
            headers_max: 128,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(15),
            drain_bytes_max: 256 << 10,
        }
    }
}

//! DNS over HTTPS to a server that its URL names by an IPv6 address.
//!
//! hickory's own client puts the host of the URL into its requests as it gives it to TLS, without the brackets that an IPv6
//! address has in a URL, and so refuses such a host. This is the same exchange with both written as they have to be.

use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use h2::client::SendRequest;
use hickory_resolver::net::NetError;
use hickory_resolver::net::xfer::{DnsRequestSender, DnsResponseStream};
use hickory_resolver::proto::op::{DnsRequest, DnsResponse};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Uri};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long the server may take until requests can be sent.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer: no message of the DNS is longer.
const ANSWER_BYTES_MAX: usize = 65_535;
/// What questions and answers are.
const MEDIA_TYPE: &str = "application/dns-message";

/// A server, as far as it is asked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    address: SocketAddr,
    url: Uri,
}

impl Literal {
    /// The server of this URL's parts; none where the host is no IPv6 address.
    pub(super) fn of(host: &str, port: u16, path: &str) -> Option<Self> {
        let address: Ipv6Addr = host.parse().ok()?;
        let url = format!("https://[{address}]:{port}{path}").parse().ok()?;
        Some(Self { address: SocketAddr::from((address, port)), url })
    }

    /// Connects, within 5 seconds.
    pub(super) async fn open(self, tls: ClientConfig) -> Result<Asker, NetError> {
        let opened = timeout(CONNECT_TIME_MAX, self.connect(tls)).await;
        opened.unwrap_or(Err(NetError::Timeout))
    }

    async fn connect(self, mut tls: ClientConfig) -> Result<Asker, NetError> {
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::from(self.address.ip());
        let stream = TcpStream::connect(self.address).await?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await?;
        let mut handshake = h2::client::Builder::new();
        let (requests, driver) = handshake.enable_push(false).handshake(stream).await?;
        // It ends with the connection, which ends with the last who asks.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!("a connection to a name server over HTTPS ended: {error}");
            }
        });
        Ok(Asker { requests, url: self.url, is_shutdown: false })
    }
}

/// Sends questions on one connection.
pub(super) struct Asker {
    requests: SendRequest<Bytes>,
    url: Uri,
    is_shutdown: bool,
}

impl DnsRequestSender for Asker {
    fn send_message(&mut self, mut request: DnsRequest) -> DnsResponseStream {
        if self.is_shutdown {
            return NetError::from("the connection is being closed").into();
        }
        // So that the same question is the same request (RFC 8484, section 4.1).
        request.metadata.id = 0;
        match request.to_vec() {
            Ok(question) => Box::pin(ask(self.requests.clone(), self.url.clone(), question.into())).into(),
            Err(error) => NetError::from(error.to_string()).into(),
        }
    }

    fn shutdown(&mut self) {
        self.is_shutdown = true;
    }

    fn is_shutdown(&self) -> bool {
        self.is_shutdown
    }
}

/// Whether the connection still takes questions; it ends when that says so.
impl Stream for Asker {
    type Item = Result<(), NetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_shutdown {
            return Poll::Ready(None);
        }
        self.requests.poll_ready(cx).map(|ready| Some(ready.map_err(NetError::from)))
    }
}

async fn ask(requests: SendRequest<Bytes>, url: Uri, question: Bytes) -> Result<DnsResponse, NetError> {
    let request = Request::post(url).header(CONTENT_TYPE, MEDIA_TYPE).header(ACCEPT, MEDIA_TYPE).body(());
    let request = request.map_err(|error| NetError::from(error.to_string()))?;
    let mut requests = requests.ready().await?;
    let (response, mut sending) = requests.send_request(request, false)?;
    sending.send_data(question, true)?;
    let (head, mut body) = response.await?.into_parts();
    if !head.status.is_success() {
        return Err(format!("http unsuccessful code: {}", head.status).into());
    }
    let kind = head.headers.get(CONTENT_TYPE);
    if let Some(kind) = kind.filter(|kind| kind.as_bytes() != MEDIA_TYPE.as_bytes()) {
        return Err(format!("the answer is no {MEDIA_TYPE}, but {kind:?}").into());
    }
    let mut answer = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        if answer.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err("the answer is longer than a message of the DNS".into());
        }
        answer.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    DnsResponse::from_buffer(answer.to_vec()).map_err(|error| NetError::from(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_brackets_in_the_url_and_a_name_has_no_place_here() {
        let server = Literal::of("2001:db8::1", 443, "/dns-query").unwrap();
        assert_eq!(server.url.to_string(), "https://[2001:db8::1]:443/dns-query");
        assert_eq!(server.address, "[2001:db8::1]:443".parse().unwrap());
        for other in ["dns.example", "192.0.2.1", "[::1]", "::1%eth0", ""] {
            assert_eq!(Literal::of(other, 443, "/"), None, "{other}");
        }
    }
}

//! TLS 1.3 for the client: who the server is, is checked as other programs on this machine check it.
//!
//! Certificates are trusted by the file that `SSL_CERT_FILE` names, else by the one of the system, else by the list of Mozilla
//! that this program was built with.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_rustls::TlsConnector;
use libp2p::futures::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Endpoint;

/// Bytes of a file of certificates.
const BUNDLE_BYTES_MAX: u64 = 16 << 20;

/// Names the file of certificates that are trusted, in every program that uses one.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";

/// Where systems keep theirs.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom to trust, as this machine says.
pub(crate) fn roots_of_system() -> io::Result<RootCertStore> {
    if let Some(path) = std::env::var_os(BUNDLE_VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let roots = roots_of(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("{BUNDLE_VARIABLE}: {}: {error}", path.display()))
        })?;
        if roots.is_empty() {
            let words = format!("{BUNDLE_VARIABLE}: {} holds no certificate", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        return Ok(roots);
    }
    let of_system = SYSTEM_BUNDLES.iter().find_map(|path| roots_of(Path::new(path)).ok());
    Ok(of_system.filter(|roots| !roots.is_empty()).unwrap_or_else(|| {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        roots
    }))
}

/// The certificates of a PEM file that can be read.
fn roots_of(path: &Path) -> io::Result<RootCertStore> {
    let mut pem = Vec::new();
    File::open(path)?.take(BUNDLE_BYTES_MAX).read_to_end(&mut pem)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
    Ok(roots)
}

/// Puts TLS over a connection to this place.
pub(super) async fn wrap<S>(
    stream: S,
    to: &Endpoint,
    roots: RootCertStore,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Sync + Unpin + use<S>>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin,
{
    let name = match to {
        Endpoint::Ip(address) => ServerName::from(address.ip()),
        Endpoint::Name { host, .. } => ServerName::try_from(host.clone()).map_err(io::Error::other)?,
        Endpoint::Unix(_) => return Err(io::Error::other("there is no TLS on a Unix socket")),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    Ok(ForTokio(connector.connect(name, ForFutures(stream)).await?))
}

/// A stream of tokio for those who read streams of futures.
pub(super) struct ForFutures<S>(pub(super) S);

impl<S: AsyncRead + Unpin> FuturesRead for ForFutures<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<S: AsyncWrite + Unpin> FuturesWrite for ForFutures<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The other way round.
pub(super) struct ForTokio<S>(pub(super) S);

impl<S: FuturesRead + Unpin> AsyncRead for ForTokio<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = ready!(Pin::new(&mut self.0).poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: FuturesWrite + Unpin> AsyncWrite for ForTokio<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_rustls::TlsAcceptor;
    use http::Request;
    use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;

    use super::super::client::{ClientError, Connection};
    use super::super::{Body, Handler, Limits, Listener, Remote, ResponseBody, Server};
    use super::*;

    /// Somebody who vouches for servers.
    struct Authority {
        certificate: Certificate,
        key: KeyPair,
    }

    impl Authority {
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self { certificate: params.self_signed(&key).unwrap(), key }
        }

        fn roots(&self) -> RootCertStore {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.der().clone()).unwrap();
            roots
        }

        /// What a server of this name needs.
        fn server(&self, name: &str) -> ServerConfig {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
            ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certificate.der().clone()],
                    PrivateKeyDer::Pkcs8(key.serialize_der().into()),
                )
                .unwrap()
        }
    }

    struct Hello;

    impl Handler for Hello {
        fn handle(
            &self,
            request: Request<Body>,
        ) -> futures_util::future::BoxFuture<'static, http::Response<ResponseBody>> {
            Box::pin(async move {
                let host = request.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
                http::Response::new(format!("hello {}", host.unwrap_or_default()).into())
            })
        }
    }

    /// A proxy with TLS before a server, as one would put it before a daemon; its port.
    async fn proxy(config: ServerConfig) -> u16 {
        let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = behind.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            Server::new(Arc::new(Hello), Limits::default()).serve(Listener::Tcp(behind), stopped).await;
            drop(stop);
        });
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = front.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = front.accept().await {
                // A client that trusts nobody goes away.
                if let Ok(stream) = acceptor.accept(ForFutures(stream)).await {
                    let mut plain = tokio::net::TcpStream::connect(server).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut ForTokio(stream), &mut plain).await;
                }
            }
        });
        port
    }

    async fn ask(url: &str, roots: RootCertStore) -> Result<String, ClientError> {
        let remote = Remote::parse(url).unwrap();
        let connection = Connection::open_trusting(&remote, || Ok(roots)).await?;
        let mut answer = connection.post(Request::builder().uri("/").body(()).unwrap(), None).await?;
        let mut text = Vec::new();
        while let Some(piece) = answer.body_mut().next().await {
            text.extend_from_slice(&piece?);
        }
        Ok(String::from_utf8(text).unwrap())
    }

    #[tokio::test]
    async fn a_server_that_is_vouched_for_is_spoken_to_and_no_other() {
        let (authority, other) = (Authority::new(), Authority::new());
        let port = proxy(authority.server("localhost")).await;
        let url = format!("https://localhost:{port}");
        assert_eq!(ask(&url, authority.roots()).await.unwrap(), format!("hello localhost:{port}"));
        let multiaddr = format!("/dns4/localhost/tcp/{port}/https");
        assert_eq!(ask(&multiaddr, authority.roots()).await.unwrap(), format!("hello localhost:{port}"));
        let stranger = ask(&url, other.roots()).await.unwrap_err().to_string();
        assert!(stranger.contains("certificate"), "{stranger}");
        // Vouched for, under another name.
        let wrong =
            ask(&format!("https://127.0.0.1:{port}"), authority.roots()).await.unwrap_err().to_string();
        assert!(wrong.contains("certificate"), "{wrong}");
    }

    #[tokio::test]
    async fn who_is_trusted_is_read_from_a_file() {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.pem");
        std::fs::write(&path, authority.certificate.pem()).unwrap();
        let port = proxy(authority.server("localhost")).await;
        let roots = roots_of(&path).unwrap();
        assert!(ask(&format!("https://localhost:{port}"), roots).await.is_ok());
        std::fs::write(&path, "nothing").unwrap();
        assert!(roots_of(&path).unwrap().is_empty());
        assert!(roots_of(&folder.path().join("nowhere")).is_err());
    }
}

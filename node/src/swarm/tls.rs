//! TLS between peers, as libp2p defines it: TLS 1.3, one self-signed certificate at each end whose extension proves the peer's
//! key. Certificates are made, read and proven by `libp2p-tls`; its own upgrade always prefers ChaCha20, which is the slower
//! one where the processor does AES.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::futures::{AsyncRead, AsyncWrite};
use libp2p::tls::certificate::{self, P2pCertificate};
use libp2p_identity::Keypair;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, OtherError,
    ServerConfig, SignatureScheme, SupportedCipherSuite,
};

use super::security::SecurityError;

/// The protocol inside TLS.
const ALPN: &[u8] = b"libp2p";

/// Signatures that certificates may have: what `libp2p-tls` can check.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// Secures connections with TLS. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    client: TlsConnector,
    server: TlsAcceptor,
}

impl Tls {
    /// For the node with this key.
    pub(super) fn new(key: &Keypair) -> Result<Self, SecurityError> {
        let fail = |error: &dyn std::fmt::Display| SecurityError::Tls(error.to_string());
        let (certificate, secret) = certificate::generate(key).map_err(|error| fail(&error))?;
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = suites(has_aes()).to_vec();
        let (provider, verifier) = (Arc::new(provider), Arc::new(Verifier));
        let shown = Shown::new(vec![certificate], &secret).map_err(|error| fail(&error))?;
        let shown = Arc::new(shown);
        let versions = &[&rustls::version::TLS13];

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| fail(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_client_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesClientCert>);
        client.alpn_protocols = vec![ALPN.to_vec()];
        // Sessions are remembered by name, and peers have none.
        client.resumption = Resumption::disabled();

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| fail(&error))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(shown);
        server.alpn_protocols = vec![ALPN.to_vec()];
        // Whichever end does AES in software is the one to be spared.
        server.ignore_client_order = !has_aes();
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client).into(), server: Arc::new(server).into() })
    }

    /// Secures a connection that the peer opened; who it is.
    pub(super) async fn accept<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), SecurityError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let stream =
            self.server.accept(socket).await.map_err(|error| SecurityError::Tls(error.to_string()))?;
        Ok((peer_of(stream.get_ref().1)?, stream.into()))
    }

    /// Secures a connection that this node opened; who is at the other end.
    pub(super) async fn connect<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), SecurityError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // An address is never sent as a server's name, which libp2p forbids.
        let nameless = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        let stream = self
            .client
            .connect(nameless, socket)
            .await
            .map_err(|error| SecurityError::Tls(error.to_string()))?;
        Ok((peer_of(stream.get_ref().1)?, stream.into()))
    }
}

/// Cipher suites, best first.
fn suites(has_aes: bool) -> [SupportedCipherSuite; 3] {
    if has_aes {
        [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256]
    } else {
        [TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]
    }
}

/// Whether the processor does AES. Without that it is slower than ChaCha20, and takes a time that depends on its input.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// Whose certificate the other end has shown, and proven to own.
fn peer_of(state: &CommonState) -> Result<PeerId, SecurityError> {
    let Some([certificate]) = state.peer_certificates() else {
        return Err(SecurityError::Tls("the peer showed no certificate".to_owned()));
    };
    let certificate =
        certificate::parse(certificate).map_err(|error| SecurityError::Tls(error.to_string()))?;
    Ok(certificate.peer_id())
}

/// What this end shows, to everybody the same. The usual resolvers refuse certificates with extensions that they do not know.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl Shown {
    fn new(
        chain: Vec<CertificateDer<'static>>,
        secret: &PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self(Arc::new(CertifiedKey::new(chain, aws_lc_rs::sign::any_supported_type(secret)?))))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Accepts exactly one certificate that signs itself and proves a peer's key. Whose it is, the swarm compares with whom it meant
/// to dial.
#[derive(Debug)]
struct Verifier;

fn verify_certificate(
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> Result<(), rustls::Error> {
    if !others.is_empty() {
        return Err(rustls::Error::General("the peer showed more than one certificate".to_owned()));
    }
    parse(certificate)?;
    Ok(())
}

/// Reads a certificate and checks that it signs itself, is valid now, and proves a peer's key. The error says which of these fails.
fn parse<'a>(certificate: &'a CertificateDer<'a>) -> Result<P2pCertificate<'a>, rustls::Error> {
    let refuse = |error: certificate::ParseError| CertificateError::Other(OtherError(Arc::new(error)));
    Ok(certificate::parse(certificate).map_err(refuse)?)
}

fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    parse(certificate)?
        .verify_signature(signed.scheme, message, signed.signature())
        .map_err(|_| CertificateError::BadSignature)?;
    Ok(HandshakeSignatureValid::assertion())
}

/// TLS 1.2 is not offered, so that nothing of it is ever right.
fn no_tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_certificate(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        verify_certificate(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _};
    use libp2p::futures::future::join;
    use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use libp2p::tcp::tokio::TcpStream;
    use tokio::net;

    use super::*;

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (TcpStream(near), TcpStream(listener.accept().await.unwrap().0))
    }

    fn key() -> (Keypair, PeerId) {
        let key = Keypair::generate_ed25519();
        let peer = key.public().to_peer_id();
        (key, peer)
    }

    #[tokio::test]
    async fn each_end_learns_who_the_other_is_and_bytes_pass() {
        let ((key_a, a), (key_b, b)) = (key(), key());
        let (one, other) = sockets().await;
        let (near, far) =
            join(Tls::new(&key_a).unwrap().connect(one), Tls::new(&key_b).unwrap().accept(other)).await;
        let ((seen_b, mut near), (seen_a, mut far)) = (near.unwrap(), far.unwrap());
        assert_eq!((seen_a, seen_b), (a, b));
        near.write_all(b"over here").await.unwrap();
        near.flush().await.unwrap();
        let mut read = [0; 9];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"over here");
        let suite = near.get_ref().1.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(suite, suites(has_aes()).first().map(SupportedCipherSuite::suite));
    }

    #[tokio::test]
    async fn both_ways_with_the_upgrade_of_libp2p() {
        let ((key_a, a), (key_b, b)) = (key(), key());
        let theirs = libp2p::tls::Config::new(&key_b).unwrap();
        let (one, other) = sockets().await;
        let (ours, upgraded) =
            join(Tls::new(&key_a).unwrap().connect(one), theirs.clone().upgrade_inbound(other, "/tls/1.0.0"))
                .await;
        assert_eq!((ours.unwrap().0, upgraded.unwrap().0), (b, a));
        let (one, other) = sockets().await;
        let (ours, upgraded) =
            join(Tls::new(&key_a).unwrap().accept(one), theirs.upgrade_outbound(other, "/tls/1.0.0")).await;
        assert_eq!((ours.unwrap().0, upgraded.unwrap().0), (b, a));
    }

    /// Both ends of libp2p's TLS refuse whoever shows `chain` and signs with `secret`: who opens a connection, and who answers.
    async fn refused(chain: Vec<CertificateDer<'static>>, secret: &PrivateKeyDer<'static>) {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = suites(true).to_vec();
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_client_cert_resolver(Arc::new(Shown::new(chain.clone(), secret).unwrap()));
        client.alpn_protocols = vec![ALPN.to_vec()];
        let mut server = ServerConfig::builder_with_provider(Arc::clone(client.crypto_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(Arc::new(Shown::new(chain.clone(), secret).unwrap()));
        server.alpn_protocols = vec![ALPN.to_vec()];
        let forger = Tls { client: Arc::new(client).into(), server: Arc::new(server).into() };
        let (one, other) = sockets().await;
        let (connected, _) =
            join(Tls::new(&key().0).unwrap().connect(one), forger.clone().accept(other)).await;
        assert!(connected.is_err(), "connected to {:?}", connected.map(|(peer, _)| peer));
        let (one, other) = sockets().await;
        let (_, accepted) = join(forger.connect(one), Tls::new(&key().0).unwrap().accept(other)).await;
        assert!(accepted.is_err(), "accepted as {:?}", accepted.map(|(peer, _)| peer));
    }

    #[tokio::test]
    async fn whoever_shows_a_certificate_that_is_not_theirs_is_refused() {
        let (certificate, _) = certificate::generate(&key().0).unwrap();
        let (_, other_secret) = certificate::generate(&key().0).unwrap();
        refused(vec![certificate], &other_secret).await;
    }

    #[tokio::test]
    async fn no_certificate_and_two_of_them_are_refused() {
        let (certificate, secret) = certificate::generate(&key().0).unwrap();
        refused(vec![certificate.clone(), certificate], &secret).await;
        refused(Vec::new(), &secret).await;
    }

    #[tokio::test]
    async fn a_certificate_with_a_bit_flipped_is_refused() {
        let (certificate, secret) = certificate::generate(&key().0).unwrap();
        for at in (0..certificate.len()).step_by(7) {
            let mut bytes = certificate.to_vec();
            bytes[at] ^= 1;
            refused(vec![bytes.into()], &secret).await;
        }
    }
}

//! A name server over HTTPS on loopback, with a certificate that an authority of its own vouches for.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::dns::{Answers, NameServer};

/// Where questions are taken; elsewhere there is nothing.
const PATH: &str = "/own/dns-query";
/// How it is called in requests.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
/// How long it waits for a connection before it looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(200);

/// It answers as the name server that it was started for, as long as that runs.
#[derive(Debug)]
pub struct HttpsFront {
    address: SocketAddr,
    authority: PathBuf,
}

impl HttpsFront {
    /// One for `localhost` and 127.0.0.1. The certificate of who vouches for it is laid into `folder`, as `name.pem`.
    ///
    /// # Panics
    /// When there is no socket to be had, or no file.
    pub fn start(server: &NameServer, folder: &Path, name: &str) -> Self {
        Self::start_at(server, folder, name, IpAddr::from(Ipv4Addr::LOCALHOST))
    }

    /// The same at another address of the loopback device.
    ///
    /// # Panics
    /// When there is no socket to be had, or no file.
    pub fn start_at(server: &NameServer, folder: &Path, name: &str, at: IpAddr) -> Self {
        let (config, pem) = identity();
        let authority = folder.join(format!("{name}.pem"));
        std::fs::write(&authority, pem).unwrap();
        let listener = std::net::TcpListener::bind((at, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let answers = server.answers();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime
                .block_on(async { serve(TcpListener::from_std(listener).unwrap(), config, answers).await });
        });
        Self { address, authority }
    }

    /// As the value of `DNS.Resolvers`, by this name of its host.
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}{PATH}", self.address.port())
    }

    /// The file that says whom to trust to trust it: for `SSL_CERT_FILE`.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

/// What a server needs to be trusted, and the certificate of who vouches for it.
fn identity() -> (ServerConfig, String) {
    let (vouching, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&vouching).unwrap();
    let params = CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).unwrap();
    let certificate = params.signed_by(&key, &authority, &vouching).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (config, authority.pem())
}

async fn serve(listener: TcpListener, config: ServerConfig, answers: Answers) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while !answers.ended() {
        if let Ok(Ok((stream, _))) = timeout(TURN, listener.accept()).await {
            let (acceptor, answers) = (acceptor.clone(), answers.clone());
            tokio::spawn(async move {
                // A client that does not trust it goes away.
                drop(connection(acceptor, stream, answers).await);
            });
        }
    }
}

async fn connection(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    answers: Answers,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut connection = h2::server::handshake(acceptor.accept(stream).await?).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let answers = answers.clone();
        tokio::spawn(async move { drop(answer(request, respond, answers).await) });
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    answers: Answers,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let is_question = request.uri().path() == PATH
        && request.uri().host().is_some_and(|host| HOSTS.contains(&host))
        && request.headers().get("content-type").is_some_and(|kind| kind == "application/dns-message");
    let (mut body, mut query) = (request.into_body(), Vec::new());
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        query.extend(piece);
    }
    let answer = answers.answer(&query).filter(|_| is_question);
    let status = if answer.is_some() { 200 } else { 404 };
    let head =
        Response::builder().status(status).header("content-type", "application/dns-message").body(())?;
    let mut sending = respond.send_response(head, false)?;
    sending.send_data(Bytes::from(answer.unwrap_or_default()), true)?;
    Ok(())
}

//! Who is at the other end: TLS and noise, in the order that the config gives them.

use std::fmt;
use std::pin::Pin;

use futures_util::future::BoxFuture;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::futures::{AsyncRead, AsyncWrite};
use libp2p::{PeerId, noise};
use libp2p_identity::Keypair;

use super::tls::Tls;

const TLS: &str = "/tls/1.0.0";
const NOISE: &str = "/noise";

/// A secured byte stream.
pub(super) type Secured = Pin<Box<dyn Bytes>>;

/// What all secured streams have in common.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Bytes for T {}

/// Why a connection could not be secured, or keys not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// TLS.
    #[error("TLS: {0}")]
    Tls(String),
    /// Noise.
    #[error("noise: {0}")]
    Noise(#[from] noise::Error),
    /// The peer chose something that was not offered.
    #[error("the peer chose {0}, which was not offered")]
    NotOffered(String),
}

/// Which of them may be used; a lower number is offered first (`Swarm.Transports.Security`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecurityOrder {
    /// TLS. Default 100.
    pub tls: Option<i64>,
    /// Noise. Default 200.
    pub noise: Option<i64>,
}

impl Default for SecurityOrder {
    fn default() -> Self {
        Self { tls: Some(100), noise: Some(200) }
    }
}

/// Secures connections.
#[derive(Clone)]
pub(super) struct Security {
    offered: Vec<&'static str>,
    tls: Tls,
    noise: noise::Config,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("offered", &self.offered).finish_non_exhaustive()
    }
}

impl Security {
    pub(super) fn new(key: &Keypair, order: SecurityOrder) -> Result<Self, SecurityError> {
        let mut offered: Vec<(i64, &'static str)> = Vec::new();
        offered.extend(order.tls.map(|place| (place, TLS)));
        offered.extend(order.noise.map(|place| (place, NOISE)));
        offered.sort_by_key(|(place, _)| *place);
        Ok(Self {
            offered: offered.into_iter().map(|(_, name)| name).collect(),
            tls: Tls::new(key)?,
            noise: noise::Config::new(key)?,
        })
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = Vec<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.offered.clone()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured);
    type Error = SecurityError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, info: Self::Info) -> Self::Future {
        Box::pin(async move {
            match info {
                TLS => {
                    let (peer, stream) = self.tls.accept(socket).await?;
                    Ok((peer, Box::pin(stream) as Secured))
                }
                NOISE => {
                    let (peer, stream) = self.noise.upgrade_inbound(socket, info).await?;
                    Ok((peer, Box::pin(stream) as Secured))
                }
                other => Err(SecurityError::NotOffered(other.to_owned())),
            }
        })
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured);
    type Error = SecurityError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, info: Self::Info) -> Self::Future {
        Box::pin(async move {
            match info {
                TLS => {
                    let (peer, stream) = self.tls.connect(socket).await?;
                    Ok((peer, Box::pin(stream) as Secured))
                }
                NOISE => {
                    let (peer, stream) = self.noise.upgrade_outbound(socket, info).await?;
                    Ok((peer, Box::pin(stream) as Secured))
                }
                other => Err(SecurityError::NotOffered(other.to_owned())),
            }
        })
    }
}

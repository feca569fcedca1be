//! Which protocols are offered, and which one was agreed on.

use std::convert::Infallible;
use std::future::{Ready, ready};

use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::{Stream, StreamProtocol};

use crate::message::Version;

/// All versions, newest first; or nothing, on connections that Bitswap does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// All versions.
    All,
    /// Nothing.
    Nothing,
}

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Map<std::slice::Iter<'static, Version>, fn(&Version) -> StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        const ALL: &[Version] = &Version::ALL;
        let offered: &'static [Version] = match self {
            Self::All => ALL,
            Self::Nothing => &[],
        };
        offered.iter().map(|version| version.protocol())
    }
}

/// A stream and what is spoken on it.
type Agreed = (Stream, Version);

fn agreed(stream: Stream, protocol: &StreamProtocol) -> Ready<Result<Agreed, Infallible>> {
    let version = Version::from_name(protocol.as_ref()).expect("invariant: only our own names are offered");
    ready(Ok((stream, version)))
}

impl InboundUpgrade<Stream> for Offer {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        agreed(stream, &protocol)
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = Agreed;
    type Error = Infallible;
    type Future = Ready<Result<Agreed, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        agreed(stream, &protocol)
    }
}

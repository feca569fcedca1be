//! Following names to what they point at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_blockstore::Store;
use holdfast_dag::cid::{Cid, Version, parse_cid};
use holdfast_dag::path::{ContentPath, PathError};
use holdfast_dht::ipns::{
    self, HOPS_MAX, Hop, Name, Record, RecordError, Resolution, StoredError, Timestamp,
};

use super::dnslink::{self, DnsLinkError, is_domain};
use super::keep::{KeepError, Kept};
use super::network::{Asked, NameNetworkError, Wanted};
use super::{Names, State, now};
use crate::config::{GoDuration, ValueError};
use crate::pool::PoolError;

/// What domain names link to, looked up while one path is followed: at most as many as are followed.
type Links = HashMap<String, Hop>;

/// Which records are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Records {
    /// Those that are kept, as long as they may be.
    Kept,
    /// Those that are not our own are asked for first.
    AskedForAgain,
}

impl Records {
    /// What others are asked for.
    fn wanted(self) -> Wanted {
        match self {
            Self::Kept => Wanted::Fresh,
            Self::AskedForAgain => Wanted::Newest,
        }
    }
}

/// How far names are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResolveDepth {
    /// Until a path begins with a CID, over at most 32 names.
    #[default]
    ToTheEnd,
    /// To what the first name points at, which may begin with another name.
    OneHop,
}

/// Why a name leads nowhere. The words are Kubo's where Kubo has words.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NameResolveError {
    /// No record is kept, and nobody can be asked.
    #[error("could not resolve name: there is no record of {0} here, and this node is not online")]
    Missing(Name),
    /// No record is kept, and none was found.
    #[error("could not resolve name: {reason}")]
    NotFound {
        /// The name.
        name: Name,
        /// What came of the search.
        reason: Box<NameNetworkError>,
    },
    /// The record that is kept is to be asked for again. It is not told to anybody else.
    #[error("could not resolve name: the record of {0} is being asked for again")]
    Stale(Name),
    /// The record that is kept cannot be relied on, and nobody can be asked for another.
    #[error("could not resolve name: {0}")]
    Stored(Box<StoredError<KeepError>>),
    /// The record says something that is no path.
    #[error("could not resolve name: the record of {name} cannot be followed: {reason}")]
    RecordValue {
        /// The name.
        name: String,
        /// What is wrong with its value.
        reason: RecordError,
    },
    /// A domain name: what it points at stands in the DNS.
    #[error("could not resolve name: {0:?} is looked up in the DNS (DNSLink), and this node is not online")]
    Domain(String),
    /// A domain name that links to nothing.
    #[error("DNSLink lookup for \"{}.\" failed: {reason}", .domain.trim_end_matches('.'))]
    DnsLink {
        /// The name.
        domain: String,
        /// Why not.
        reason: DnsLinkError,
    },
    /// Neither a key nor a domain name.
    #[error("cannot resolve: \"/ipns/{0}\"")]
    NoName(String),
    /// A CID of something else than a key.
    #[error("peer ID represented as CIDv1 require libp2p-key multicodec: retry with /ipns/{0}")]
    Codec(Name),
    /// Too many names lead to one another.
    #[error("could not resolve name (recursion limit exceeded)")]
    Recursion,
    /// What a name points at and what followed the name make no path together.
    #[error(transparent)]
    Path(#[from] PathError),
    /// `Ipns.MaxCacheTTL` cannot be used.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The work was not done.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl Names {
    /// Where a path leads whose root may be a name; a path without one is its own answer.
    pub async fn resolve(
        &self,
        path: &ContentPath,
        depth: ResolveDepth,
    ) -> Result<Resolution, NameResolveError> {
        self.resolve_with(path, depth, Records::Kept).await
    }

    /// The same, by records that are asked for now, where somebody can be asked: those that are kept count only where
    /// this node published them, or nobody has another.
    pub async fn resolve_anew(
        &self,
        path: &ContentPath,
        depth: ResolveDepth,
    ) -> Result<Resolution, NameResolveError> {
        self.resolve_with(path, depth, Records::AskedForAgain).await
    }

    async fn resolve_with(
        &self,
        path: &ContentPath,
        depth: ResolveDepth,
        records: Records,
    ) -> Result<Resolution, NameResolveError> {
        if path.immutable().is_some() {
            return Ok(Resolution { path: path.clone(), ttl: None });
        }
        // Each name is asked for once, so that this ends; one that is fixed or fresh is not asked for at all.
        let (mut asked, mut links) = (Asked::new(), Links::new());
        loop {
            match self.follow(path, depth, records, asked.clone(), links.clone()).await {
                Err(NameResolveError::Missing(name)) if self.can_ask() && asked.insert(name) => {
                    let found = self.ask(name, records.wanted()).await;
                    found.map_err(|reason| NameResolveError::NotFound { name, reason: Box::new(reason) })?;
                }
                Err(NameResolveError::Stale(name)) => {
                    asked.insert(name);
                    if let Err(error) = self.ask(name, records.wanted()).await {
                        tracing::debug!("the record of {name} that is kept is used: {error}");
                    }
                }
                Err(NameResolveError::Domain(domain)) => {
                    let hop = self.look_up_link(&domain).await?;
                    links.insert(domain, hop);
                }
                other => return self.cap(other?),
            }
        }
    }

    /// Lets nobody rely on it for longer than `Ipns.MaxCacheTTL` says, if that says something.
    fn cap(&self, mut resolution: Resolution) -> Result<Resolution, NameResolveError> {
        if let Some(most) = self.cache_time_max()? {
            resolution.ttl = resolution.ttl.map(|ttl| ttl.min(most));
        }
        Ok(resolution)
    }

    /// `Ipns.MaxCacheTTL`: for how long a record of others is relied on at most, if the config says something.
    pub(super) fn cache_time_max(&self) -> Result<Option<Duration>, ValueError> {
        let most = self.node.config().duration("Ipns.MaxCacheTTL")?.and_then(GoDuration::to_std);
        Ok(most.filter(|most| !most.is_zero()))
    }

    /// What a domain name links to. Nobody is asked where the node is not online, or the request is to stay offline.
    async fn look_up_link(&self, domain: &str) -> Result<Hop, NameResolveError> {
        let swarm = self.node.swarm().filter(|_| !self.node.fetch().is_kept_offline());
        let Some(swarm) = swarm else { return Err(NameResolveError::Domain(domain.to_owned())) };
        let found = dnslink::look_up(swarm.resolver().dns(), domain).await;
        found.map_err(|reason| NameResolveError::DnsLink { domain: domain.to_owned(), reason })
    }

    /// Follows a path by the records that are kept here, and by links that were looked up.
    async fn follow(
        &self,
        path: &ContentPath,
        depth: ResolveDepth,
        records: Records,
        asked: Asked,
        links: Links,
    ) -> Result<Resolution, NameResolveError> {
        let (state, store) = (Arc::clone(self.node.names_state()), self.node.store().clone());
        let (path, can_ask, most) = (path.clone(), self.can_ask(), self.cache_time_max()?);
        let follow = move || {
            let (now, one_hop) = (now(), depth == ResolveDepth::OneHop);
            let may_be_used = |name: &Name| match records {
                Records::Kept => !Names::is_stale(&store, name, now, most),
                Records::AskedForAgain => !Names::is_of_others(&store, name),
            };
            let is_fresh = |name: &Name| !can_ask || asked.contains(name) || may_be_used(name);
            ipns::resolve(&path, HOPS_MAX, one_hop, |name| match links.get(name) {
                Some(hop) => Ok(hop.clone()),
                None => look_up(&state, &store, name, now, &is_fresh),
            })
        };
        self.node.pool().run(follow).await?.map_err(|error| match error {
            ipns::ResolveError::Lookup(error) => error,
            ipns::ResolveError::Path(error) => error.into(),
            // The only other one.
            _ => NameResolveError::Recursion,
        })
    }
}

/// What one name points at: by the operator's word, or by its record.
fn look_up(
    state: &State,
    store: &Store,
    text: &str,
    now: Timestamp,
    is_fresh: &dyn Fn(&Name) -> bool,
) -> Result<Hop, NameResolveError> {
    if let Some(path) = state.fixed.get(text) {
        return Ok(Hop { path: path.clone(), ttl: None });
    }
    let Ok(name) = text.parse::<Name>() else { return Err(not_a_name(text)) };
    if !is_fresh(&name) {
        return Err(NameResolveError::Stale(name));
    }
    let record = ipns::stored(&Kept::to_read(store), &name, now).map_err(|error| match error {
        StoredError::Missing(name) => NameResolveError::Missing(name),
        error => NameResolveError::Stored(Box::new(error)),
    })?;
    let path =
        record.value().map_err(|reason| NameResolveError::RecordValue { name: name.to_string(), reason })?;
    Ok(Hop { path, ttl: Some(ttl_of(&record, now)) })
}

/// How long a record may be relied on: as long as it says, and never longer than it is valid.
fn ttl_of(record: &Record, now: Timestamp) -> Duration {
    let ttl = record.ttl_nanos().ok().flatten().map_or(ipns::TTL_DEFAULT, Duration::from_nanos);
    record.end_of_life().map_or(Duration::ZERO, |end| ttl.min(end.since(now)))
}

/// Why a text that is no name cannot be followed.
fn not_a_name(text: &str) -> NameResolveError {
    let cid: Option<Cid> = parse_cid(text).ok().filter(|cid: &Cid| cid.version() == Version::V1);
    let key = cid.and_then(|cid| libp2p_identity::PeerId::from_bytes(&cid.hash().to_bytes()).ok());
    match key {
        Some(key) => NameResolveError::Codec(Name::from(key)),
        None if is_domain(text) => NameResolveError::Domain(text.to_owned()),
        None => NameResolveError::NoName(text.to_owned()),
    }
}

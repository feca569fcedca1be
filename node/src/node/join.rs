//! How a node joins the network: the swarm with all its protocols, and what runs beside it.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Network, Node, NodeError};
use crate::exchange::{self, Bitswap, StoreHost};
use crate::identify;
use crate::p2p::Mounts;
use crate::provide::{ProvideSettings, Provider};
use crate::pubsub::{self, PubsubFlags, PubsubSettings};
use crate::routing::{Routing, RoutingMode, Upkeep, answer_searches, find_peered};
use crate::services::names::{self, NameGossip};
use crate::swarm::{self, Protocols, SwarmParams, SwarmSettings};

impl Node {
    /// Starts the swarm.
    pub(super) async fn join(
        &self,
        agent_suffix: &str,
        routing: &str,
        flags: PubsubFlags,
    ) -> Result<(), NodeError> {
        let node = self.clone();
        let read = move || {
            let key = node.config().private_key()?.keypair().clone();
            Ok::<_, NodeError>((key, SwarmSettings::load(node.config(), node.repo_path())?))
        };
        let (key, settings) = self.pool().operation(read).await??;
        let agent = match agent_suffix {
            "" => identify::AGENT_VERSION.to_owned(),
            suffix => format!("{}/{suffix}", identify::AGENT_VERSION),
        };
        let us = key.public().to_peer_id();
        let provide = ProvideSettings::of_config(self.config())?;
        let republish = names::RepublishSettings::of_config(self.config())?;
        let routing = RoutingMode::of_config(self.config(), routing)?;
        let routing =
            Routing::new(us, routing, self.config(), self.store(), self.pool(), provide.is_enabled)?;
        let (routing, mut protocols) = match routing {
            Some((routing, made)) => {
                let wan_serves_when_reachable = made.wan_serves_when_reachable;
                let (wan, lan) = (Some(made.wan), Some(made.lan));
                (Some(routing), Protocols { wan, lan, wan_serves_when_reachable, ..Protocols::default() })
            }
            None => (None, Protocols::default()),
        };
        let exchange = self.bitswap(us)?;
        let exchange = exchange.map(|(behaviour, handle)| {
            protocols.bitswap = Some(behaviour);
            handle
        });
        let mut examined = None;
        let mut pubsub = None;
        if flags.has_pubsub(self.config())? {
            let settings = PubsubSettings::of_config(self.config())?;
            let (behaviour, handle, messages) = pubsub::Behaviour::new(&key, settings)?;
            (protocols.pubsub, pubsub, examined) = (Some(behaviour), Some(handle), Some(messages));
        }
        let params = SwarmParams { key, agent, settings, protocols, exchange: exchange.clone() };
        // It is large before it runs.
        let swarm = Box::pin(swarm::start(params)).await?;
        if let Some(handle) = &exchange {
            self.fetch.set_exchange(Some(Arc::new(Bitswap::new(handle.clone()))));
            if let (Some(routing), Some(searches)) = (&routing, handle.events()) {
                let providers_max = exchange::search_results_max(self.config())?;
                let (routing, book) = (routing.clone(), swarm.book().clone());
                tokio::spawn(answer_searches(routing, book, searches, handle.clone(), providers_max));
            }
        }
        let gossip = match (pubsub.clone(), examined) {
            (Some(pubsub), Some(examined)) if flags.has_names(self.config())? => {
                let keeper = self.names().keeper();
                Some(NameGossip::start(pubsub, swarm.streams(), keeper, examined)?)
            }
            _ => None,
        };
        let mounts = Mounts::new(swarm.clone(), routing.clone());
        let provider = match &routing {
            Some(routing) if provide.is_enabled => {
                let starting = Provider::start(provide, routing, self.store(), self.pool(), self.repo_path());
                Some(Box::pin(starting).await?)
            }
            _ => None,
        };
        let republisher = self.republisher(republish, routing.clone(), gossip.clone());
        let republishing = Upkeep::of(tokio::spawn(republisher.run()));
        let finding_peered = routing.as_ref().map(|routing| find_peered(swarm.clone(), routing.clone()));
        let finding_peered = finding_peered.map(|running| Upkeep::of(tokio::spawn(running)));
        // It is set here alone, once in the life of a node.
        let _ = self.inner.network.set(Network {
            swarm,
            routing,
            exchange,
            pubsub,
            gossip,
            mounts,
            provider,
            _republishing: republishing,
            _finding_peered: finding_peered,
        });
        Ok(())
    }

    /// What keeps the node's own names alive.
    fn republisher(
        &self,
        settings: names::RepublishSettings,
        routing: Option<Routing>,
        gossip: Option<NameGossip>,
    ) -> names::Republisher {
        names::Republisher {
            settings,
            store: self.store().clone(),
            pool: self.pool().clone(),
            config: self.config().clone(),
            repo: self.repo_path().to_owned(),
            state: Arc::clone(self.names_state()),
            routing,
            gossip,
        }
    }

    /// Bitswap as the config wants it; none where it is switched off.
    fn bitswap(
        &self,
        us: PeerId,
    ) -> Result<Option<(holdfast_bitswap::Behaviour, holdfast_bitswap::Handle)>, NodeError> {
        let Some(config) = exchange::settings(self.config(), us)? else { return Ok(None) };
        let host = StoreHost::new(self.store().clone(), self.pool().clone());
        Ok(Some(holdfast_bitswap::Behaviour::new(config, Arc::new(host))))
    }
}

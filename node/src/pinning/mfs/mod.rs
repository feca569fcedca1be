//! Keeping the root of the mutable file system pinned at services: `Pinning.RemoteServices.<name>.Policies.MFS`.
//!
//! The config is read anew at each look, as services come and go while a daemon runs. A pin is followed until the service has
//! it all or gave up, and the log tells of both.

mod state;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use holdfast_dag::cid::Cid;
use http::StatusCode;

use super::{Client, Filter, NewPin, PinState, PinningError, RemotePin, list, origins};
use crate::config::{Config, GoDuration, MfsPolicy, REPIN_INTERVAL_MIN};
use crate::node::Node;
use state::{State, Step};

/// How often config and root are looked at (Kubo).
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Sets that time, and with it the least time between two pins, for tests (Kubo).
const LOOK_VARIABLE: &str = "MFS_PIN_POLL_INTERVAL";
/// Services that are asked at a time.
const ASKED_MAX: usize = 8;

/// What keeps the files root pinned.
#[derive(Debug)]
pub(crate) struct MfsKeeper {
    node: Node,
    config: PathBuf,
    look_every: Duration,
    interval_min: Duration,
}

impl MfsKeeper {
    /// For a node, by the policies in this file.
    pub(crate) fn new(node: Node, config: PathBuf) -> Self {
        let told = std::env::var(LOOK_VARIABLE).ok();
        let told =
            told.and_then(|text| GoDuration::parse(&text).ok()?.to_std()).filter(|time| !time.is_zero());
        let look_every = told.unwrap_or(LOOK_EVERY);
        let interval_min = told.map_or(REPIN_INTERVAL_MIN, |told| told.min(REPIN_INTERVAL_MIN));
        Self { node, config, look_every, interval_min }
    }

    /// Does it, until it is dropped.
    pub(crate) async fn run(self) {
        let mut states = HashMap::new();
        loop {
            tokio::time::sleep(self.look_every).await;
            self.look(&mut states).await;
        }
    }

    async fn look(&self, states: &mut HashMap<String, State>) {
        let path = self.config.clone();
        let policies = match tokio::task::spawn_blocking(move || Config::load(&path)).await {
            Ok(Ok(config)) => config.mfs_policies(),
            Ok(Err(error)) => return tracing::error!("the files root is not pinned at services: {error}"),
            // The process is being torn down.
            Err(_) => return,
        };
        states.retain(|name, _| policies.iter().any(|(known, _)| known == name));
        if policies.is_empty() {
            return;
        }
        let root = match self.node.files().recorded().await.map(|roots| roots.current) {
            Ok(Some(root)) => root,
            // Nobody has used it yet.
            Ok(None) => return,
            Err(error) => return tracing::error!("the files root is not pinned at services: {error}"),
        };
        let services = policies.into_iter().filter_map(|(name, policy)| match policy {
            Ok(policy) => {
                let state = states.remove(&name).unwrap_or_default();
                Some(async move {
                    let state = self.serve(&name, &policy, root, state).await;
                    (name, state)
                })
            }
            Err(error) => {
                tracing::error!("the files root is not pinned at {name:?}: {error}");
                None
            }
        });
        // One that does not answer holds up the others for a time that is bounded.
        let done: Vec<(String, State)> = stream::iter(services).buffer_unordered(ASKED_MAX).collect().await;
        states.extend(done);
    }

    /// Does what is to be done for one service.
    async fn serve(&self, name: &str, policy: &MfsPolicy, root: Cid, mut state: State) -> State {
        match state.step(policy, &root, Instant::now(), self.interval_min) {
            Step::Wait => {}
            Step::Pin => match self.pin(policy, root).await {
                Ok(pin) => {
                    tracing::info!("{name:?} was asked to pin the files root {root}: {}", pin.state.word());
                    if pin.state == PinState::Failed {
                        tracing::error!("{name:?} failed to pin the files root {root}");
                    }
                    state.taken(&pin, Instant::now());
                }
                Err(error) => {
                    let wait = self.interval_min.as_secs_f64();
                    tracing::error!(
                        "the files root {root} is not pinned at {name:?}: {error}; it is tried again in {wait} s"
                    );
                    state.failed(Instant::now());
                }
            },
            Step::Look(request) => {
                let looked = match Client::new(&policy.access) {
                    Ok(client) => client.status(&request).await,
                    Err(error) => Err(error),
                };
                match looked {
                    Ok(pin) if state.looked(&pin) => match pin.state {
                        PinState::Failed => tracing::error!("{name:?} failed to pin the files root {root}"),
                        now => tracing::info!("the files root {root} is {} at {name:?}", now.word()),
                    },
                    Ok(_) => {}
                    Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
                        tracing::error!("{name:?} no longer knows the pin of the files root {root}");
                        state.lost();
                    }
                    Err(error) => {
                        tracing::warn!(
                            "{name:?} does not say how far it is with the files root {root}: {error}"
                        );
                    }
                }
            }
        }
        state
    }

    /// Sees to a pin of this root at a service: the one that is there, or a new one in the place of that of another root.
    async fn pin(&self, policy: &MfsPolicy, root: Cid) -> Result<RemotePin, PinningError> {
        let client = Client::new(&policy.access)?;
        let name = match policy.pin_name.as_str() {
            "" => self.default_name(),
            name => name.to_owned(),
        };
        let filter = Filter { name: Some(name.clone()), states: PinState::ALL.to_vec(), ..Filter::default() };
        let mut there = list(client.clone(), filter);
        let mut old = None;
        while let Some(pin) = there.try_next().await? {
            // Not every service filters by name; what has another is not ours to replace.
            if pin.name != name {
                continue;
            }
            if pin.cid == root && pin.state != PinState::Failed {
                return Ok(pin);
            }
            old.get_or_insert(pin.request);
        }
        let origins = self.node.swarm().map(origins).unwrap_or_default();
        let new = NewPin { cid: root, name, origins };
        let Some(old) = old else { return client.add(&new).await };
        let pin = match client.replace(&old, &new).await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return client.add(&new).await,
            replaced => replaced?,
        };
        if pin.cid == root {
            return Ok(pin);
        }
        // It changed the name alone, as one service is known to: the new pin comes first, so that nothing is lost between.
        let added = client.add(&new).await?;
        if pin.request != added.request {
            client.remove(&pin.request).await?;
        }
        Ok(added)
    }

    /// Kubo's name for the pin of a node's files.
    fn default_name(&self) -> String {
        let identity = self.node.config().identity();
        format!("policy/{}/mfs", identity.map(|identity| identity.peer_id).unwrap_or_default())
    }
}

//! For whom blocks are fetched: everybody, or one request.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_dag::cid::Cid;

use super::waits::Waits;
use super::{Exchange, Session};

/// There from the first want on.
type FirstSession = Mutex<Option<Arc<dyn Session>>>;

/// What the clones of a [`super::Fetch`] share that belong to one request.
#[derive(Clone, Default)]
pub(super) struct Scope {
    offline: bool,
    /// The session of a request, from its first want on.
    session: Option<Arc<FirstSession>>,
    pub(super) waits: Arc<Waits>,
}

impl Scope {
    pub(super) fn of_request(offline: bool) -> Self {
        Self { offline, session: Some(Arc::default()), waits: Arc::default() }
    }

    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    pub(super) fn shares_a_session(&self) -> bool {
        self.session.is_some()
    }

    /// The session of the request, or a new one.
    pub(super) fn session(&self, exchange: &dyn Exchange, root: &Cid) -> Arc<dyn Session> {
        let Some(shared) = &self.session else { return exchange.session(root) };
        let mut session = shared.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(session.get_or_insert_with(|| exchange.session(root)))
    }
}

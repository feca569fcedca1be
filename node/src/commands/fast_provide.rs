//! `--fast-provide-root|dag|wait` of the commands that add or pin something.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream, Stream};
use holdfast_dag::cid::Cid;
use serde_json::Value;

use super::registry::{Call, CommandError, Opt};
use crate::node::Node;
use crate::provide::{Content, FastProvide, Provider};

/// The options.
pub(super) fn options() -> Vec<Opt> {
    vec![
        Opt::bool(
            "fast-provide-root",
            "Announce the root at once, beside the regular queue. Default: Import.FastProvideRoot, else true.",
        ),
        Opt::bool(
            "fast-provide-dag",
            "Walk the DAG and announce what Provide.Strategy chooses of it at once. Default: Import.FastProvideDAG.",
        ),
        Opt::bool(
            "fast-provide-wait",
            "Wait until the announcement of the root is done. Default: Import.FastProvideWait.",
        ),
    ]
}

/// What is to be announced when a command has done its work.
pub(super) struct Fast {
    /// None where nothing is announced at all.
    provider: Option<Provider>,
    how: FastProvide,
    content: Content,
}

impl Fast {
    /// What options and config say.
    pub(super) fn of_call(node: &Node, call: &Call, content: Content) -> Result<Self, CommandError> {
        let import = node.config().import().map_err(CommandError::from_error)?;
        let flag = |name: &str, configured: Option<bool>, default| {
            call.bool_opt(name).or(configured).unwrap_or(default)
        };
        let how = FastProvide {
            root: flag("fast-provide-root", import.fast_provide_root, true),
            dag: flag("fast-provide-dag", import.fast_provide_dag, false),
            wait: flag("fast-provide-wait", import.fast_provide_wait, false),
        };
        Ok(Self { provider: node.provider().cloned(), how, content })
    }

    /// Announces. It fails only where it is waited for.
    pub(super) async fn announce(&self, roots: &[Cid]) -> Result<(), CommandError> {
        match &self.provider {
            Some(provider) => {
                provider.fast(roots, self.content, self.how).await.map_err(CommandError::from_error)
            }
            None => Ok(()),
        }
    }

    /// The same where what was done before counts whatever comes of it.
    pub(super) async fn try_announce(&self, roots: &[Cid]) {
        if let Err(error) = self.announce(roots).await {
            tracing::warn!("what was pinned was not announced at once: {error}");
        }
    }

    /// The values of events; after the last one, what they named as roots is announced. `read` gives an event's value, if it
    /// has one, and notes its root.
    pub(super) fn after<E, X>(
        self,
        events: impl Stream<Item = Result<E, X>> + Send + 'static,
        read: impl FnMut(E, &mut Vec<Cid>) -> Option<Value> + Send + 'static,
    ) -> BoxStream<'static, Result<Value, CommandError>>
    where
        E: Send + 'static,
        X: std::error::Error + Send + 'static,
    {
        let state = (Some(self), events.boxed(), read, Vec::new());
        let values = stream::unfold(state, |(mut fast, mut events, mut read, mut roots)| async move {
            loop {
                match events.next().await {
                    Some(Ok(event)) => {
                        if let Some(value) = read(event, &mut roots) {
                            return Some((Ok(value), (fast, events, read, roots)));
                        }
                    }
                    Some(Err(error)) => {
                        let error = CommandError::from_error(error);
                        return Some((Err(error), (None, events, read, roots)));
                    }
                    None => {
                        let announced = fast.take()?.announce(&roots).await;
                        return announced.err().map(|error| (Err(error), (None, events, read, roots)));
                    }
                }
            }
        });
        // Nothing is asked for behind the end of the events.
        values.fuse().boxed()
    }
}

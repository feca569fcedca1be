//! What is served on the API's port beside the commands: metrics, health, profiles.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};

use super::path::Segments;
use crate::http::{Body, Handler, ResponseBody};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, under any host name: health, which tells nothing.
    Open,
    /// Whoever may use the API: with an authorization for this path, if there are any in the config, and not as a web site
    /// that has its name resolve to us. Web pages of other origins may only read.
    Guarded,
}

/// A path and what answers there and below.
#[derive(Clone)]
struct Route {
    prefix: Segments,
    access: Access,
    handler: Arc<dyn Handler>,
}

/// The routes beside the commands. Of several that match, the longest counts.
#[derive(Clone, Default)]
pub struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one: `prefix` is `/debug/vars`, for instance. The later of two with the same prefix counts.
    pub fn add(&mut self, prefix: &str, access: Access, handler: Arc<dyn Handler>) {
        self.routes.push(Route { prefix: Segments::of_text(prefix), access, handler });
    }

    /// Adds one that is a function.
    pub fn add_fn<F, R>(&mut self, prefix: &str, access: Access, answer: F)
    where
        F: Fn(Request<Body>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        self.add(prefix, access, Arc::new(Function(answer)));
    }

    pub(super) fn find(&self, path: &Segments) -> Option<(Access, &Arc<dyn Handler>)> {
        let matching = self.routes.iter().filter(|route| path.starts_with(&route.prefix));
        matching.max_by_key(|route| route.prefix.len()).map(|route| (route.access, &route.handler))
    }
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|route| &route.prefix)).finish()
    }
}

struct Function<F>(F);

impl<F, R> Handler for Function<F>
where
    F: Fn(Request<Body>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
        (self.0)(request).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_route_answers() {
        let mut routes = Routes::new();
        for (prefix, text) in [("/debug", "debug"), ("/debug/metrics/", "metrics"), ("/healthz", "ok")] {
            routes.add_fn(prefix, Access::Guarded, move |_| async move { Response::new(text.into()) });
        }
        for (path, text) in
            [("/debug/metrics/prometheus", "metrics"), ("/debug/vars", "debug"), ("/healthz", "ok")]
        {
            let (_, handler) = routes.find(&Segments::of_uri(path)).unwrap();
            let answer = handler.handle(Request::new(Body::from_bytes(""))).await;
            assert!(matches!(answer.body(), ResponseBody::Full(data) if data == text), "{path}");
        }
        assert!(routes.find(&Segments::of_uri("/debugx")).is_none());
        assert!(routes.find(&Segments::of_uri("/")).is_none());
    }
}

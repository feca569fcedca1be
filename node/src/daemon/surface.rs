//! What the API port serves.

use std::sync::Arc;

use super::listen::Bound;
use crate::commands::Context;
use crate::commands::registry::CommandError;
use crate::http::Handler;

/// Temporary.
struct Nothing(Context);

impl Handler for Nothing {
    fn handle(
        &self,
        _request: http::Request<crate::http::Body>,
    ) -> futures_util::future::BoxFuture<'static, http::Response<crate::http::ResponseBody>> {
        Box::pin(async {
            http::Response::builder().status(404).body("404 page not found\n".into()).expect("x")
        })
    }
}

/// The handler of the API port.
pub(super) fn handler(context: &Context, _bound: &[Bound]) -> Result<Arc<dyn Handler>, CommandError> {
    Ok(Arc::new(Nothing(context.clone())))
}

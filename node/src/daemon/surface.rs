//! What the API port serves.

use std::sync::Arc;

use crate::commands::{Context, registry};
use crate::config::{Config, ValueError};
use crate::http::Handler;
use crate::observe::{Measured, routes};
use crate::rpc::{Door, Routes, Settings};
use crate::runtime::Runtime;

/// The handler of the API port.
pub(super) fn handler(
    context: &Context,
    runtime: &Runtime,
    config: &Config,
) -> Result<Arc<dyn Handler>, ValueError> {
    let settings = Settings::of_config(config)?;
    let mut beside = Routes::new();
    routes::add_to(&mut beside, context);
    let watch = Arc::new(runtime.requests().clone());
    let door = Door::with_routes(context.clone(), Arc::new(registry()), settings, beside, watch);
    Ok(Arc::new(Measured::new(Arc::new(door), runtime.metrics().clone(), "api")))
}

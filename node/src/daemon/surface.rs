//! What the API port serves.

use std::sync::Arc;

use crate::commands::{Context, registry};
use crate::config::{Config, ValueError};
use crate::http::Handler;
use crate::rpc::{Door, Settings};

/// The handler of the API port.
pub(super) fn handler(context: &Context, config: &Config) -> Result<Arc<dyn Handler>, ValueError> {
    let settings = Settings::of_config(config)?;
    Ok(Arc::new(Door::new(context.clone(), Arc::new(registry()), settings)))
}

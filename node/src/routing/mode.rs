//! `Routing.Type`: which DHTs a node takes part in, and how.

use crate::config::{Config, ValueError};

/// How a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoutingMode {
    /// Not at all.
    None,
    /// A server on the local network, and among public addresses as long as others can reach it there.
    Auto,
    /// It only asks.
    Client,
    /// A server everywhere.
    Server,
}

/// Why a kind of routing cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoutingError {
    /// The config asks for routers over HTTP.
    #[error(
        "Routing.Type \"{0}\" needs delegated routers, which this version does not ask; set one of auto, dht, dhtclient, \
         dhtserver and none, as with 'holdfast config Routing.Type auto'"
    )]
    Delegated(String),
    /// The flag asks for them.
    #[error(
        "--routing={0} needs delegated routers, which this version does not ask; leave it out, or give one of auto, dht, \
         dhtclient, dhtserver and none, as with 'holdfast daemon --routing=auto'"
    )]
    DelegatedByFlag(String),
    /// There is no such kind.
    #[error("unrecognized routing option: {0}")]
    Unknown(String),
    /// The config cannot be read.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl RoutingMode {
    /// What the config says, or `instead` (the daemon's `--routing`) where it is neither empty nor `default`.
    pub fn of_config(config: &Config, instead: &str) -> Result<Self, RoutingError> {
        if matches!(instead, "" | "default") {
            return Self::of_name(&config.text("Routing.Type")?.unwrap_or_default());
        }
        Self::of_name(instead).map_err(|error| match error {
            RoutingError::Delegated(name) => RoutingError::DelegatedByFlag(name),
            other => other,
        })
    }

    /// The kind of this name. `auto` and `autoclient` ask no HTTP routers: they are the DHT alone.
    fn of_name(name: &str) -> Result<Self, RoutingError> {
        match name {
            "" | "default" | "auto" | "dht" => Ok(Self::Auto),
            "autoclient" | "dhtclient" => Ok(Self::Client),
            "dhtserver" => Ok(Self::Server),
            "none" => Ok(Self::None),
            "delegated" | "custom" => Err(RoutingError::Delegated(name.to_owned())),
            other => Err(RoutingError::Unknown(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_of_the_daemon_stands_over_the_config() {
        let config = Config::parse(r#"{"Routing":{"Type":"dhtclient"}}"#).unwrap();
        assert_eq!(RoutingMode::of_config(&config, ""), Ok(RoutingMode::Client));
        assert_eq!(RoutingMode::of_config(&config, "default"), Ok(RoutingMode::Client));
        assert_eq!(RoutingMode::of_config(&config, "none"), Ok(RoutingMode::None));
        assert_eq!(RoutingMode::of_config(&Config::parse("{}").unwrap(), ""), Ok(RoutingMode::Auto));
    }

    #[test]
    fn what_needs_delegated_routers_is_refused_with_what_to_set() {
        let error = RoutingMode::of_name("custom").unwrap_err();
        assert!(error.to_string().contains("config Routing.Type auto"), "{error}");
        let error = RoutingMode::of_config(&Config::parse("{}").unwrap(), "custom").unwrap_err();
        assert!(error.to_string().contains("daemon --routing=auto"), "{error}");
        assert_eq!(RoutingMode::of_name("supernode"), Err(RoutingError::Unknown("supernode".to_owned())));
    }
}

//! `Pubsub` in the config.

use std::time::Duration;

use crate::config::{Config, GoDuration, ValueError};

/// How long a message is remembered (go-libp2p-pubsub's `TimeCacheDuration`).
const SEEN_TIME: Duration = Duration::from_secs(120);

/// How messages find their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Router {
    /// To a few peers of the topic; the others are told what there is.
    #[default]
    Gossipsub,
    /// To every peer of the topic.
    Floodsub,
}

/// `Pubsub`, where it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PubsubSettings {
    /// `Router`.
    pub router: Router,
    /// `DisableSigning`, turned round. Then only signed messages count, too.
    pub signing: bool,
    /// `SeenMessagesTTL`. Default 2 min.
    pub seen_time: Duration,
}

/// What is on: by the config, or by the flags of the daemon, which stand over it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PubsubFlags {
    /// `--enable-pubsub-experiment`, if it was given.
    pub pubsub: Option<bool>,
    /// `--enable-namesys-pubsub`, if it was given.
    pub names: Option<bool>,
}

impl PubsubFlags {
    /// Whether names go over pubsub (`Ipns.UsePubsub`).
    pub fn has_names(self, config: &Config) -> Result<bool, ValueError> {
        Ok(self.names.or(config.flag("Ipns.UsePubsub")?).unwrap_or(false))
    }

    /// Whether there is pubsub (`Pubsub.Enabled`), be it for names alone.
    pub fn has_pubsub(self, config: &Config) -> Result<bool, ValueError> {
        Ok(self.pubsub.or(config.flag("Pubsub.Enabled")?).unwrap_or(false) || self.has_names(config)?)
    }
}

impl PubsubSettings {
    /// Reads them. The words of errors are Kubo's.
    pub fn of_config(config: &Config) -> Result<Self, ValueError> {
        let wrong = |key: &str, reason: String| ValueError { key: key.to_owned(), reason };
        let router = match config.text("Pubsub.Router")?.as_deref() {
            None | Some("" | "gossipsub") => Router::Gossipsub,
            Some("floodsub") => Router::Floodsub,
            Some(other) => return Err(wrong("Pubsub.Router", format!("unknown pubsub router {other}"))),
        };
        match config.text("Pubsub.SeenMessagesStrategy")?.as_deref() {
            // They differ for messages that come again late, which their number gives away here.
            None | Some("" | "default" | "last-seen" | "first-seen") => {}
            Some(other) => {
                let reason = format!("unsupported Pubsub.SeenMessagesStrategy \"{other}\"");
                return Err(wrong("Pubsub.SeenMessagesStrategy", reason));
            }
        }
        let seen_time = config.duration("Pubsub.SeenMessagesTTL")?.and_then(GoDuration::to_std);
        Ok(Self {
            router,
            signing: !config.flag("Pubsub.DisableSigning")?.unwrap_or(false),
            seen_time: seen_time.filter(|time| !time.is_zero()).unwrap_or(SEEN_TIME),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_read_with_kubos_defaults_and_words() {
        let read = |text: &str| PubsubSettings::of_config(&Config::parse(text).unwrap());
        let default = PubsubSettings { router: Router::Gossipsub, signing: true, seen_time: SEEN_TIME };
        assert_eq!(read("{}"), Ok(default));
        let other = r#"{"Pubsub":{"Router":"floodsub","DisableSigning":true,"SeenMessagesTTL":"10m",
                        "SeenMessagesStrategy":"first-seen"}}"#;
        let seen_time = Duration::from_secs(600);
        assert_eq!(read(other), Ok(PubsubSettings { router: Router::Floodsub, signing: false, seen_time }));
        let words = |text: &str| read(text).unwrap_err().to_string();
        assert!(words(r#"{"Pubsub":{"Router":"x"}}"#).contains("unknown pubsub router x"));
        let strategy = words(r#"{"Pubsub":{"SeenMessagesStrategy":"x"}}"#);
        assert!(strategy.contains("unsupported Pubsub.SeenMessagesStrategy \"x\""), "{strategy}");
    }
}

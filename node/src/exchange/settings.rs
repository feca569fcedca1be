//! What the config says about Bitswap: `Bitswap` and `Internal.Bitswap`.

use std::time::Duration;

use holdfast_bitswap::Config as Settings;
use libp2p::PeerId;

use crate::config::{Config, ValueError};

/// Largest `Internal.Bitswap.MaxOutstandingBytesPerPeer`: it is memory for each peer.
const OUTSTANDING_BYTES_MAX: i64 = 64 << 20;
/// Largest `Internal.Bitswap.WantHaveReplaceSize`: that of a block.
const REPLACE_BYTES_MAX: i64 = 2 << 20;
/// Largest `Internal.Bitswap.ProviderSearchMaxResults`.
const SEARCH_RESULTS_MAX: i64 = 1000;
/// Most peers that a broadcast may go to.
const BROADCAST_PEERS_MAX: i64 = 1 << 20;
/// Longest `Internal.Bitswap.ProviderSearchDelay`.
const SEARCH_DELAY_MAX: Duration = Duration::from_secs(3600);

/// Default of `Internal.Bitswap.ProviderSearchMaxResults`, as in Kubo.
const SEARCH_RESULTS: usize = 10;

/// Bitswap as the config wants it; none where it is switched off.
pub(crate) fn settings(config: &Config, us: PeerId) -> Result<Option<Settings>, ValueError> {
    if !config.flag("Bitswap.Libp2pEnabled")?.unwrap_or(true) {
        return Ok(None);
    }
    let mut settings = Settings::new(us);
    settings.server_enabled = config.flag("Bitswap.ServerEnabled")?.unwrap_or(true);
    if let Some(bytes) = number(config, "MaxOutstandingBytesPerPeer", 1, OUTSTANDING_BYTES_MAX)? {
        settings.outstanding_bytes_max = bytes;
    }
    if let Some(bytes) = number(config, "WantHaveReplaceSize", 0, REPLACE_BYTES_MAX)? {
        settings.have_replace_bytes_max = bytes as u64;
    }
    let key = "Internal.Bitswap.ProviderSearchDelay";
    if let Some(delay) = config.duration(key)? {
        let delay = delay.to_std().filter(|delay| *delay <= SEARCH_DELAY_MAX);
        settings.search_delay = delay.ok_or_else(|| bad(key, "it is between 0 and 1h"))?;
    }
    let max = "BroadcastControl.MaxPeers";
    if config.flag("Internal.Bitswap.BroadcastControl.Enable")? == Some(false) {
        settings.broadcast_peers_max = usize::MAX;
    } else if config.number(&key_of(max))? != Some(-1)
        && let Some(peers) = number(config, max, 0, BROADCAST_PEERS_MAX)?
    {
        settings.broadcast_peers_max = peers;
    }
    Ok(Some(settings))
}

/// Providers that one search is to give.
pub(crate) fn search_results_max(config: &Config) -> Result<usize, ValueError> {
    Ok(match number(config, "ProviderSearchMaxResults", 0, SEARCH_RESULTS_MAX)? {
        // Kubo's word for no limit.
        Some(0) => SEARCH_RESULTS_MAX as usize,
        Some(results) => results,
        None => SEARCH_RESULTS,
    })
}

fn key_of(name: &str) -> String {
    format!("Internal.Bitswap.{name}")
}

fn bad(key: &str, reason: &str) -> ValueError {
    ValueError { key: key.to_owned(), reason: reason.to_owned() }
}

fn number(config: &Config, name: &str, min: i64, max: i64) -> Result<Option<usize>, ValueError> {
    let key = key_of(name);
    let Some(number) = config.number(&key)? else { return Ok(None) };
    let number = Some(number).filter(|number| (min..=max).contains(number));
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.map(Some).ok_or_else(|| bad(&key, &format!("it is between {min} and {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(internal: &str) -> Result<(Settings, usize), ValueError> {
        let config = Config::parse(&format!("{{ \"Internal\": {{ \"Bitswap\": {internal} }} }}")).unwrap();
        let settings = settings(&config, PeerId::random())?.expect("it is switched on");
        Ok((settings, search_results_max(&config)?))
    }

    #[test]
    fn what_kubos_keys_say_is_done() {
        let (plain, results) = read("{}").unwrap();
        assert_eq!((plain.outstanding_bytes_max, plain.have_replace_bytes_max, results), (1 << 20, 1024, 10));
        assert_eq!(plain.search_delay, Duration::from_secs(1));
        let (set, results) = read(
            "{ \"MaxOutstandingBytesPerPeer\": 2048, \"WantHaveReplaceSize\": 0, \"ProviderSearchDelay\": \"250ms\",
               \"ProviderSearchMaxResults\": 3, \"BroadcastControl\": { \"MaxPeers\": 7 }, \"TaskWorkerCount\": 99 }",
        )
        .unwrap();
        assert_eq!((set.outstanding_bytes_max, set.have_replace_bytes_max, results), (2048, 0, 3));
        assert_eq!((set.search_delay, set.broadcast_peers_max), (Duration::from_millis(250), 7));
        let (all, results) = read(
            "{ \"BroadcastControl\": { \"Enable\": false, \"MaxPeers\": 7 }, \"ProviderSearchMaxResults\": 0 }",
        )
        .unwrap();
        assert_eq!((all.broadcast_peers_max, results), (usize::MAX, 1000));
        let (unlimited, _) = read("{ \"BroadcastControl\": { \"MaxPeers\": -1 } }").unwrap();
        assert_eq!(unlimited.broadcast_peers_max, plain.broadcast_peers_max);
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        for (internal, key) in [
            ("{ \"MaxOutstandingBytesPerPeer\": 0 }", "MaxOutstandingBytesPerPeer"),
            ("{ \"WantHaveReplaceSize\": -1 }", "WantHaveReplaceSize"),
            ("{ \"ProviderSearchDelay\": \"-1s\" }", "ProviderSearchDelay"),
            ("{ \"ProviderSearchDelay\": \"2h\" }", "ProviderSearchDelay"),
            ("{ \"BroadcastControl\": { \"MaxPeers\": -2 } }", "BroadcastControl.MaxPeers"),
            ("{ \"ProviderSearchMaxResults\": -1 }", "ProviderSearchMaxResults"),
        ] {
            let error = read(internal).expect_err(internal);
            assert_eq!(error.key, key_of(key), "{internal}");
        }
    }
}

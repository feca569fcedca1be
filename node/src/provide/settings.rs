//! `Provide` in the config: read and checked as Kubo does it, in its words.

use std::time::Duration;

use holdfast_dht::sweep::SweepConfig;

use super::strategy::{Strategy, StrategyError};
use crate::config::{Config, ValueError};

/// Records live so long: a longer interval would let them end (`amino.DefaultProvideValidity`).
const INTERVAL_MAX: Duration = Duration::from_secs(48 * 3600);

/// Smallest `Provide.BloomFPRate` that is accepted. It has no effect: nothing is guessed here.
const BLOOM_RATE_MIN: i64 = 1_000_000;

/// Keys that a region at work holds at most, whatever `KeystoreBatchSize` says: about 16 MB.
const BATCH_KEYS_MAX: usize = 131_072;

/// Workers at most, whatever `MaxWorkers` says; each holds one batch.
const WORKERS_MAX: usize = 256;

/// Where Kubo explains the section.
const SEE: &str = "Documentation: https://github.com/ipfs/kubo/blob/master/docs/config.md#provide";

/// Why nothing can be announced with this config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvideConfigError {
    /// A value is not what it must be.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// There is no such strategy.
    #[error("Provide.Strategy: {0}")]
    Strategy(#[from] StrategyError),
    /// A value is out of its range.
    #[error("{0}")]
    Range(String),
    /// Keys that Kubo once read.
    #[error(
        "deprecated configuration detected. Manually migrate 'Provider' fields to 'Provide' and remove 'Provider' from your config. {SEE}"
    )]
    OldProvider,
    /// Keys that Kubo once read.
    #[error(
        "deprecated configuration detected. Manually migrate 'Reprovider' fields to 'Provide': Reprovider.Strategy -> Provide.Strategy, Reprovider.Interval -> Provide.DHT.Interval. Remove 'Reprovider' from your config. {SEE}"
    )]
    OldReprovider,
    /// The schedule was switched off in the old way.
    #[error(
        "Provide.DHT.Interval=0 no longer disables the provide system on its own; set Provide.Enabled explicitly: Provide.Enabled=false to fully disable providing, or Provide.Enabled=true to keep ad-hoc 'ipfs provide once' and fast-provide-root working while skipping the periodic reprovide schedule"
    )]
    IntervalAlone,
}

/// `Provide`.
#[derive(Debug, Clone)]
pub struct ProvideSettings {
    /// `Enabled`. Default: yes.
    pub is_enabled: bool,
    /// `Strategy`. Default: `all`.
    pub strategy: Strategy,
    /// `DHT.ResumeEnabled`: go on after a restart where the schedule was. Default: yes.
    pub resumes: bool,
    /// `DHT.SweepEnabled`. Default: yes. Without it each key has a lookup of its own, and `routing reprovide` is allowed.
    pub is_sweep: bool,
    /// The rest of `DHT`.
    pub sweep: SweepConfig,
}

impl ProvideSettings {
    /// What the config says.
    pub fn of_config(config: &Config) -> Result<Self, ProvideConfigError> {
        refuse_old_keys(config)?;
        let enabled = config.flag("Provide.Enabled")?;
        let strategy = Strategy::parse(&config.text("Provide.Strategy")?.unwrap_or_default())?;
        if let Some(rate) = config.number("Provide.BloomFPRate")?.filter(|rate| *rate < BLOOM_RATE_MIN) {
            return Err(ProvideConfigError::Range(format!(
                "Provide.BloomFPRate must be >= {BLOOM_RATE_MIN} (1 in 1M), got {rate}"
            )));
        }
        let defaults = SweepConfig::default();
        let interval = interval(config, enabled)?.unwrap_or(defaults.interval);
        positive_duration(config, "SendProviderRecordTimeout")?;
        let sweep = SweepConfig {
            interval,
            workers_max: at_least(config, "MaxWorkers", 1)?.unwrap_or(defaults.workers_max).min(WORKERS_MAX),
            dedicated_periodic: at_least(config, "DedicatedPeriodicWorkers", 0)?
                .unwrap_or(defaults.dedicated_periodic),
            dedicated_burst: at_least(config, "DedicatedBurstWorkers", 0)?
                .unwrap_or(defaults.dedicated_burst),
            connections_per_worker: at_least(config, "MaxProvideConnsPerWorker", 1)?
                .unwrap_or(defaults.connections_per_worker),
            batch_keys: at_least(config, "KeystoreBatchSize", 1)?
                .unwrap_or(defaults.batch_keys)
                .min(BATCH_KEYS_MAX),
            offline_delay: duration(config, "OfflineDelay")?.unwrap_or(defaults.offline_delay),
        };
        let flag = |key: &str| Ok::<_, ValueError>(config.flag(&dht(key))?.unwrap_or(true));
        Ok(Self {
            is_enabled: enabled.unwrap_or(true),
            strategy,
            resumes: flag("ResumeEnabled")?,
            is_sweep: flag("SweepEnabled")?,
            sweep,
        })
    }
}

fn dht(key: &str) -> String {
    format!("Provide.DHT.{key}")
}

/// Kubo does not start with these, for they would be ignored.
fn refuse_old_keys(config: &Config) -> Result<(), ProvideConfigError> {
    let is_set = |key: &str| config.is_set(key);
    if ["Enabled", "Strategy", "WorkerCount"].iter().any(|key| is_set(&format!("Provider.{key}"))) {
        return Err(ProvideConfigError::OldProvider);
    }
    if ["Interval", "Strategy"].iter().any(|key| is_set(&format!("Reprovider.{key}"))) {
        return Err(ProvideConfigError::OldReprovider);
    }
    Ok(())
}

fn interval(config: &Config, enabled: Option<bool>) -> Result<Option<Duration>, ProvideConfigError> {
    let Some(interval) = duration(config, "Interval")? else { return Ok(None) };
    if interval > INTERVAL_MAX {
        return Err(ProvideConfigError::Range(format!(
            "Provide.DHT.Interval ({}) must be less than or equal to DHT provider record validity (48h0m0s)",
            config.text(&dht("Interval"))?.unwrap_or_default()
        )));
    }
    if interval.is_zero() && enabled.is_none() {
        return Err(ProvideConfigError::IntervalAlone);
    }
    Ok(Some(interval))
}

/// A duration that is not negative.
fn duration(config: &Config, key: &str) -> Result<Option<Duration>, ProvideConfigError> {
    let key = dht(key);
    let Some(duration) = config.duration(&key)? else { return Ok(None) };
    let negative = || {
        let text = config.text(&key).ok().flatten().unwrap_or_default();
        ProvideConfigError::Range(format!("{key} must be non-negative, got {text}"))
    };
    duration.to_std().ok_or_else(negative).map(Some)
}

fn positive_duration(config: &Config, key: &str) -> Result<(), ProvideConfigError> {
    let Some(value) = config.duration(&dht(key))? else { return Ok(()) };
    if value.nanos > 0 {
        return Ok(());
    }
    let text = config.text(&dht(key))?.unwrap_or_default();
    Err(ProvideConfigError::Range(format!("{} must be positive, got {text}", dht(key))))
}

/// A number of at least `min`, which is 0 or 1.
fn at_least(config: &Config, key: &str, min: i64) -> Result<Option<usize>, ProvideConfigError> {
    let key = dht(key);
    let Some(number) = config.number(&key)? else { return Ok(None) };
    if number < min {
        let wanted = if min == 0 { "non-negative" } else { "positive" };
        return Err(ProvideConfigError::Range(format!("{key} must be {wanted}, got {number}")));
    }
    Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ProvideSettings, ProvideConfigError> {
        ProvideSettings::of_config(&Config::parse(text).unwrap())
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_kubos() {
        let settings = read(r#"{"Provide":{"DHT":{}}}"#).unwrap();
        assert!(settings.is_enabled && settings.resumes && settings.is_sweep && settings.strategy.all);
        let sweep = &settings.sweep;
        assert_eq!(sweep.interval, Duration::from_secs(22 * 3600));
        assert_eq!((sweep.workers_max, sweep.dedicated_periodic, sweep.dedicated_burst), (16, 2, 1));
        assert_eq!((sweep.connections_per_worker, sweep.batch_keys), (20, 16_384));
        assert_eq!(sweep.offline_delay, Duration::from_secs(7200));
    }

    #[test]
    fn values_reach_the_sweep_within_its_bounds() {
        let settings = read(
            r#"{"Provide":{"Enabled":true,"Strategy":"roots","DHT":{"Interval":"0","MaxWorkers":100000,
                "KeystoreBatchSize":5,"ResumeEnabled":false,"OfflineDelay":"1m"}}}"#,
        )
        .unwrap();
        assert!(settings.strategy.roots && !settings.resumes);
        assert_eq!(settings.sweep.interval, Duration::ZERO);
        assert_eq!((settings.sweep.workers_max, settings.sweep.batch_keys), (WORKERS_MAX, 5));
    }

    #[test]
    fn what_kubo_refuses_is_refused_in_its_words() {
        assert!(
            refused(r#"{"Reprovider":{"Strategy":"all"}}"#)
                .contains("Reprovider.Strategy -> Provide.Strategy")
        );
        assert!(refused(r#"{"Provider":{"WorkerCount":3}}"#).contains("'Provider' fields"));
        assert!(read(r#"{"Provider":{},"Reprovider":{}}"#).is_ok(), "Kubo writes them empty");
        assert!(
            refused(r#"{"Provide":{"DHT":{"Interval":"0"}}}"#).contains("set Provide.Enabled explicitly")
        );
        let late = refused(r#"{"Provide":{"DHT":{"Interval":"49h"}}}"#);
        assert!(late.starts_with("Provide.DHT.Interval (49h) must be less than"), "{late}");
        assert_eq!(
            refused(r#"{"Provide":{"DHT":{"MaxWorkers":0}}}"#),
            "Provide.DHT.MaxWorkers must be positive, got 0"
        );
        assert_eq!(
            refused(r#"{"Provide":{"DHT":{"OfflineDelay":"-1s"}}}"#),
            "Provide.DHT.OfflineDelay must be non-negative, got -1s"
        );
        assert_eq!(
            refused(r#"{"Provide":{"BloomFPRate":10}}"#),
            "Provide.BloomFPRate must be >= 1000000 (1 in 1M), got 10"
        );
        assert!(refused(r#"{"Provide":{"Strategy":"nope"}}"#).starts_with("Provide.Strategy: unknown"));
    }
}

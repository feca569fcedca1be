//! Which level holds for what.

use std::collections::BTreeMap;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::subsystems::{self, SUBSYSTEMS};
use super::{Level, LevelError};

/// The name that stands for all subsystems and the default. `all` is understood too.
pub const ALL: &str = "*";

/// Why a level cannot be told or set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelsError {
    /// Nothing has that name.
    #[error("error: No such logger: {0}. 'log ls' lists them")]
    NoSuchSubsystem(String),
    /// The word is no level.
    #[error(transparent)]
    Level(#[from] LevelError),
}

/// The default, the levels of subsystems that have their own, and those of single targets from `RUST_LOG`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Levels {
    default: Level,
    subsystems: BTreeMap<&'static str, Level>,
    targets: BTreeMap<String, LevelFilter>,
}

impl Levels {
    pub(super) fn of_default(default: Level) -> Self {
        Self { default, ..Self::default() }
    }

    /// From `GOLOG_LOG_LEVEL`: `error,rpc=debug`. Names that only Kubo knows are passed over: they name nothing here.
    pub(super) fn of_golog(text: &str) -> Result<Self, LevelError> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => levels.default = Level::parse(part)?,
                Some((name, word)) => {
                    let level = Level::parse(word)?;
                    // An unknown name is no reason not to start: it may be of another version.
                    let _ = levels.set(name, level);
                }
            }
        }
        Ok(levels)
    }

    /// From `RUST_LOG`: `info,holdfast::rpc=debug`, or with names of subsystems in the place of targets. Fails with the part
    /// that is not understood.
    pub(super) fn of_rust_log(text: &str) -> Result<Self, String> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let parsed: Targets = part.parse().map_err(|_| part.to_owned())?;
            if let Some(default) = parsed.default_level() {
                levels.default = Level::of_filter(default);
            }
            for (target, filter) in &parsed {
                if levels.set(target, Level::of_filter(filter)).is_err() {
                    levels.targets.insert(target.to_owned(), filter);
                }
            }
        }
        Ok(levels)
    }

    pub(super) fn default_level(&self) -> Level {
        self.default
    }

    pub(super) fn get(&self, subsystem: &str) -> Result<Level, LevelsError> {
        let known = subsystems::find(subsystem);
        let known = known.ok_or_else(|| LevelsError::NoSuchSubsystem(subsystem.to_owned()))?;
        Ok(self.level_of(known.name))
    }

    pub(super) fn all(&self) -> BTreeMap<&'static str, Level> {
        SUBSYSTEMS.iter().map(|subsystem| (subsystem.name, self.level_of(subsystem.name))).collect()
    }

    pub(super) fn set(&mut self, subsystem: &str, level: Level) -> Result<(), LevelsError> {
        if matches!(subsystem, ALL | "all") {
            *self = Self::of_default(level);
            return Ok(());
        }
        let known = subsystems::find(subsystem);
        let known = known.ok_or_else(|| LevelsError::NoSuchSubsystem(subsystem.to_owned()))?;
        self.subsystems.insert(known.name, level);
        Ok(())
    }

    fn level_of(&self, name: &str) -> Level {
        self.subsystems.get(name).copied().unwrap_or(self.default)
    }

    /// The filter that does all this.
    pub(super) fn targets(&self) -> Targets {
        // Every subsystem is named, also where the default holds: else `core`, whose target is above the others', would
        // decide for them.
        let named = SUBSYSTEMS.iter().flat_map(|subsystem| {
            let filter = self.level_of(subsystem.name).filter();
            subsystem.targets.iter().map(move |target| ((*target).to_owned(), filter))
        });
        let more = self.targets.iter().map(|(target, filter)| (target.clone(), *filter));
        // libp2p tells at the default level what belongs to the next one.
        let libp2p = if self.default == Level::INFO { LevelFilter::WARN } else { self.default.filter() };
        Targets::new()
            .with_default(self.default.filter())
            .with_target("libp2p", libp2p)
            .with_targets(named.chain(more))
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Severity;

    use super::*;

    #[test]
    fn kubos_variable_is_read_as_kubo_reads_it() {
        let levels = Levels::of_golog("error,core/server=debug,nonsense=info").unwrap();
        assert_eq!(levels.default_level().word(), "error");
        assert_eq!(levels.get("daemon").unwrap().word(), "debug");
        assert_eq!(levels.get("rpc").unwrap().word(), "error");
        assert_eq!(Levels::of_golog("loud"), Err(LevelError("loud".to_owned())));
    }

    #[test]
    fn rusts_variable_names_targets_or_subsystems() {
        let levels = Levels::of_rust_log("warn,gc=debug,holdfast::services::pins=trace,mio=error").unwrap();
        assert_eq!(levels.default_level().word(), "warn");
        assert_eq!(levels.get("gc").unwrap(), Level::DEBUG);
        let targets = levels.targets();
        assert!(targets.would_enable("holdfast_blockstore::gc", &Severity::DEBUG));
        assert!(targets.would_enable("holdfast::services::pins", &Severity::TRACE));
        assert!(!targets.would_enable("holdfast::services::refs", &Severity::INFO));
        assert!(!targets.would_enable("mio::poll", &Severity::WARN));
        assert_eq!(Levels::of_rust_log("gc=loud"), Err("gc=loud".to_owned()));
        let quiet = Levels::of_default(Level::INFO).targets();
        assert!(!quiet.would_enable("libp2p_swarm", &Severity::INFO));
        let asked = Levels::of_rust_log("info,libp2p_swarm=debug").unwrap().targets();
        assert!(asked.would_enable("libp2p_swarm", &Severity::DEBUG));
    }

    #[test]
    fn one_subsystem_changes_alone_and_the_star_changes_all() {
        let mut levels = Levels::default();
        levels.set("core", Level::DEBUG).unwrap();
        let targets = levels.targets();
        assert!(targets.would_enable("holdfast::node", &Severity::DEBUG));
        assert!(!targets.would_enable("holdfast::rpc", &Severity::DEBUG));
        levels.set("all", Level::parse("error").unwrap()).unwrap();
        assert_eq!(levels.get("core").unwrap().word(), "error");
        assert_eq!(levels.default_level().word(), "error");
        let unknown = levels.set("nonsense", Level::INFO).unwrap_err();
        assert_eq!(unknown.to_string(), "error: No such logger: nonsense. 'log ls' lists them");
    }
}

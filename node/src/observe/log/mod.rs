//! The logs of a process: levels that change at run time, lines in text or JSON, readers that follow.
//!
//! Lines go through a bounded queue to a thread that writes them: a reader of standard error who stops reading costs lines,
//! never the node's progress. What is lost is counted, and said in the place where it was lost.

mod level;
mod levels;
mod line;
mod settings;
mod sink;
mod subsystems;
mod tail;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

pub use level::{Level, LevelError};
pub use levels::{ALL, LevelsError};
pub use settings::{Format, LogSettings, Output, SettingsError};
pub use subsystems::{SUBSYSTEMS, Subsystem};
pub use tail::{READERS_MAX, Tail, TailError};

use levels::Levels;
use line::LineLayer;
use sink::Sink;
use tail::Readers;

/// Why the logs of the process could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// An environment variable or option cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The log file does not open.
    #[error("cannot open the log file {path}: {source}. GOLOG_FILE names it")]
    File {
        /// Its path.
        path: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// No thread could be started.
    #[error("no thread could be started that writes the log: {0}")]
    Thread(std::io::Error),
    /// Something in this process logs elsewhere already.
    #[error("this process has a subscriber for its logs already")]
    Taken,
}

/// The handle of a process's logs. Cheap to clone. By default there are none: nothing is written, and no level has effect.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    levels: Mutex<Levels>,
    filter: OnceLock<Filter>,
    readers: Readers,
    sink: Option<Sink>,
}

struct Filter(Box<dyn Fn(Targets) + Send + Sync>);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter")
    }
}

impl Logs {
    /// Sets up the logs of this process, once. For the daemon's `main`; libraries set up none.
    pub fn install(settings: LogSettings) -> Result<Self, InstallError> {
        let (logs, subscriber) = Self::build(settings)?;
        tracing::subscriber::set_global_default(subscriber).map_err(|_| InstallError::Taken)?;
        Ok(logs)
    }

    /// The logs of a daemon, from the environment of its process, and what is wrong with that, if anything: a variable that
    /// cannot be used is no reason not to start. Without logs there is nothing but that word.
    pub fn start(debug: bool) -> (Self, Option<String>) {
        let (settings, mut trouble) = match LogSettings::of_process(debug) {
            Ok(settings) => (settings, None),
            Err(error) => (LogSettings::default(), Some(error.to_string())),
        };
        match Self::install(settings) {
            Ok(logs) => (logs, trouble),
            Err(error) => {
                trouble.get_or_insert_with(|| error.to_string());
                (Self::default(), trouble)
            }
        }
    }

    /// Logs and the subscriber that feeds them.
    pub(crate) fn build(
        settings: LogSettings,
    ) -> Result<(Self, impl Subscriber + Send + Sync + use<>), InstallError> {
        let sink = Sink::start(&settings)?;
        Ok(Self::build_with(settings.levels, sink))
    }

    fn build_with(levels: Levels, sink: Sink) -> (Self, impl Subscriber + Send + Sync + use<>) {
        let (filter, handle) = reload::Layer::new(levels.targets());
        let inner = Inner { levels: Mutex::new(levels), sink: Some(sink), ..Inner::default() };
        let logs = Self { inner: Arc::new(inner) };
        let reload = move |targets| {
            // It fails only where the subscriber is gone, and then there is nothing to filter.
            let _ = handle.reload(targets);
        };
        let _ = logs.inner.filter.set(Filter(Box::new(reload)));
        let subscriber = tracing_subscriber::registry().with(filter).with(LineLayer::new(logs.clone()));
        (logs, subscriber)
    }

    /// The level of what has none of its own.
    pub fn default_level(&self) -> Level {
        self.levels().default_level()
    }

    /// The level of one subsystem.
    pub fn level(&self, subsystem: &str) -> Result<Level, LevelsError> {
        self.levels().get(subsystem)
    }

    /// The levels of all subsystems.
    pub fn all_levels(&self) -> BTreeMap<&'static str, Level> {
        self.levels().all()
    }

    /// Sets the level of a subsystem; [`ALL`] stands for all of them and the default.
    pub fn set_level(&self, subsystem: &str, level: Level) -> Result<(), LevelsError> {
        let targets = {
            let mut levels = self.levels();
            levels.set(subsystem, level)?;
            levels.targets()
        };
        if let Some(filter) = self.inner.filter.get() {
            filter.0(targets);
        }
        Ok(())
    }

    /// Follows what is logged from now on, at this level or above, as lines of JSON.
    ///
    /// A reader who is more than a thousand lines behind loses lines, and is told how many.
    pub fn follow(&self, level: Level) -> Result<Tail, TailError> {
        self.inner.readers.add(level)
    }

    /// Lines that were lost on their way out, because nobody read them in time. Those that followers lost do not count.
    pub fn lines_lost(&self) -> u64 {
        self.inner.sink.as_ref().map_or(0, Sink::lines_lost)
    }

    /// Waits until what was logged is written, for at most this long. For the end of the process. Blocks.
    pub fn flush(&self, wait_max: Duration) {
        if let Some(sink) = &self.inner.sink {
            sink.flush(wait_max);
        }
    }

    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.inner.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

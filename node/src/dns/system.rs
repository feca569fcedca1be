//! Whom the system asks, as it stands now: a daemon may run before the machine has a network, and move with it to another.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::net::NetError;
use hickory_resolver::{Resolver, ResolverBuilder};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::connecting::{Asking, Connecting};
use super::{DnsError, build};

/// Where the system says whom it asks.
const PATH: &str = "/etc/resolv.conf";
/// For how long it is not looked whether that has changed.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

type Builder = ResolverBuilder<Connecting>;

/// What tells one version of the file from another: when it was written, and its length.
type Version = Option<(SystemTime, u64)>;

/// The system's resolver, made when it is first needed, and anew when the system asks somebody else.
pub(super) struct System {
    path: PathBuf,
    read: fn(&Path) -> Result<Builder, NetError>,
    cache_time_max: Option<Duration>,
    look_period: Duration,
    known: Mutex<Option<Known>>,
}

struct Known {
    resolver: Asking,
    version: Version,
    looked: Instant,
}

impl System {
    pub(super) fn new(cache_time_max: Option<Duration>) -> Self {
        // Elsewhere than on Linux the system keeps it in other places too.
        let read = |_: &Path| Resolver::builder(Connecting::default());
        Self { path: PATH.into(), read, cache_time_max, look_period: LOOK_PERIOD, known: Mutex::default() }
    }

    /// Whom to ask now. Where the system says nothing, it is asked again the next time, and whoever was asked before goes on
    /// being asked.
    pub(super) async fn resolver(&self) -> Result<Asking, DnsError> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.looked.elapsed() < self.look_period) {
            return Ok(known.resolver.clone());
        }
        let (path, read, cache_time_max) = (self.path.clone(), self.read, self.cache_time_max);
        let before = known.as_ref().map(|known| known.version);
        let looking = spawn_blocking(move || {
            // Before it is read: what is written meanwhile is read the next time.
            let version = version_of(&path);
            if before == Some(version) {
                return Ok(None);
            }
            let resolver = read(&path).and_then(|builder| build(builder, cache_time_max))?;
            Ok::<_, NetError>(Some((resolver, version)))
        });
        let failed = |error: &dyn std::fmt::Display| {
            DnsError::Failed(format!("the system does not say whom to ask ({PATH}): {error}"))
        };
        let looked = Instant::now();
        match looking.await.map_err(|error| failed(&error))? {
            Ok(Some((resolver, version))) => *known = Some(Known { resolver, version, looked }),
            Ok(None) => {}
            Err(error) if known.is_none() => return Err(failed(&error)),
            Err(error) => tracing::debug!("{PATH} is not read again: {error}"),
        }
        let Some(known) = known.as_mut() else { return Err(DnsError::Nobody) };
        known.looked = looked;
        Ok(known.resolver.clone())
    }
}

fn version_of(path: &Path) -> Version {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::system_conf::parse_resolv_conf;

    use super::*;

    fn read(path: &Path) -> Result<Builder, NetError> {
        let (config, _) = parse_resolv_conf(fs::read(path)?)?;
        Ok(Resolver::builder_with_config(config, Connecting::default()))
    }

    impl System {
        /// That of the file by which is asked.
        async fn version(&self) -> Version {
            self.known.lock().await.as_ref().and_then(|known| known.version)
        }
    }

    #[tokio::test]
    async fn a_network_that_comes_late_or_changes_is_asked_without_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let (cache_time_max, known, look_period) = (None, Mutex::default(), LOOK_PERIOD);
        let mut system = System { path: path.clone(), read, cache_time_max, look_period, known };
        assert!(matches!(system.resolver().await, Err(DnsError::Failed(_))));
        fs::write(&path, "# nobody yet\n").unwrap();
        assert!(matches!(system.resolver().await, Err(DnsError::Failed(_))));
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        system.resolver().await.unwrap();
        let first = system.version().await;
        assert!(first.is_some());

        fs::write(&path, "nameserver 198.51.100.22\n").unwrap();
        system.resolver().await.unwrap();
        assert_eq!(system.version().await, first, "it is not looked at for every question");
        system.look_period = Duration::ZERO;
        system.resolver().await.unwrap();
        let second = system.version().await;
        assert_ne!(second, first);

        fs::remove_file(&path).unwrap();
        system.resolver().await.expect("while it is being replaced, the old ones are asked");
    }
}

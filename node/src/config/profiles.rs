//! Profiles: named sets of changes to a config.

use std::io;
use std::net::TcpListener;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::{AUTO, Config, SaveError};

/// A named set of changes.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What it is for: one or more sentences.
    pub description: &'static str,
    action: Action,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Change(fn(&mut Config) -> Result<(), ProfileError>),
    /// The profile belongs to a store that Holdfast does not have.
    Refuse,
}

/// Why a profile was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// There is no such profile (words of `config profile apply`).
    #[error("{0} is not a profile\n'config profile apply --help' lists the profiles that there are")]
    Unknown(String),
    /// There is no such profile (words of `init`).
    #[error("invalid configuration profile: {0}\n'init --help' lists the profiles that there are")]
    UnknownAtInit(String),
    /// The profile chooses a store of Kubo's.
    #[error(
        "the profile {0} chooses a store of Kubo's that Holdfast does not have: Holdfast always keeps blocks in RocksDB; \
         to bring data over, use 'dag export' there and 'dag import' here"
    )]
    Store(&'static str),
    /// No free port was found.
    #[error("cannot find a free port: {0}")]
    Port(io::Error),
    /// The config or its backup could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// A config before and after a profile, without secrets. Serializes as Kubo's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProfileChange {
    /// Before.
    pub old_cfg: Value,
    /// After.
    pub new_cfg: Value,
}

/// One key that differs between two configs.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The dotted key.
    pub key: String,
    /// The value before, if there was one.
    pub old: Option<Value>,
    /// The value after, if there is one.
    pub new: Option<Value>,
}

/// Every profile, by name.
pub fn profiles() -> &'static [Profile] {
    PROFILES
}

const fn change(
    name: &'static str,
    description: &'static str,
    action: fn(&mut Config) -> Result<(), ProfileError>,
) -> Profile {
    Profile { name, description, action: Action::Change(action) }
}

const fn refuse(name: &'static str) -> Profile {
    Profile {
        name,
        description: "A store of Kubo's that Holdfast does not have: refused.",
        action: Action::Refuse,
    }
}

const PROFILES: &[Profile] = &[
    change(
        "announce-off",
        "Stops announcing content to the network. Others find it only over existing connections.",
        |c| {
            c.put("Provide.Enabled", json!(false));
            c.put("Provide.DHT.Interval", json!("0s"));
            Ok(())
        },
    ),
    change("announce-on", "Announces content to the network again (reverts announce-off).", |c| {
        c.put("Provide.Enabled", json!(true));
        c.put("Provide.DHT.Interval", json!("22h0m0s"));
        Ok(())
    }),
    change(
        "autoconf-off",
        "Uses no values from AutoConf: bootstrap peers, DNS resolvers and routers are what the config says.",
        |c| {
            c.put("AutoConf.Enabled", json!(false));
            c.put("Bootstrap", Value::Null);
            c.put("DNS.Resolvers", Value::Null);
            c.put("Routing.DelegatedRouters", Value::Null);
            c.put("Ipns.DelegatedPublishers", Value::Null);
            Ok(())
        },
    ),
    change("autoconf-on", "Takes bootstrap peers, DNS resolvers and routers from AutoConf.", |c| {
        c.put("AutoConf.Enabled", json!(true));
        c.put("AutoConf.URL", json!("https://conf.ipfs-mainnet.org/autoconf.json"));
        put_auto(c);
        Ok(())
    }),
    refuse("badgerds"),
    refuse("badgerds-measure"),
    change("default-datastore", "Keeps blocks in RocksDB, which Holdfast always does.", |c| {
        c.put("Datastore.Spec", json!({ "path": "db", "type": "rocksdb" }));
        Ok(())
    }),
    change("default-networking", "Restores the default network settings (reverts test and mesh).", |c| {
        let defaults = Config::defaults();
        c.put("Addresses", defaults.document.get("Addresses").cloned().unwrap_or_default());
        put_auto(c);
        for key in [
            "AutoConf.Enabled",
            "AutoTLS.Enabled",
            "AutoNAT.ServiceMode",
            "Routing.LoopbackAddressesOnLanDHT",
            "Provide.DHT.LANOnly",
            "Swarm.RelayClient.Enabled",
            "Swarm.PingInterval",
            "Discovery.MDNS.Interval",
            "HTTPRetrieval.Enabled",
            "Version.SwarmCheckEnabled",
        ] {
            c.unset(key);
        }
        c.put("Swarm.DisableNatPortMap", json!(false));
        c.put("Discovery.MDNS.Enabled", json!(true));
        Ok(())
    }),
    refuse("flatfs"),
    refuse("flatfs-measure"),
    change("legacy-cid-v0", "The same as unixfs-v0-2015.", import_2015),
    change("local-discovery", "Finds peers in the local network (reverts server).", |c| {
        for key in ["Addresses.NoAnnounce", "Swarm.AddrFilters"] {
            let mut list = texts(c, key);
            list.retain(|entry| !SERVER_FILTERS.contains(&entry.as_str()));
            c.put(key, json!(list));
        }
        c.put("Discovery.MDNS.Enabled", json!(true));
        c.put("Swarm.DisableNatPortMap", json!(false));
        Ok(())
    }),
    change("lowpower", "Serves less to the network and keeps fewer connections, for small devices.", |c| {
        c.put("Routing.Type", json!("autoclient"));
        c.put("AutoNAT.ServiceMode", json!("disabled"));
        c.put("Swarm.RelayService.Enabled", json!(false));
        c.put("Swarm.ConnMgr.Type", json!("basic"));
        c.put("Swarm.ConnMgr.LowWater", json!(20));
        c.put("Swarm.ConnMgr.HighWater", json!(40));
        c.put("Swarm.ConnMgr.GracePeriod", json!("1m0s"));
        Ok(())
    }),
    change(
        "mesh",
        "For networks without internet: finds its neighbours by itself, and asks nobody outside.",
        |c| {
            put_offline(c);
            c.put("Discovery.MDNS.Enabled", json!(true));
            // Links come and go: neighbours are asked for often, and lost ones noticed early.
            c.put("Discovery.MDNS.Interval", json!("10s"));
            c.put("Swarm.PingInterval", json!("5s"));
            c.put("Routing.Type", json!("dht"));
            c.put("Provide.DHT.LANOnly", json!(true));
            c.put("AutoNAT.ServiceMode", json!("disabled"));
            c.put("Swarm.RelayClient.Enabled", json!(false));
            c.put("HTTPRetrieval.Enabled", json!(false));
            c.put("Version.SwarmCheckEnabled", json!(false));
            Ok(())
        },
    ),
    refuse("pebbleds"),
    refuse("pebbleds-measure"),
    change("randomports", "Listens for peers on a random port.", |c| {
        let port = free_port().map_err(ProfileError::Port)?;
        c.put("Addresses.Swarm", json!([format!("/ip4/0.0.0.0/tcp/{port}"), format!("/ip6/::/tcp/{port}")]));
        Ok(())
    }),
    change(
        "server",
        "Looks for no peers in the local network and announces no private addresses, for hosts with public addresses.",
        |c| {
            for key in ["Addresses.NoAnnounce", "Swarm.AddrFilters"] {
                let mut list = texts(c, key);
                for filter in SERVER_FILTERS {
                    if !list.iter().any(|entry| entry == filter) {
                        list.push((*filter).to_owned());
                    }
                }
                c.put(key, json!(list));
            }
            c.put("Discovery.MDNS.Enabled", json!(false));
            c.put("Swarm.DisableNatPortMap", json!(true));
            Ok(())
        },
    ),
    change("test", "Loopback only, random ports, no discovery: for tests.", |c| {
        put_offline(c);
        c.put("Addresses.API", json!("/ip4/127.0.0.1/tcp/0"));
        c.put("Addresses.Gateway", json!("/ip4/127.0.0.1/tcp/0"));
        c.put("Addresses.Swarm", json!(["/ip4/127.0.0.1/tcp/0"]));
        c.put("Discovery.MDNS.Enabled", json!(false));
        c.put("Routing.LoopbackAddressesOnLanDHT", json!(true));
        Ok(())
    }),
    change(
        "unixfs-v0-2015",
        "Imports as IPFS did from the start: CIDv0, leaves in dag-pb, chunks of 256 KiB, 174 links.",
        import_2015,
    ),
    change(
        "unixfs-v1-2025",
        "Imports as IPIP-499 says: CIDv1, raw leaves, chunks of 1 MiB, 1,024 links.",
        |c| {
            put_import(c, 1, true, "size-1048576", 1024, "block");
            Ok(())
        },
    ),
];

/// Address ranges that no host on the internet has (IANA special-purpose registries).
const SERVER_FILTERS: &[&str] = &[
    "/ip4/10.0.0.0/ipcidr/8",
    "/ip4/100.64.0.0/ipcidr/10",
    "/ip4/127.0.0.0/ipcidr/8",
    "/ip4/169.254.0.0/ipcidr/16",
    "/ip4/172.16.0.0/ipcidr/12",
    "/ip4/192.0.0.0/ipcidr/24",
    "/ip4/192.0.2.0/ipcidr/24",
    "/ip4/192.168.0.0/ipcidr/16",
    "/ip4/198.18.0.0/ipcidr/15",
    "/ip4/198.51.100.0/ipcidr/24",
    "/ip4/203.0.113.0/ipcidr/24",
    "/ip4/240.0.0.0/ipcidr/4",
    "/ip6/::/ipcidr/3",
    "/ip6/::1/ipcidr/128",
    "/ip6/100::/ipcidr/64",
    "/ip6/2001:2::/ipcidr/48",
    "/ip6/2001:db8::/ipcidr/32",
    "/ip6/fc00::/ipcidr/7",
    "/ip6/fe80::/ipcidr/10",
];

/// Nothing is asked of hosts on the internet.
fn put_offline(config: &mut Config) {
    config.put("Bootstrap", json!([]));
    config.put("AutoConf.Enabled", json!(false));
    config.put("AutoTLS.Enabled", json!(false));
    config.put("DNS.Resolvers", json!({}));
    config.put("Routing.DelegatedRouters", json!([]));
    config.put("Ipns.DelegatedPublishers", json!([]));
    config.put("Swarm.DisableNatPortMap", json!(true));
}

/// The places that `"auto"` stands in by default get it again; bootstrap peers of the user's own stay.
fn put_auto(config: &mut Config) {
    let mut bootstrap = texts(config, "Bootstrap");
    if !bootstrap.iter().any(|peer| peer == AUTO) {
        bootstrap.insert(0, AUTO.to_owned());
    }
    config.put("Bootstrap", json!(bootstrap));
    config.put("DNS.Resolvers[\".\"]", json!(AUTO));
    config.put("Routing.DelegatedRouters", json!([AUTO]));
    config.put("Ipns.DelegatedPublishers", json!([AUTO]));
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of the actions, and others fail")]
fn import_2015(config: &mut Config) -> Result<(), ProfileError> {
    put_import(config, 0, false, "size-262144", 174, "links");
    Ok(())
}

fn put_import(
    config: &mut Config,
    version: u64,
    raw_leaves: bool,
    chunker: &str,
    links: u64,
    estimation: &str,
) {
    config.put("Import.CidVersion", json!(version));
    config.put("Import.UnixFSRawLeaves", json!(raw_leaves));
    config.put("Import.UnixFSChunker", json!(chunker));
    config.put("Import.HashFunction", json!("sha2-256"));
    config.put("Import.UnixFSFileMaxLinks", json!(links));
    config.put("Import.UnixFSDirectoryMaxLinks", json!(0));
    config.put("Import.UnixFSHAMTDirectoryMaxFanout", json!(256));
    config.put("Import.UnixFSHAMTDirectorySizeThreshold", json!("256KiB"));
    config.put("Import.UnixFSHAMTDirectorySizeEstimation", json!(estimation));
    config.put("Import.UnixFSDAGLayout", json!("balanced"));
}

/// The texts of a list; none where there is no list.
fn texts(config: &Config, key: &str) -> Vec<String> {
    config.text_list(key).unwrap_or_default()
}

/// A TCP port that nothing listens on right now.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"))?;
    Ok(listener.local_addr()?.port())
}

impl Profile {
    /// Applies the profile to a config in memory. Nothing is changed on error.
    pub fn apply(&self, config: &mut Config) -> Result<(), ProfileError> {
        match self.action {
            Action::Refuse => Err(ProfileError::Store(self.name)),
            Action::Change(action) => {
                let mut changed = config.clone();
                action(&mut changed)?;
                *config = changed;
                Ok(())
            }
        }
    }
}

impl Config {
    /// Applies profiles that are named in a list with commas between, as `init --profile` takes it.
    pub fn apply_profiles(&mut self, names: &str) -> Result<(), ProfileError> {
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let profile = PROFILES.iter().find(|profile| profile.name == name);
            profile.ok_or_else(|| ProfileError::UnknownAtInit(name.to_owned()))?.apply(self)?;
        }
        Ok(())
    }
}

/// Applies the profile `name` to `config`, whose file is `path`: `config profile apply`.
///
/// Unless `dry_run`, the old file is kept beside it as `config-pre-<name>-<random>` and the new one written.
pub fn apply_profile(
    config: &mut Config,
    path: &Path,
    name: &str,
    dry_run: bool,
) -> Result<ProfileChange, ProfileError> {
    let profile = PROFILES.iter().find(|profile| profile.name == name);
    let profile = profile.ok_or_else(|| ProfileError::Unknown(name.to_owned()))?;
    let mut changed = config.clone();
    profile.apply(&mut changed)?;
    let change = ProfileChange { old_cfg: config.show(), new_cfg: changed.show() };
    if !dry_run {
        back_up(path, name).map_err(|source| SaveError { path: path.to_owned(), source })?;
        changed.save(path)?;
        *config = changed;
    }
    Ok(change)
}

/// Copies the config file to a new name beside it.
fn back_up(path: &Path, name: &str) -> io::Result<()> {
    let content = std::fs::read(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(&format!("config-pre-{name}-")).tempfile_in(folder)?;
    io::Write::write_all(&mut file.as_file(), &content)?;
    file.as_file().sync_all()?;
    file.keep().map_err(|error| error.error)?;
    crate::fsutil::sync_folder(folder)
}

/// The keys in which two configs differ, in order; maps are compared key by key.
pub fn changes(old: &Value, new: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), Some(old), Some(new), &mut found);
    found
}

fn compare(key: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    if old == new {
        return;
    }
    let (Some(Value::Object(old_map)), Some(Value::Object(new_map))) = (old, new) else {
        found.push(Change { key, old: old.cloned(), new: new.cloned() });
        return;
    };
    let mut names: Vec<&String> = old_map.keys().chain(new_map.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let below = match (key.as_str(), name.contains('.')) {
            ("", _) => name.clone(),
            (_, true) => format!("{key}[{}]", Value::from(name.as_str())),
            (_, false) => format!("{key}.{name}"),
        };
        compare(below, old_map.get(name), new_map.get(name), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_changes_what_kubos_does() {
        let Some(data) = crate::test_data::json("kubo-config.json") else { return };
        for (name, sections) in data["profiles_change"].as_object().unwrap() {
            let mut config = Config::defaults();
            let profile = PROFILES.iter().find(|profile| profile.name == name).expect(name);
            let result = profile.apply(&mut config);
            if matches!(profile.action, Action::Refuse) {
                assert!(matches!(result, Err(ProfileError::Store(_))), "{name}");
                continue;
            }
            result.unwrap();
            let mut expected = Config::defaults().document;
            for (section, value) in sections.as_object().unwrap() {
                expected[section] = value.clone();
            }
            if name == "randomports" {
                let ports = config.text_list("Addresses.Swarm").unwrap();
                assert!(ports.len() == 2 && ports[0].starts_with("/ip4/0.0.0.0/tcp/"), "{ports:?}");
                expected["Addresses"]["Swarm"] = config.document["Addresses"]["Swarm"].clone();
            }
            assert_eq!(changes(&expected, &config.document), [], "{name}");
        }
    }

    #[test]
    fn no_profile_sets_a_key_that_does_nothing() {
        for profile in PROFILES.iter().filter(|profile| !matches!(profile.action, Action::Refuse)) {
            let mut config = Config::defaults();
            profile.apply(&mut config).unwrap();
            assert_eq!(config.warnings(), [""; 0], "{}", profile.name);
        }
    }

    #[test]
    fn inverse_profiles_restore_the_defaults() {
        for (there, back) in [
            ("test", "default-networking"),
            ("mesh", "default-networking"),
            ("server", "local-discovery"),
            ("unixfs-v1-2025", "unixfs-v0-2015"),
        ] {
            let mut config = Config::defaults();
            config.apply_profiles(there).unwrap();
            config.apply_profiles(back).unwrap();
            let mut expected = Config::defaults();
            expected.apply_profiles(back).unwrap();
            if there == "mesh" {
                // Which kind of routing to go back to is the user's to say.
                config.unset("Routing.Type");
            }
            assert_eq!(changes(&expected.document, &config.document), [], "{there}");
        }
    }

    #[test]
    fn unknown_profiles_are_named_in_kubos_words() {
        let mut config = Config::defaults();
        let error = config.apply_profiles("test,nosuch").unwrap_err();
        assert!(error.to_string().starts_with("invalid configuration profile: nosuch\n"), "{error}");
        let error = apply_profile(&mut config, Path::new("/nowhere/config"), "nosuch", false).unwrap_err();
        assert!(error.to_string().starts_with("nosuch is not a profile\n"), "{error}");
    }

    #[test]
    fn applying_keeps_a_backup_and_a_dry_run_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let mut config = Config::defaults();
        config.put("Identity.PrivKey", json!("secret"));
        config.save(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        let dry = apply_profile(&mut config, &path, "unixfs-v1-2025", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let wet = apply_profile(&mut config, &path, "unixfs-v1-2025", false).unwrap();
        assert_eq!(dry, wet);
        assert!(!json!(wet).to_string().contains("secret"));
        assert_eq!(wet.new_cfg["Import"]["CidVersion"], json!(1));
        assert_eq!(changes(&wet.old_cfg, &wet.new_cfg).len(), 10);
        assert_eq!(Config::load(&path).unwrap(), config);
        let backup = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .find(|entry| entry.file_name().to_string_lossy().starts_with("config-pre-unixfs-v1-2025-"));
        assert_eq!(std::fs::read(backup.unwrap().path()).unwrap(), before);
    }
}

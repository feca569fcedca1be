//! What the node uses where its config says `"auto"`.

use serde_json::{Value, json};

use super::{AUTO, Config, ValueError};

/// Lists whose `"auto"` stands for nobody: this version asks no routers and no publishers of its own accord.
const OF_NOBODY: [&str; 2] = ["Routing.DelegatedRouters", "Ipns.DelegatedPublishers"];

impl Config {
    /// The config with what this node uses in the place of `"auto"`, wherever that may stand: its own peers in `Bootstrap`
    /// (see [`Config::bootstrap_expanded`]), nobody in `Routing.DelegatedRouters` and `Ipns.DelegatedPublishers`, the
    /// system's resolver in `DNS.Resolvers`, which an empty text names. What the config does not have is not added.
    pub fn expanded(&self, private: bool) -> Result<Self, ValueError> {
        let mut expanded = self.clone();
        if self.document.get("Bootstrap").is_some() {
            expanded.put("Bootstrap", json!(self.bootstrap_expanded(private)?));
        }
        for key in OF_NOBODY {
            if self.get(key).is_ok() {
                let mut urls = self.text_list(key)?;
                urls.retain(|url| url != AUTO);
                expanded.put(key, json!(urls));
            }
        }
        let resolvers = expanded.document.pointer_mut("/DNS/Resolvers").and_then(Value::as_object_mut);
        for resolver in resolvers.into_iter().flat_map(serde_json::Map::values_mut) {
            if resolver.as_str() == Some(AUTO) {
                *resolver = json!("");
            }
        }
        Ok(expanded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_BOOTSTRAP;
    use crate::dns::DnsSettings;

    const OWN: &str = "https://routers.example";

    fn config() -> Config {
        let mut config = Config::defaults();
        config.put("DNS.Resolvers[\"eth.\"]", json!("https://dns.example/dns-query"));
        config.put("Routing.DelegatedRouters", json!([AUTO, OWN]));
        config
    }

    #[test]
    fn auto_becomes_what_the_node_uses_and_the_rest_stays() {
        let expanded = config().expanded(false).unwrap();
        assert_eq!(expanded.get("Bootstrap"), Ok(json!(DEFAULT_BOOTSTRAP)));
        assert_eq!(expanded.get("Routing.DelegatedRouters"), Ok(json!([OWN])));
        assert_eq!(expanded.get("Ipns.DelegatedPublishers"), Ok(json!([])));
        let resolvers = json!({ ".": "", "eth.": "https://dns.example/dns-query" });
        assert_eq!(expanded.get("DNS.Resolvers"), Ok(resolvers));
        assert_eq!(expanded.get("Datastore"), config().get("Datastore"));
        assert!(!expanded.document.to_string().contains("\"auto\""), "{expanded:?}");
    }

    #[test]
    fn a_node_with_the_expanded_config_asks_the_same_resolvers() {
        for auto_conf in [true, false] {
            let mut config = config();
            config.put("AutoConf.Enabled", json!(auto_conf));
            let asked = |config: &Config| DnsSettings::of_config(config, &mut Vec::new()).unwrap();
            assert_eq!(asked(&config.expanded(false).unwrap()), asked(&config), "{auto_conf}");
        }
    }

    #[test]
    fn auto_is_nobody_in_a_private_network_and_without_autoconf() {
        assert_eq!(config().expanded(true).unwrap().get("Bootstrap"), Ok(json!([])));
        let mut off = config();
        off.put("AutoConf.Enabled", json!(false));
        assert_eq!(off.expanded(false).unwrap().get("Bootstrap"), Ok(json!([])));
        let mut quiet = Config::defaults();
        quiet.apply_profiles("test").unwrap();
        assert_eq!(quiet.expanded(false), Ok(quiet));
    }

    #[test]
    fn what_is_not_in_the_config_is_not_added() {
        let empty = Config::parse("{}").unwrap();
        assert_eq!(empty.expanded(false), Ok(empty));
    }
}

//! What the node uses where its config says `"auto"`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{AUTO, Config, ValueError};

/// Domains of other naming systems, and who is asked for what lies in them: what Kubo has built in for the public network. It
/// has two servers for `eth.` and takes one by chance; here it is always the first, so that a node that is shown is a node as it is.
const DNS_RESOLVERS: [(&str, &str); 1] = [("eth.", "https://dns.eth.limo/dns-query")];

/// Lists whose `"auto"` stands for nobody: this version asks no routers and no publishers of its own accord.
const OF_NOBODY: [&str; 2] = ["Routing.DelegatedRouters", "Ipns.DelegatedPublishers"];

impl Config {
    /// The config with what this node uses in the place of `"auto"`, wherever that may stand: its own peers in `Bootstrap`
    /// (see [`Config::bootstrap_expanded`]), nobody in `Routing.DelegatedRouters` and `Ipns.DelegatedPublishers`, and
    /// [`Config::dns_resolvers`] in `DNS.Resolvers`. What the config does not have is not added.
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
        if self.resolvers_given().is_some() {
            expanded.put("DNS.Resolvers", json!(self.dns_resolvers(private)?));
        }
        Ok(expanded)
    }

    fn resolvers_given(&self) -> Option<&Map<String, Value>> {
        self.document.pointer("/DNS/Resolvers").and_then(Value::as_object)
    }

    /// Who is asked for the names of each domain, as in `DNS.Resolvers`; where that is not there, `"auto"` for all names.
    /// `"auto"` for all names (`.`) is the system's resolver, which an empty text names, and the built-in servers for the
    /// domains that are not in the config; for one domain it is its built-in server, and where there is none, whoever is asked
    /// for the rest. None is built in for a private network, and where AutoConf is off.
    pub fn dns_resolvers(&self, private: bool) -> Result<BTreeMap<String, String>, ValueError> {
        let auto = Map::from_iter([(".".to_owned(), json!(AUTO))]);
        let given = self.resolvers_given().unwrap_or(&auto);
        let known = if !private && self.auto_conf()? { &DNS_RESOLVERS[..] } else { &[] };
        let is = |domain: &str, other: &str| {
            domain.trim_matches('.').eq_ignore_ascii_case(other.trim_matches('.'))
        };
        let mut resolvers = BTreeMap::new();
        for (domain, value) in given {
            match value.as_str().unwrap_or_default() {
                AUTO if is(domain, ".") => {
                    resolvers.insert(domain.clone(), String::new());
                    let others = known.iter().filter(|(other, _)| !given.keys().any(|it| is(it, other)));
                    resolvers.extend(others.map(|(other, url)| ((*other).to_owned(), (*url).to_owned())));
                }
                AUTO => {
                    let own = known.iter().find(|(other, _)| is(domain, other));
                    resolvers.extend(own.map(|(_, url)| (domain.clone(), (*url).to_owned())));
                }
                url => drop(resolvers.insert(domain.clone(), url.to_owned())),
            }
        }
        // An empty map may mean that nobody is asked, which this one did not.
        if resolvers.is_empty() && !given.is_empty() {
            resolvers.insert(".".to_owned(), String::new());
        }
        Ok(resolvers)
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
        for resolvers in
            [json!({ ".": AUTO }), json!({ "eth.": AUTO }), json!({ "x.": AUTO, ".": "udp://127.0.0.1:53" })]
        {
            for (auto_conf, private) in [(true, false), (true, true), (false, false)] {
                let mut config = config();
                config.put("DNS.Resolvers", resolvers.clone());
                config.put("AutoConf.Enabled", json!(auto_conf));
                let asked =
                    |config: &Config| DnsSettings::of_config(config, private, &mut Vec::new()).unwrap();
                let expanded = config.expanded(private).unwrap();
                assert_eq!(asked(&expanded), asked(&config), "{resolvers} {auto_conf} {private}");
            }
        }
    }

    #[test]
    fn auto_in_dns_is_the_systems_resolver_and_the_built_in_ones_of_the_public_network() {
        let limo = DNS_RESOLVERS[0].1;
        let resolvers = |given: Value, auto_conf: bool, private: bool| {
            let mut config = Config::defaults();
            config.put("DNS.Resolvers", given);
            config.put("AutoConf.Enabled", json!(auto_conf));
            json!(config.dns_resolvers(private).unwrap())
        };
        assert_eq!(resolvers(json!({ ".": AUTO }), true, false), json!({ ".": "", "eth.": limo }));
        for (auto_conf, private) in [(true, true), (false, false)] {
            assert_eq!(resolvers(json!({ ".": AUTO }), auto_conf, private), json!({ ".": "" }));
            let own = json!({ ".": "udp://127.0.0.1:53", "Eth.": AUTO });
            assert_eq!(resolvers(own, auto_conf, private), json!({ ".": "udp://127.0.0.1:53" }));
            assert_eq!(resolvers(json!({ "eth.": AUTO }), auto_conf, private), json!({ ".": "" }));
        }
        // What the config says of a domain stands, also that the system is to be asked; of others it says nothing.
        assert_eq!(resolvers(json!({ ".": AUTO, "ETH.": "" }), true, false), json!({ ".": "", "ETH.": "" }));
        let others = json!({ ".": "udp://127.0.0.1:53", "eth.": AUTO, "x.": AUTO });
        assert_eq!(resolvers(others, true, false), json!({ ".": "udp://127.0.0.1:53", "eth.": limo }));
        assert_eq!(resolvers(json!({}), true, false), json!({}));
        let nothing_said = Config::parse("{}").unwrap();
        assert_eq!(json!(nothing_said.dns_resolvers(false).unwrap()), json!({ ".": "", "eth.": limo }));
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

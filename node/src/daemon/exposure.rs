//! Who could reach the API: nothing is listened on that would give this node to whoever comes along.

use serde_json::Value;

use crate::commands::registry::CommandError;
use crate::config::Config;
use crate::http::Endpoint;

/// The key that allows it all the same.
const KEY: &str = "API.AllowUnauthenticated";

/// Whether requests need a secret: there is at least one authorization.
pub(super) fn is_authorized(config: &Config) -> bool {
    let authorizations = config.document().get("API").and_then(|api| api.get("Authorizations"));
    authorizations.and_then(Value::as_object).is_some_and(|users| !users.is_empty())
}

/// Refuses addresses that others can reach, unless requests need a secret there, or the config says that something else
/// sees to it.
pub(super) fn check<'e>(
    endpoints: impl IntoIterator<Item = &'e Endpoint>,
    config: &Config,
    program: &str,
) -> Result<(), CommandError> {
    if is_authorized(config) || config.flag(KEY).map_err(CommandError::from_error)? == Some(true) {
        return Ok(());
    }
    match endpoints.into_iter().find(|endpoint| !endpoint.is_local()) {
        None => Ok(()),
        Some(endpoint) => Err(CommandError::new(refusal(endpoint, program))),
    }
}

fn refusal(endpoint: &Endpoint, program: &str) -> String {
    format!(
        "the RPC API is not served on {endpoint}: it is not a loopback address, and API.Authorizations is empty, so \
         whoever reaches it would control this node. Do one of these:\n\
         - serve this machine alone:\n    {program} config Addresses.API /ip4/127.0.0.1/tcp/5001\n\
         - ask for a secret:\n    {program} config --json API.Authorizations \
         '{{\"me\":{{\"AuthSecret\":\"bearer:SECRET\",\"AllowedPaths\":[\"/api/v0\"]}}}}'\n\
         - where something else keeps others out (a container's network, a firewall, a proxy):\n    \
         {program} config --json {KEY} true"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(config: &str, addresses: &[&str]) -> Result<(), String> {
        let endpoints: Vec<_> = addresses.iter().map(|text| Endpoint::parse(text).unwrap()).collect();
        check(&endpoints, &Config::parse(config).unwrap(), "holdfast").map_err(|error| error.message)
    }

    #[test]
    fn an_address_that_others_reach_needs_a_secret_or_a_word() {
        let everybody = ["/ip4/127.0.0.1/tcp/5001", "/ip4/0.0.0.0/tcp/5001"];
        let words = checked("{}", &everybody).unwrap_err();
        assert!(words.contains("/ip4/0.0.0.0/tcp/5001"), "{words}");
        assert!(words.contains("holdfast config --json API.AllowUnauthenticated true"), "{words}");
        assert_eq!(checked("{}", &["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0", "/unix/run/api"]), Ok(()));
        assert_eq!(checked(r#"{"API":{"AllowUnauthenticated":true}}"#, &everybody), Ok(()));
        assert!(checked(r#"{"API":{"AllowUnauthenticated":false}}"#, &everybody).is_err());
        let secret =
            r#"{"API":{"Authorizations":{"me":{"AuthSecret":"bearer:x","AllowedPaths":["/api/v0"]}}}}"#;
        assert_eq!(checked(secret, &everybody), Ok(()));
        assert!(checked(r#"{"API":{"Authorizations":{}}}"#, &["/ip6/::/tcp/1"]).is_err());
        assert!(checked(r#"{"API":{"Authorizations":null}}"#, &["/ip4/192.168.1.1/tcp/1"]).is_err());
    }
}

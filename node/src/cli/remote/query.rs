//! A call as the path and query of a request.

use form_urlencoded::Serializer;

use crate::commands::registry::{ArgKind, Call, Command, CommandError, OptValue};

/// Where the commands are.
const PREFIX: &str = "/api/v0";

/// Bytes of path and query: servers bound the head of a request, and commands that take their arguments from standard
/// input also take them from a body.
const QUERY_BYTES_MAX: usize = 24 << 10;

/// Options that are about this end alone, or that this end sets.
const NOT_SENT: [&str; 12] = [
    "api",
    "api-auth",
    "config",
    "config-file",
    "debug",
    "encoding",
    "h",
    "help",
    "json-lines",
    "local",
    "repo-dir",
    "stream-channels",
];

/// A call in the form of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// The request's target.
    pub(super) path_and_query: String,
    /// Arguments that go into the body, one a line, because they are too many.
    pub(super) args_in_body: Option<Vec<String>>,
}

/// The request that makes a daemon run this call. `has_input`: the body is taken.
pub(super) fn of_call(command: &Command, call: &Call, has_input: bool) -> Result<Query, CommandError> {
    let path = format!("{PREFIX}/{}", call.path().join("/"));
    let whole = format!("{path}?{}", query(call, call.args()));
    if whole.len() <= QUERY_BYTES_MAX {
        return Ok(Query { path_and_query: whole, args_in_body: None });
    }
    // Those of the last argument, if it is a list that may come from standard input.
    let texts: Vec<_> = command.args.iter().filter(|arg| arg.kind == ArgKind::Text).collect();
    let before = texts.len().saturating_sub(1);
    let listed = texts.last().is_some_and(|arg| arg.stdin && arg.variadic) && !has_input;
    let (kept, moved) = call.args().split_at(before.min(call.args().len()));
    let short = format!("{path}?{}", query(call, kept));
    if !listed || short.len() > QUERY_BYTES_MAX || moved.iter().any(|arg| arg.contains('\n')) {
        return Err(CommandError::client(
            "the arguments are too long for one request to the daemon: give fewer at a time",
        ));
    }
    Ok(Query { path_and_query: short, args_in_body: Some(moved.to_vec()) })
}

fn query(call: &Call, args: &[String]) -> String {
    let mut query = Serializer::new(String::new());
    for arg in args {
        query.append_pair("arg", arg);
    }
    for (name, value) in call.given() {
        // A command may have an option of its own under the name of a global one.
        if NOT_SENT.contains(&name) {
            continue;
        }
        match value {
            OptValue::List(values) => {
                for value in values {
                    query.append_pair(name, value);
                }
            }
            value => {
                query.append_pair(name, &value.to_string());
            }
        }
    }
    if call.bool("local") && !call.is_given("offline") {
        query.append_pair("offline", "true");
    }
    query.append_pair("encoding", "json").finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::registry;
    use crate::commands::registry::{Door, RawOption, Registry};

    fn of(words: &[&str], options: &[(&str, Option<&str>)], args: &[String]) -> Result<Query, CommandError> {
        let registry = registry();
        let path = registry.find(words).unwrap();
        let raw: Vec<_> = options
            .iter()
            .map(|(name, value)| RawOption { name: (*name).to_owned(), value: value.map(str::to_owned) })
            .collect();
        let call = Registry::call(&path, &raw, Door::Terminal).unwrap();
        let call = call.with_args(path.command(), args.to_vec()).unwrap();
        of_call(path.command(), &call, false)
    }

    #[test]
    fn what_was_given_is_sent_and_what_is_about_this_end_is_not() {
        let query = of(
            &["pin", "ls"],
            &[
                ("t", Some("recursive")),
                ("api", Some("/ip4/1.2.3.4/tcp/1")),
                ("L", None),
                ("enc", Some("text")),
            ],
            &["a b/ü".to_owned()],
        );
        let expected = "/api/v0/pin/ls?arg=a+b%2F%C3%BC&type=recursive&offline=true&encoding=json";
        assert_eq!(query.unwrap().path_and_query, expected);
        let lists = of(&["add"], &[("ignore", Some("a")), ("ignore", Some("b"))], &[]).unwrap();
        assert_eq!(lists.path_and_query, "/api/v0/add?ignore=a&ignore=b&encoding=json");
    }

    #[test]
    fn arguments_that_are_too_many_go_into_the_body() {
        let cids: Vec<_> = (0..2000).map(|number| format!("Qm{number:044}")).collect();
        let query = of(&["block", "rm"], &[("force", None)], &cids).unwrap();
        assert_eq!(query.path_and_query, "/api/v0/block/rm?force=true&encoding=json");
        assert_eq!(query.args_in_body.unwrap(), cids);
        let long = "x".repeat(QUERY_BYTES_MAX);
        assert!(of(&["files", "mkdir"], &[], &[long]).unwrap_err().message.contains("too long"));
    }
}

//! From a request to a call: the command that its path names, options and arguments of its query, files of its body.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::multipart::{self, Upload, boundary};
use crate::commands::registry::{
    Arg, ArgKind, Call, Command, Door as CallDoor, Input, Path, RawOption, Registry, Request,
};
use crate::http::Body;

/// Bytes of arguments that come as lines of a file: they are held in memory.
const ARGUMENT_BYTES_MAX: u64 = 16 << 20;
/// Most lines of such a body. Each is an argument, with some 40 bytes around it in memory.
const ARGUMENT_LINES_MAX: usize = 256 << 10;
/// The name in a query of what is an argument.
const ARGUMENT: &str = "arg";
/// The option that makes no sense here, where values are lines of JSON anyway, and whose short name clients use for others.
const JSON_LINES: &str = "json-lines";

/// Why a request is no call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such command.
    NotFound,
    /// Kubo has it and this version does not; in full words.
    Unsupported(String),
    /// The caller is wrong, in full words.
    Bad(String),
}

fn bad(error: impl std::fmt::Display) -> Refusal {
    Refusal::Bad(error.to_string())
}

/// A command, and what a request's path and query say to it.
pub(super) struct Found<'r> {
    pub(super) path: Path<'r>,
    arguments: Vec<String>,
    options: Vec<RawOption>,
}

/// Finds the command that a path names. The last segment may be its first argument.
pub(super) fn find<'r>(
    registry: &'r Registry,
    segments: &[String],
    query: &str,
) -> Result<Found<'r>, Refusal> {
    let (mut path, mut rest) = (registry.root(), segments);
    while let [word, tail @ ..] = rest
        && let Some(child) = path.child(word)
    {
        (path, rest) = (child, tail);
    }
    let command = path.command();
    let is_here = !path.terminal_only() && !path.words().is_empty();
    let mut arguments = match (rest, path.unsupported()) {
        _ if !is_here => return Err(Refusal::NotFound),
        ([] | [_], Some(words)) => return Err(Refusal::Unsupported(words)),
        (rest, _) => arguments_of(command, rest)?,
    };
    let mut options = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name == ARGUMENT {
            arguments.push(value.into_owned());
        } else if path.option(&name).is_some_and(|option| option.name() != JSON_LINES) {
            options.push(RawOption::new(name, value));
        }
    }
    Ok(Found { path, arguments, options })
}

/// What follows a command in a path: nothing, or its first argument.
fn arguments_of(command: &Command, rest: &[String]) -> Result<Vec<String>, Refusal> {
    match rest {
        [] => Ok(Vec::new()),
        [argument] if command.is_runnable() => Ok(vec![argument.clone()]),
        _ => Err(Refusal::NotFound),
    }
}

/// A call that can be run.
pub(super) struct Prepared {
    pub(super) call: Call,
    pub(super) request: Request,
    /// To be kept while the command may read its files.
    pub(super) upload: Option<Upload>,
}

impl Found<'_> {
    /// Types the options, reads arguments, and begins to read files.
    pub(super) async fn prepare(
        self,
        headers: &HeaderMap,
        body: Body,
        upload_bytes_max: Option<u64>,
    ) -> Result<Prepared, Refusal> {
        let command = self.path.command();
        self.check_repeated()?;
        let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
        let boundary = boundary(content_type).transpose().map_err(bad)?;
        let file = command.args.iter().find(|arg| arg.kind == ArgKind::File);
        if let Some(file) = command.args.iter().find(|arg| arg.kind == ArgKind::File && arg.required)
            && boundary.is_none()
        {
            return Err(Refusal::Bad(format!("file argument '{}' is required", file.name)));
        }
        let call = Registry::call(&self.path, &self.options, CallDoor::Http).map_err(bad)?;
        let mut arguments = self.arguments;
        let (mut input, mut upload) = (Input::none(), None);
        match (&boundary, file) {
            (Some(boundary), Some(_)) => {
                let (entries, reading) = multipart::open(body, boundary, upload_bytes_max).map_err(bad)?;
                (input, upload) = (entries, Some(reading));
            }
            (Some(boundary), None) if lines_are_arguments(command, &call, arguments.len()) => {
                let lines =
                    multipart::first_file(body, boundary, ARGUMENT_BYTES_MAX).await.map_err(Refusal::Bad)?;
                let lines = String::from_utf8(lines.unwrap_or_default()).map_err(bad)?;
                let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
                arguments.extend(lines.take(ARGUMENT_LINES_MAX + 1).map(str::to_owned));
                if arguments.len() > ARGUMENT_LINES_MAX {
                    let text = format!(
                        "more than {ARGUMENT_LINES_MAX} arguments in one request: split them among several"
                    );
                    return Err(Refusal::Bad(text));
                }
            }
            _ => {}
        }
        let call = call.with_args(command, arguments).map_err(bad)?;
        call.encoding().map_err(bad)?;
        call.timeout().map_err(bad)?;
        Ok(Prepared { request: Request::new(call.clone(), input), call, upload })
    }

    /// Kubo's words for an option that is given twice under one name.
    fn check_repeated(&self) -> Result<(), Refusal> {
        for given in &self.options {
            let Some(option) = self.path.option(&given.name).filter(|option| !option.kind.repeats()) else {
                continue;
            };
            let same = self.options.iter().filter(|other| other.name == given.name);
            let values: Vec<&str> = same.filter_map(|other| other.value.as_deref()).collect();
            if values.len() > 1 {
                let (name, values) = (option.name(), values.join(" "));
                return Err(Refusal::Bad(format!(
                    "expected key {name} to have only a single value, received [{values}]"
                )));
            }
        }
        Ok(())
    }
}

/// Whether the last argument may come as lines of a file, and is not there yet.
fn lines_are_arguments(command: &Command, call: &Call, given: usize) -> bool {
    let takes = |arg: &Arg| {
        arg.kind == ArgKind::Text && arg.stdin && !arg.stdin_unless.is_some_and(|option| call.bool(option))
    };
    command.args.last().is_some_and(takes) && given < command.args.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::registry::{CommandError, Opt, Response};

    fn registry() -> Registry {
        let nothing = |_, _| std::future::ready(Ok::<_, CommandError>(Response::Empty));
        let ls = Command::new("ls", "")
            .arg(Arg::text("path", "").variadic().stdin())
            .opt(Opt::bool("long l", ""))
            .opt(Opt::strings("tag", ""))
            .run(nothing);
        let pin = Command::new("pin", "")
            .subcommand(ls)
            .subcommand(Command::new("later", "").planned("not yet"))
            .subcommand(Command::new("here", "").terminal_only().run(nothing));
        let write = Command::new("write", "")
            .arg(Arg::text("to", "").required())
            .arg(Arg::file("data", "").required())
            .run(nothing);
        let root = Command::new("", "")
            .opt(Opt::string("timeout", ""))
            .opt(Opt::string("encoding enc", ""))
            .opt(Opt::bool("json-lines json", ""));
        Registry::new(root.subcommand(pin).subcommand(write))
    }

    async fn call_of(path: &str, query: &str, content_type: &str, body: &str) -> Result<Call, Refusal> {
        let registry = registry();
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        let found = find(&registry, &segments, query)?;
        found.prepare(&headers, Body::from_bytes(body.to_owned()), None).await.map(|prepared| prepared.call)
    }

    async fn refusal(path: &str, query: &str) -> Refusal {
        call_of(path, query, "text/plain", "").await.unwrap_err()
    }

    #[tokio::test]
    async fn a_path_names_a_command_and_at_most_one_argument() {
        let args = async |path| call_of(path, "arg=b", "", "").await.map(|call| call.args().to_vec());
        assert_eq!(args("pin/ls").await.unwrap(), ["b"]);
        assert_eq!(args("pin/ls/a").await.unwrap(), ["a", "b"]);
        for path in ["pin/nosuch", "nosuch", "pin/ls/a/b", "pin/later/a/b", "pin/here", "pin/here/x", ""] {
            assert_eq!(args(path).await, Err(Refusal::NotFound), "{path}");
        }
        for path in ["pin/later", "pin/later/a"] {
            let words = "command \"pin later\" is not supported by this version of holdfast: not yet";
            assert_eq!(args(path).await, Err(Refusal::Unsupported(words.to_owned())), "{path}");
        }
        assert!(args("pin").await.is_err(), "arguments of a group");
    }

    #[tokio::test]
    async fn options_go_by_any_name_and_unknown_ones_are_ignored() {
        let call = call_of("pin/ls", "l&tag=a&tag=b&nope=1&nope=2&timeout=1s&enc=text&json=x", "", "")
            .await
            .unwrap();
        assert!(call.bool("long") && !call.json_lines());
        assert_eq!(call.list("tag"), ["a", "b"]);
        assert_eq!(call.text("encoding"), "text");
        let call = call_of("pin/ls", "long=False&arg=a%20b&arg=c%2Bd+e", "", "").await.unwrap();
        assert_eq!(
            (call.bool_opt("long"), call.args()),
            (Some(false), &["a b".to_owned(), "c+d e".to_owned()][..])
        );
        let words = [
            ("l=true&l=false", "expected key long to have only a single value, received [true false]"),
            ("l=true&long=false", "multiple values for option \"long\""),
            ("l=x", "could not convert value \"x\" to type \"bool\" (for option \"-l\")"),
            ("timeout=5", "time: missing unit in duration \"5\""),
            ("encoding=nope", "invalid encoding: nope"),
        ];
        for (query, words) in words {
            assert_eq!(refusal("pin/ls", query).await, Refusal::Bad(words.to_owned()), "{query}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_required_comes_as_multipart() {
        let required = Refusal::Bad("file argument 'data' is required".to_owned());
        assert_eq!(refusal("write", "arg=x").await, required);
        assert_eq!(
            call_of("write", "arg=x", "application/octet-stream", "data").await.unwrap_err(),
            required
        );
        assert!(call_of("write", "arg=x", "multipart/form-data; boundary=b", "--b--").await.is_ok());
        let missing = call_of("write", "", "multipart/form-data; boundary=b", "--b--").await.unwrap_err();
        assert_eq!(missing, Refusal::Bad("argument \"to\" is required".to_owned()));
        let boundary = call_of("write", "arg=x", "multipart/form-data", "--b--").await.unwrap_err();
        assert_eq!(boundary, Refusal::Bad("no multipart boundary param in Content-Type".to_owned()));
        let many =
            call_of("write", "arg=x&arg=y", "multipart/form-data; boundary=b", "--b--").await.unwrap_err();
        assert!(matches!(many, Refusal::Bad(words) if words.starts_with("expected 1 argument")));
    }

    #[tokio::test]
    async fn arguments_may_come_as_lines_of_a_file() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\n a \r\n\r\nb\n\r\n--b--\r\n";
        let multipart = "multipart/form-data; boundary=b";
        assert_eq!(call_of("pin/ls", "", multipart, body).await.unwrap().args(), ["a", "b"]);
        assert_eq!(
            call_of("pin/ls", "arg=x", multipart, body).await.unwrap().args(),
            ["x"],
            "the query has them"
        );
        assert_eq!(call_of("pin/ls", "", "text/plain", body).await.unwrap().args(), [""; 0]);
    }
}

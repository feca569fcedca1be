//! How answers are written: heads, values, errors before and behind the first byte.

// Commands have one signature, also where nothing can go wrong in them.
#![allow(clippy::unnecessary_wraps)]

use std::sync::{Arc, Mutex};

use futures_util::stream;
use serde_json::json;

use super::*;
use crate::commands::registry::{
    ByteStream, Command, CommandError, Needs, Opt, Request as CommandRequest, Response as Answer,
};

type Ran = Result<Answer, CommandError>;

fn command(name: &'static str, answer: fn(&CommandRequest) -> Ran) -> Command {
    Command::new(name, "").needs(Needs::Nothing).run(move |_, request| std::future::ready(answer(&request)))
}

fn values(values: Vec<Result<Value, CommandError>>) -> Ran {
    Ok(Answer::Stream(stream::iter(values).boxed()))
}

fn bytes(pieces: Vec<Result<Bytes, CommandError>>, content_type: &'static str) -> Ran {
    Ok(Answer::Bytes(ByteStream { stream: stream::iter(pieces).boxed(), length: Some(7), content_type }))
}

fn failure() -> CommandError {
    CommandError::new("it\nbroke")
}

fn text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    out.extend_from_slice(format!("<{}>\n", value["N"]).as_bytes());
    Ok(())
}

fn registry() -> Registry {
    let half = |_: &CommandRequest| values(vec![Ok(json!({ "N": 1 })), Err(failure())]);
    let root = Command::new("", "")
        .opt(Opt::string("encoding enc", ""))
        .opt(Opt::string("timeout", ""))
        .subcommand(command("one", |_| Ok(Answer::One(json!({ "N": "<&>" })))).text(text))
        .subcommand(command("none", |_| Ok(Answer::Empty)))
        .subcommand(command("two", |_| values(vec![Ok(json!({ "N": 1 })), Ok(json!({ "N": 2 }))])).text(text))
        .subcommand(command("no-values", |_| values(Vec::new())))
        .subcommand(command("fails", |_| Err(failure())))
        .subcommand(command("blames", |_| Err(CommandError::client("your fault"))))
        .subcommand(command("fails-first", |_| values(vec![Err(failure())])))
        .subcommand(command("fails-later", half))
        .subcommand(command("fails-loudly", half).fails_loudly())
        .subcommand(command("raw", |_| bytes(vec![Ok("abc".into()), Ok("defg".into())], "application/x-tar")))
        .subcommand(command("raw-fails", |_| bytes(vec![Err(failure())], "text/plain")))
        .subcommand(command("raw-breaks", |_| bytes(vec![Ok("abc".into()), Err(failure())], "text/plain")))
        .subcommand(command("listing", |_| {
            bytes(vec![Ok("{\"Keys\"".into()), Ok(":{}}\n".into())], "application/json")
        }))
        .subcommand(command("panics", |_| panic!("a test")))
        .subcommand(command("waits", |_| Ok(Answer::Stream(stream::pending().boxed()))))
        .subcommand(command("feed", |_| Ok(Answer::Stream(stream::pending().boxed()))).feed())
        .subcommand(command("stops", |_| {
            let first = stream::iter([Ok(json!({ "N": 1 }))]);
            Ok(Answer::Stream(first.chain(stream::pending()).boxed()))
        }))
        .subcommand(Command::new("group", "").subcommand(command("sub", |_| Ok(Answer::Empty))));
    Registry::new(root)
}

async fn ask(path: &str) -> Got {
    post(&door_to(registry(), "{}"), &format!("/api/v0/{path}")).await
}

#[tokio::test]
async fn one_value_is_one_line_without_marks() {
    let got = ask("one").await;
    assert_eq!((got.status, got.text()), (200, "{\"N\":\"<&>\"}\n"));
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("trailer"), "X-Stream-Error");
    assert_eq!((got.header("x-chunked-output"), got.header("x-stream-output")), ("", ""));
    assert_eq!(
        got.header("access-control-expose-headers"),
        "X-Stream-Output, X-Chunked-Output, X-Content-Length"
    );
    assert_eq!(got.header("vary"), "Origin");
    assert!(got.header("server").starts_with("holdfast/") && got.header("server").contains("kubo/0.44.0"));
}

#[tokio::test]
async fn values_are_lines_and_marked() {
    let got = ask("two").await;
    assert_eq!((got.text(), got.header("x-chunked-output")), ("{\"N\":1}\n{\"N\":2}\n", "1"));
    for path in ["none", "no-values"] {
        let got = ask(path).await;
        assert_eq!((got.status, got.text(), got.header("x-chunked-output")), (200, "", "1"), "{path}");
        assert_eq!(got.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn bytes_are_marked_and_one_json_value_of_bytes_is_not() {
    let got = ask("raw").await;
    assert_eq!(
        (got.text(), got.header("x-stream-output"), got.header("x-content-length")),
        ("abcdefg", "1", "7")
    );
    assert_eq!(got.header("content-type"), "application/x-tar");
    let got = ask("listing").await;
    assert_eq!((got.text(), got.header("content-type")), ("{\"Keys\":{}}\n", "application/json"));
    assert_eq!((got.header("x-stream-output"), got.header("x-content-length")), ("", ""));
}

#[tokio::test]
async fn an_error_before_the_first_value_is_the_answer() {
    for (path, status, message, code) in [
        ("fails", 500, "it\nbroke", 0),
        ("fails-first", 500, "it\nbroke", 0),
        ("raw-fails", 500, "it\nbroke", 0),
        ("blames", 400, "your fault", 1),
        ("group", 400, "This command can't be called directly. Try one of its subcommands.", 1),
    ] {
        let got = ask(path).await;
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.json(), json!({ "Message": message, "Code": code, "Type": "error" }), "{path}");
        assert_eq!(
            (got.header("content-type"), got.header("trailer")),
            ("application/json", "X-Stream-Error")
        );
    }
    let got = ask("fails?encoding=text").await;
    assert_eq!(
        (got.status, got.text(), got.header("content-type")),
        (500, "Error: it\nbroke\n", "text/plain")
    );
}

#[tokio::test]
async fn an_error_behind_the_first_value_comes_as_a_trailer_or_cuts_the_answer() {
    for (path, body) in [("fails-later", "{\"N\":1}\n"), ("raw-breaks", "abc")] {
        let got = ask(path).await;
        assert_eq!((got.status, got.text(), got.is_cut), (200, body, false));
        assert_eq!(got.trailers["x-stream-error"], "it broke");
    }
    let got = ask("fails-loudly").await;
    assert_eq!((got.status, got.is_cut, got.trailers.len()), (200, true, 0));
    let lines: Vec<&str> = got.text().split_inclusive("}\n").collect();
    assert_eq!(lines[1], "{\"Message\":\"it\\nbroke\",\"Code\":0,\"Type\":\"error\"}\n");
}

#[tokio::test]
async fn values_are_text_where_the_caller_wants_that() {
    let got = ask("two?enc=text").await;
    assert_eq!(
        (got.text(), got.header("content-type"), got.header("x-chunked-output")),
        ("<1>\n<2>\n", "text/plain", "1")
    );
    assert_eq!(ask("one?encoding=text").await.text(), "<\"<&>\">\n");
    let got = ask("two?encoding=protobuf").await;
    assert_eq!((got.status, got.text()), (400, "invalid encoding: protobuf\n"));
}

#[tokio::test]
async fn a_panic_is_an_error_and_nothing_else() {
    let door = door_to(registry(), "{}");
    let got = post(&door, "/api/v0/panics").await;
    assert_eq!(got.status, 500);
    assert!(got.json()["Message"].as_str().unwrap().contains("panicked"));
    assert_eq!(post(&door, "/api/v0/one").await.status, 200);
}

#[tokio::test]
async fn a_timeout_ends_a_command_before_and_behind_its_first_value() {
    let got = ask("waits?timeout=1ms").await;
    assert_eq!((got.status, got.json()["Message"].as_str().unwrap()), (500, "context deadline exceeded"));
    let got = ask("stops?timeout=2s").await;
    assert_eq!((got.status, got.text()), (200, "{\"N\":1}\n"));
    assert_eq!(got.trailers["x-stream-error"], "context deadline exceeded");
    assert_eq!(ask("one?timeout=1h").await.status, 200);
    let got = ask("one?timeout=soon").await;
    assert_eq!((got.status, got.text()), (400, "time: invalid duration \"soon\"\n"));
}

#[tokio::test]
async fn a_feed_is_answered_before_it_has_anything_to_say() {
    let request = request("POST", "/api/v0/feed").body(Body::from_bytes("")).unwrap();
    let answer = soon(door_to(registry(), "{}").handle(request)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-chunked-output"], "1");
}

/// Notes what it is told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

struct Noted {
    notes: Notes,
    command: String,
    outcome: Option<Outcome>,
}

impl Watch for Notes {
    fn begin(&self, call: &Call) -> Box<dyn Watched> {
        Box::new(Noted { notes: self.clone(), command: call.path().join("/"), outcome: None })
    }
}

impl Watched for Noted {
    fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.notes.0.lock().unwrap().push(format!("{} {:?}", self.command, self.outcome));
    }
}

#[tokio::test]
async fn who_watches_is_told_how_every_command_ends() {
    let notes = Notes::default();
    let params =
        ContextParams { repo_dir: PathBuf::default(), config_file: None, program: "ipfs".to_owned() };
    let watch = Arc::new(notes.clone());
    let door =
        Door::with_routes(Context::new(params), Arc::new(registry()), settings("{}"), Routes::new(), watch);
    for path in ["one", "two", "fails", "fails-later", "panics", "nosuch"] {
        post(&door, &format!("/api/v0/{path}")).await;
    }
    let answer = door.handle(request("POST", "/api/v0/stops").body(Body::from_bytes("")).unwrap()).await;
    drop(answer);
    let told = notes.0.lock().unwrap().clone();
    let expected = [
        "one Some(Success)",
        "two Some(Success)",
        "fails Some(Error)",
        "fails-later Some(Error)",
        "panics Some(Error)",
        "stops None",
    ];
    assert_eq!(told, expected);
}

//! `diag` and `log` in a process that is a daemon: a node in a folder of its own, and a runtime.

use std::io::Read as _;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::registry::{CommandError, Door, Input, RawOption, Registry, Request, Response};
use crate::commands::{Context, ContextParams, registry};
use crate::node;
use crate::observe::Logs;
use crate::observe::log::LogSettings;
use crate::repo_init::InitParams;
use crate::runtime::Runtime;

struct Daemon {
    context: Context,
    registry: Registry,
    _folder: TempDir,
    _subscriber: tracing::subscriber::DefaultGuard,
}

impl Daemon {
    /// Its logs are those of this thread: tests run on one.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        let node = crate::Node::builder().repo(&repo).maintenance(false).open().await.unwrap();
        let file = folder.path().join("log").display().to_string();
        let variable = |name: &str| (name == "GOLOG_FILE").then(|| file.clone());
        let settings = LogSettings::from_variables(&variable, false, false).unwrap();
        let (logs, subscriber) = Logs::build(settings).unwrap();
        let params = ContextParams { repo_dir: repo, config_file: None, program: "ipfs".to_owned() };
        let context = Context::of_node(params, node).with_runtime(Runtime::with_logs(logs));
        let subscriber = tracing::subscriber::set_default(subscriber);
        Self { context, registry: registry(), _folder: folder, _subscriber: subscriber }
    }

    fn request(&self, line: &str) -> Request {
        let (mut words, mut args, mut options) = (Vec::new(), Vec::new(), Vec::new());
        for word in line.split(' ') {
            if let Some(option) = word.strip_prefix("--") {
                let (name, value) = option.split_once('=').unwrap();
                options.push(RawOption::new(name, value));
                continue;
            }
            words.push(word);
            if self.registry.find(&words).is_none() {
                args.extend(words.pop().map(str::to_owned));
            }
        }
        let path = self.registry.find(&words).unwrap();
        let call =
            Registry::call(&path, &options, Door::Http).unwrap().with_args(path.command(), args).unwrap();
        Request::new(call, Input::none())
    }

    async fn run(&self, line: &str) -> Result<Response, CommandError> {
        let request = self.request(line);
        let path = self.registry.find(request.path()).unwrap();
        path.command().start(self.context.clone(), request).unwrap().await
    }

    async fn value(&self, line: &str) -> Value {
        match self.run(line).await.unwrap() {
            Response::One(value) => value,
            other => panic!("{line}: {other:?}"),
        }
    }

    async fn text(&self, line: &str) -> String {
        let (value, request) = (self.value(line).await, self.request(line));
        let path = self.registry.find(request.path()).unwrap();
        let mut out = Vec::new();
        path.command().text_form(&request).unwrap().value(&request, &value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    async fn error(&self, line: &str) -> String {
        self.run(line).await.unwrap_err().message
    }

    fn runtime(&self) -> &Runtime {
        self.context.runtime().unwrap()
    }
}

#[tokio::test]
async fn levels_are_told_and_set_in_kubos_words() {
    let daemon = Daemon::start().await;
    assert_eq!(daemon.value("log level").await, json!({ "Levels": { "": "info" } }));
    assert_eq!(daemon.text("log level gc").await, "info\n");
    let changed = daemon.value("log level gc debug").await;
    assert_eq!(changed, json!({ "Message": "Changed log level of 'gc' to 'debug'\n" }));
    assert_eq!(daemon.text("log level gc").await, "debug\n");
    assert_eq!(daemon.text("log level rpc").await, "info\n");
    assert_eq!(daemon.text("log level all error").await, "Changed log level of '*' to 'error'\n");
    let all = daemon.text("log level all").await;
    assert!(all.starts_with("(default): error\nblockstore: error\n"), "{all}");
    daemon.run("log level gc warn").await.unwrap();
    daemon.run("log level gc default").await.unwrap();
    assert_eq!(daemon.text("log level gc").await, "error\n");
    assert_eq!(daemon.error("log level gc loud").await, "unrecognized level: \"loud\"");
    assert!(daemon.error("log level nonsense debug").await.starts_with("error: No such logger: nonsense"));
    let names = daemon.value("log ls").await;
    assert!(names["Strings"].as_array().unwrap().contains(&json!("gc")), "{names}");
}

#[tokio::test]
async fn the_log_is_followed_until_the_daemon_stops() {
    let daemon = Daemon::start().await;
    let Response::Bytes(tail) = daemon.run("log tail --log-level=warn").await.unwrap() else {
        panic!("lines are bytes")
    };
    tracing::info!("not severe enough");
    tracing::warn!(target: "holdfast_blockstore::gc::sweep", blocks = 3, "something");
    daemon.runtime().stop();
    let lines: Vec<_> = tail.stream.try_collect().await.unwrap();
    let line: Value = serde_json::from_slice(&lines.concat()).unwrap();
    assert_eq!(
        (&line["logger"], &line["msg"], &line["blocks"]),
        (&json!("gc"), &json!("something"), &json!(3))
    );
}

#[tokio::test]
async fn commands_that_run_and_ran_are_listed_and_forgotten() {
    let daemon = Daemon::start().await;
    let running = daemon.runtime().requests().begin(&daemon.request("pin ls --type=all"));
    drop(daemon.runtime().requests().begin(&daemon.request("version")));
    let list = daemon.value("diag cmds").await;
    assert_eq!((&list[0]["Command"], &list[0]["Active"]), (&json!("pin/ls"), &json!(true)));
    assert_eq!(
        (&list[0]["Options"], &list[0]["EndTime"]),
        (&json!({ "type": "all" }), &json!("0001-01-01T00:00:00Z"))
    );
    assert_eq!((&list[1]["Command"], &list[1]["Active"]), (&json!("version"), &json!(false)));
    let text = daemon.text("diag cmds").await;
    assert!(text.starts_with("Command  Active  StartTime        RunTime\npin/ls   true    "), "{text}");
    daemon.run("diag cmds clear").await.unwrap();
    assert_eq!(daemon.value("diag cmds").await.as_array().unwrap().len(), 1);
    daemon.run("diag cmds set-time 0s").await.unwrap();
    drop(running);
    assert_eq!(daemon.value("diag cmds").await, json!([]));
    assert_eq!(daemon.error("diag cmds set-time soon").await, "time: invalid duration \"soon\"");
}

#[tokio::test]
async fn a_daemon_is_healthy_until_it_stops() {
    let daemon = Daemon::start().await;
    assert_eq!(daemon.text("diag healthy").await, "ok\n");
    daemon.runtime().stop();
    assert_eq!(daemon.error("diag healthy").await, "the daemon is shutting down");
}

#[tokio::test]
async fn a_profile_holds_what_its_readme_says_and_no_key() {
    let daemon = Daemon::start().await;
    let log = async {
        // After the profile has begun, which is polled first.
        tracing::warn!("seen in the profile");
    };
    let (answer, ()) = tokio::join!(daemon.run("diag profile --profile-time=300ms"), log);
    let Response::Bytes(archive) = answer.unwrap() else { panic!("an archive is bytes") };
    assert_eq!(archive.content_type, "application/zip");
    let bytes: Vec<_> = archive.stream.try_collect().await.unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes.concat())).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let mut all = String::new();
    let mut read = |name: &str| {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        all.push_str(&text);
        text
    };
    let readme = read("README.txt");
    for name in &names {
        let text = read(name);
        assert!(!text.is_empty() || name == "log.jsonl", "{name} is empty");
        assert!(name == "README.txt" || name.starts_with("metrics-") || readme.contains(name), "{name}");
    }
    assert!(read("log.jsonl").contains("seen in the profile"));
    assert!(read("metrics-after.txt").contains("ipfs_node_health"));
    assert!(read("threads.txt").contains("threads, watched for 0.3 s"));
    let config = daemon.context.read_config().unwrap();
    assert!(!all.contains(config["Identity"]["PrivKey"].as_str().unwrap()));
    assert!(daemon.error("diag profile --profile-time=1h").await.contains("10 minutes"));
    assert!(
        daemon
            .error("diag profile --profile-time=soon")
            .await
            .starts_with("failed to parse profile duration")
    );
}

#[tokio::test]
async fn without_a_daemon_there_is_nothing_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let params =
        ContextParams { repo_dir: folder.path().to_owned(), config_file: None, program: "ipfs".to_owned() };
    let daemon = Daemon { context: Context::new(params), ..Daemon::start().await };
    for line in ["log level", "log tail", "diag cmds", "diag profile"] {
        assert_eq!(daemon.error(line).await, format!("command must be run on the daemon: [{line}]"));
    }
    assert_eq!(daemon.error("diag healthy").await, "daemon not running");
}

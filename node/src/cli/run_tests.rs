//! Command lines run to their end, with the outputs caught.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Environment, execute, prepare};
use crate::commands::Terminal;
use crate::commands::registry::{
    Arg, Call, Command, CommandError, EntryKind, Needs, Opt, Registry, Request, Response, TextForm,
};

#[derive(Clone, Default)]
struct Caught(Arc<Mutex<Vec<u8>>>);

impl Caught {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Caught {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that went away.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _data: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment(words: &[&str], repo: &Path) -> Environment {
    Environment {
        program: "ipfs".to_owned(),
        words: words.iter().map(Into::into).collect(),
        ipfs_path: Some(repo.to_owned()),
        home: None,
    }
}

/// Exit code, standard output and standard error of a line.
fn run_on(registry: &Registry, words: &[&str], terminal: impl FnOnce(&mut Terminal)) -> (u8, String, String) {
    let repo = tempfile::tempdir().unwrap();
    let (out, err) = (Caught::default(), Caught::default());
    let mut outputs = Terminal::new(out.clone(), err.clone());
    terminal(&mut outputs);
    let code = match prepare(registry, &environment(words, repo.path()), &mut outputs) {
        Err(code) => code,
        Ok(job) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(job, &mut outputs))
        }
    };
    outputs.flush().unwrap();
    (code, out.text(), err.text())
}

fn run(words: &[&str]) -> (u8, String, String) {
    run_on(&crate::commands::registry(), words, |_| {})
}

/// The last value alone, as `add -Q` prints it.
struct LastOnly(String);

impl TextForm for LastOnly {
    fn value(&mut self, _call: &Call, value: &Value, _out: &mut Vec<u8>) -> Result<(), CommandError> {
        self.0 = value["N"].to_string();
        Ok(())
    }

    fn end(&mut self, _call: &Call, out: &mut Vec<u8>) -> Result<(), CommandError> {
        out.extend_from_slice(format!("last {}\n", self.0).as_bytes());
        Ok(())
    }
}

/// Commands of all shapes.
fn registry() -> Registry {
    let word = |_: &Call, value: &Value, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("<{}>\n", value["Name"].as_str().unwrap()).as_bytes());
        Ok(())
    };
    let values = |_, request: Request| async move {
        Ok(Response::values(request.args().iter().map(|name| json!({ "Name": name })).collect()))
    };
    let echo = || {
        Command::new("echo", "Echo.").arg(Arg::text("name", "").variadic()).needs(Needs::Nothing).run(values)
    };
    Registry::new(
        Command::new("", "Root.")
            .opt(Opt::string("encoding enc", ""))
            .opt(Opt::bool("json-lines json", ""))
            .opt(Opt::string("timeout", ""))
            .opt(Opt::string("api", ""))
            .subcommand(echo().text(word))
            .subcommand(Command { name: "texts", ..echo().text(word).always_text() })
            .subcommand(Command { name: "plain", ..echo() })
            .subcommand(
                Command::new("last", "Last.")
                    .needs(Needs::Nothing)
                    .text_with(|_| LastOnly(String::new()))
                    .run(|_, _| async { Ok(Response::values((0..3).map(|n| json!({ "N": n })).collect())) }),
            )
            .subcommand(Command::new("broken", "Broken.").needs(Needs::Nothing).run(|_, _| async {
                let values = [Ok(json!("one")), Err(CommandError::client("two is bad"))];
                Ok(Response::Stream(Box::pin(futures_util::stream::iter(values))))
            }))
            .subcommand(
                Command::new("forever", "Forever.")
                    .needs(Needs::Nothing)
                    .run(|_, _| std::future::pending::<Result<Response, CommandError>>()),
            )
            .subcommand(Command::new("needy", "Needy.").run(|_, _| async { Ok(Response::Empty) }))
            .subcommand(
                Command::new("sum", "Sum.")
                    .arg(Arg::file("file", "").required().variadic().recursive())
                    .opt(Opt::bool("recursive r", ""))
                    .needs(Needs::Nothing)
                    .run(|_, mut request: Request| async move {
                        let mut lines = Vec::new();
                        for entry in request.take_input() {
                            let entry = entry?;
                            let kind = match entry.kind {
                                EntryKind::File { mut reader, .. } => {
                                    io::copy(&mut reader, &mut io::sink())?.to_string()
                                }
                                EntryKind::Directory => "directory".to_owned(),
                                EntryKind::Symlink(target) => String::from_utf8_lossy(&target).into_owned(),
                            };
                            lines.push(json!(format!("{} {kind}", String::from_utf8_lossy(&entry.path))));
                        }
                        Ok(Response::values(lines))
                    }),
            ),
    )
}

fn shaped(words: &[&str]) -> (u8, String, String) {
    run_on(&registry(), words, |_| {})
}

fn texts(code: u8, out: &str, err: &str) -> (u8, String, String) {
    (code, out.to_owned(), err.to_owned())
}

#[test]
fn values_are_text_or_lines_of_json() {
    assert_eq!(shaped(&["echo", "a", "b"]), texts(0, "<a>\n<b>\n", ""));
    assert_eq!(shaped(&["echo", "--enc=text", "a"]), texts(0, "<a>\n", ""));
    assert_eq!(
        shaped(&["echo", "--enc=json", "a", "b"]),
        texts(0, "{\"Name\":\"a\"}\n{\"Name\":\"b\"}\n", "")
    );
    assert_eq!(shaped(&["texts", "--enc=json", "a"]), texts(0, "<a>\n", ""));
    assert_eq!(shaped(&["texts", "--json", "a"]), texts(0, "{\"Name\":\"a\"}\n", ""));
    assert_eq!(shaped(&["plain", "a"]), texts(0, "{\"Name\":\"a\"}\n", ""));
    assert_eq!(shaped(&["last"]), texts(0, "last 2\n", ""));
}

#[test]
fn errors_come_after_what_was_answered_before() {
    let help = "Use 'ipfs broken --help' for information about this command\n";
    assert_eq!(shaped(&["broken"]), texts(1, "\"one\"\n", &format!("Error: two is bad\n{help}")));
    assert_eq!(shaped(&["forever", "--timeout=20ms"]), texts(1, "", "Error: context deadline exceeded\n"));
    let (code, out, err) = shaped(&["needy"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with("Error: no IPFS repo found in ") && err.ends_with(".\nplease run: 'ipfs init'\n"),
        "{err}"
    );
    // Port 1 is nobody's; with an address that was asked for, nothing is run here instead.
    let (code, _, err) = shaped(&["needy", "--api=/ip4/127.0.0.1/tcp/1"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("Error: cannot connect to the api. Is the daemon running?"), "{err}");
    let (code, _, err) = shaped(&["needy", "--api=127.0.0.1:5001"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("Error: --api: \"127.0.0.1:5001\" is not a multiaddr"), "{err}");
}

#[test]
fn a_closed_pipe_is_quiet_and_no_success() {
    let repo = tempfile::tempdir().unwrap();
    let registry = registry();
    let err = Caught::default();
    let mut outputs = Terminal::new(Gone, err.clone());
    let job = prepare(&registry, &environment(&["echo", "a"], repo.path()), &mut outputs).ok().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(execute(job, &mut outputs)), 141);
    assert_eq!(err.text(), "");
}

#[test]
fn names_are_escaped_on_a_terminal_alone() {
    let name = "a\u{1b}[2J";
    assert_eq!(shaped(&["echo", name]).1, format!("<{name}>\n"));
    let (_, out, _) = run_on(&registry(), &["echo", name], |terminal| terminal.out_is_terminal = true);
    assert_eq!(out, "<a\\x1b[2J>\n");
}

#[cfg(unix)]
#[test]
fn files_and_directories_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("sub/file"), "12345").unwrap();
    std::os::unix::fs::symlink("sub", root.join("link")).unwrap();
    let tree = root.to_str().unwrap();
    let file = format!("{tree}/./sub//file");
    let all =
        "\"tree directory\"\n\"tree/link sub\"\n\"tree/sub directory\"\n\"tree/sub/file 5\"\n\"file 5\"\n";
    assert_eq!(shaped(&["sum", "-r", tree, &file]), texts(0, all, ""));
    let flat = format!("Error: '{tree}' is a directory, use the '-r' flag to specify directories\n");
    assert_eq!(shaped(&["sum", tree]), texts(1, "", &flat));
    let missing = format!("Error: lstat {tree}/nope: no such file or directory\n");
    assert_eq!(shaped(&["sum", &format!("{tree}/nope")]), texts(1, "", &missing));
    let (code, _, err) = shaped(&["sum"]);
    assert!(
        code == 1 && err.starts_with("Error: argument \"file\" is required\n\nUSAGE\n  ipfs sum <file>..."),
        "{err}"
    );
}

#[test]
fn help_is_no_error_and_mistakes_are() {
    let (code, out, err) = run(&[]);
    assert!(code == 0 && out.contains("BASIC COMMANDS") && err.is_empty());
    let (code, out, _) = run(&["cat", "--help"]);
    assert!(code == 0 && out.contains("ARGUMENTS") && out.contains("GLOBAL OPTIONS"));
    let (code, out, err) = run(&["block"]);
    assert!(code == 0 && out.contains("SUBCOMMANDS") && err.is_empty());
    let (code, out, err) = run(&["pin", "nosuch"]);
    assert!(code == 1 && out.is_empty());
    assert!(err.starts_with("Error: expected 0 argument(s), got 1\n\nUSAGE\n  ipfs pin"), "{err}");
    assert_eq!(run(&["add", "--nope"]), texts(1, "", "Error: unknown option \"nope\"\n"));
    let (code, _, err) = run(&["object", "diff"]);
    assert!(
        code == 1
            && err
                .starts_with("Error: command \"object diff\" is not supported by this version of holdfast: ")
    );
}

#[test]
fn commands_that_need_no_repo() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]), texts(0, "ipfs version 0.44.0\n", ""));
    assert_eq!(run(&["version", "-n"]), texts(0, "0.44.0\n", ""));
    assert_eq!(run(&["version", "-n", "--commit"]), texts(0, &format!("0.44.0-holdfast-{version}\n"), ""));
    assert_eq!(run(&["version", "--repo"]), texts(0, "18\n", ""));
    let (_, out, _) = run(&["version", "--enc=json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&value["Version"], &value["Golang"]), (&json!("0.44.0"), &json!("")));
    let (_, out, _) = run(&["commands"]);
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines.is_sorted()
            && lines.first() == Some(&"ipfs")
            && lines.contains(&"ipfs commands completion bash")
    );
    for missing in ["filestore ls", "object get"] {
        assert!(
            !lines.contains(&format!("ipfs {missing}").as_str()),
            "{missing} cannot succeed, and is listed"
        );
    }
    assert!(lines.contains(&"ipfs stats repo") && lines.contains(&"ipfs object stat"), "{lines:?}");
    let (_, help, _) = run(&["--help"]);
    let swarm = help.lines().find(|line| line.trim_start().starts_with("swarm ")).unwrap();
    assert!(!swarm.ends_with("(not yet)"), "{help}");
    let (_, out, _) = run(&["commands", "--flags"]);
    assert!(out.lines().any(|line| line == "ipfs version --number / ipfs version -n"), "{out}");
}

#[test]
fn cids_are_converted_one_by_one() {
    let v0 = "QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi";
    let v1 = "bafybeibdvkmoue5cginfmw4avefjhnlgoj33qr62dcvkfeelmfhfklng7e";
    assert_eq!(run(&["cid", "base32", v0]), texts(0, &format!("{v1}\n"), ""));
    let (code, out, err) = run(&["cid", "format", "-v", "0", "zzz", v1]);
    assert_eq!((code, out), (1, format!("{v0}\n")));
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines.first().unwrap().starts_with("zzz: "), "{err}");
    assert_eq!(lines.last(), Some(&"Error: errors while displaying some entries"));
    let (code, out, _) = run(&["cid", "inspect", "--enc=json", v1]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(value["multibase"], json!({ "prefix": "b", "name": "base32" }));
    assert_eq!(value["cidV0"], json!(v0));
    let (code, out, err) = run(&["cid", "inspect", "zzz"]);
    assert!(code == 1 && out.is_empty() && err.starts_with("Error: invalid CID: "));
}

#[test]
fn multibase_goes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    std::fs::write(&path, "hello").unwrap();
    let file = path.to_str().unwrap();
    assert_eq!(run(&["multibase", "encode", file]), texts(0, "uaGVsbG8", ""));
    assert_eq!(run(&["multibase", "encode", "-b", "base16", file]), texts(0, "f68656c6c6f", ""));
    std::fs::write(&path, "f68656c6c6f").unwrap();
    assert_eq!(run(&["multibase", "decode", file]), texts(0, "hello", ""));
    assert_eq!(run(&["multibase", "transcode", "-b", "base32", file]), texts(0, "bnbswy3dp", ""));
    let unknown = texts(1, "", "Error: unsupported multibase encoding: base7\n");
    assert_eq!(run(&["multibase", "encode", "-b", "base7", file]), unknown);
}

#[test]
fn control_characters_in_an_error_do_not_reach_a_terminal() {
    let error_of = |is_terminal: bool, words: &[&str]| {
        let (code, _, err) =
            run_on(&crate::commands::registry(), words, |terminal| terminal.err_is_terminal = is_terminal);
        assert_eq!(code, 1, "{words:?}");
        err
    };
    for words in [&["x\u{1b}[31m"][..], &["add", "gone\u{1b}[31m\u{7}"], &["cid", "format", "\u{9b}31m"]] {
        let shown = error_of(true, words);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{shown:?}");
        assert!(shown.contains("31m"), "the name is still told: {shown:?}");
    }
    assert!(error_of(false, &["x\u{1b}[31m"]).contains('\u{1b}'), "a program gets the name as it is");
}

#[test]
fn a_failure_in_a_value_of_json_lines_decides_the_exit_code() {
    let values = || {
        let values =
            vec![json!({ "Error": "one failed" }), json!({ "Key": "b" }), json!({ "Error": "last" })];
        Command::new("each", "")
            .needs(Needs::Nothing)
            .run(move |_, _: Request| std::future::ready(Ok(Response::values(values.clone()))))
            .failure(|value| value.get("Error").and_then(Value::as_str).map(str::to_owned))
    };
    let registry = Registry::new(Command::new("", "").opt(Opt::bool("json-lines", "")).subcommand(values()));
    let (code, out, err) = run_on(&registry, &["each", "--json-lines"], |_| {});
    assert_eq!((code, out.lines().count()), (1, 3), "every value is written first");
    assert_eq!(err, "Error: one failed\n");
}

//! Logs from an event to its line, on subscribers of their own: the process's is left alone.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, channel};

use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use super::*;

const WAIT: Duration = Duration::from_secs(10);

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn settings(variables: &[(&str, &str)]) -> Result<LogSettings, SettingsError> {
    let find =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    LogSettings::from_variables(&find, false, false)
}

/// Logs with these variables that are written to `output`, and what feeds them.
fn logs<W: Write + Send + 'static>(
    variables: &[(&str, &str)],
    output: W,
) -> (Logs, impl Subscriber + Send + Sync + use<W>) {
    let settings = settings(variables).unwrap();
    let sink = Sink::of_writers(settings.format, vec![Box::new(output)]).unwrap();
    Logs::build_with(settings.levels, sink)
}

#[test]
fn lines_name_the_subsystem_and_hide_secrets() {
    let written = Written::default();
    let (logs, subscriber) = logs(&[], written.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "holdfast::rpc", blocks = 3, path = "/a b", "done\nand more");
        tracing::info!(target: "holdfast::rpc", authorization = "Bearer abc", "sent Authorization: Bearer abc");
        tracing::debug!(target: "holdfast::rpc", "too quiet");
    });
    logs.flush(WAIT);
    let text = written.text();
    let lines: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("Z ")?.1)).collect();
    assert_eq!(
        lines,
        [
            "INFO  rpc: done\\nand more blocks=3 path=\"/a b\"",
            "INFO  rpc: sent Authorization: Bearer (redacted) authorization=(redacted)"
        ]
    );
}

#[test]
fn lines_of_json_have_kubos_keys() {
    let written = Written::default();
    let (logs, subscriber) =
        logs(&[("GOLOG_LOG_FMT", "json"), ("GOLOG_LOG_LEVEL", "error")], written.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(target: "holdfast_blockstore::gc::sweep", "too quiet");
        tracing::error!(target: "holdfast_blockstore::gc::sweep", blocks = 3, "it failed");
    });
    logs.flush(WAIT);
    let line: Value = serde_json::from_str(&written.text()).unwrap();
    assert_eq!((&line["level"], &line["logger"]), (&Value::from("error"), &Value::from("gc")));
    assert_eq!((&line["msg"], &line["blocks"]), (&Value::from("it failed"), &Value::from(3)));
    assert!(line["ts"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn levels_change_while_the_process_runs() {
    let written = Written::default();
    let (logs, subscriber) = logs(&[], written.clone());
    tracing::subscriber::with_default(subscriber, || {
        let say = |text: &str| tracing::debug!(target: "holdfast::rpc", "{text}");
        say("one");
        logs.set_level("rpc", Level::DEBUG).unwrap();
        say("two");
        tracing::debug!(target: "holdfast::http", "another");
        logs.set_level(ALL, Level::parse("error").unwrap()).unwrap();
        say("three");
    });
    logs.flush(WAIT);
    let text = written.text();
    assert!(text.lines().count() == 1 && text.contains("two"), "{text}");
}

/// An output that waits for a word before each write.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.recv().map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_nobody_reads_costs_lines_and_not_the_nodes_progress() {
    let (go_on, wait) = channel();
    let (logs, subscriber) = logs(&[], Stuck(wait));
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..5000 {
            tracing::info!(number, "one of many");
        }
    });
    // 1,024 wait, and one is being written.
    assert!((5000 - 1026..=5000 - 1024).contains(&logs.lines_lost()), "{}", logs.lines_lost());
    drop(go_on);
}

#[test]
fn followers_get_lines_of_their_level_and_slow_ones_are_told_what_they_lost() {
    let (logs, subscriber) = logs(&[], Written::default());
    let warn = Level::parse("warn").unwrap();
    let (mut all, mut bad) = (logs.follow(Level::DEBUG).unwrap(), logs.follow(warn).unwrap());
    let next = |tail: &mut Tail| -> Option<Value> {
        let line = tail.next().now_or_never()??;
        Some(serde_json::from_slice(&line).unwrap())
    };
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("first");
        tracing::warn!("second");
        assert_eq!(next(&mut all).unwrap()["msg"], "first");
        assert_eq!(next(&mut all).unwrap()["msg"], "second");
        assert_eq!(next(&mut bad).unwrap()["msg"], "second");
        assert_eq!(next(&mut bad), None);
        for _ in 0..1024 + 10 {
            tracing::warn!("many");
        }
        let mut read = 0;
        while next(&mut all).is_some() {
            read += 1;
        }
        assert_eq!(read, 1024);
        tracing::warn!("after");
        let told = next(&mut all).unwrap();
        assert_eq!((&told["lost"], &told["level"]), (&Value::from(10), &Value::from("warn")));
        assert_eq!(next(&mut all).unwrap()["msg"], "after");
    });
}

#[test]
fn there_is_a_bound_on_followers_and_those_who_left_do_not_count() {
    let logs = Logs::default();
    let tails: Vec<Tail> = (0..READERS_MAX).map(|_| logs.follow(Level::INFO).unwrap()).collect();
    assert!(matches!(logs.follow(Level::INFO), Err(TailError::TooMany)));
    drop(tails);
    assert!(logs.follow(Level::INFO).is_ok());
}

#[test]
fn variables_say_where_lines_go_and_mistakes_name_the_variable() {
    assert_eq!(settings(&[]).unwrap().outputs, [Output::Stderr]);
    let file = Output::File("/tmp/log".into());
    assert_eq!(settings(&[("GOLOG_FILE", "/tmp/log")]).unwrap().outputs, std::slice::from_ref(&file));
    let both = [("GOLOG_FILE", "/tmp/log"), ("GOLOG_OUTPUT", "stderr+file")];
    assert_eq!(settings(&both).unwrap().outputs, [Output::Stderr, file]);
    assert_eq!(settings(&[("GOLOG_OUTPUT", "file")]), Err(SettingsError::NoFile));
    for (name, value) in
        [("GOLOG_OUTPUT", "x"), ("GOLOG_LOG_FMT", "x"), ("GOLOG_LOG_LEVEL", "x"), ("RUST_LOG", "a=b=c")]
    {
        let words = settings(&[(name, value)]).unwrap_err().to_string();
        assert!(words.starts_with(name), "{words}");
    }
    let debug = LogSettings::from_variables(&|_| Some("error".to_owned()), true, false);
    assert!(debug.is_err(), "an unusable format is told, whatever -D says");
}

#[test]
fn a_file_is_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, "before\n").unwrap();
    let settings = settings(&[("GOLOG_FILE", path.to_str().unwrap())]).unwrap();
    let (logs, subscriber) = Logs::build(settings).unwrap();
    tracing::subscriber::with_default(subscriber, || tracing::info!("after"));
    logs.flush(WAIT);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("before\n") && text.contains("after"), "{text}");
}

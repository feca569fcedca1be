//! The binary with a terminal as its output.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::need::{program, skip};
use crate::run::{Node, binary, readable};

/// Runs a line of arguments, as a shell reads it: whether it went well, and what the terminal got. `None` after a skip.
///
/// # Panics
/// When the terminal cannot be made. `log` is a file that holds what it got.
#[track_caller]
pub fn on_terminal(node: &Node, log: &Path, line: &str) -> Option<(bool, String)> {
    if !program("script") {
        skip("behaviour on a terminal", "there is no program `script`");
        return None;
    }
    let command = node.command::<_, &str>([]);
    let mut script = std::process::Command::new("script");
    script.args(["-q", "-e", "-c"]).arg(format!("{} {line}", binary().display())).arg(log);
    script.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    script.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null());
    let status = script.status().unwrap();
    let shown = readable(&fs::read(log).unwrap());
    // The first and last lines are `script`'s own.
    let lines: Vec<&str> = shown.lines().collect();
    Some((status.success(), lines[1..lines.len() - 1].join("\n")))
}

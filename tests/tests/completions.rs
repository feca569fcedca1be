//! The completion scripts, loaded and asked in the shells that they are for: a script that only parses is not one
//! that completes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_tests::need::{program, skip, temporary};
use holdfast_tests::run::{Node, binary};

/// What is typed, and what has to be among the answers.
const LINES: &[(&str, &[&str])] = &[
    ("re", &["refs", "repo", "resolve"]),
    ("repo ", &["stat", "verify", "version"]),
    ("dag ", &["export", "import", "put"]),
    ("add --chu", &["--chunker"]),
    ("-D add --raw", &["--raw-leaves"]),
    ("config profile ", &["apply"]),
];

fn script(dir: &Path, shell: &str) -> PathBuf {
    let path = dir.join(shell);
    let text = Node::at(&dir.join("none")).run(["commands", "completion", shell]).ok().stdout;
    fs::write(&path, text).unwrap();
    path
}

/// Runs a shell, and returns what it said; nothing may be said on standard error.
fn ask(shell: &str, args: &[&str]) -> String {
    let output = Command::new(shell).args(args).env("TERM", "dumb").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell} complained");
    String::from_utf8(output.stdout).unwrap()
}

fn check(shell: &str, line: &str, wanted: &[&str], answers: &str) {
    for word in wanted {
        let there = answers.split(|c: char| c.is_whitespace() || c == ':').any(|answer| answer == *word);
        assert!(there, "{shell}: after `holdfast {line}`, {word} is missing among:\n{answers}");
    }
}

#[test]
fn bash_completes() {
    let dir = temporary("bash");
    let script = script(dir.path(), "bash");
    for (line, wanted) in LINES {
        let code = format!(
            "source {}; COMP_LINE='holdfast {line}'; COMP_POINT=${{#COMP_LINE}}; read -ra COMP_WORDS <<< \"$COMP_LINE\"; \
             [ \"${{COMP_LINE: -1}}\" = ' ' ] && COMP_WORDS+=(''); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); \
             f=$(complete -p holdfast | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             $f holdfast \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        check("bash", line, wanted, &ask("bash", &["--norc", "-c", &code]));
    }
}

#[test]
fn fish_completes() {
    if !program("fish") {
        return skip("completions of fish", "fish is not installed");
    }
    let dir = temporary("fish");
    let script = script(dir.path(), "fish");
    let path = binary().parent().unwrap().to_owned();
    for (line, wanted) in LINES {
        let code = format!(
            "set -x PATH {} $PATH; source {}; complete -C 'holdfast {line}'",
            path.display(),
            script.display()
        );
        check("fish", line, wanted, &ask("fish", &["--no-config", "-c", &code]));
    }
}

#[test]
fn zsh_completes() {
    if !program("zsh") {
        return skip("completions of zsh", "zsh is not installed");
    }
    let dir = temporary("zsh");
    let script = script(dir.path(), "zsh");
    // The completion system wants a line editor; what it would be given is printed instead.
    for (line, wanted) in LINES {
        let code = format!(
            "compdef() {{ : }}; _files() {{ : }}; _describe() {{ print -l -- \"${{(@P)2}}\" }}; source {}; \
             words=(holdfast ${{=:-{line}}}); [[ '{line}' == *' ' ]] && words+=(''); CURRENT=${{#words}}; _holdfast",
            script.display()
        );
        check("zsh", line, wanted, &ask("zsh", &["-f", "-c", &code]));
    }
}

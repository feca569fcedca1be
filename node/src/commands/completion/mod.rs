//! Completions for shells, made from the registry.

mod bash;
mod fish;
mod zsh;

use super::registry::{ArgKind, Command, OptKind, Registry};

pub(super) use bash::script as bash;
pub(super) use fish::script as fish;
pub(super) use zsh::script as zsh;

/// What can follow one path of words.
struct Place {
    /// The words, without the program.
    path: String,
    /// Commands below it, each with its line.
    subcommands: Vec<(&'static str, &'static str)>,
    /// Its own options.
    flags: Vec<Flag>,
    /// Whether it takes files.
    files: bool,
}

/// One name of an option.
struct Flag {
    name: &'static str,
    description: &'static str,
    /// Whether a value follows.
    takes_value: bool,
}

impl Flag {
    /// With its hyphens.
    fn dashed(&self) -> String {
        if self.name.len() == 1 { format!("-{}", self.name) } else { format!("--{}", self.name) }
    }
}

/// Every place of the tree that can be used, the root first.
fn places(registry: &Registry) -> Vec<Place> {
    let mut out = Vec::new();
    visit("", registry.root().command(), &mut out);
    out
}

fn visit(path: &str, command: &Command, out: &mut Vec<Place>) {
    let available = || command.subcommands.iter().filter(|sub| sub.is_available());
    let flags = command.options.iter().filter(|option| !option.hidden && option.refused.is_none());
    out.push(Place {
        subcommands: available().map(|sub| (sub.name, sub.tagline)).collect(),
        flags: flags
            .flat_map(|option| {
                option.names.iter().map(|name| Flag {
                    name,
                    description: option.description,
                    takes_value: option.kind != OptKind::Bool,
                })
            })
            .collect(),
        files: command.args.iter().any(|arg| arg.kind == ArgKind::File),
        path: path.to_owned(),
    });
    for sub in available() {
        let below = if path.is_empty() { sub.name.to_owned() } else { format!("{path} {}", sub.name) };
        visit(&below, sub, out);
    }
}

/// A text in single quotes, for any of the shells.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Stdio};

    /// Whether the shell parses the script; `None` where there is no such shell.
    fn accepted(shell: &str, script: &str) -> Option<bool> {
        let started = Process::new(shell).arg("-n").stdin(Stdio::piped()).spawn();
        let Ok(mut child) = started else {
            eprintln!("{shell} is not installed: its completions were not checked");
            return None;
        };
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        Some(child.wait().unwrap().success())
    }

    #[test]
    fn shells_accept_the_scripts() {
        let registry = crate::commands::registry();
        assert_eq!(accepted("bash", &super::bash("holdfast", &registry)), Some(true));
        assert_ne!(accepted("zsh", &super::zsh("holdfast", &registry)), Some(false));
        assert_ne!(accepted("fish", &super::fish("holdfast", &registry)), Some(false));
    }

    /// What bash offers at the end of a line.
    fn offered(words: &[&str]) -> Vec<String> {
        let script = super::bash("holdfast", &crate::commands::registry());
        let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let program = format!(
            "{script}\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_holdfast\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            list.join(" "),
            words.len() - 1
        );
        let output = Process::new("bash").arg("-c").arg(program).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_offers_what_can_follow() {
        assert_eq!(offered(&["holdfast", "ver"]), ["version"]);
        assert_eq!(offered(&["holdfast", "commands", "completion", ""]), ["bash", "fish", "zsh"]);
        assert_eq!(offered(&["holdfast", "version", "--nu"]), ["--number"]);
        // The value of an option is no subcommand.
        assert_eq!(offered(&["holdfast", "--timeout", "1s", "version", "--re"]), ["--repo", "--repo-dir"]);
    }
}

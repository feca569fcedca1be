//! Help texts, made from the registry.

use std::fmt::Write as _;

use crate::commands::registry::{Arg, Command, Opt, OptKind, OptValue, Path, Status};

/// Width that texts are wrapped to.
const WIDTH: usize = 80;
/// What sections are indented by.
const INDENT: &str = "  ";
/// Narrowest column that is still wrapped into.
const COLUMN_MIN: usize = 30;

/// The groups of the root's help, with the commands that are named in each.
const GROUPS: [(&str, &[&str]); 6] = [
    ("BASIC COMMANDS", &["init", "add", "cat", "get", "ls", "refs"]),
    ("DATA STRUCTURE COMMANDS", &["dag", "files", "block"]),
    ("TEXT ENCODING COMMANDS", &["cid", "multibase"]),
    ("ADVANCED COMMANDS", &["daemon", "shutdown", "resolve", "name", "key", "pin", "repo", "stats"]),
    ("NETWORK COMMANDS", &["id", "bootstrap", "swarm", "routing", "ping", "bitswap"]),
    ("TOOL COMMANDS", &["config", "version", "diag", "log", "commands"]),
];

/// What `-h` prints, and what follows a mistake.
pub(crate) fn short(program: &str, path: &Path<'_>) -> String {
    let mut text = opening(program, path);
    let command = path.command();
    if path.words().is_empty() {
        return root(program, path);
    }
    section(&mut text, "SYNOPSIS", &synopsis(program, path));
    section(&mut text, "", &wrapped(first_paragraph(&about(program, command)), WIDTH - INDENT.len()));
    subcommands(&mut text, program, path);
    text
}

/// What `--help` prints.
pub(crate) fn long(program: &str, path: &Path<'_>) -> String {
    if path.words().is_empty() {
        let mut text = root(program, path);
        section(&mut text, "GLOBAL OPTIONS", &options(&path.command().options));
        return text;
    }
    let command = path.command();
    let mut text = opening(program, path);
    section(&mut text, "SYNOPSIS", &synopsis(program, path));
    section(&mut text, "ARGUMENTS", &arguments(&command.args));
    section(&mut text, "OPTIONS", &options(&command.options));
    section(&mut text, "DESCRIPTION", &wrapped(&about(program, command), WIDTH - INDENT.len()));
    subcommands(&mut text, program, path);
    let inherited: Vec<Opt> = path
        .options()
        .skip(command.options.len())
        .filter(|option| {
            option.names.iter().all(|name| !command.options.iter().any(|own| own.is_named(name)))
        })
        .cloned()
        .collect();
    section(&mut text, "GLOBAL OPTIONS", &options(&inherited));
    text
}

/// The help of the root.
fn root(program: &str, path: &Path<'_>) -> String {
    let mut text = format!("USAGE\n{INDENT}{program} <command> [options] - {}\n", path.command().tagline);
    let mut named = Vec::new();
    for (title, names) in GROUPS {
        let lines = names.iter().filter_map(|name| path.command().child(name)).collect::<Vec<_>>();
        let rows = lines.iter().map(|command| (head(command), line_about(command))).collect();
        section(&mut text, title, &table(rows, WIDTH));
        named.extend_from_slice(names);
    }
    let others: Vec<&str> = path
        .command()
        .subcommands
        .iter()
        .map(|command| command.name)
        .filter(|name| !named.contains(name))
        .collect();
    section(&mut text, "OTHER COMMANDS", &wrapped(&others.join("  "), WIDTH - INDENT.len()));
    let repo = if program == "ipfs" { "~/.ipfs" } else { "~/.holdfast" };
    let closing = format!(
        "The repository is a folder, by default {repo}: set IPFS_PATH to use another. Commands end with 0 if all went \
         well and 1 if not. Use '{program} <command> --help' to learn more about one, and '{program} init' to begin."
    );
    section(&mut text, "", &wrapped(&closing, WIDTH - INDENT.len()));
    text
}

/// Warnings and usage.
fn opening(program: &str, path: &Path<'_>) -> String {
    let command = path.command();
    let mut text = match (command.status, path.planned()) {
        (_, Some(why)) => wrapped(&format!("NOT IN THIS VERSION: {why}."), WIDTH) + "\n\n",
        (Status::Deprecated, _) => "WARNING: DEPRECATED\n\n".to_owned(),
        (Status::Experimental, _) => "WARNING: EXPERIMENTAL\n\n".to_owned(),
        (Status::Removed, _) => "WARNING: REMOVED\n\n".to_owned(),
        (Status::Active, None) => String::new(),
    };
    let words = path.words().join(" ");
    let _ = writeln!(text, "USAGE\n{INDENT}{program} {words}{} - {}", usages(&command.args), command.tagline);
    text
}

/// The long help; examples in it call the program by its name.
fn about(program: &str, command: &Command) -> String {
    let text = if command.help.is_empty() { command.tagline } else { command.help };
    text.replace("{program}", program)
}

/// The commands below this one.
fn subcommands(text: &mut String, program: &str, path: &Path<'_>) {
    let command = path.command();
    if command.subcommands.is_empty() {
        return;
    }
    let prefix = format!("{program} {}", path.words().join(" "));
    let rows =
        command.subcommands.iter().map(|sub| (format!("{prefix} {}", head(sub)), line_about(sub))).collect();
    section(text, "SUBCOMMANDS", &table(rows, WIDTH));
    section(text, "", &format!("For more information about each command, use:\n'{prefix} <subcmd> --help'"));
}

/// A command's name and arguments.
fn head(command: &Command) -> String {
    format!("{}{}", command.name, usages(&command.args))
}

fn line_about(command: &Command) -> String {
    if command.is_available() || command.status == Status::Removed {
        command.tagline.to_owned()
    } else {
        format!("{} (not yet)", command.tagline)
    }
}

/// Arguments, with a space before each.
fn usages(args: &[Arg]) -> String {
    args.iter().flat_map(|arg| [" ".to_owned(), usage(arg)]).collect()
}

fn usage(arg: &Arg) -> String {
    let more = if arg.variadic { "..." } else { "" };
    if arg.required { format!("<{}>{more}", arg.name) } else { format!("[<{}>]{more}", arg.name) }
}

/// The whole line: every option and argument.
fn synopsis(program: &str, path: &Path<'_>) -> String {
    let command = path.command();
    let start = format!("{program} {}", path.words().join(" "));
    let mut parts: Vec<String> =
        command.options.iter().filter(|option| !option.hidden).map(option_usage).collect();
    if !command.args.is_empty() {
        parts.push("[--]".to_owned());
    }
    parts.extend(command.args.iter().map(usage));
    let mut lines = Vec::new();
    let mut line = start.clone();
    for part in parts {
        if line.len() + part.len() + 1 > WIDTH - INDENT.len() && line.len() > start.len() {
            lines.push(std::mem::replace(&mut line, " ".repeat(start.len())));
        }
        line.push(' ');
        line.push_str(&part);
    }
    lines.push(line);
    lines.join("\n")
}

fn option_usage(option: &Opt) -> String {
    let more = if option.kind.repeats() { "..." } else { "" };
    let names: Vec<String> = option.names.iter().map(|name| flag(name)).collect();
    match (option.kind, &option.default) {
        (OptKind::Bool, Some(OptValue::Bool(true))) => format!("[{}=false]", flag(option.name())),
        (OptKind::Bool, _) => format!("[{}]", names.join(" | ")),
        _ => {
            let rest: String = names.iter().skip(1).flat_map(|name| [" | ", name]).collect();
            format!("[{}=<{}>{rest}]{more}", flag(option.name()), option.name())
        }
    }
}

fn flag(name: &str) -> String {
    if name.len() == 1 { format!("-{name}") } else { format!("--{name}") }
}

fn arguments(args: &[Arg]) -> String {
    table(args.iter().map(|arg| (usage(arg), arg.description.to_owned())).collect(), WIDTH)
}

/// Options with their types and what they are for.
fn options(options: &[Opt]) -> String {
    let shown: Vec<&Opt> = options.iter().filter(|option| !option.hidden).collect();
    let names: Vec<String> = shown
        .iter()
        .map(|option| {
            let mut names = option.names.clone();
            names.sort_by_key(|name| name.len());
            names.into_iter().map(flag).collect::<Vec<_>>().join(", ")
        })
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    let rows = shown.into_iter().zip(names).map(|(option, names)| {
        let mut about = option.description.to_owned();
        match (&option.default, option.refused) {
            (_, Some(why)) => about = format!("{about} Not supported: {why}."),
            (Some(OptValue::Text(text)), _) if text.is_empty() => {}
            (Some(value), _) => about = format!("{about} Default: {value}."),
            (None, None) => {}
        }
        (format!("{names:width$}  {}", option.kind.name()), about)
    });
    table(rows.collect(), WIDTH)
}

/// Two columns with ` - ` between them, the second wrapped.
fn table(rows: Vec<(String, String)>, width: usize) -> String {
    let left = rows.iter().map(|(head, _)| head.len()).max().unwrap_or_default();
    let right = width.saturating_sub(INDENT.len() + left + 3);
    let lines = rows.into_iter().map(|(head, about)| {
        if right < COLUMN_MIN {
            return format!("{head:left$} - {about}");
        }
        let about = wrapped(&about, right).replace('\n', &format!("\n{}", " ".repeat(left + 3)));
        format!("{head:left$} - {about}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Text with lines of at most `width` where words allow it. Lines that are indented are left as they are.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with(' ') {
            out.push(line.to_owned());
            continue;
        }
        let mut current = String::new();
        for word in line.split(' ') {
            if !current.is_empty() && current.len() + 1 + word.len() > width {
                out.push(std::mem::take(&mut current));
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.push_str(word);
        }
        out.push(current);
    }
    out.join("\n")
}

fn first_paragraph(text: &str) -> &str {
    text.split("\n\n").next().unwrap_or_default()
}

/// Adds a section, if it holds anything.
fn section(text: &mut String, title: &str, body: &str) {
    if body.is_empty() {
        return;
    }
    text.push('\n');
    if !title.is_empty() {
        text.push_str(title);
        text.push('\n');
    }
    for line in body.lines() {
        if !line.is_empty() {
            text.push_str(INDENT);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::registry;

    #[test]
    fn every_command_explains_itself() {
        fn visit(path: &Path<'_>, seen: &mut usize) {
            let name = path.words().join(" ");
            for text in [short("holdfast", path), long("holdfast", path)] {
                assert!(text.starts_with("USAGE") || text.contains("\nUSAGE\n"), "{name}");
                assert!(text.contains(&format!("holdfast {name}")), "{name}");
                assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name}");
            }
            assert!(path.command().tagline.ends_with('.'), "{name}: {}", path.command().tagline);
            for option in &path.command().options {
                assert!(
                    option.description.is_empty() || option.description.ends_with('.'),
                    "{name} {}",
                    option.name()
                );
            }
            *seen += 1;
            for sub in &path.command().subcommands {
                visit(&path.child(sub.name).unwrap(), seen);
            }
        }
        let registry = registry();
        let mut seen = 0;
        visit(&registry.root(), &mut seen);
        assert!(seen > 200, "{seen}");
    }

    #[test]
    fn the_root_is_short_and_grouped() {
        let registry = registry();
        let text = short("ipfs", &registry.root());
        assert!(text.lines().count() <= 60, "{}", text.lines().count());
        assert!(text.contains("BASIC COMMANDS\n  init"));
        assert!(text.contains("~/.ipfs"));
        assert!(text.lines().all(|line| line.len() <= 110));
    }

    #[test]
    fn texts_are_wrapped_between_words() {
        assert_eq!(wrapped("aa bb cc\n\n  as is it stays", 5), "aa bb\ncc\n\n  as is it stays");
    }
}

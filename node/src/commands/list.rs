//! `commands`: the list of commands, and completions for shells.

use serde_json::{Value, json};

use super::registry::{Call, Command, CommandError, Needs, Opt, Request, Response};
use super::{Context, completion};

pub(super) fn command() -> Command {
    Command::new("commands", "List all available commands.")
        .help("Lists all available commands and subcommands. Those that this version does not have are left out.")
        .opt(Opt::bool("flags f", "Show command flags."))
        .needs(Needs::Nothing)
        .run(run)
        .text(text)
        .subcommand(
            Command::new("completion", "Generate shell completions.")
                .needs(Needs::Nothing)
                .terminal_only()
                .subcommand(shell("bash", "Generate bash shell completions.", BASH, completion::bash))
                .subcommand(shell("fish", "Generate fish shell completions.", FISH, completion::fish))
                .subcommand(shell("zsh", "Generate zsh shell completions.", ZSH, completion::zsh)),
        )
}

const BASH: &str = "Prints completions for bash. To try them:\n\n  $ {program} commands completion bash > completion.bash\n  \
                    $ source ./completion.bash\n\nTo keep them, move the file to /etc/bash_completion.d or \
                    ~/.local/share/bash-completion/completions.";
const FISH: &str = "Prints completions for fish. To try them:\n\n  $ {program} commands completion fish | source\n\nTo keep \
                    them, write them to ~/.config/fish/completions/{program}.fish.";
const ZSH: &str = "Prints completions for zsh. To try them:\n\n  $ source <({program} commands completion zsh)\n\nTo keep \
                   them, write them to a file _{program} in a folder of $fpath.";

fn shell(
    name: &'static str,
    tagline: &'static str,
    help: &'static str,
    script: fn(&str, &super::registry::Registry) -> String,
) -> Command {
    Command::new(name, tagline).help(help).needs(Needs::Nothing).terminal_only().run(move |context, _| {
        let text = script(context.program(), &super::registry());
        std::future::ready(Ok(Response::bytes(text, "text/plain")))
    })
}

async fn run(context: Context, _request: Request) -> Result<Response, CommandError> {
    let registry = super::registry();
    Ok(Response::One(describe(context.program(), registry.root().command())))
}

/// A command as `commands` tells it: name, what is below it, and its options.
fn describe(name: &str, command: &Command) -> Value {
    let below = command.subcommands.iter().filter(|sub| sub.is_available());
    let options = command.options.iter().filter(|option| !option.hidden);
    json!({
        "Name": name,
        "Subcommands": below.map(|sub| describe(sub.name, sub)).collect::<Vec<_>>(),
        "Options": options.map(|option| json!({ "Names": option.names })).collect::<Vec<_>>(),
    })
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let mut lines = Vec::new();
    collect("", value, call.bool("flags"), &mut lines);
    lines.sort_unstable();
    for line in lines {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    Ok(())
}

fn collect(prefix: &str, value: &Value, flags: bool, lines: &mut Vec<String>) {
    let list = |name: &str| value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let path = format!("{prefix}{}", value.get("Name").and_then(Value::as_str).unwrap_or_default());
    if flags && !prefix.is_empty() {
        for option in list("Options") {
            let names = option.get("Names").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let forms = names.iter().filter_map(Value::as_str).map(|name| {
                let dashes = if name.len() == 1 { "-" } else { "--" };
                format!("{path} {dashes}{name}")
            });
            lines.push(forms.collect::<Vec<_>>().join(" / "));
        }
    }
    let below = format!("{path} ");
    lines.push(path);
    for sub in list("Subcommands") {
        collect(&below, sub, flags, lines);
    }
}

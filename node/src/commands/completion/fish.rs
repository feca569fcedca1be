//! For fish.

use std::fmt::Write as _;

use super::{Registry, places, quoted};

/// The completion script for a program of this name.
pub(crate) fn script(program: &str, registry: &Registry) -> String {
    let mut lines = String::new();
    let mut known = Vec::new();
    for place in places(registry) {
        // Global options are offered everywhere, others at their place alone.
        let at = quoted(&format!("__{program}_at {}", double_quoted(&place.path)));
        let within = if place.path.is_empty() { String::new() } else { format!(" -n {at}") };
        if place.files {
            let _ = writeln!(lines, "complete -c {program} -n {at} -F");
        }
        for (name, line) in &place.subcommands {
            let _ = writeln!(lines, "complete -c {program} -n {at} -a {name} -d {}", quoted(line));
        }
        for flag in &place.flags {
            let form = if flag.name.len() == 1 { "-s" } else { "-l" };
            let value = if flag.takes_value { " -r" } else { "" };
            let about = quoted(flag.description);
            let _ = writeln!(lines, "complete -c {program}{within} {form} {}{value} -d {about}", flag.name);
        }
        if !place.path.is_empty() {
            known.push(double_quoted(&place.path));
        }
    }
    format!(
        r#"# Completions of {program} for fish.
set -g __{program}_paths {known}
function __{program}_at
    set -l path
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        set -l longer (string join ' ' $path $word)
        contains -- $longer $__{program}_paths; and set path $path $word
    end
    # Joined by spaces, and one word even where there is none.
    test "$path" = "$argv[1]"
end
complete -c {program} -f
{lines}"#,
        known = known.join(" "),
    )
}

/// A path of words in double quotes: it holds lower case letters, digits and hyphens only.
fn double_quoted(path: &str) -> String {
    format!("\"{path}\"")
}

//! `version deps` and `version check`.

use serde_json::{Value, json};

use super::registry::{Call, Command, CommandError, Needs, Opt, Response};

/// Name, version and checksum of what the lock file reaches, the program itself first. The build script writes them.
const DEPENDENCIES: &[(&str, &str, &str)] = &include!(concat!(env!("OUT_DIR"), "/dependencies.rs"));

/// Adds `deps` and `check` to `version`.
pub(super) fn add_to(version: Command) -> Command {
    version.subcommand(deps()).subcommand(check())
}

fn deps() -> Command {
    Command::new("deps", "Show what the program was built from.")
        .help(
            "Lists the packages that the lock file of this build pins for the program, with their versions and the \
             checksums of the registry. Some of them are used only by its build, by its tests or on other systems.",
        )
        .needs(Needs::Nothing)
        .run(|_, _| async {
            if DEPENDENCIES.is_empty() {
                return Err(CommandError::new("no embedded dependency information"));
            }
            let value = |(name, version, sum): &(&str, &str, &str)| {
                json!({ "Path": name, "Version": version, "ReplacedBy": "", "Sum": sum })
            };
            Ok(Response::values(DEPENDENCIES.iter().map(value).collect()))
        })
        .text(deps_text)
}

fn deps_text(_: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    out.extend_from_slice(format!("{}@{}\n", field("Path"), field("Version")).as_bytes());
    Ok(())
}

/// Peers are what is compared with, and an offline node has none.
fn check() -> Command {
    Command::new("check", "Check the version against those of connected peers.")
        .opt(
            Opt::int(
                "min-percent t",
                "Per cent of peers with a newer version that count as a reason to update.",
            )
            .default(5),
        )
        .needs(Needs::Config)
        .only_fails()
        .run(|_, _| std::future::ready(Err(CommandError::new(super::planned::OFFLINE_COMMAND))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_knows_what_it_was_made_of() {
        assert_eq!(DEPENDENCIES.first().map(|first| first.0), Some("holdfast"));
        let find = |name: &str| DEPENDENCIES.iter().find(|one| one.0 == name);
        let tokio = find("tokio").unwrap();
        assert!(tokio.1.starts_with("1.") && tokio.2.len() == 64, "{tokio:?}");
        assert!(find("rocksdb").is_some(), "what its crates need is reached too");
        assert!(find("holdfast-bench").is_none(), "what nothing of it needs is not");
    }
}

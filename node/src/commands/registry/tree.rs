//! The tree of commands, and how calls of them are made.

use std::collections::BTreeMap;

use super::call::Slot;
use super::{Call, Command, Door, Opt, OptValue, OptionError, Presence, RawOption};

/// Every command, below a root that holds the global options.
#[derive(Debug)]
pub struct Registry {
    root: Command,
}

/// A command and all its parents, the root first.
#[derive(Debug, Clone)]
pub struct Path<'r> {
    commands: Vec<&'r Command>,
}

impl Registry {
    /// A registry from its root.
    pub fn new(root: Command) -> Self {
        Self { root }
    }

    /// The root.
    pub fn root(&self) -> Path<'_> {
        Path { commands: vec![&self.root] }
    }

    /// The command that these words name.
    pub fn find<S: AsRef<str>>(&self, words: &[S]) -> Option<Path<'_>> {
        words.iter().try_fold(self.root(), |path, word| path.child(word.as_ref()))
    }

    /// Makes a call without arguments yet ([`Call::with_args`]): types the options and fills in defaults.
    ///
    /// The words of its errors are the same for both doors, except for badly typed options. Options that the command
    /// does not have are an error at the terminal and ignored over HTTP.
    pub fn call(path: &Path<'_>, options: &[RawOption], door: Door) -> Result<Call, OptionError> {
        Ok(Call::new(path.words(), type_options(path, options, door)?))
    }
}

impl<'r> Path<'r> {
    /// The command itself.
    // A path is never empty, so the panic that it names cannot happen.
    #[allow(clippy::missing_panics_doc)]
    pub fn command(&self) -> &'r Command {
        self.commands.last().copied().expect("invariant: a path begins with the root and only grows")
    }

    /// The words that name it; none for the root.
    pub fn words(&self) -> Vec<&'static str> {
        self.commands.iter().skip(1).map(|command| command.name).collect()
    }

    /// The path one word further down.
    pub fn child(&self, name: &str) -> Option<Self> {
        let child = self.command().child(name)?;
        let mut commands = self.commands.clone();
        commands.push(child);
        Some(Self { commands })
    }

    /// The option of this name: its own before those of its parents.
    pub fn option(&self, name: &str) -> Option<&'r Opt> {
        self.commands
            .iter()
            .rev()
            .find_map(|command| command.options.iter().find(|option| option.is_named(name)))
    }

    /// Every option that applies: its own first, the global ones last. Names that a child takes over are still there.
    pub fn options(&self) -> impl Iterator<Item = &'r Opt> {
        self.commands.clone().into_iter().rev().flat_map(|command| command.options.iter())
    }

    /// Why this version does not have it, if it is only planned.
    pub fn planned(&self) -> Option<&'static str> {
        match self.command().presence {
            Presence::Planned(why) => Some(why),
            Presence::Here | Presence::OnlyFails => None,
        }
    }

    /// What is said where it is called and this version does not have it.
    pub fn unsupported(&self) -> Option<String> {
        let (why, name) = (self.planned()?, self.words().join(" "));
        Some(format!("command \"{name}\" is not supported by this version of holdfast: {why}"))
    }

    /// Whether only the terminal has it.
    pub fn terminal_only(&self) -> bool {
        self.commands.iter().any(|command| command.terminal_only)
    }
}

/// Types options and fills in defaults.
fn type_options(
    path: &Path<'_>,
    given: &[RawOption],
    door: Door,
) -> Result<BTreeMap<&'static str, Slot>, OptionError> {
    let mut slots: BTreeMap<&'static str, Slot> = BTreeMap::new();
    for raw in given {
        let Some(option) = path.option(&raw.name) else {
            match door {
                Door::Terminal => return Err(OptionError::Unknown(raw.name.clone())),
                Door::Http => continue,
            }
        };
        if let Some(why) = option.refused {
            return Err(OptionError::Refused { name: option.name().to_owned(), why });
        }
        let value = option.parse(&raw.name, raw.value.as_deref(), door)?;
        match (slots.get_mut(option.name()), value) {
            (None, value) => {
                slots.insert(option.name(), Slot { value, given: true });
            }
            (Some(Slot { value: OptValue::List(list), .. }), OptValue::List(more)) => list.extend(more),
            (Some(_), _) => return Err(OptionError::Repeated(option.name().to_owned())),
        }
    }
    for option in path.options() {
        if let Some(default) = &option.default {
            slots.entry(option.name()).or_insert_with(|| Slot { value: default.clone(), given: false });
        }
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let ls = Command::new("ls", "List.")
            .opt(Opt::bool("long l", "Long."))
            .opt(Opt::int("depth", "Depth.").default(-1))
            .opt(Opt::strings("ignore", "Rules."))
            .opt(Opt::bool("nocopy", "No copy.").refused("there is no filestore"));
        let files =
            Command::new("files", "Files.").opt(Opt::bool("flush f", "Flush.").default(true)).subcommand(ls);
        Registry::new(Command::new("", "").opt(Opt::string("timeout", "Timeout.")).subcommand(files))
    }

    fn call(door: Door, options: &[(&str, Option<&str>)]) -> Result<Call, OptionError> {
        let registry = registry();
        let path = registry.find(&["files", "ls"]).unwrap();
        let raw: Vec<RawOption> = options
            .iter()
            .map(|(name, value)| RawOption { name: (*name).to_owned(), value: value.map(str::to_owned) })
            .collect();
        Registry::call(&path, &raw, door)
    }

    #[test]
    fn options_are_typed_by_any_name_and_defaults_filled_in() {
        let got = call(
            Door::Terminal,
            &[("l", None), ("f", Some("False")), ("ignore", Some("a")), ("ignore", Some("b"))],
        )
        .unwrap();
        assert_eq!(got.path(), ["files", "ls"]);
        assert!(got.bool("long"));
        assert_eq!(got.bool_opt("flush"), Some(false));
        assert!(got.is_given("flush"));
        assert_eq!(got.int("depth"), -1);
        assert!(!got.is_given("depth"));
        assert_eq!(got.list("ignore"), ["a", "b"]);
        assert_eq!(got.text_opt("timeout"), None);
    }

    #[test]
    fn words_for_options_that_do_not_fit() {
        let words = |door, options: &[(&str, Option<&str>)]| call(door, options).unwrap_err().to_string();
        assert_eq!(words(Door::Terminal, &[("nope", None)]), "unknown option \"nope\"");
        assert!(call(Door::Http, &[("nope", None)]).is_ok());
        assert_eq!(
            words(Door::Terminal, &[("l", None), ("long", None)]),
            "multiple values for option \"long\""
        );
        assert_eq!(
            words(Door::Terminal, &[("depth", Some("x"))]),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            words(Door::Http, &[("l", Some("x"))]),
            "could not convert value \"x\" to type \"bool\" (for option \"-l\")"
        );
        assert_eq!(
            words(Door::Terminal, &[("nocopy", None)]),
            "option \"nocopy\" is not supported: there is no filestore"
        );
    }
}

//! One use of a command: typed options and arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{ArgError, Command, CommandError, OptValue, check_args, go};

/// How values are written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// Lines of JSON.
    Json,
    /// The command's text form.
    Text,
}

/// The value of an option, and whether the caller gave it.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) value: OptValue,
    pub(super) given: bool,
}

/// One use of a command. It is cheap to clone, and knows nothing of files: see [`super::Request`].
///
/// Accessors take an option's main name. An option that was not given and has no default reads as false, 0, "" or
/// an empty list; the `_opt` forms tell the difference.
#[derive(Debug, Clone)]
pub struct Call {
    inner: Arc<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    path: Vec<&'static str>,
    options: BTreeMap<&'static str, Slot>,
    args: Vec<String>,
}

impl Call {
    pub(super) fn new(path: Vec<&'static str>, options: BTreeMap<&'static str, Slot>) -> Self {
        Self { inner: Arc::new(Inner { path, options, args: Vec::new() }) }
    }

    /// Gives the call its text arguments, and checks that they fit the command.
    pub fn with_args(mut self, command: &Command, args: Vec<String>) -> Result<Self, ArgError> {
        check_args(&command.args, &args)?;
        Arc::make_mut(&mut self.inner).args = args;
        Ok(self)
    }

    /// The words that name the command: `["block", "stat"]`.
    pub fn path(&self) -> &[&'static str] {
        &self.inner.path
    }

    /// The text arguments.
    pub fn args(&self) -> &[String] {
        &self.inner.args
    }

    /// The text argument at `index`, or "" where there is none.
    pub fn arg(&self, index: usize) -> &str {
        self.inner.args.get(index).map_or("", String::as_str)
    }

    /// The value of an option, given or by default.
    pub fn option(&self, name: &str) -> Option<&OptValue> {
        self.inner.options.get(name).map(|slot| &slot.value)
    }

    /// Whether the caller gave this option.
    pub fn is_given(&self, name: &str) -> bool {
        self.inner.options.get(name).is_some_and(|slot| slot.given)
    }

    /// The options that the caller gave, by their main names.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &OptValue)> {
        self.inner.options.iter().filter(|(_, slot)| slot.given).map(|(name, slot)| (*name, &slot.value))
    }

    /// Sets an option as if the caller had: for [`super::Command::pre_run`].
    pub fn set(&mut self, name: &'static str, value: impl Into<OptValue>) {
        let slot = Slot { value: value.into(), given: true };
        Arc::make_mut(&mut self.inner).options.insert(name, slot);
    }

    /// Puts each text argument in another form: for [`super::Command::pre_run`].
    pub fn map_args(&mut self, form: impl FnMut(String) -> String) {
        let inner = Arc::make_mut(&mut self.inner);
        inner.args = std::mem::take(&mut inner.args).into_iter().map(form).collect();
    }

    /// A bool option.
    pub fn bool(&self, name: &str) -> bool {
        self.bool_opt(name).unwrap_or_default()
    }

    /// A bool option, if it has a value.
    pub fn bool_opt(&self, name: &str) -> Option<bool> {
        match self.option(name) {
            Some(OptValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A signed number.
    pub fn int(&self, name: &str) -> i64 {
        self.int_opt(name).unwrap_or_default()
    }

    /// A signed number, if it has a value.
    pub fn int_opt(&self, name: &str) -> Option<i64> {
        match self.option(name) {
            Some(OptValue::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// An unsigned number.
    pub fn uint(&self, name: &str) -> u64 {
        self.uint_opt(name).unwrap_or_default()
    }

    /// An unsigned number, if it has a value.
    pub fn uint_opt(&self, name: &str) -> Option<u64> {
        match self.option(name) {
            Some(OptValue::Uint(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text option.
    pub fn text(&self, name: &str) -> &str {
        self.text_opt(name).unwrap_or_default()
    }

    /// A text option, if it has a value.
    pub fn text_opt(&self, name: &str) -> Option<&str> {
        match self.option(name) {
            Some(OptValue::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// A list option.
    pub fn list(&self, name: &str) -> &[String] {
        match self.option(name) {
            Some(OptValue::List(values)) => values,
            _ => &[],
        }
    }

    /// The encoding that the caller asked for by `encoding` or `json`, if any.
    pub fn encoding(&self) -> Result<Option<Encoding>, CommandError> {
        if self.json_lines() {
            return Ok(Some(Encoding::Json));
        }
        match self.text("encoding") {
            "" => Ok(None),
            "json" => Ok(Some(Encoding::Json)),
            "text" | "textnl" => Ok(Some(Encoding::Text)),
            "xml" => Err(CommandError::client("encoding \"xml\" is not supported: use json or text")),
            other => Err(CommandError::client(format!("invalid encoding: {other}"))),
        }
    }

    /// Whether the caller wants every value as a line of JSON, also where the command has a view of its own for the
    /// terminal: the global `--json`, where the command has no option of that name.
    pub fn json_lines(&self) -> bool {
        self.bool("json-lines")
    }

    /// How long the call may take.
    pub fn timeout(&self) -> Result<Option<Duration>, CommandError> {
        self.text_opt("timeout").map(go::duration_from_go).transpose().map_err(CommandError::client)
    }

    /// Whether nothing may be fetched from the network.
    pub fn offline(&self) -> bool {
        self.bool("offline")
    }

    /// The multibase that CIDs are to be printed in, if the caller asked for one.
    pub fn cid_base(&self) -> Option<&str> {
        self.text_opt("cid-base").filter(|base| !base.is_empty())
    }

    /// Whether CIDv0 is to be printed as CIDv1: as asked for, or because another base than base58btc was.
    pub fn upgrade_cid_v0(&self) -> bool {
        self.bool_opt("upgrade-cidv0-in-output")
            .unwrap_or_else(|| self.cid_base().is_some_and(|base| base != "base58btc"))
    }
}

//! The definition of a command.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Arg, Call, CommandError, Opt, Request, Response, TextForm};
use crate::commands::{Context, Terminal};

/// What a command cannot run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needs {
    /// Nothing: it works before `init`.
    Nothing,
    /// A repo folder with its config, but not the block store: it also works beside a running daemon.
    Config,
    /// A node.
    Node,
}

/// Where a command stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// In use.
    Active,
    /// May still change.
    Experimental,
    /// Works, and is to be replaced by something else.
    Deprecated,
    /// Only says what to use instead.
    Removed,
}

/// Runs a command.
pub type RunFn =
    Arc<dyn Fn(Context, Request) -> BoxFuture<'static, Result<Response, CommandError>> + Send + Sync>;

/// Changes a call at the terminal before it is run, here or over RPC.
pub type PreRunFn = Arc<dyn Fn(&mut Call, &Terminal) -> Result<(), CommandError> + Send + Sync>;

/// Shows a response at the terminal in the command's own way: `get` writes files, `add` draws progress.
pub type TerminalFn = Arc<
    dyn for<'a> Fn(&'a mut Terminal, &'a Call, Response) -> BoxFuture<'a, Result<(), CommandError>>
        + Send
        + Sync,
>;

/// What a value says of a failure, if it tells of one.
type FailureFn = fn(&Value) -> Option<String>;

/// The value that tells of a failure.
type LateFn = fn(&CommandError) -> Value;

type TextFn = Arc<dyn Fn(&Call) -> Box<dyn TextForm> + Send + Sync>;

/// Whether this version has a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    Here,
    /// It does not, though Kubo does, and this is why. Such a command is parsed and explained, not run or listed.
    Planned(&'static str),
    /// All that it does in this version is to fail, in Kubo's words for a node in its place. Such a command is parsed and
    /// run, not listed.
    OnlyFails,
}

/// A command: everything that any door needs to know about it.
// Independent properties, each with its own word in a definition.
#[allow(clippy::struct_excessive_bools)]
pub struct Command {
    /// The word that names it below its parent.
    pub name: &'static str,
    /// One line.
    pub tagline: &'static str,
    /// What `--help` says beyond options and arguments.
    pub help: &'static str,
    /// Positional arguments.
    pub args: Vec<Arg>,
    /// Its own options. Those of its parents apply too.
    pub options: Vec<Opt>,
    /// What it cannot run without.
    pub needs: Needs,
    /// Where it stands.
    pub status: Status,
    /// Whether only the terminal has it; other doors answer that there is no such command.
    pub terminal_only: bool,
    /// Whether this version has it.
    pub presence: Presence,
    /// Commands below it.
    pub subcommands: Vec<Command>,
    /// Whether its values hold text of the node's own making, with line breaks and colours that a terminal may see.
    pub plain_output: bool,
    /// Whether the terminal shows its text form whatever `--enc` says.
    pub always_text: bool,
    /// Whether it must not run while another process has the repo open: it says then that a daemon is running.
    pub alone: bool,
    /// Whether it sees to interrupts by itself; others are cancelled by one.
    pub own_signals: bool,
    /// Whether the daemon that it is sent to ends: the terminal waits until the repo is free.
    pub ends_daemon: bool,
    /// Whether it follows something that may be silent for long.
    pub is_feed: bool,
    /// Whether a failure after its first value must be noticed by every client.
    pub fails_loudly: bool,
    pub(crate) run: Option<RunFn>,
    pub(crate) text: Option<TextFn>,
    pub(crate) failure: Option<FailureFn>,
    pub(crate) late: Option<LateFn>,
    pub(crate) pre_run: Option<PreRunFn>,
    pub(crate) terminal: Option<TerminalFn>,
}

impl Command {
    /// A command that needs a node, with nothing but its name and line.
    pub fn new(name: &'static str, tagline: &'static str) -> Self {
        Self {
            name,
            tagline,
            help: "",
            args: Vec::new(),
            options: Vec::new(),
            needs: Needs::Node,
            status: Status::Active,
            terminal_only: false,
            presence: Presence::Here,
            subcommands: Vec::new(),
            plain_output: false,
            always_text: false,
            alone: false,
            own_signals: false,
            ends_daemon: false,
            is_feed: false,
            fails_loudly: false,
            run: None,
            text: None,
            failure: None,
            late: None,
            pre_run: None,
            terminal: None,
        }
    }

    /// Sets the long help.
    #[must_use]
    pub fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// Adds a positional argument.
    #[must_use]
    pub fn arg(mut self, arg: Arg) -> Self {
        self.args.push(arg);
        self
    }

    /// Adds an option.
    #[must_use]
    pub fn opt(mut self, option: Opt) -> Self {
        self.options.push(option);
        self
    }

    /// Adds options that several commands share.
    #[must_use]
    pub fn opts(mut self, options: impl IntoIterator<Item = Opt>) -> Self {
        self.options.extend(options);
        self
    }

    /// Sets what it cannot run without. [`Needs::Node`] by default.
    #[must_use]
    pub fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    /// Sets where it stands. [`Status::Active`] by default.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Leaves it to the terminal.
    #[must_use]
    pub fn terminal_only(mut self) -> Self {
        self.terminal_only = true;
        self
    }

    /// Marks it as known, and not part of this version.
    #[must_use]
    pub fn planned(mut self, why: &'static str) -> Self {
        self.presence = Presence::Planned(why);
        self
    }

    /// Marks it as one that only fails in this version.
    #[must_use]
    pub fn only_fails(mut self) -> Self {
        self.presence = Presence::OnlyFails;
        self
    }

    /// Lets line breaks and colours in its values reach a terminal: they are the node's own.
    #[must_use]
    pub fn plain_output(mut self) -> Self {
        self.plain_output = true;
        self
    }

    /// Sets how a value tells of a failure. The text form and the terminal's view fail by themselves; whoever is given the
    /// values as they are, in lines of JSON, is told by the exit code.
    #[must_use]
    pub fn failure(mut self, failure: FailureFn) -> Self {
        self.failure = Some(failure);
        self
    }

    /// Sets the value that tells, as the last, that the time of a call was over while its values came. Over HTTP it takes the
    /// place of an error: of commands whose failures are values, Kubo's tell this in that way too.
    #[must_use]
    pub fn late(mut self, value: LateFn) -> Self {
        self.late = Some(value);
        self
    }

    /// Adds a command below it.
    #[must_use]
    pub fn subcommand(mut self, command: Command) -> Self {
        self.subcommands.push(command);
        self
    }

    /// Sets what it does: an `async fn(Context, Request) -> Result<Response, CommandError>`. It is no longer planned.
    #[must_use]
    pub fn run<F, R>(mut self, run: F) -> Self
    where
        F: Fn(Context, Request) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Response, CommandError>> + Send + 'static,
    {
        self.run = Some(Arc::new(move |context, request| Box::pin(run(context, request))));
        if matches!(self.presence, Presence::Planned(_)) {
            self.presence = Presence::Here;
        }
        self
    }

    /// Sets a text form that looks at each value alone. Without one, text is JSON.
    #[must_use]
    pub fn text(mut self, text: fn(&Call, &Value, &mut Vec<u8>) -> Result<(), CommandError>) -> Self {
        self.text = Some(Arc::new(move |_| Box::new(text)));
        self
    }

    /// Sets a text form that carries state from value to value.
    #[must_use]
    pub fn text_with<T: TextForm + 'static>(mut self, make: fn(&Call) -> T) -> Self {
        self.text = Some(Arc::new(move |call| Box::new(make(call))));
        self
    }

    /// Shows its text form at the terminal whatever `--enc` says, as Kubo does for `ls`. `--json` still is JSON.
    #[must_use]
    pub fn always_text(mut self) -> Self {
        self.always_text = true;
        self
    }

    /// Refuses to run while another process, a daemon as a rule, has the repo open.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Marks it as one that ends the daemon it is sent to: who types it may go on with the repo when it returns.
    #[must_use]
    pub fn ends_daemon(mut self) -> Self {
        self.ends_daemon = true;
        self
    }

    /// Leaves interrupts and other signals to it.
    #[must_use]
    pub fn own_signals(mut self) -> Self {
        self.own_signals = true;
        self
    }

    /// Marks it as one that follows something: HTTP clients get status and headers before the first value, which may be
    /// long in coming. Others wait for it, so that a failure is a status.
    #[must_use]
    pub fn feed(mut self) -> Self {
        self.is_feed = true;
        self
    }

    /// Marks it as one whose failure in the middle is told over HTTP as the last value, and by a connection that ends
    /// without the end of the answer. Many clients do not read the trailer that tells of failures else, and would take
    /// what they got for a success.
    #[must_use]
    pub fn fails_loudly(mut self) -> Self {
        self.fails_loudly = true;
        self
    }

    /// Sets what happens to the call at the terminal before it is run, here or over RPC.
    #[must_use]
    pub fn pre_run(mut self, hook: fn(&mut Call, &Terminal) -> Result<(), CommandError>) -> Self {
        self.pre_run = Some(Arc::new(hook));
        self
    }

    /// Sets the command's own view of its response at the terminal. It replaces the text form there, whatever
    /// `--enc` says; `--json` goes around it, unless the response is bytes.
    #[must_use]
    pub fn terminal<F>(mut self, view: F) -> Self
    where
        F: for<'a> Fn(&'a mut Terminal, &'a Call, Response) -> BoxFuture<'a, Result<(), CommandError>>
            + Send
            + Sync
            + 'static,
    {
        self.terminal = Some(Arc::new(view));
        self
    }

    /// Whether there is anything to run.
    pub fn is_runnable(&self) -> bool {
        self.run.is_some()
    }

    /// Whether it, or anything below it, can be run and may succeed.
    pub fn is_available(&self) -> bool {
        (self.is_runnable() && self.presence == Presence::Here)
            || self.subcommands.iter().any(Self::is_available)
    }

    /// Runs it.
    pub fn start(
        &self,
        context: Context,
        request: Request,
    ) -> Option<BoxFuture<'static, Result<Response, CommandError>>> {
        self.run.as_ref().map(|run| run(context, request))
    }

    /// A text form for one call, if the command has one.
    pub fn text_form(&self, call: &Call) -> Option<Box<dyn TextForm>> {
        self.text.as_ref().map(|make| make(call))
    }

    /// The failure that a value tells of.
    pub fn failure_in(&self, value: &Value) -> Option<CommandError> {
        self.failure.and_then(|failure| failure(value)).map(CommandError::new)
    }

    /// The command below it with this name.
    pub fn child(&self, name: &str) -> Option<&Command> {
        self.subcommands.iter().find(|command| command.name == name)
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .finish_non_exhaustive()
    }
}

//! Running a command line: what `main` calls, in two steps.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_blockstore::repo::RepoPaths;

use crate::commands::registry::{
    Arg, ArgError, ArgKind, Call, Command, CommandError, Door, ErrorKind, Input, Needs, Path, Registry,
    Request, Response, split_args,
};
use crate::commands::{Context, ContextParams, Terminal};

use super::input::{self, Stdin};
use super::parse::{Line, parse};
use super::waits::Source;
use super::{Environment, help, output, remote, waits};

/// What a process that was interrupted ends with: 128 and the number of the signal.
const EXIT_INTERRUPTED: u8 = 130;
/// What a process ends with whose output nobody reads any more: what a shell shows for SIGPIPE. Never 0: that would
/// acknowledge work that was cut short.
const EXIT_CLOSED_PIPE: u8 = 141;
/// Kubo's words where a command must have the repo to itself.
const DAEMON_RUNS: &str = "ipfs daemon is running. please stop it to run this command";
/// How long a daemon that was asked to end is waited for.
const ENDING_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const ENDING_POLL: Duration = Duration::from_millis(5);
/// How long a daemon has beyond the limit of a call to say what it waited for.
const LAST_WORD_MAX: Duration = Duration::from_secs(1);
/// How long an interrupted command may take to stop.
const STOPPING_MAX: Duration = Duration::from_secs(2);

/// A command line that can be run.
pub struct Job<'r> {
    command: &'r Command,
    path: Path<'r>,
    call: Call,
    files: Vec<OsString>,
    stdin: Option<Stdin>,
    file_argument: Option<Arg>,
    context: Context,
    program: String,
}

/// Reads a command line as far as that needs no node: help and mistakes are answered here, and leave nothing to run
/// but an exit code. Blocking, where arguments come from standard input.
pub fn prepare<'r>(
    registry: &'r Registry,
    environment: &Environment,
    terminal: &mut Terminal,
) -> Result<Job<'r>, u8> {
    let program = environment.program.as_str();
    let line = match parse(registry, &environment.words) {
        Ok(line) => line,
        Err(error) => return Err(fail(terminal, &CommandError::new(error.to_string()))),
    };
    let long = line.has_flag("help");
    if long || line.has_flag("h") {
        let text = if long { help::long(program, &line.path) } else { help::short(program, &line.path) };
        return Err(finish(terminal, |terminal| terminal.print(text)));
    }
    let command = line.path.command();
    if let Some(text) = line.path.unsupported() {
        return Err(fail(terminal, &CommandError::new(text)));
    }
    if !command.is_runnable() && line.words.is_empty() {
        let text = help::short(program, &line.path);
        return Err(finish(terminal, |terminal| terminal.print(text)));
    }
    let path = line.path.clone();
    job(line, environment, terminal).map_err(|error| {
        let code = fail(terminal, &error.error);
        if error.explain {
            terminal.eprint(format!("\n{}", help::short(program, &path)));
        }
        code
    })
}

/// Why a line cannot become a job, and whether the command is explained after it.
struct Mistake {
    error: CommandError,
    explain: bool,
}

impl From<CommandError> for Mistake {
    fn from(error: CommandError) -> Self {
        Self { error, explain: false }
    }
}

impl From<ArgError> for Mistake {
    fn from(error: ArgError) -> Self {
        Self { error: CommandError::new(error.to_string()), explain: true }
    }
}

fn job<'r>(line: Line<'r>, environment: &Environment, terminal: &Terminal) -> Result<Job<'r>, Mistake> {
    let command = line.path.command();
    let mut call = Registry::call(&line.path, &line.options, Door::Terminal)
        .map_err(|error| CommandError::new(error.to_string()))?;
    let mut stdin = Some(Stdin::of_process(&environment.program));
    let split = split_args(&command.args, line.words, true)?;
    let from_stdin = split.stdin.and_then(|index| command.args.get(index));
    let mut texts = Vec::new();
    for word in split.texts {
        let name = command.args.iter().find(|arg| arg.kind == ArgKind::Text).map_or("", |arg| arg.name);
        texts.push(word.into_string().map_err(|_| ArgError::NotText(name))?);
    }
    if let Some(arg) = from_stdin.filter(|arg| arg.kind == ArgKind::Text && !arg.stdin_unless.is_some_and(|name| call.bool(name)))
        // Nobody is kept waiting for what need not be given.
        && let Some(stdin) = stdin.take_if(|stdin| arg.required || !stdin.is_terminal())
    {
        texts.extend(stdin.arguments()?);
    }
    call = call.with_args(command, texts)?;
    if let Some(hook) = &command.pre_run {
        hook(&mut call, terminal)?;
    }
    let reads_stdin =
        from_stdin.is_some_and(|arg| arg.kind == ArgKind::File) || split.files.iter().any(|word| word == "-");
    Ok(Job {
        command,
        context: context(&call, environment),
        file_argument: command.args.iter().find(|arg| arg.kind == ArgKind::File).cloned(),
        files: split.files,
        stdin: stdin.filter(|_| reads_stdin),
        path: line.path,
        call,
        program: environment.program.clone(),
    })
}

/// The context that the global options ask for.
fn context(call: &Call, environment: &Environment) -> Context {
    let given = |name: &str| call.text_opt(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let repo_dir = given("repo-dir")
        .map_or_else(|| environment.default_repo_dir(), |path| Some(environment.expand_home(&path)))
        // Commands that need a repo say that nothing names one.
        .unwrap_or_default();
    Context::new(ContextParams {
        repo_dir,
        config_file: given("config-file")
            .or_else(|| given("config"))
            .map(|path| environment.expand_home(&path)),
        program: environment.program.clone(),
    })
    .at_terminal()
}

/// Runs a job to its end, and answers with the exit code.
pub async fn execute(job: Job<'_>, terminal: &mut Terminal) -> u8 {
    let name = job.path.words().join(" ");
    let (program, context) = (job.program.clone(), job.context.clone());
    let interruptible = !job.command.own_signals;
    let outcome = tokio::select! {
        outcome = run(job, terminal) => outcome,
        signal = tokio::signal::ctrl_c(), if interruptible => match signal {
            Ok(()) => {
                // What was running is cancelled by now, and nothing of it will be pinned. A second signal does not wait.
                tokio::select! {
                    _ = tokio::time::timeout(STOPPING_MAX, context.stopped()) => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
                return EXIT_INTERRUPTED;
            }
            Err(error) => Err(error.into()),
        },
    };
    for warning in context.warnings() {
        terminal.complain(&format!("Warning: {warning}"));
    }
    let closed = context.close().await.map_err(CommandError::from_error);
    match outcome.and(closed) {
        Ok(()) => 0,
        Err(error) => {
            let code = fail(terminal, &error);
            if error.kind == ErrorKind::Client {
                terminal
                    .eprint(format!("Use '{program} {name} --help' for information about this command\n"));
            }
            code
        }
    }
}

async fn run(job: Job<'_>, terminal: &mut Terminal) -> Result<(), CommandError> {
    let Job { command, path, call, files, stdin, file_argument, context, .. } = job;
    call.encoding()?;
    let timeout = call.timeout()?;
    let context = context.for_call(&call, None);
    let shows_waits = terminal.err_is_terminal;
    let has_input = file_argument.is_some() && (!files.is_empty() || stdin.is_some());
    let input = match &file_argument {
        Some(argument) => {
            let measure = terminal.err_is_terminal;
            input::open(argument, files, stdin, &call, measure)?
        }
        None => Input::none(),
    };
    terminal.upload = input.size_hint();
    if !command.is_runnable() {
        return Err(CommandError::client(
            "This command can't be called directly. Try one of its subcommands.",
        ));
    }
    if command.alone && RepoPaths::new(context.repo_dir()).is_locked() {
        return Err(CommandError::client(DAEMON_RUNS));
    }
    let at_daemon = AtomicBool::new(false);
    let answer = async {
        let daemon = remote::find(&context, &path, &call).await?;
        at_daemon.store(daemon.is_some(), Ordering::Relaxed);
        let is_waited_for = daemon.is_some() && command.ends_daemon && !call.is_given("api");
        let waits = match &daemon {
            _ if !shows_waits => Source::Nobody,
            Some(daemon) => Source::Daemon(daemon.watcher()),
            None => Source::Here(context.clone()),
        };
        let answered = async {
            let response = match daemon {
                Some(daemon) => daemon.ask(command, &call, has_input.then_some(input)).await?,
                None => here(command, &context, &call, input).await?,
            };
            output::show(terminal, command, &call, response).await
        };
        tokio::select! {
            answered = answered => answered?,
            never = waits::tell(waits) => match never {},
        }
        if is_waited_for {
            // What goes wrong at the end of a daemon is in its own words.
            let _ = tokio::time::timeout(ENDING_MAX, until_free(&context)).await;
        }
        Ok(())
    };
    match timeout {
        None => answer.await,
        Some(limit) => {
            let mut answer = std::pin::pin!(answer);
            if let Ok(in_time) = tokio::time::timeout(limit, answer.as_mut()).await {
                return in_time;
            }
            // A daemon has the same limit, and says what it waited for.
            if at_daemon.load(Ordering::Relaxed)
                && let Ok(told) = tokio::time::timeout(LAST_WORD_MAX, answer.as_mut()).await
            {
                return told;
            }
            // What it waits for is looked at while it still does.
            Err(context.timed_out())
        }
    }
}

/// Waits until nobody has the repo open.
async fn until_free(context: &Context) {
    let paths = RepoPaths::new(context.repo_dir());
    while paths.is_locked() {
        tokio::time::sleep(ENDING_POLL).await;
    }
}

/// Runs a command in this process.
async fn here(
    command: &Command,
    context: &Context,
    call: &Call,
    input: Input,
) -> Result<Response, CommandError> {
    if command.needs != Needs::Nothing {
        context.require_repo()?;
    }
    match command.start(context.clone(), Request::new(call.clone(), input)) {
        Some(running) => running.await,
        None => Ok(Response::Empty),
    }
}

/// Reports an error, and answers with the exit code. Of a reader that went away nothing is said.
fn fail(terminal: &mut Terminal, error: &CommandError) -> u8 {
    if error.kind == ErrorKind::ClosedPipe {
        return EXIT_CLOSED_PIPE;
    }
    terminal.complain(&format!("Error: {}", error.message));
    1
}

fn finish(terminal: &mut Terminal, write: impl FnOnce(&mut Terminal) -> Result<(), CommandError>) -> u8 {
    match write(terminal).and_then(|()| terminal.flush()) {
        Ok(()) => 0,
        Err(error) => fail(terminal, &error),
    }
}

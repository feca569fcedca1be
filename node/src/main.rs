//! The `holdfast` program: the terminal door around the library.

use std::process::ExitCode;
use std::time::Duration;

use holdfast::cli::{Environment, execute, prepare};
use holdfast::commands::{Terminal, registry};

/// The allocator that RocksDB uses too: two would each keep what the other could use.
#[cfg(not(target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long work on the blocking pool may go on after the command has ended.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let registry = registry();
    let mut terminal = Terminal::of_process();
    let job = match prepare(&registry, &Environment::of_process(), &mut terminal) {
        Ok(job) => job,
        Err(code) => return ExitCode::from(code),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.eprint(format!("Error: cannot start: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(execute(job, &mut terminal));
    drop(terminal);
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    leave(code)
}

/// Ends the process without the destructors of C++.
///
/// A command that was cut short (an interrupt, a reader that went away) leaves threads behind that still read from
/// RocksDB. Returning from `main` would destroy what RocksDB keeps in statics under their feet, and abort now and
/// then. Nothing is lost by leaving at once: what was acknowledged is synced before it is, outputs are flushed, and
/// the kernel releases the lock of the repo.
#[expect(
    unsafe_code,
    reason = "the standard library has no exit that skips exit handlers and static destructors"
)]
fn leave(code: u8) -> ! {
    // SAFETY: `_exit` takes any number and does not return; no memory of this process is looked at afterwards.
    unsafe { libc::_exit(code.into()) }
}

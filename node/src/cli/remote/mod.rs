//! The command line that talks to a running daemon: the same calls and inputs go out, the same responses come back.
//!
//! A command that needs a repo goes to the daemon that `--api` names, else to the one that the file `api` in the repo
//! names, if it answers. What a daemon cannot do (write files here, ask at this terminal) is run here.

mod answer;
mod find;
mod query;
mod upload;
mod watcher;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use tokio::sync::mpsc;

use crate::commands::registry::{Call, Command, CommandError, Input, Response};
use crate::http::client::{Connection, PIECES_MAX};

pub(super) use find::find;
use upload::{Skipped, Upload};
pub(super) use watcher::Watcher;

/// How this program calls itself to daemons. Kubo compares versions only with its own.
const AGENT: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));

/// A daemon that a connection was made to.
pub(super) struct Daemon {
    connection: Connection,
    watcher: Watcher,
}

impl Daemon {
    /// Asks it, beside the call, what the call waits for.
    pub(super) fn watcher(&self) -> Watcher {
        self.watcher.clone()
    }

    /// Runs a command there. `input` is sent while the response comes, if there is any.
    pub(super) async fn ask(
        self,
        command: &Command,
        call: &Call,
        input: Option<Input>,
    ) -> Result<Response, CommandError> {
        let query = query::of_call(command, call, input.is_some())?;
        let mut request = http::Request::builder()
            .uri(query.path_and_query)
            .header(USER_AGENT, AGENT)
            .body(())
            .map_err(CommandError::from_error)?;
        self.watcher.mark(request.headers_mut());
        if let Some(authorization) = self.watcher.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let skipped = Skipped::default();
        let upload = match (input, query.args_in_body) {
            (Some(input), _) => Some(Upload::of_input(input, takes_trees(command).then(|| skipped.clone()))),
            (None, Some(args)) => Some(Upload::of_args(args)),
            (None, None) => None,
        };
        let body = upload.map(|upload| {
            let boundary = upload.content_type();
            (boundary, start(upload))
        });
        let body = match body {
            None => None,
            Some((content_type, body)) => {
                let value = HeaderValue::from_str(&content_type).map_err(CommandError::from_error)?;
                request.headers_mut().insert(CONTENT_TYPE, value);
                Some(body?)
            }
        };
        let answered = self.connection.post(request, body).await.map_err(CommandError::from_error);
        let response = match answered {
            Ok(response) => answer::response(response).await,
            Err(error) => Err(error),
        };
        skipped.told(response)
    }
}

/// Whether what cannot be read is left out and told, as a walk over folders here does; elsewhere it is an error.
fn takes_trees(command: &Command) -> bool {
    command.args.iter().any(|arg| arg.recursive)
}

/// Makes the body on a thread of its own: reading files blocks, and standard input may never end.
fn start(upload: Upload) -> Result<mpsc::Receiver<Result<Bytes, String>>, CommandError> {
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    let started = std::thread::Builder::new().name("upload".to_owned()).spawn(move || upload.write(&pieces));
    started.map_err(CommandError::from_error)?;
    Ok(body)
}

//! Which daemon a command goes to, if any.

use std::io::{self, Read as _};
use std::path::Path as FilePath;

use ::http::header::HeaderValue;

use super::{Daemon, Watcher};
use crate::commands::Context;
use crate::commands::registry::{Call, CommandError, Needs, Path, errno_text};
use crate::http::client::{ClientError, Connection};
use crate::http::{self, Remote};

/// Bytes that are read of the file `api`.
const API_FILE_BYTES_MAX: u64 = 2048;

/// Kubo's words where nobody listens.
const NOBODY: &str = "cannot connect to the api. Is the daemon running? To run as a standalone CLI command remove the \
                      api file in `$IPFS_PATH/api`";

/// The daemon that this command goes to; `None` if it is to be run here.
pub(in crate::cli) async fn find(
    context: &Context,
    path: &Path<'_>,
    call: &Call,
) -> Result<Option<Daemon>, CommandError> {
    if path.command().needs == Needs::Nothing {
        return Ok(None);
    }
    let asked_for = call.text_opt("api").filter(|text| !text.is_empty());
    if path.terminal_only() {
        return match asked_for {
            Some(_) => Err(CommandError::new("api flag specified but command cannot be run on the daemon")),
            None => Ok(None),
        };
    }
    let endpoint = match asked_for {
        Some(text) => {
            Some(Remote::parse(text).map_err(|error| CommandError::new(format!("--api: {error}")))?)
        }
        None => api_file(context.repo_dir())?,
    };
    let Some(endpoint) = endpoint else { return Ok(None) };
    match Connection::open(&endpoint).await {
        Ok(connection) => {
            let watcher = Watcher::new(endpoint, authorization(call)?);
            Ok(Some(Daemon { connection, watcher }))
        }
        // A daemon that was killed left its address behind.
        Err(ClientError::Connect { .. }) if asked_for.is_none() && context.require_repo().is_ok() => Ok(None),
        Err(ClientError::Connect { error, .. }) => Err(CommandError::new(format!(
            "{NOBODY}\n(nobody answers at {endpoint}: {})",
            errno_text(&error)
        ))),
        Err(error) => Err(CommandError::from_error(error)),
    }
}

/// What the file `api` of a repo says, if there is one.
fn api_file(repo: &FilePath) -> Result<Option<Remote>, CommandError> {
    let path = repo.join("api");
    let failed = |words: String| {
        CommandError::new(format!(
            "{}: {words}. If no daemon runs on this repo, remove the file",
            path.display()
        ))
    };
    let mut text = String::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(API_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| (error.kind(), errno_text(&error)));
    match read {
        Err((io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _)) => Ok(None),
        Err((_, words)) => Err(failed(words)),
        // A power cut left the name without the bytes: no daemon survived it.
        Ok(_) if text.trim_matches(['\0', ' ', '\n']).is_empty() => Ok(None),
        Ok(_) => Remote::parse(&text).map(Some).map_err(|error| failed(error.to_string())),
    }
}

/// The header that `--api-auth` asks for: `bearer:TOKEN`, a bare token, `basic:USER:PASSWORD` or `basic:BASE64`.
fn authorization(call: &Call) -> Result<Option<HeaderValue>, CommandError> {
    let Some(secret) = call.text_opt("api-auth").filter(|text| !text.is_empty()) else { return Ok(None) };
    let Some(text) = http::authorization(secret) else {
        return Err(CommandError::client(
            "--api-auth takes bearer:TOKEN, basic:USER:PASSWORD, or a token alone",
        ));
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| CommandError::client("--api-auth holds characters that no HTTP header may"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_api_is_read_and_its_faults_are_named() {
        let repo = tempfile::tempdir().unwrap();
        assert_eq!(api_file(repo.path()), Ok(None));
        assert_eq!(api_file(&repo.path().join("nowhere")), Ok(None));
        std::fs::write(repo.path().join("api"), "/ip4/127.0.0.1/tcp/5001\n").unwrap();
        assert_eq!(api_file(repo.path()).unwrap().unwrap().to_string(), "/ip4/127.0.0.1/tcp/5001");
        for cut_off in ["", "\n", "\0\0\0"] {
            std::fs::write(repo.path().join("api"), cut_off).unwrap();
            assert_eq!(api_file(repo.path()), Ok(None), "{cut_off:?}");
        }
        std::fs::write(repo.path().join("api"), "nonsense").unwrap();
        let words = api_file(repo.path()).unwrap_err().message;
        assert!(words.contains("nonsense") && words.contains("remove the file"), "{words}");
    }
}

//! The gate in front of a full disk: adding stops before RocksDB or a removal could run out of space.

use std::path::Path;

use crate::error::WriteError;

/// Bytes that an unprivileged process may still write at `path`.
pub(crate) fn free_bytes(path: &Path) -> Result<u64, WriteError> {
    let stat = rustix::fs::statvfs(path).map_err(|error| WriteError::io("statvfs", path, error))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Checks that `bytes` can be written and the reserve is still left.
pub(crate) fn check(path: &Path, bytes: u64, reserve: u64) -> Result<(), WriteError> {
    let (free_bytes, needed_bytes) = (free_bytes(path)?, bytes.saturating_add(reserve));
    if free_bytes < needed_bytes {
        return Err(WriteError::DiskFull { path: path.to_owned(), free_bytes, needed_bytes });
    }
    Ok(())
}

/// The error for a write that met a full disk in spite of the gate, or any other error.
pub(crate) fn write_error(
    action: &'static str,
    path: &Path,
    error: std::io::Error,
    bytes: u64,
) -> WriteError {
    let full = [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded].contains(&error.kind());
    if full {
        let free_bytes = free_bytes(path).unwrap_or(0);
        return WriteError::DiskFull { path: path.to_owned(), free_bytes, needed_bytes: bytes };
    }
    WriteError::io(action, path, error)
}

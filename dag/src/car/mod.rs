//! Content-addressed archives.

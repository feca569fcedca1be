//! Building UnixFS DAGs.

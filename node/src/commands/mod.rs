//! Every command, once.

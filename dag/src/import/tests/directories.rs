//! Directories: limits, repeated names, HAMTs read back.

//! The terminal door to the commands.

//! Pins of a node: what they keep, who sees them when, and what many callers at once may rely on.

#![cfg(test)]

mod checker;
mod following;
mod history;
mod indirect;
mod linearizable;
mod listing;
mod names_and_kinds;
mod support;
mod update;
mod verify;
mod walks;

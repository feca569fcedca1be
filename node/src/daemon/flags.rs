//! The flags of `daemon`: those that mean nothing here are taken and named once, those that cannot be kept are refused.

use super::console::Console;
use crate::commands::registry::{Call, CommandError};

/// Values of `--routing`, as Kubo knows them.
const ROUTING: [&str; 9] =
    ["default", "none", "dht", "dhtclient", "dhtserver", "auto", "autoclient", "delegated", "custom"];

/// Flags without effect, and why they have none.
const WITHOUT_EFFECT: [(&str, &str); 2] = [
    ("enable-mplex-experiment", "Kubo removed it too"),
    ("disable-transport-encryption", "connections are always encrypted"),
];

/// Checks the flags before anything is opened.
pub(super) fn check(call: &Call, console: &Console) -> Result<(), CommandError> {
    let routing = call.text("routing");
    if routing == "supernode" {
        return Err(CommandError::new("supernode routing was never fully implemented and has been removed"));
    }
    if !routing.is_empty() && !ROUTING.contains(&routing) {
        return Err(CommandError::new(format!("unrecognized routing option: {routing}")));
    }
    if call.bool("mount") {
        // Whoever asks for a mount relies on it. These are Kubo's words for a node without a network.
        return Err(CommandError::client("mount is not currently supported in offline mode"));
    }
    for (name, why) in WITHOUT_EFFECT {
        if call.bool(name) || !call.text(name).is_empty() {
            console.warn(format!("--{name} has no effect: {why}"));
        }
    }
    Ok(())
}

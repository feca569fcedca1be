//! Where every group of commands is put into the tree.

use super::registry::Command;

/// The commands below the root, in the order of their names.
pub(super) fn commands() -> Vec<Command> {
    let mut commands = vec![super::version::command()];
    commands.sort_by_key(|command| command.name);
    commands
}

//! Where every group of commands is put into the tree.

use super::registry::Command;

/// The commands below the root, in the order of their names, as all below them are.
pub(super) fn commands() -> Vec<Command> {
    let mut commands = vec![
        super::add::command(),
        super::bitswap::command(),
        super::block::command(),
        super::cat::command(),
        super::files::command(),
        super::get::command(),
        super::cid::command(),
        super::bootstrap::command(),
        super::config::command(),
        super::daemon::daemon(),
        super::daemon::shutdown(),
        super::dag::command(),
        super::diag::command(),
        super::object::command(),
        super::key::command(),
        super::identity::id(),
        super::identity::init(),
        super::list::command(),
        super::log::command(),
        super::ls::command(),
        super::refs::refs(),
        super::refs::resolve(),
        super::multibase::command(),
        super::name::command(),
        super::p2p::command(),
        super::pin::command(),
        super::ping::command(),
        super::pubsub::command(),
        super::provide::command(),
        super::repo::command(),
        super::swarm::command(),
        super::version::command(),
    ];
    super::planned::add_to(&mut commands);
    sort(&mut commands);
    commands
}

fn sort(commands: &mut [Command]) {
    commands.sort_by_key(|command| command.name);
    for command in commands {
        sort(&mut command.subcommands);
    }
}

//! The help texts that list the profiles: made from the profiles themselves.

use std::sync::LazyLock;

use crate::config::profiles;

/// Widest line of a description, in bytes.
const WIDTH: usize = 72;

/// Help of `config profile`.
pub(super) static GROUP: LazyLock<String> =
    LazyLock::new(|| format!("Profiles are named sets of changes to the config.\n\n{}", list()));

/// Help of `config profile apply`.
pub(super) static APPLY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "Applies a profile and prints what it changed. The config before it is kept beside the new one, as \
         config-pre-<profile>-<random>.\n\n{}",
        list()
    )
});

/// Help of `init`.
pub(super) static INIT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "Makes a repository, with a new identity, in the folder that IPFS_PATH or --repo-dir names.\n\nProfiles \
         (comma-separated) change the config from the start. They can be applied later too: see 'config profile \
         apply'.\n\n{}",
        list()
    )
});

/// Every profile and what it does.
fn list() -> String {
    let mut text = "Available profiles:".to_owned();
    for profile in profiles() {
        text.push_str("\n  ");
        text.push_str(profile.name);
        let mut used = WIDTH;
        for word in profile.description.split_whitespace() {
            if used + word.len() >= WIDTH {
                text.push_str("\n     ");
                used = 5;
            }
            text.push(' ');
            text.push_str(word);
            used += 1 + word.len();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_listed_where_profiles_are_named() {
        for help in [&*GROUP, &*APPLY, &*INIT] {
            for profile in profiles() {
                assert!(help.contains(&format!("\n  {}\n      ", profile.name)), "{}: {help}", profile.name);
            }
            let list = help.split_once("Available profiles:").unwrap().1;
            assert!(list.lines().all(|line| line.len() <= WIDTH), "{help}");
        }
    }
}

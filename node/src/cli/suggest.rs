//! Commands that look like a mistyped word.

use crate::commands::registry::Command;

/// Largest distance at which a command still looks like the word.
const DISTANCE_MAX: usize = 3;
/// An inserted letter costs 1, a replaced one 2, a left out one 3 (go-ipfs-cmds): unfinished words match best.
const COST: (usize, usize, usize) = (1, 2, 3);

/// Commands directly below `parent` that look like `word`, the likeliest first.
pub(super) fn similar(word: &str, parent: &Command) -> Vec<String> {
    let names: Vec<&str> = parent.subcommands.iter().map(|command| command.name).collect();
    let contained: Vec<String> =
        names.iter().filter(|name| word.contains(*name)).map(|name| (*name).to_owned()).collect();
    if !contained.is_empty() {
        return contained;
    }
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(far, _)| *far <= DISTANCE_MAX)
        .collect();
    near.sort_unstable();
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// The sentence that follows an unknown command.
pub(super) fn text(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        [one] => format!("\nDid you mean this?\n\n\t{one}"),
        many => format!("\nDid you mean any of these?\n\n\t{}", many.join("\n\t")),
    }
}

/// Cheapest way from `from` to `to`, letter by letter.
fn distance(from: &str, to: &str) -> usize {
    let (insert, replace, leave_out) = COST;
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).map(|column| column * insert).collect();
    for letter in from.chars() {
        let mut diagonal = row.first().copied().unwrap_or_default();
        let mut left = diagonal + leave_out;
        let mut next = vec![left];
        for (target, above) in to.iter().zip(row.iter().skip(1)) {
            let substituted = if *target == letter { diagonal } else { diagonal + replace };
            left = substituted.min(left + insert).min(above + leave_out);
            next.push(left);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_words_are_nearest() {
        assert_eq!(distance("ad", "add"), 1);
        assert_eq!(distance("ct", "cat"), 1);
        assert_eq!(distance("adds", "add"), 3);
        let root =
            Command::new("", "").subcommand(Command::new("add", "")).subcommand(Command::new("cat", ""));
        assert_eq!(similar("ad", &root), ["add", "cat"]);
        assert_eq!(similar("nosuchcmd", &root), Vec::<String>::new());
        assert_eq!(text(&["add".to_owned()]), "\nDid you mean this?\n\n\tadd");
    }
}

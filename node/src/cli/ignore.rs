//! Ignore rules in the manner of `.gitignore`: `--ignore` and `--ignore-rules-path`.

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Vec<u8>,
    /// It names entries again that an earlier rule left out.
    include: bool,
    /// It is about directories only.
    directories_only: bool,
    /// It is about the whole path below the argument, not about the name alone.
    anchored: bool,
}

/// Rules, of which the last one that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct IgnoreRules {
    rules: Vec<Rule>,
}

impl IgnoreRules {
    /// Adds the rule on one line, if there is one.
    pub(super) fn add_line(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', ' ']);
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let (include, line) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (directories_only, line) = match line.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let anchored = line.contains('/');
        let pattern = line.strip_prefix('/').unwrap_or(line).as_bytes().to_vec();
        if !pattern.is_empty() {
            self.rules.push(Rule { pattern, include, directories_only, anchored });
        }
    }

    /// Whether the entry at `path` (below the argument, separated by `/`) is left out.
    pub(super) fn leave_out(&self, path: &[u8], is_directory: bool) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let matching = self.rules.iter().rev().find(|rule| {
            let subject = if rule.anchored { path } else { name };
            (is_directory || !rule.directories_only) && matches(&rule.pattern, subject)
        });
        matching.is_some_and(|rule| !rule.include)
    }
}

/// Shell matching of a whole text: `?` and `*` stop at `/`, `**` does not, `[a-z]` and `[!a-z]` are sets, `\` escapes.
///
/// It keeps at most two places to come back to, so its time is bounded by the product of the lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where the last `*` and the last `**` began, and how much of the text they take so far.
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(at), text.get(pos)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                if pattern.get(at + 1) == Some(&b'*') {
                    // `**/` also stands for no folder at all.
                    at += if pattern.get(at + 2) == Some(&b'/') { 3 } else { 2 };
                    double = Some((at, pos));
                    star = None;
                } else {
                    at += 1;
                    star = Some((at, pos));
                }
                continue;
            }
            (Some(b'?'), Some(byte)) if *byte != b'/' => Some(1),
            (Some(b'['), Some(byte)) if *byte != b'/' => set(pattern.get(at..).unwrap_or_default(), *byte)
                .and_then(|(len, inside)| inside.then_some(len)),
            (Some(b'\\'), Some(byte)) if pattern.get(at + 1) == Some(byte) => Some(2),
            (Some(wanted), Some(byte)) if wanted == byte => Some(1),
            _ => None,
        };
        if let Some(len) = step {
            at += len;
            pos += 1;
            continue;
        }
        match (star, double) {
            (Some((after, from)), _) if text.get(from).is_some_and(|byte| *byte != b'/') => {
                star = Some((after, from + 1));
                (at, pos) = (after, from + 1);
            }
            (_, Some((after, from))) if from < text.len() => {
                star = None;
                double = Some((after, from + 1));
                (at, pos) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// A set at the start of `pattern`: its length, and whether `byte` is in it. `None` if it never closes.
fn set(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let mut inside = false;
    let mut first = true;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && !first {
            return Some((at + 1, inside != negated));
        }
        first = false;
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                inside |= (low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                inside |= low == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns() {
        let yes = [
            ("a.txt", "a.txt"),
            ("*.txt", "a.txt"),
            ("*", ""),
            ("a*c*e", "abcde"),
            ("?x", "ax"),
            ("[a-c]1", "b1"),
            ("[!a-c]1", "d1"),
            ("[]]", "]"),
            ("**/b", "b"),
            ("**/b", "x/y/b"),
            ("a/**", "a/b/c"),
            ("a/**/z", "a/z"),
            ("a/**/*.o", "a/b/c.d/e.o"),
            ("\\*", "*"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let no = [
            ("*.txt", "a.txt2"),
            ("*", "a/b"),
            ("?", "/"),
            ("[a", "a"),
            ("\\*", "a"),
            ("a/**", "b/c"),
            ("", "x"),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn the_last_matching_rule_decides() {
        let mut rules = IgnoreRules::default();
        for line in ["# comment", "", "*.o", "!keep.o", "build/", "/top", "docs/*.html"] {
            rules.add_line(line);
        }
        let out = |path: &str, directory| rules.leave_out(path.as_bytes(), directory);
        assert!(out("x/a.o", false));
        assert!(!out("x/keep.o", false));
        assert!(out("x/build", true));
        assert!(!out("x/build", false));
        assert!(out("top", false));
        assert!(!out("x/top", false));
        assert!(out("docs/a.html", false));
        assert!(!out("a.html", false));
    }
}

//! When a recorded answer and a given one are equal.
//!
//! Recorded text may hold `$ID`, `$KEY`, `$REPO`, `$TIME` and `$ADDR`, each of which matches any
//! non-empty run within a line. JSON is compared as values: the order of keys, spaces and `1`
//! against `1.0` do not count, and `null` equals an empty list.

use serde_json::Value;

const WILD: [&str; 5] = ["$ID", "$KEY", "$REPO", "$TIME", "$ADDR"];

/// Whether `actual` is the recorded text, wild runs included.
pub fn text_equal(recorded: &str, actual: &str) -> bool {
    let mut pieces = split_at_wild(recorded).into_iter();
    let first = pieces.next().expect("a split gives at least one piece");
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some(at) = find_after_run(rest, piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    // The last run goes as far as the recorded end asks for.
    rest.strip_suffix(last).is_some_and(|run| !run.is_empty() && !run.contains('\n'))
}

fn split_at_wild(recorded: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = recorded;
    loop {
        let next = WILD
            .iter()
            .filter_map(|wild| rest.find(wild).map(|at| (at, wild.len())))
            .min_by_key(|(at, len)| (*at, usize::MAX - len));
        let Some((at, len)) = next else {
            pieces.push(rest);
            return pieces;
        };
        pieces.push(&rest[..at]);
        rest = &rest[at + len..];
    }
}

/// Where `piece` begins in `text` after a non-empty run without a line end.
fn find_after_run(text: &str, piece: &str) -> Option<usize> {
    let one = text.chars().next()?.len_utf8();
    let at = one + text[one..].find(piece)?;
    (!text[..at].contains('\n')).then_some(at)
}

/// Whether two JSON values are equal; recorded strings may hold wild runs.
pub fn json_equal(recorded: &Value, actual: &Value) -> bool {
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    match (recorded, actual) {
        (a, b) if empty(a) && empty(b) => true,
        (Value::String(a), Value::String(b)) => text_equal(a, b),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| json_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let missing = |key: &String| !b.contains_key(key);
            let extra = |key: &String| !a.contains_key(key);
            !b.keys().any(extra)
                && !a.keys().any(missing)
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| json_equal(value, other)))
        }
        (a, b) => a == b,
    }
}

/// Whether the data of two outputs is equal: JSON as values where the recorded text is JSON (one
/// value, or one a line), else the text itself; `any_order` compares sorted lines.
pub fn data_equal(recorded: &str, actual: &str, any_order: bool) -> bool {
    if any_order {
        let mut lines: Vec<&str> = actual.split('\n').collect();
        lines.sort_unstable();
        let mut wanted: Vec<&str> = recorded.split('\n').collect();
        wanted.sort_unstable();
        return wanted.len() == lines.len() && wanted.iter().zip(lines).all(|(a, b)| text_equal(a, b));
    }
    match (json_values(recorded), json_values(actual)) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| json_equal(a, b)),
        _ => text_equal(recorded, actual),
    }
}

fn json_values(text: &str) -> Option<Vec<Value>> {
    // A lone number or string is compared as text: there the newline counts.
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wild_runs_match_within_a_line_and_never_nothing() {
        assert!(text_equal("plain", "plain"));
        assert!(!text_equal("plain", "plain\n"));
        assert!(text_equal("$KEY self \n", "k51abc self \n"));
        assert!(!text_equal("$KEY self \n", " self \n"));
        assert!(!text_equal("$KEY self \n", "a\nb self \n"));
        assert!(text_equal("peer identity: $ID\nat $REPO\n", "peer identity: 12D3\nat /r/epo\n"));
        assert!(text_equal("added /ip4/$ADDR/p2p/12D3\n", "added /ip4/127.0.0.1/tcp/4001/p2p/12D3\n"));
        assert!(!text_equal("added /ip4/$ADDR/p2p/12D3\n", "added /ip4/127.0.0.1/p2p/12D4\n"));
        assert!(text_equal("$ID", "x"));
        assert!(!text_equal("$ID", ""));
    }

    #[test]
    fn json_is_compared_as_values() {
        assert!(data_equal("{\"a\":1,\"b\":null}", "{ \"b\": [], \"a\": 1.0 }\n", false));
        assert!(!data_equal("{\"a\":1}", "{\"a\":2}", false));
        assert!(!data_equal("{\"a\":1}", "{\"a\":1,\"b\":0}", false));
        assert!(data_equal("{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}{\"a\":2}", false));
        assert!(!data_equal("{\"a\":1}\n{\"a\":2}\n", "{\"a\":2}\n{\"a\":1}\n", false));
        assert!(json_equal(&json!({"ID": "$ID"}), &json!({"ID": "12D3"})));
        assert!(!data_equal("113\n", "113", false));
    }

    #[test]
    fn lines_in_any_order_count_the_empty_last_one() {
        assert!(data_equal("\na\nb", "b\na\n", true));
        assert!(!data_equal("\na\nb", "b\na", true));
        assert!(data_equal("", "", true));
    }
}

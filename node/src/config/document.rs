//! The config as a JSON document: dotted keys, order of keys, printing.

use serde_json::{Map, Value};

/// Splits a dotted key. A part may be written `["name"]`, which may hold dots: `DNS.Resolvers["."]`.
///
/// Text that is no such bracket form is kept as it is, as Kubo keeps it.
pub(super) fn split_key(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = key;
    loop {
        if let Some((name, after)) = bracket(rest) {
            match parts.last_mut() {
                Some(last) if last.is_empty() => *last = name,
                _ => parts.push(name),
            }
            rest = after;
            if let Some(after) = rest.strip_prefix('.') {
                parts.push(String::new());
                rest = after;
            }
            continue;
        }
        let mut characters = rest.chars();
        match characters.next() {
            None => return parts,
            Some('.') => parts.push(String::new()),
            Some(character) => {
                if let Some(last) = parts.last_mut() {
                    last.push(character);
                }
            }
        }
        rest = characters.as_str();
    }
}

/// The dotted key of what has this name in the map at `key`.
pub(super) fn join_key(key: &str, name: &str) -> String {
    format!("{key}[{}]", Value::from(name))
}

/// Reads `["name"]` at the start of `text`, if it is followed by a dot, another bracket or the end.
fn bracket(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find("\"]")?;
    let name = serde_json::from_str(inner.get(..=end)?).ok()?;
    let after = inner.get(end + 2..)?;
    (after.is_empty() || after.starts_with('.') || after.starts_with('[')).then_some((name, after))
}

/// Finds the value at `parts`, or says in Kubo's words which part is missing.
pub(super) fn get<'a>(document: &'a Value, parts: &[String]) -> Result<&'a Value, String> {
    let mut cursor = document;
    for (index, part) in parts.iter().enumerate() {
        let Some(map) = cursor.as_object() else {
            return Err(format!("{} key is not a map", joined(parts, index)));
        };
        cursor = map.get(part).ok_or_else(|| format!("{} not found", joined(parts, index + 1)))?;
    }
    Ok(cursor)
}

/// Puts `value` at `parts`, making the maps on the way (also where a `null` stands).
pub(super) fn set(document: &mut Value, parts: &[String], value: Value) -> Result<(), String> {
    let mut cursor = document;
    for (index, part) in parts.iter().enumerate() {
        if cursor.is_null() {
            *cursor = Value::Object(Map::new());
        }
        let Some(map) = cursor.as_object_mut() else {
            return Err(format!("{} key is not a map", joined(parts, index)));
        };
        cursor = map.entry(part.clone()).or_insert(Value::Null);
    }
    *cursor = value;
    Ok(())
}

/// Removes what is at `parts`, if anything is.
pub(super) fn remove(document: &mut Value, parts: &[&str]) -> Option<Value> {
    let (last, parents) = parts.split_last()?;
    let mut cursor = document;
    for part in parents {
        cursor = cursor.as_object_mut()?.get_mut(*part)?;
    }
    cursor.as_object_mut()?.shift_remove(*last)
}

fn joined(parts: &[String], count: usize) -> String {
    parts.iter().take(count).map(String::as_str).collect::<Vec<_>>().join(".")
}

/// Sorts the keys of every map by their bytes, as Kubo writes them.
pub(super) fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort);
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

/// Writes whole numbers given with a fraction or exponent (`1.0`, `1e3`) as Go reads and prints them: `1`, `1000`.
pub(super) fn tidy_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
            if let Some(whole) = whole.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Object(map) => map.values_mut().for_each(tidy_numbers),
        Value::Array(items) => items.iter_mut().for_each(tidy_numbers),
        _ => {}
    }
}

/// Prints a value as `config` does: text as it is without outer line feeds, anything else as JSON indented by 2 spaces
/// with sorted keys, without a line feed at the end.
pub fn human_output(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.trim_matches('\n').to_owned();
    }
    let mut sorted = value.clone();
    sort(&mut sorted);
    // Go escapes these everywhere in JSON; they can only stand inside strings.
    format!("{sorted:#}").replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_split_at_dots_and_brackets() {
        for (key, parts) in [
            ("Addresses.API", vec!["Addresses", "API"]),
            ("DNS.Resolvers[\".\"]", vec!["DNS", "Resolvers", "."]),
            (
                "Pinning.RemoteServices[\"a.b\"].Policies",
                vec!["Pinning", "RemoteServices", "a.b", "Policies"],
            ),
            ("Pinning.RemoteServices.[\"x\"].API", vec!["Pinning", "RemoteServices", "x", "API"]),
            ("a[\"b\"][\"c\"]", vec!["a", "b", "c"]),
            ("a[b]", vec!["a[b]"]),
            ("a..b", vec!["a", "", "b"]),
            ("", vec![""]),
        ] {
            assert_eq!(split_key(key), parts, "{key}");
        }
    }

    #[test]
    fn gets_and_sets() {
        let mut document = json!({ "A": { "B": 1 }, "N": null });
        let key = |text| split_key(text);
        assert_eq!(get(&document, &key("A.B")), Ok(&json!(1)));
        assert_eq!(get(&document, &key("A.C.D")), Err("A.C not found".to_owned()));
        assert_eq!(get(&document, &key("A.B.C")), Err("A.B key is not a map".to_owned()));
        set(&mut document, &key("N.x.y"), json!(true)).unwrap();
        assert_eq!(document["N"], json!({ "x": { "y": true } }));
        assert_eq!(set(&mut document, &key("A.B.C"), json!(1)), Err("A.B key is not a map".to_owned()));
    }

    #[test]
    fn prints_as_go_does() {
        assert_eq!(human_output(&json!("10GB\n")), "10GB");
        assert_eq!(human_output(&json!({})), "{}");
        assert_eq!(
            human_output(&json!({ "b": [], "a": "<&>" })),
            "{\n  \"a\": \"\\u003c\\u0026\\u003e\",\n  \"b\": []\n}"
        );
        let mut value = json!({ "a": [1.0, 2.5, 1e3] });
        tidy_numbers(&mut value);
        assert_eq!(value, json!({ "a": [1, 2.5, 1000] }));
    }
}

//! Secrets of API credentials: what stands in their place where the config is shown.

use serde_json::Value;

/// Where they are.
const API_SECRET: [&str; 4] = ["API", "Authorizations", "*", "AuthSecret"];

/// What stands in the place of a secret. It is no secret itself: see [`is_placeholder`].
const PLACEHOLDER: &str = "<hidden>";

/// Calls `with` on every API secret in `value`, which is what the config has at `parts`.
fn each_secret(parts: &[String], value: &mut Value, with: &mut impl FnMut(&mut Value)) {
    let fits = |part: &str, pattern: &str| pattern == "*" || part.eq_ignore_ascii_case(pattern);
    let below = API_SECRET.get(parts.len()..).unwrap_or_default();
    if parts.iter().zip(API_SECRET).all(|(part, pattern)| fits(part, pattern)) {
        visit(below, value, with);
    }
}

fn visit(below: &[&str], value: &mut Value, with: &mut impl FnMut(&mut Value)) {
    let Some((pattern, rest)) = below.split_first() else { return with(value) };
    for (key, inner) in value.as_object_mut().into_iter().flatten() {
        if *pattern == "*" || key.eq_ignore_ascii_case(pattern) {
            visit(rest, inner, with);
        }
    }
}

/// What the config has at `parts`, without the secrets in it.
pub(super) fn redacted(parts: &[String], mut value: Value) -> Value {
    each_secret(parts, &mut value, &mut |secret| *secret = PLACEHOLDER.into());
    value
}

/// Whether a value to be set at `parts` holds what is shown in the place of a secret: whoever sends that back would lose it.
pub(super) fn is_placeholder(parts: &[String], value: &Value) -> bool {
    let mut found = false;
    each_secret(parts, &mut value.clone(), &mut |secret| found |= secret == PLACEHOLDER);
    found
}

//! Words and number forms that Kubo's users know from Go's standard library.

use std::time::Duration;

pub use crate::go_text::go_quote as quote;

/// The words of an operating system error as Go prints them: lower case, without the number.
pub fn errno_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = match error.raw_os_error() {
        Some(code) => text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text).to_owned(),
        None => text,
    };
    let mut chars = text.chars();
    match (error.raw_os_error(), chars.next()) {
        (Some(_), Some(first)) => first.to_lowercase().chain(chars).collect(),
        _ => text,
    }
}

/// `strconv.ParseBool` of the lower-cased text; an empty text is true, as in a query string.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "" | "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(syntax("ParseBool", &lower)),
    }
}

/// `strconv.ParseInt(text, 0, bits)`.
pub(super) fn parse_int(text: &str, bits: u32) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = magnitude(digits, "ParseInt", text)?;
    let limit = 1u128 << (bits - 1);
    let value = i128::try_from(magnitude).map_err(|_| range("ParseInt", text))?;
    let value = if negative { -value } else { value };
    let limit = i128::try_from(limit).map_err(|_| range("ParseInt", text))?;
    if value < -limit || value >= limit {
        return Err(range("ParseInt", text));
    }
    i64::try_from(value).map_err(|_| range("ParseInt", text))
}

/// `strconv.ParseUint(text, 0, bits)`.
pub(super) fn parse_uint(text: &str, bits: u32) -> Result<u64, String> {
    let magnitude = magnitude(text, "ParseUint", text)?;
    if magnitude >= 1u128 << bits {
        return Err(range("ParseUint", text));
    }
    u64::try_from(magnitude).map_err(|_| range("ParseUint", text))
}

/// `strconv.ParseFloat(text, 64)`.
pub(super) fn parse_float(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| syntax("ParseFloat", text))
}

/// Digits with Go's base prefixes (`0x`, `0o`, `0b`, a leading 0 for octal), with underscores between digits where
/// there is a prefix.
fn magnitude(digits: &str, function: &str, text: &str) -> Result<u128, String> {
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_str() {
        s if s.starts_with("0x") => (16, s.get(2..)),
        s if s.starts_with("0b") => (2, s.get(2..)),
        s if s.starts_with("0o") => (8, s.get(2..)),
        s if s.len() > 1 && s.starts_with('0') => (8, s.get(1..)),
        s => (10, Some(s)),
    };
    let body = body.unwrap_or_default();
    let body = if radix == 10 { body.to_owned() } else { body.replace('_', "") };
    if body.is_empty() || body.starts_with(['+', '-']) {
        return Err(syntax(function, text));
    }
    if !body.chars().all(|c| c.is_digit(radix)) {
        return Err(syntax(function, text));
    }
    u128::from_str_radix(&body, radix).map_err(|_| range(function, text))
}

fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", quote(text))
}

fn range(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: value out of range", quote(text))
}

/// A Go duration (`300ms`, `1.5h`, `2h45m`). Negative durations are refused with the words for a bad one.
pub fn duration_from_go(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text))),
        };
        seconds += number * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_go() {
        assert_eq!(parse_int("-0x10", 32), Ok(-16));
        assert_eq!(parse_int("010", 32), Ok(8));
        assert_eq!(parse_int("0", 32), Ok(0));
        assert_eq!(parse_int("-2147483648", 32), Ok(i64::from(i32::MIN)));
        assert_eq!(parse_int("-9223372036854775808", 64), Ok(i64::MIN));
        assert_eq!(
            parse_int("2147483648", 32).unwrap_err(),
            "strconv.ParseInt: parsing \"2147483648\": value out of range"
        );
        assert_eq!(parse_int("abc", 64).unwrap_err(), "strconv.ParseInt: parsing \"abc\": invalid syntax");
        assert_eq!(parse_int("", 64).unwrap_err(), "strconv.ParseInt: parsing \"\": invalid syntax");
        assert_eq!(parse_uint("18446744073709551615", 64), Ok(u64::MAX));
        assert!(parse_uint("-1", 64).is_err());
        assert_eq!(parse_bool("TRUE"), Ok(true));
        assert_eq!(parse_bool("maybe").unwrap_err(), "strconv.ParseBool: parsing \"maybe\": invalid syntax");
    }

    #[test]
    fn durations_follow_go() {
        assert_eq!(duration_from_go("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration_from_go("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration_from_go("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(duration_from_go("x").unwrap_err(), "time: invalid duration \"x\"");
        assert_eq!(duration_from_go("5y").unwrap_err(), "time: unknown unit \"y\" in duration \"5y\"");
        assert!(duration_from_go("-5s").is_err());
    }

    #[test]
    fn quoting_follows_go() {
        assert_eq!(quote("a\"b\\c\n\u{1b}"), "\"a\\\"b\\\\c\\n\\x1b\"");
        let missing = std::fs::File::open("/nonexistent/file").unwrap_err();
        assert_eq!(errno_text(&missing), "no such file or directory");
    }
}

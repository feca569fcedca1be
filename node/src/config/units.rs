//! Sizes and durations as Go programs write them: `10GB`, `256KiB`, `1h30m`.

use std::fmt;

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// It does not start with a number.
    #[error("strconv.ParseFloat: parsing {}: invalid syntax", crate::go_text::go_quote(.0))]
    Number(String),
    /// The letters behind the number are no unit.
    #[error("unhandled size name: {0}")]
    Unit(String),
    /// It does not fit into 64 bits.
    #[error("too large: {0}")]
    TooLarge(String),
}

/// Parses a size in bytes: a decimal number and a unit.
///
/// `kB`, `MB`, .. and `k`, `M`, .. are powers of 1,000; `KiB`, `MiB`, .. and `Ki`, `Mi`, .. are powers of 1,024; `B` and nothing
/// are bytes. Letter case and commas do not count; up to exbibytes (go-humanize `ParseBytes`).
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let number_end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let number: String = number.chars().filter(|c| *c != ',').collect();
    let unit = unit.trim().to_lowercase();
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(SizeError::Number(number));
    }
    let multiplier = unit_bytes(&unit).ok_or(SizeError::Unit(unit))?;
    let too_large = || SizeError::TooLarge(text.to_owned());
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large())? };
    let mut total = whole.checked_mul(multiplier).ok_or_else(too_large)?;
    let mut scale: u128 = 1;
    for digit in fraction.bytes().take(18) {
        scale *= 10;
        total = total.checked_add(u128::from(digit - b'0') * multiplier / scale).ok_or_else(too_large)?;
    }
    u64::try_from(total).map_err(|_| too_large())
}

/// The bytes that a lower-case unit stands for.
fn unit_bytes(unit: &str) -> Option<u128> {
    if matches!(unit, "" | "b") {
        return Some(1);
    }
    let mut letters = unit.chars();
    let exponent = 1 + u32::try_from("kmgtpe".find(letters.next()?)?).ok()?;
    match letters.as_str() {
        "" | "b" => Some(1000_u128.pow(exponent)),
        "i" | "ib" => Some(1024_u128.pow(exponent)),
        _ => None,
    }
}

/// A duration as Go has it: signed nanoseconds, printed like `22h0m0s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration {
    /// Nanoseconds; may be negative.
    pub nanos: i64,
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DurationError {
    /// No number where one is needed, or out of range.
    #[error("time: invalid duration {}", crate::go_text::go_quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", crate::go_text::go_quote(.0))]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {} in duration {}", crate::go_text::go_quote(.unit), crate::go_text::go_quote(.text))]
    UnknownUnit {
        /// The letters.
        unit: String,
        /// The whole text.
        text: String,
    },
}

impl GoDuration {
    /// Whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self { nanos: secs.saturating_mul(1_000_000_000) }
    }

    /// That of a std duration; the longest there is where that is longer.
    pub fn from_std(duration: std::time::Duration) -> Self {
        Self { nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// As a standard duration; `None` if negative.
    pub fn to_std(self) -> Option<std::time::Duration> {
        u64::try_from(self.nanos).ok().map(std::time::Duration::from_nanos)
    }

    /// Parses what Go's `time.ParseDuration` does: signed decimals with units ns, us, ms, s, m, h, as in `1h30m` or `-1.5s`.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(invalid());
            }
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let unit_nanos: i128 = match unit {
                "" => return Err(DurationError::MissingUnit(text.to_owned())),
                "ns" => 1,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }),
            };
            let whole: i128 =
                if whole.is_empty() { 0 } else { whole.parse::<i64>().map_err(|_| invalid())?.into() };
            total += whole * unit_nanos;
            let mut scale: i128 = 1;
            for digit in fraction.bytes().take(18) {
                scale *= 10;
                total += i128::from(digit - b'0') * unit_nanos / scale;
            }
            if total > i128::from(i64::MAX) {
                return Err(invalid());
            }
            rest = after;
        }
        let nanos = i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())?;
        Ok(Self { nanos })
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "\u{b5}s"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let mut whole = nanos / unit;
        if name == "s" {
            let minutes = whole / 60;
            if minutes >= 60 {
                write!(f, "{}h", minutes / 60)?;
            }
            if minutes > 0 {
                write!(f, "{}m", minutes % 60)?;
            }
            whole %= 60;
        }
        write!(f, "{whole}")?;
        let fraction = nanos % unit;
        if fraction > 0 {
            let width = unit.ilog10() as usize;
            let digits = format!("{fraction:0width$}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10GB", 10_000_000_000),
            ("256KiB", 262_144),
            ("1G", 1_000_000_000),
            ("1B", 1),
            ("0", 0),
            ("1.5 kb", 1_500),
            ("1,024", 1_024),
            ("2 MiB", 2_097_152),
            ("0.5ki", 512),
            ("15EiB", 15 << 60),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("10foo"), Err(SizeError::Unit("foo".to_owned())));
        assert_eq!(
            parse_size("").unwrap_err().to_string(),
            "strconv.ParseFloat: parsing \"\": invalid syntax"
        );
        assert_eq!(parse_size("100EB"), Err(SizeError::TooLarge("100EB".to_owned())));
    }

    #[test]
    fn durations_round_trip_in_gos_form() {
        for (text, printed) in [
            ("22h", "22h0m0s"),
            ("1m", "1m0s"),
            ("90m", "1h30m0s"),
            ("1.5s", "1.5s"),
            ("100ms", "100ms"),
            ("0", "0s"),
            ("0s", "0s"),
            ("-1h0.5s", "-1h0m0.5s"),
            ("1500us", "1.5ms"),
            ("7ns", "7ns"),
        ] {
            let parsed = GoDuration::parse(text).unwrap();
            assert_eq!(parsed.to_string(), printed);
            assert_eq!(GoDuration::parse(printed).unwrap(), parsed);
        }
    }

    #[test]
    fn bad_durations_use_gos_words() {
        for (text, words) in [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            assert_eq!(GoDuration::parse(text).unwrap_err().to_string(), words);
        }
    }
}

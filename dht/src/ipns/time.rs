//! Times as records hold them: RFC 3339 with up to nine digits of a second.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years of the Gregorian calendar.
const ERA_DAYS: i64 = 146_097;
/// Days from the first of March of the year 0 to 1970.
const EPOCH_DAYS: i64 = 719_468;
/// 0000-01-01T00:00:00Z: the first second that RFC 3339 can write.
const FIRST_SECOND: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z: the last one.
const LAST_SECOND: i64 = 253_402_300_799;
const NANOS_PER_SECOND: u32 = 1_000_000_000;

/// A moment, to the nanosecond. It is written in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970; negative before.
    seconds: i64,
    nanos: u32,
}

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time in the form of RFC 3339")]
pub struct TimestampError;

impl Timestamp {
    /// A moment from seconds since 1970 and nanoseconds beyond them, cut to what RFC 3339 can write.
    pub fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self { seconds: seconds.clamp(FIRST_SECOND, LAST_SECOND), nanos: nanos.min(NANOS_PER_SECOND - 1) }
    }

    /// Whole seconds since 1970.
    pub fn unix_seconds(&self) -> i64 {
        self.seconds
    }

    /// The moment that comes `duration` later, or the last one that can be written.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = self.nanos + duration.subsec_nanos();
        let (carry, nanos) = (nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self::from_unix(self.seconds.saturating_add(seconds).saturating_add(i64::from(carry)), nanos)
    }

    /// How long it is from `earlier` to this moment; nothing if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = |at: Self| i128::from(at.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(at.nanos);
        let between = nanos(self).saturating_sub(nanos(earlier));
        Duration::from_nanos(u64::try_from(between.max(0)).unwrap_or(u64::MAX))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self::from_unix(0, 0).after(since),
            // A clock before 1970 is a clock that was never set.
            Err(_) => Self::from_unix(0, 0),
        }
    }
}

impl fmt::Display for Timestamp {
    /// As Go's `RFC3339Nano`: the fraction without trailing zeros, and none where it is zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.seconds.rem_euclid(DAY_SECONDS);
        let (year, month, day) = date_of(self.seconds.div_euclid(DAY_SECONDS));
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// The date of a day counted from 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day is the last one.
    let days = days + EPOCH_DAYS;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    (year + era * 400 + i64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 }, date)
}

/// The day counted from 1970 that has this date.
fn day_of(year: i64, month: i64, date: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + date - 1 + 365 * year + year / 4 - year / 100;
    era * ERA_DAYS + day - EPOCH_DAYS
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads `2123-08-14T12:17:03.694052Z`, or with an offset such as `+02:00`. Digits beyond nanoseconds are cut off.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text).ok_or(TimestampError)
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let mut rest = Rest(text);
    let year = rest.number(4, 9999)?;
    let month = rest.after('-')?.number(2, 12)?;
    let date = rest.after('-')?.number(2, 31)?;
    let hour = rest.after('T')?.number(2, 23)?;
    let minute = rest.after(':')?.number(2, 59)?;
    let second = rest.after(':')?.number(2, 59)?;
    let nanos = rest.fraction()?;
    let offset_seconds = rest.offset()?;
    let day = day_of(year, month, date);
    // A date that is not in the calendar comes back as another one.
    if month == 0 || date_of(day) != (year, month, date) {
        return None;
    }
    let seconds = day * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset_seconds;
    Some(Timestamp::from_unix(seconds, nanos))
}

/// What is left of a text that is read from its beginning.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// Takes a number of exactly `width` digits, at most `max`.
    fn number(&mut self, width: usize, max: i64) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        self.0 = rest;
        (number <= max).then_some(number)
    }

    /// Takes a sign.
    fn after(&mut self, sign: char) -> Option<&mut Self> {
        self.0 = self.0.strip_prefix(sign)?;
        Some(self)
    }

    /// Takes a fraction of a second, if there is one, in nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let Some(digits) = self.0.strip_prefix('.') else { return Some(0) };
        let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
        self.0 = rest;
        let mut nanos = 0;
        for place in 0..9 {
            let digit = digits.as_bytes().get(place).map_or(0, |byte| byte - b'0');
            nanos = nanos * 10 + u32::from(digit);
        }
        Some(nanos)
    }

    /// Takes the end: `Z`, or an offset from UTC, in seconds.
    fn offset(&mut self) -> Option<i64> {
        if self.0 == "Z" {
            return Some(0);
        }
        let east = self.0.starts_with('+');
        self.after(if east { '+' } else { '-' })?;
        let (hours, minutes) = (self.number(2, 23)?, self.after(':')?.number(2, 59)?);
        let seconds = hours * 3600 + minutes * 60;
        self.0.is_empty().then_some(if east { seconds } else { -seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (1_700_000_000, 500_000_000, "2023-11-14T22:13:20.5Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (4_107_542_400, 123_456_789, "2100-03-01T00:00:00.123456789Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (LAST_SECOND, 0, "9999-12-31T23:59:59Z"),
            (FIRST_SECOND, 0, "0000-01-01T00:00:00Z"),
        ] {
            let time = Timestamp::from_unix(seconds, nanos);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time), "{text}");
        }
    }

    #[test]
    fn offsets_and_long_fractions_are_read() {
        let utc: Timestamp = "2023-11-14T22:13:20.123456789Z".parse().unwrap();
        let first = "0000-01-01T00:00:00+01:00".parse::<Timestamp>().unwrap();
        assert_eq!(first.to_string(), "0000-01-01T00:00:00Z", "what cannot be written is cut");
        for text in [
            "2023-11-15T00:13:20.123456789+02:00",
            "2023-11-14T17:43:20.123456789-04:30",
            "2023-11-14T22:13:20.1234567899Z",
        ] {
            assert_eq!(text.parse(), Ok(utc), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20ZZ",
            "2023-11-14 22:13:20Z",
            "2023-11-14t22:13:20z",
            "2023-13-14T22:13:20Z",
            "2023-00-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-11-00T22:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:60:20Z",
            "2023-11-14T22:13:60Z",
            "2023-11-14T22:13:20+2:00",
            "2023-11-14T22:13:20+02:00Z",
            "+023-11-14T22:13:20Z",
            "20\u{e4}-11-14T22:13:20Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn the_end_of_a_lifetime_never_passes_the_last_year() {
        let now = Timestamp::from_unix(1_700_000_000, 999_999_999);
        assert_eq!(now.after(Duration::from_nanos(2)).to_string(), "2023-11-14T22:13:21.000000001Z");
        assert_eq!(now.after(Duration::MAX).unix_seconds(), LAST_SECOND);
        assert_eq!(now.after(Duration::from_millis(1500)).since(now), Duration::from_millis(1500));
        assert_eq!(now.since(now.after(Duration::from_secs(1))), Duration::ZERO);
    }
}

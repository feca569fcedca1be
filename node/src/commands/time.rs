//! Seconds since 1970 as dates in UTC, and back.

/// Names of the months, as Go and `ls` shorten them.
pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years of the Gregorian calendar.
const ERA_DAYS: i64 = 146_097;
/// Days from the first of March of the year 0 to 1970.
const EPOCH_DAYS: i64 = 719_468;

/// A date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CivilTime {
    pub(super) year: i64,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
}

impl CivilTime {
    /// The date of a number of seconds since 1970.
    pub(super) fn of_unix(seconds: i64) -> Self {
        let of_day = seconds.rem_euclid(DAY_SECONDS);
        // Years are counted from March, so that the leap day is the last one.
        let days = seconds.div_euclid(DAY_SECONDS) + EPOCH_DAYS;
        let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let small = |number: i64| u8::try_from(number).unwrap_or(0);
        Self {
            year: year + era * 400 + i64::from(month >= 10),
            month: small(if month < 10 { month + 3 } else { month - 9 }),
            day: small(day - (153 * month + 2) / 5 + 1),
            hour: small(of_day / 3600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
        }
    }

    /// Seconds since 1970.
    pub(super) fn to_unix(self) -> i64 {
        let month = i64::from(self.month);
        let year = self.year - i64::from(month <= 2);
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let month = if month > 2 { month - 3 } else { month + 9 };
        let day = (153 * month + 2) / 5 + i64::from(self.day) - 1 + 365 * year + year / 4 - year / 100;
        let days = era * ERA_DAYS + day - EPOCH_DAYS;
        let of_day = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        days * DAY_SECONDS + of_day
    }

    /// Reads what RFC 3339 writes in UTC, without fractions of a second.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut date = date.rsplitn(3, '-');
        let (day, month, year) = (date.next()?, date.next()?, date.next()?);
        let mut time = time.split(['.', ':']);
        let (hour, minute, second) = (time.next()?, time.next()?, time.next()?);
        Some(Self {
            year: year.parse().ok()?,
            month: month.parse().ok().filter(|month| (1..=12).contains(month))?,
            day: day.parse().ok()?,
            hour: hour.parse().ok()?,
            minute: minute.parse().ok()?,
            second: second.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let time = CivilTime::parse(text).unwrap();
            assert_eq!(CivilTime::of_unix(seconds), time, "{text}");
            assert_eq!(time.to_unix(), seconds, "{text}");
        }
    }
}

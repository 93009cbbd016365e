//! Two clocks, two types.
//!
//! [`Mono`] never goes back and is for deadlines. [`Wall`] is the calendar and is for JSON,
//! certificates and people; it may jump. A core is handed both by its driver and never asks.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use super::text::Reading;

/// A point on the monotonic clock, in nanoseconds since an origin that only the driver knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(u64);

impl Mono {
    pub const ZERO: Mono = Mono(0);

    /// The point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub const fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A point in calendar time, UTC: seconds since 1970-01-01 and nanoseconds within the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall {
    seconds: i64,
    nanos: u32,
}

/// The text form with a fraction, to be filled in.
const TEMPLATE: &[u8; 30] = b"0000-00-00T00:00:00.000000000Z";
const NANOS_PER_SECOND: u32 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Wall {
    /// The point `seconds` after the epoch (negative: before it), plus `nanos`, which is cut to
    /// below one second.
    pub const fn new(seconds: i64, nanos: u32) -> Wall {
        Wall { seconds, nanos: nanos % NANOS_PER_SECOND }
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub(crate) fn since(self, earlier: Wall) -> Duration {
        let nanos = |wall: Wall| i128::from(wall.seconds) * 1_000_000_000 + i128::from(wall.nanos);
        let span = (nanos(self) - nanos(earlier)).max(0);
        Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// Year, month (1–12), day (1–31), hour, minute, second in the proleptic Gregorian calendar.
    pub(crate) fn civil(self) -> (i64, u32, u32, u32, u32, u32) {
        let days = self.seconds.div_euclid(SECONDS_PER_DAY);
        let second_of_day = small(self.seconds.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = date_from_days(days);
        (year, month, day, second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60)
    }

    /// Writes the text form past the machinery of formatting, since it is in every event and every
    /// list. `None` for a year without four digits.
    fn write(self, text: &mut [u8; TEMPLATE.len()]) -> Option<&str> {
        let (year, month, day, hour, minute, second) = self.civil();
        put_digits(&mut text[..4], u32::try_from(year).ok().filter(|year| *year <= 9999)?);
        for (at, number) in [(5, month), (8, day), (11, hour), (14, minute), (17, second)] {
            put_digits(&mut text[at..at + 2], number);
        }
        put_digits(&mut text[20..29], self.nanos);
        if self.nanos == 0 {
            text[19] = b'Z';
            return std::str::from_utf8(&text[..20]).ok();
        }
        std::str::from_utf8(text).ok()
    }

    /// Reads an RFC 3339 timestamp; any offset is taken into account, digits of the second beyond
    /// the ninth are cut. `None` if the text is not one.
    pub(crate) fn parse_rfc3339(text: &str) -> Option<Wall> {
        let bytes = text.as_bytes();
        if bytes.len() < 20 || !text.is_ascii() {
            return None;
        }
        let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
        if separators.iter().any(|&(at, sign)| bytes[at] != sign)
            || !matches!(bytes[10], b'T' | b't' | b' ')
        {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = &text[from..to];
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        // A leap second is written as :60 and read as the second after :59.
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (nanos, rest) = fraction(&text[19..])?;
        let offset = offset_seconds(rest)?;
        let days = days_from_date(year, month, day);
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
        Some(Wall { seconds, nanos })
    }
}

/// RFC 3339 in UTC with a final `Z`; the fraction is left out when it is zero, else nine digits.
impl fmt::Display for Wall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.write(&mut TEMPLATE.to_owned()) {
            return out.write_str(text);
        }
        let (year, month, day, hour, minute, second) = self.civil();
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos != 0 {
            write!(out, ".{:09}", self.nanos)?;
        }
        out.write_str("Z")
    }
}

impl serde::Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.write(&mut TEMPLATE.to_owned()) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Wall {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Wall, D::Error> {
        let read = |text: &str| {
            Wall::parse_rfc3339(text).ok_or_else(|| format!("{text:?} is not an RFC 3339 time"))
        };
        deserializer.deserialize_str(Reading { what: "an RFC 3339 time", read })
    }
}

/// Both clocks, read together: what a driver hands to a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    pub wall: Wall,
}

fn put_digits(places: &mut [u8], mut number: u32) {
    for place in places.iter_mut().rev() {
        *place = b"0123456789"[number as usize % 10];
        number /= 10;
    }
}

/// The number of a day that is counted from 1970-01-01, by shifting the year to start in March so
/// that the leap day comes last.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn date_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, small(month), small(day))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Nanoseconds of an optional `.digits`, and what follows.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(after_point) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let count = after_point.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = after_point.split_at(count);
    let kept = &digits[..count.min(9)];
    let scale = 10_u32.pow(9 - u32::try_from(kept.len()).ok()?);
    Some((kept.parse::<u32>().ok()? * scale, rest))
}

/// Seconds east of UTC of `Z`, `+hh:mm` or `-hh:mm`.
fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let sign = match bytes[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let pair = |at: usize| -> Option<i64> {
        let (tens, ones) = (bytes[at], bytes[at + 1]);
        (tens.is_ascii_digit() && ones.is_ascii_digit())
            .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let (hours, minutes) = (pair(1)?, pair(4)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Parts of a date are small and not negative by construction.
fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_read_and_write() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(Wall::new(seconds, 0).to_string(), text);
            assert_eq!(Wall::parse_rfc3339(text), Some(Wall::new(seconds, 0)));
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        let noon = Wall::parse_rfc3339("2026-01-02T12:00:00Z").map(Wall::seconds);
        for same in ["2026-01-02T13:30:00+01:30", "2026-01-02t07:00:00-05:00"] {
            assert_eq!(Wall::parse_rfc3339(same).map(Wall::seconds), noon);
        }
        let fine = Wall::parse_rfc3339("2026-01-02T12:00:00.123456789123Z");
        assert_eq!(fine.map(Wall::nanos), Some(123_456_789));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:0éZ",
        ] {
            assert_eq!(Wall::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_goes_there_and_back() {
        for days in -150_000..150_000 {
            let (year, month, day) = date_from_days(days);
            assert_eq!(days_from_date(year, i64::from(month), i64::from(day)), days);
        }
    }

    #[test]
    fn mono_saturates_instead_of_wrapping() {
        let late = Mono::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(9), Mono::from_nanos(u64::MAX));
        assert_eq!(Mono::ZERO.since(late), Duration::ZERO);
    }
}

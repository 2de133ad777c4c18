//! Points in time as seconds since 1970, and their text forms in X.509, CMS and RFC 3339.
//! Never reads a clock. <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5>

use std::fmt;

use crate::der::{GENERALIZED_TIME, Tag, UTC_TIME};

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// The moment of a calendar date and time in UTC; `None` if there is no such date.
    #[must_use]
    pub fn from_civil(
        year: i64,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    ) -> Option<Self> {
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        // RFC 5280 has no leap seconds; a 60th is read as the second after.
        if day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let days = days_from_civil(year, i64::from(month), i64::from(day));
        Some(Self(
            days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second),
        ))
    }

    /// Reads a UTCTime: `YYMMDDHHMMSSZ`, where years below 50 are of this century.
    #[must_use]
    pub fn from_utc_time(text: &[u8]) -> Option<Self> {
        let [year, rest @ ..] = pairs::<6>(text)?;
        let year = if year < 50 { 2000 } else { 1900 } + i64::from(year);
        Self::from_pairs(year, rest)
    }

    /// Reads a GeneralizedTime: `YYYYMMDDHHMMSSZ`.
    #[must_use]
    pub fn from_generalized_time(text: &[u8]) -> Option<Self> {
        let [century, year, rest @ ..] = pairs::<7>(text)?;
        Self::from_pairs(i64::from(century) * 100 + i64::from(year), rest)
    }

    /// Reads `2026-11-22T12:00:00Z`, with optional fraction (dropped) and numeric offset (RFC 3339).
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (date, rest) = bytes.split_at_checked(19)?;
        let [
            y1,
            y2,
            y3,
            y4,
            b'-',
            m1,
            m2,
            b'-',
            d1,
            d2,
            t,
            h1,
            h2,
            b':',
            n1,
            n2,
            b':',
            s1,
            s2,
        ] = *date
        else {
            return None;
        };
        if !matches!(t, b'T' | b't' | b' ') {
            return None;
        }
        let year = i64::from(pair(y1, y2)?) * 100 + i64::from(pair(y3, y4)?);
        let base = Self::from_civil(
            year,
            pair(m1, m2)?,
            pair(d1, d2)?,
            pair(h1, h2)?,
            pair(n1, n2)?,
            pair(s1, s2)?,
        )?;
        let rest = match rest {
            [b'.', fraction @ ..] => {
                let count = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
                if count == 0 {
                    return None;
                }
                fraction.get(count..)?
            }
            rest => rest,
        };
        let offset = match *rest {
            [b'Z' | b'z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (pair(h1, h2)?, pair(m1, m2)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
                if sign == b'-' { -seconds } else { seconds }
            }
            _ => return None,
        };
        Some(Self(base.0 - offset))
    }

    /// The time `seconds` later, at the edge of what can be counted if need be.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Whether this is still to come at `now`, by more than clocks differ ([`CLOCK_SKEW`]).
    #[must_use]
    pub const fn is_ahead_of(self, now: Self) -> bool {
        self.0 > now.0.saturating_add(CLOCK_SKEW)
    }

    /// Year, month, day, hour, minute, second in UTC.
    #[must_use]
    pub fn civil(self) -> (i64, u8, u8, u8, u8, u8) {
        let days = self.0.div_euclid(86_400);
        let seconds = self.0.rem_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        (
            year,
            small(month),
            small(day),
            small(seconds / 3600),
            small(seconds / 60 % 60),
            small(seconds % 60),
        )
    }

    /// The X.509 form: UTCTime from 1950 through 2049, else GeneralizedTime (years 0 to 9999).
    #[must_use]
    pub fn to_x509(self) -> (Tag, String) {
        let (year, month, day, hour, minute, second) = self.civil();
        let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        if (1950..2050).contains(&year) {
            (UTC_TIME, format!("{:02}{rest}", year % 100))
        } else {
            (GENERALIZED_TIME, format!("{year:04}{rest}"))
        }
    }

    fn from_pairs(year: i64, pairs: [u8; 5]) -> Option<Self> {
        let [month, day, hour, minute, second] = pairs;
        Self::from_civil(year, month, day, hour, minute, second)
    }
}

/// RFC 3339 in UTC.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// `N` pairs of decimal digits and a `Z`.
fn pairs<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (zulu, digits) = text.split_last()?;
    if *zulu != b'Z' || digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (slot, chunk) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let [tens, ones] = *chunk else { return None };
        *slot = pair(tens, ones)?;
    }
    Some(out)
}

const fn pair(tens: u8, ones: u8) -> Option<u8> {
    if tens.is_ascii_digit() && ones.is_ascii_digit() {
        Some((tens - b'0') * 10 + (ones - b'0'))
    } else {
        None
    }
}

fn small(value: i64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

// Both directions count from 1 March, so that the leap day is the last of its year:
// <https://howardhinnant.github.io/date_algorithms.html>.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (
        year_of_era + era * 400 + if month <= 2 { 1 } else { 0 },
        month,
        day,
    )
}

/// Seconds by which the clock of whoever tells the status of certificates may be ahead of ours. A responder makes its
/// answer in the second in which it is asked, on a machine whose clock is another: without a tolerance its newest word,
/// and with it that a certificate is revoked, would be passed over as one of tomorrow. What is let in by it is at
/// most so much fresher than it should be; when it ends is judged without one.
pub const CLOCK_SKEW: i64 = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        assert_eq!(UnixTime::from_utc_time(b"700101000000Z"), Some(UnixTime(0)));
        assert_eq!(
            UnixTime::from_utc_time(b"491231235959Z")
                .unwrap()
                .to_string(),
            "2049-12-31T23:59:59Z"
        );
        assert_eq!(
            UnixTime::from_utc_time(b"500101000000Z")
                .unwrap()
                .to_string(),
            "1950-01-01T00:00:00Z"
        );
        assert_eq!(
            UnixTime::from_generalized_time(b"99991231235959Z")
                .unwrap()
                .0,
            253_402_300_799
        );
        assert_eq!(
            UnixTime::parse_rfc3339("2026-11-22T21:00:00.5+09:00")
                .unwrap()
                .to_string(),
            "2026-11-22T12:00:00Z"
        );
    }

    #[test]
    fn clocks_differ_by_five_minutes_at_most() {
        let now = UnixTime(1_000_000);
        for (time, ahead) in [(i64::MIN, false), (1_000_300, false), (1_000_301, true)] {
            assert_eq!(UnixTime(time).is_ahead_of(now), ahead, "{time}");
        }
        assert!(!UnixTime(i64::MAX).is_ahead_of(UnixTime(i64::MAX - 1)));
    }

    #[test]
    fn odd_forms_are_refused() {
        for bad in [
            &b"7001010000Z"[..],
            b"700101000000",
            b"700101000000+0900",
            b"7001010000-0Z",
            b"701301000000Z",
            b"700230000000Z",
            b"700101240000Z",
            b"70010100006xZ",
            b"",
            b"Z",
        ] {
            assert_eq!(UnixTime::from_utc_time(bad), None, "{bad:?}");
        }
        for bad in [
            &b"20260101000000.5Z"[..],
            b"20260101000000",
            b"20250229000000Z",
            b"202601010000Z",
        ] {
            assert_eq!(UnixTime::from_generalized_time(bad), None, "{bad:?}");
        }
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T12:00:00",
            "2026-11-22T12:00:00.Z",
            "2026-11-22T12:00:00+0900",
        ] {
            assert_eq!(UnixTime::parse_rfc3339(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn utc_time_ends_with_the_year_2049() {
        let last = UnixTime::parse_rfc3339("2049-12-31T23:59:59Z").unwrap();
        assert_eq!(last.to_x509(), (UTC_TIME, "491231235959Z".to_owned()));
        let next = last.plus(1);
        assert_eq!(
            next.to_x509(),
            (GENERALIZED_TIME, "20500101000000Z".to_owned())
        );
        assert_eq!(
            UnixTime::from_generalized_time(b"20500101000000Z"),
            Some(next)
        );
        let before = UnixTime::parse_rfc3339("1949-12-31T23:59:59Z").unwrap();
        assert_eq!(before.to_x509().0, GENERALIZED_TIME);
        assert_eq!(
            before.plus(1).to_x509(),
            (UTC_TIME, "500101000000Z".to_owned())
        );
    }

    #[test]
    fn seconds_go_on_where_31_bits_end() {
        let last = UnixTime(i64::from(i32::MAX));
        assert_eq!(last.to_string(), "2038-01-19T03:14:07Z");
        let next = last.plus(1);
        assert_eq!(next.to_string(), "2038-01-19T03:14:08Z");
        assert_eq!(UnixTime::from_utc_time(b"380119031408Z"), Some(next));
        assert!(last < next);
    }

    proptest! {
        #[test]
        fn every_second_survives_its_text(seconds in -62_167_219_200_i64..253_402_300_800) {
            let time = UnixTime(seconds);
            prop_assert_eq!(UnixTime::parse_rfc3339(&time.to_string()), Some(time));
            let (tag, text) = time.to_x509();
            let back = if tag == UTC_TIME {
                UnixTime::from_utc_time(text.as_bytes())
            } else {
                UnixTime::from_generalized_time(text.as_bytes())
            };
            prop_assert_eq!(back, Some(time));
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..40), any in any::<i64>()) {
            let _ = UnixTime::from_utc_time(&octets);
            let _ = UnixTime::from_generalized_time(&octets);
            let _ = UnixTime::parse_rfc3339(&String::from_utf8_lossy(&octets));
            let _ = UnixTime(any).to_string();
        }
    }
}

//! Formats of signed times. Each is read strictly, in one spelling, so that no byte can move between a time and the text beside it.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::authentic::NotAuthentic;

/// The last second that an HTTP date can express: the end of the year 9999.
const LAST_HTTP_DATE: Duration = Duration::from_secs(253_402_300_799);

/// The text form of a signed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Seconds since the Unix epoch: exactly 10 digits.
    Unix,
    /// Milliseconds since the Unix epoch: exactly 13 digits.
    UnixMs,
    /// `2026-01-01T00:00:00Z`, with a fraction up to nanoseconds and `Z` or an offset.
    Rfc3339,
    /// `2026-01-01T00:00:00` without a zone, in UTC.
    Utc,
    /// `Thu, 01 Jan 2026 00:00:00 GMT`, as in the `Date` header of HTTP (RFC 9110): exactly 29 bytes.
    ImfFixdate,
}

impl Format {
    /// The names in the config.
    pub const NAMES: [&'static str; 5] = ["unix", "unix_ms", "rfc3339", "utc", "imf_fixdate"];

    /// Parses the name of a format.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "unix" => Self::Unix,
            "unix_ms" => Self::UnixMs,
            "rfc3339" => Self::Rfc3339,
            "utc" => Self::Utc,
            "imf_fixdate" => Self::ImfFixdate,
            _ => return None,
        })
    }

    /// Parses a time; `None` if it is not in exactly this format, or lies before 1970.
    pub fn read(self, text: &[u8]) -> Option<SystemTime> {
        match self {
            Self::Unix => digits(text, 10).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            Self::UnixMs => digits(text, 13).map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            Self::Rfc3339 => {
                let rest = after_seconds(text)?;
                let offset = matches!(rest, [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|d| d.is_ascii_digit()));
                if rest == b"Z" || offset {
                    civil(std::str::from_utf8(text).ok()?)
                } else {
                    None
                }
            }
            Self::Utc => {
                let rest = after_seconds(text)?;
                if rest.is_empty() {
                    civil(&format!("{}Z", std::str::from_utf8(text).ok()?))
                } else {
                    None
                }
            }
            // the parser accepts two older forms, and any day of the week
            Self::ImfFixdate => {
                let text = std::str::from_utf8(text).ok()?;
                httpdate::parse_http_date(text)
                    .ok()
                    .filter(|time| httpdate::fmt_http_date(*time) == text)
            }
        }
    }

    /// Writes `time` so that [`Format::read`] returns it, up to the format's resolution.
    pub fn write(self, time: SystemTime) -> String {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let rfc3339 = || {
            jiff::Timestamp::try_from(UNIX_EPOCH + since)
                .map(|stamp| stamp.to_string())
                .unwrap_or_default()
        };
        match self {
            Self::Unix => format!("{:010}", since.as_secs()),
            Self::UnixMs => format!("{:013}", since.as_millis()),
            Self::Rfc3339 => rfc3339(),
            Self::Utc => rfc3339().trim_end_matches('Z').to_owned(),
            Self::ImfFixdate => httpdate::fmt_http_date(UNIX_EPOCH + since.min(LAST_HTTP_DATE)),
        }
    }

    /// Returns whether a text in this format can hold `byte`.
    pub(super) fn may_hold(self, byte: u8) -> bool {
        match self {
            Self::Unix | Self::UnixMs => byte.is_ascii_digit(),
            Self::Rfc3339 | Self::Utc => byte.is_ascii_digit() || b"-:.+TZ".contains(&byte),
            Self::ImfFixdate => byte.is_ascii_alphanumeric() || b", :".contains(&byte),
        }
    }
}

fn digits(text: &[u8], count: usize) -> Option<u64> {
    if text.len() != count || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0')),
    )
}

/// Returns the rest of the text after `YYYY-MM-DDTHH:MM:SS[.fraction]`.
fn after_seconds(text: &[u8]) -> Option<&[u8]> {
    const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";
    let (date, rest) = text.split_at_checked(SHAPE.len())?;
    let shaped = date.iter().zip(SHAPE).all(|(byte, shape)| {
        if *shape == b'd' {
            byte.is_ascii_digit()
        } else {
            byte == shape
        }
    });
    if !shaped {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some(rest);
    };
    let length = fraction
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if (1..=9).contains(&length) {
        fraction.get(length..)
    } else {
        None
    }
}

fn civil(text: &str) -> Option<SystemTime> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    let nanos = u64::try_from(stamp.as_nanosecond()).ok()?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// Checks that `signed` is within `tolerance` of `now`, before or after, both ends included.
pub(super) fn judge(
    signed: SystemTime,
    now: SystemTime,
    tolerance: Duration,
) -> Result<(), NotAuthentic> {
    // both directions are always measured, so that the time does not depend on the result
    let [age, ahead] =
        [now.duration_since(signed), signed.duration_since(now)].map(Result::unwrap_or_default);
    match (age > tolerance, ahead > tolerance) {
        (true, _) => Err(NotAuthentic::TimestampStale),
        (false, true) => Err(NotAuthentic::TimestampFuture),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanos(format: Format, text: &str) -> Option<u128> {
        format
            .read(text.as_bytes())
            .map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_nanos())
    }

    #[test]
    fn each_format_has_one_spelling() {
        const AT: u128 = 1_767_225_600_000_000_000;
        for (format, text, want) in [
            (Format::Unix, "1767225600", Some(AT)),
            (Format::Unix, "176722560", None),
            (Format::Unix, "17672256000", None),
            (Format::Unix, "+767225600", None),
            (Format::Unix, " 767225600", None),
            (Format::Unix, "1767225600.", None),
            (Format::UnixMs, "1767225600000", Some(AT)),
            (Format::UnixMs, "1767225600", None),
            (Format::Rfc3339, "2026-01-01T00:00:00Z", Some(AT)),
            (
                Format::Rfc3339,
                "2026-01-01T00:00:00.123456789Z",
                Some(AT + 123_456_789),
            ),
            (Format::Rfc3339, "2026-01-01T01:00:00+01:00", Some(AT)),
            (
                Format::Rfc3339,
                "2025-12-31T16:00:00.5-08:00",
                Some(AT + 500_000_000),
            ),
            (Format::Rfc3339, "2026-01-01T00:00:00", None),
            (Format::Rfc3339, "2026-01-01 00:00:00Z", None),
            (Format::Rfc3339, "2026-01-01T00:00:00.Z", None),
            (Format::Rfc3339, "2026-01-01T00:00:00.1234567890Z", None),
            (Format::Rfc3339, "2026-01-01T00:00:00z", None),
            (Format::Rfc3339, "2026-01-01T00:00:00Z[UTC]", None),
            (Format::Rfc3339, "2026-13-01T00:00:00Z", None),
            (Format::Rfc3339, "1969-12-31T23:59:59Z", None),
            (Format::Utc, "2026-01-01T00:00:00.000", Some(AT)),
            (Format::Utc, "2026-01-01T00:00:00", Some(AT)),
            (Format::Utc, "2026-01-01T00:00:00Z", None),
            (
                Format::ImfFixdate,
                "Thu, 01 Jan 2026 00:00:00 GMT",
                Some(AT),
            ),
            (Format::ImfFixdate, "Thu, 01 Jan 2026 00:00:00 UTC", None),
            (Format::ImfFixdate, "Thu, 01 Jan 2026 00:00:00 +0000", None),
            (Format::ImfFixdate, "Thu, 1 Jan 2026 00:00:00 GMT", None),
            (Format::ImfFixdate, "thu, 01 jan 2026 00:00:00 gmt", None),
            (Format::ImfFixdate, "Fri, 01 Jan 2026 00:00:00 GMT", None),
            (Format::ImfFixdate, "Thu, 01 Jan 2026 00:00:00 GMT ", None),
            (Format::ImfFixdate, "Thu,01 Jan 2026 00:00:00 GMT", None),
            (Format::ImfFixdate, "Thu, 01 Jan 2026 24:00:00 GMT", None),
            (Format::ImfFixdate, "Thu, 31 Feb 2026 00:00:00 GMT", None),
            (Format::ImfFixdate, "Thursday, 01-Jan-26 00:00:00 GMT", None),
            (Format::ImfFixdate, "Thu Jan  1 00:00:00 2026", None),
            (Format::ImfFixdate, "Wed, 31 Dec 1969 23:59:59 GMT", None),
            (Format::ImfFixdate, "1767225600", None),
        ] {
            assert_eq!(nanos(format, text), want, "{format:?} {text}");
        }
    }

    #[test]
    fn written_time_is_read_back() {
        let time = UNIX_EPOCH + Duration::from_millis(1_767_225_600_000);
        for name in Format::NAMES {
            let format = Format::parse(name).unwrap();
            assert_eq!(
                format.read(format.write(time).as_bytes()),
                Some(time),
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn time_survives_each_format(seconds in 0_u64..10_000_000_000) {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            for name in Format::NAMES {
                let format = Format::parse(name).unwrap();
                let text = format.write(time);
                prop_assert!(text.bytes().all(|byte| format.may_hold(byte)), "{}", text);
                prop_assert_eq!(format.read(text.as_bytes()), Some(time), "{}", text);
            }
            prop_assert_eq!(Format::ImfFixdate.write(time).len(), 29);
        }

        #[test]
        fn only_the_written_form_of_an_http_date_is_read(text in "[A-Za-z]{3}, [0-3][0-9] [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            if let Some(time) = Format::ImfFixdate.read(text.as_bytes()) {
                prop_assert_eq!(Format::ImfFixdate.write(time), text);
            }
        }
    }

    #[test]
    fn the_tolerance_is_inclusive_both_ways() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let at = |seconds| {
            judge(
                UNIX_EPOCH + Duration::from_secs(seconds),
                now,
                Duration::from_secs(300),
            )
        };
        assert_eq!(at(700), Ok(()));
        assert_eq!(at(699), Err(NotAuthentic::TimestampStale));
        assert_eq!(at(1_300), Ok(()));
        assert_eq!(at(1_301), Err(NotAuthentic::TimestampFuture));
    }
}

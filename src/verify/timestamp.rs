//! Signed times: read strictly, one spelling a format, so that nobody can move bytes between a time and what stands beside it.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::NotAuthentic;

/// How a provider writes its time.
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
}

impl Format {
    /// The names in the config.
    pub const NAMES: [&'static str; 4] = ["unix", "unix_ms", "rfc3339", "utc"];

    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "unix" => Self::Unix,
            "unix_ms" => Self::UnixMs,
            "rfc3339" => Self::Rfc3339,
            "utc" => Self::Utc,
            _ => return None,
        })
    }

    /// The time that `text` says; `None` if it is not written exactly so, or lies before 1970.
    pub fn read(self, text: &[u8]) -> Option<SystemTime> {
        match self {
            Self::Unix => digits(text, 10).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
            Self::UnixMs => digits(text, 13).map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            Self::Rfc3339 => {
                let rest = after_seconds(text)?;
                let offset = matches!(rest, [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|d| d.is_ascii_digit()));
                if rest == b"Z" || offset { civil(std::str::from_utf8(text).ok()?) } else { None }
            }
            Self::Utc => {
                let rest = after_seconds(text)?;
                if rest.is_empty() { civil(&format!("{}Z", std::str::from_utf8(text).ok()?)) } else { None }
            }
        }
    }

    /// Writes `time` so that [`Format::read`] gives it back, up to the format's resolution.
    pub fn write(self, time: SystemTime) -> String {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let rfc3339 = || jiff::Timestamp::try_from(UNIX_EPOCH + since).map(|stamp| stamp.to_string()).unwrap_or_default();
        match self {
            Self::Unix => format!("{:010}", since.as_secs()),
            Self::UnixMs => format!("{:013}", since.as_millis()),
            Self::Rfc3339 => rfc3339(),
            Self::Utc => rfc3339().trim_end_matches('Z').to_owned(),
        }
    }

    /// Whether a text in this format can hold `byte`.
    pub(super) fn may_hold(self, byte: u8) -> bool {
        match self {
            Self::Unix | Self::UnixMs => byte.is_ascii_digit(),
            Self::Rfc3339 | Self::Utc => byte.is_ascii_digit() || b"-:.+TZ".contains(&byte),
        }
    }
}

fn digits(text: &[u8], count: usize) -> Option<u64> {
    if text.len() != count || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// What follows `YYYY-MM-DDTHH:MM:SS[.fraction]`.
fn after_seconds(text: &[u8]) -> Option<&[u8]> {
    const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";
    let (date, rest) = text.split_at_checked(SHAPE.len())?;
    let shaped = date.iter().zip(SHAPE).all(|(byte, shape)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape });
    if !shaped {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if (1..=9).contains(&length) { fraction.get(length..) } else { None }
}

fn civil(text: &str) -> Option<SystemTime> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    let nanos = u64::try_from(stamp.as_nanosecond()).ok()?;
    Some(UNIX_EPOCH + Duration::from_nanos(nanos))
}

/// Whether `signed` is within `tolerance` of `now`, either way, both ends included.
pub(super) fn judge(signed: SystemTime, now: SystemTime, tolerance: Duration) -> Result<(), NotAuthentic> {
    // both ways are always measured, so that it takes as long whatever comes of it
    let [age, ahead] = [now.duration_since(signed), signed.duration_since(now)].map(Result::unwrap_or_default);
    match (age > tolerance, ahead > tolerance) {
        (true, _) => Err(NotAuthentic::TimestampStale),
        (false, true) => Err(NotAuthentic::TimestampFuture),
        (false, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(format: Format, text: &str) -> Option<u128> {
        format.read(text.as_bytes()).map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_nanos())
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
            (Format::Rfc3339, "2026-01-01T00:00:00.123456789Z", Some(AT + 123_456_789)),
            (Format::Rfc3339, "2026-01-01T01:00:00+01:00", Some(AT)),
            (Format::Rfc3339, "2025-12-31T16:00:00.5-08:00", Some(AT + 500_000_000)),
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
        ] {
            assert_eq!(nanos(format, text), want, "{format:?} {text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let time = UNIX_EPOCH + Duration::from_millis(1_767_225_600_000);
        for name in Format::NAMES {
            let format = Format::parse(name).unwrap();
            assert_eq!(format.read(format.write(time).as_bytes()), Some(time), "{name}");
        }
    }

    #[test]
    fn the_tolerance_is_inclusive_both_ways() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let at = |seconds| judge(UNIX_EPOCH + Duration::from_secs(seconds), now, Duration::from_secs(300));
        assert_eq!(at(700), Ok(()));
        assert_eq!(at(699), Err(NotAuthentic::TimestampStale));
        assert_eq!(at(1_300), Ok(()));
        assert_eq!(at(1_301), Err(NotAuthentic::TimestampFuture));
    }
}

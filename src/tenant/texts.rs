//! Times, rates and bytes as texts of JSON that is stored.
use std::time::SystemTime;

use jiff::Timestamp;

/// Parses a time of RFC 3339.
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    let at: Timestamp = text.parse().ok()?;
    SystemTime::try_from(at).ok()
}

/// Formats a time for people, in UTC. Empty for a time that no calendar has.
pub(super) fn format_time(at: SystemTime, format: &str) -> String {
    Timestamp::try_from(at)
        .map(|at| at.strftime(format).to_string())
        .unwrap_or_default()
}

/// A time as RFC 3339, to the millisecond.
pub(super) mod time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::clock::rfc3339;

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(*at))
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        super::parse_time(&text).ok_or_else(|| de::Error::custom("this is no time of RFC 3339"))
    }
}

/// A time as RFC 3339, or none.
pub(super) mod optional_time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::clock::rfc3339;

    pub(crate) fn serialize<S: Serializer>(
        at: &Option<SystemTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => to.serialize_str(&rfc3339(*at)),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| {
            super::parse_time(&text).ok_or_else(|| de::Error::custom("this is no time of RFC 3339"))
        })
        .transpose()
    }
}

/// A rate as its config text, or none.
pub(super) mod optional_rate {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::units::{self, Rate};

    pub(crate) fn serialize<S: Serializer>(rate: &Option<Rate>, to: S) -> Result<S::Ok, S::Error> {
        match rate {
            Some(rate) => to.serialize_str(&super::rate_text(*rate)),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Rate>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| units::rate(&text).map_err(de::Error::custom))
            .transpose()
    }
}

/// Returns a rate as [`crate::units::rate`] reads it.
fn rate_text(rate: crate::units::Rate) -> String {
    let unit = match rate.per.as_secs() {
        0..=1 => "s",
        2..=60 => "m",
        61..=3_600 => "h",
        _ => "d",
    };
    format!("{}/{unit}", rate.count)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::units;

    #[test]
    fn rates_are_written_as_they_are_read() {
        for text in ["1/s", "30/m", "1000/h", "4294967295/d"] {
            assert_eq!(rate_text(units::rate(text).unwrap()), text);
        }
    }

    #[test]
    fn times_are_in_utc() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_597_320);
        assert_eq!(format_time(at, "%-d %b %Y"), "25 Nov 2026");
        assert_eq!(parse_time("2026-11-25T10:02:00+01:00"), Some(at));
        assert_eq!(parse_time("2026-11-25"), None);
    }
}

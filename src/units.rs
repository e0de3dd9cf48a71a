//! Durations, sizes and rates as people write them, parsed once into types.
use std::num::NonZeroU32;
use std::time::Duration;

/// So many in so long: `100/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

/// A text that is not a unit. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAUnit(pub &'static str);

/// Converts a count to `u64`. A count that does not fit becomes the largest one.
pub fn saturating(count: impl TryInto<u64>) -> u64 {
    count.try_into().unwrap_or(u64::MAX)
}

/// Parses `COUNT/UNIT`, where UNIT is `s`, `m`, `h` or `d`.
///
/// # Errors
/// The text to write instead.
pub fn rate(text: &str) -> Result<Rate, NotAUnit> {
    let wrong = NotAUnit("write a count and a unit, such as `100/s`, `30/m` or `1000/h`");
    let Some((count, unit)) = text.split_once('/') else {
        return Err(wrong);
    };
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3_600,
        "d" | "day" => 86_400,
        _ => return Err(wrong),
    };
    let count = count.trim().parse().map_err(|_| wrong)?;
    Ok(Rate {
        count,
        per: Duration::from_secs(seconds),
    })
}

/// Parses `5s`, `100ms`, `1h 30m`, `3d`.
///
/// # Errors
/// The text to write instead.
pub fn duration(text: &str) -> Result<Duration, NotAUnit> {
    humantime::parse_duration(text).map_err(|_| {
        NotAUnit("write a number and a unit, such as `500ms`, `5s`, `10m`, `24h` or `3d`")
    })
}

/// Parses `32KiB`, `5MiB`, `1GB`, `4096` (bytes).
///
/// # Errors
/// The text to write instead.
pub fn size(text: &str) -> Result<usize, NotAUnit> {
    let wrong = NotAUnit("write a number and a unit, such as `32KiB`, `5MiB` or `1GB`");
    let size: bytesize::ByteSize = text.parse().map_err(|_| wrong.clone())?;
    usize::try_from(size.as_u64()).map_err(|_| wrong)
}

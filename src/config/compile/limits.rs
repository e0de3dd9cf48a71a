//! Compiles `limits`, `shutdown` and `log`.
use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Limits, Shutdown};
use crate::limit::Quota;
use crate::telemetry::{LogFormat, LogPolicy, LogRequests};
use crate::units::Rate;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The default of `refused_per_client`.
const REFUSED: Rate = Rate {
    count: NonZeroU32::MIN.saturating_add(49),
    per: Duration::from_secs(1),
};

/// Compiles `limits`.
pub(super) fn limits(limits: Option<file::Limits>, place: &Place, cx: &mut Context<'_>) -> Limits {
    let file::Limits {
        in_flight_bytes,
        refused_per_client,
        header_timeout,
        idle_timeout,
        header_bytes,
        body_timeout,
        connections,
        connections_per_client,
    } = limits.unwrap_or_default();
    let refused = refused_per_client
        .and_then(|text| cx.rate(&text, &place.key("refused_per_client")))
        .unwrap_or(REFUSED);
    let burst = refused
        .count
        .saturating_mul(NonZeroU32::MIN.saturating_add(9));
    let connections = count(connections, &place.key("connections"), 10_000, cx);
    Limits {
        in_flight_bytes: cx.size(
            in_flight_bytes.as_deref(),
            &place.key("in_flight_bytes"),
            64 * MIB,
        ),
        refused_per_client: Quota {
            rate: refused,
            burst,
        },
        header_timeout: cx.duration(
            header_timeout.as_deref(),
            &place.key("header_timeout"),
            Duration::from_secs(5),
        ),
        idle_timeout: cx.duration(
            idle_timeout.as_deref(),
            &place.key("idle_timeout"),
            Duration::from_secs(60),
        ),
        header_bytes: cx.size(
            header_bytes.as_deref(),
            &place.key("header_bytes"),
            32 * KIB,
        ),
        body_timeout: cx.duration(
            body_timeout.as_deref(),
            &place.key("body_timeout"),
            Duration::from_secs(10),
        ),
        connections,
        connections_per_client: count(
            connections_per_client,
            &place.key("connections_per_client"),
            1_000,
            cx,
        )
        .min(connections),
    }
}

/// Checks that a number is not 0, or returns the default.
fn count(written: Option<u32>, place: &Place, default: usize, cx: &mut Context<'_>) -> usize {
    if written == Some(0) {
        cx.problems.error(place, "this must be at least 1", None);
    }
    written.map_or(default, |count| {
        usize::try_from(count).unwrap_or(usize::MAX)
    })
}

/// Compiles `shutdown`.
pub(super) fn shutdown(
    shutdown: Option<file::Shutdown>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Shutdown {
    let file::Shutdown { delay, grace } = shutdown.unwrap_or_default();
    let mut time = |written: Option<String>, key: &str, default| match written.as_deref() {
        // No time at all is allowed here: `0`, `0s`, `0ms`.
        Some(text) if text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic()) == "0" => {
            Duration::ZERO
        }
        written => cx.duration(written, &place.key(key), default),
    };
    Shutdown {
        delay: time(delay, "delay", Duration::from_secs(5)),
        grace: time(grace, "grace", Duration::from_secs(25)),
    }
}

/// Compiles `log`.
pub(super) fn log(log: Option<file::Log>, place: &Place, cx: &mut Context<'_>) -> LogPolicy {
    let file::Log { format, requests } = log.unwrap_or_default();
    let formats = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
    let kinds = [
        ("all", LogRequests::All),
        ("refused", LogRequests::Refused),
        ("none", LogRequests::None),
    ];
    LogPolicy {
        format: cx
            .word(format.as_deref(), &place.key("format"), &formats)
            .unwrap_or(LogFormat::Json),
        requests: cx
            .word(requests.as_deref(), &place.key("requests"), &kinds)
            .unwrap_or(LogRequests::All),
    }
}

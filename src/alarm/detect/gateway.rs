//! The findings about alarms of the whole gateway.
use std::sync::Arc;
use std::time::Duration;

use super::finding::{Finding, in_words};
use super::observation::Observation;
use crate::alarm::latch::Level;
use crate::alarm::{Code, Policy};
use crate::mount::Space;

/// The time that a measure must be bad before an alarm is raised.
pub(super) const HOLD: Duration = Duration::from_secs(20);

/// Returns the findings that concern no route.
pub(super) fn findings(observation: &Observation, policy: &Policy) -> Vec<(Code, Finding)> {
    let reported = |text: &Option<String>| {
        let level = if text.is_some() {
            Level::Bad
        } else {
            Level::Good
        };
        Finding(level, Duration::ZERO, text.clone().unwrap_or_default())
    };
    let parked = if observation.parked > 0 {
        Level::Bad
    } else {
        Level::Good
    };
    let waits = format!(
        "{} deliveries wait for a route that is not in the config: add the route again, or write its name under `previously` of another route",
        observation.parked
    );
    let clock = if observation.clock_jump {
        Level::Bad
    } else {
        Level::Good
    };
    let mut findings = vec![
        (Code::Parked, Finding(parked, Duration::ZERO, waits)),
        (Code::StoreSetAside, reported(&observation.set_aside)),
        (Code::StoreFailing, reported(&observation.failing)),
        (Code::CertificateExpiry, reported(&observation.certificates)),
        (Code::NameUnresolved, unresolved(&observation.unresolved)),
        (
            Code::ClockJump,
            Finding(
                clock,
                Duration::ZERO,
                "the wall clock jumped: nothing expires or is purged until it has been steady for ten minutes".to_owned(),
            ),
        ),
    ];
    findings.push((Code::DiskNearlyFull, disk_nearly_full(observation, policy)));
    findings.push((Code::StoreLarge, store_large(observation, policy)));
    findings
}

/// Returns the finding about the disk of the store. A disk that is gone is not reported here.
fn disk_nearly_full(observation: &Observation, policy: &Policy) -> Finding {
    let Some(Space { free, total }) = observation.disk else {
        return Finding(Level::Good, HOLD, String::new());
    };
    let due = policy.disk_free.of(total);
    let text = format!(
        "{} of {} are free on the disk of the store",
        bytes(free),
        bytes(total)
    );
    // a fifth more than is due before it is good again
    let level = match free {
        free if free < due => Level::Bad,
        free if free >= due.saturating_add(due / 5).min(total) => Level::Good,
        _ => Level::Between,
    };
    Finding(level, HOLD, text)
}

/// Returns the finding about the size of the store.
fn store_large(observation: &Observation, policy: &Policy) -> Finding {
    let Some(most) = policy.store_size else {
        return Finding(Level::Good, HOLD, String::new());
    };
    let level = match observation.store_bytes {
        size if size > most => Level::Bad,
        size if size <= most - most / 10 => Level::Good,
        _ => Level::Between,
    };
    let text = format!(
        "the store uses {}, more than {}",
        bytes(observation.store_bytes),
        bytes(most)
    );
    Finding(level, HOLD, text)
}

/// Returns the finding about upstreams whose names do not resolve.
fn unresolved(upstreams: &[(Arc<str>, Duration)]) -> Finding {
    let level = if upstreams.is_empty() {
        Level::Good
    } else {
        Level::Bad
    };
    let named: Vec<_> = upstreams
        .iter()
        .map(|(name, lasted)| format!("{name} for {}", in_words(*lasted)))
        .collect();
    let text = format!(
        "the name of an upstream does not resolve ({}): the gateway uses its last addresses, if it had any",
        named.join(", ")
    );
    Finding(level, Duration::ZERO, text)
}

fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

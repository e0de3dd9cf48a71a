//! Metrics of sending.
use super::families::{Families, float};
use crate::telemetry::Telemetry;
use crate::telemetry::sending::PublishResult;

/// The values of the metrics of sending that only the caller knows, read at each scrape.
#[derive(Clone, Debug, Default)]
pub struct SendingGauges {
    /// Attempts that wait, also those for paused endpoints.
    pub waiting: u64,
    /// Events that are dead for an endpoint: each endpoint counts.
    pub dead: u64,
    /// Endpoints by state.
    pub endpoints: Vec<(&'static str, u64)>,
    /// Attempts under way, by half.
    pub slots: Vec<(&'static str, u64)>,
}

/// Adds the metrics of sending, if the config sends or the store has tenants.
pub(super) fn add(telemetry: &Telemetry, gauges: Option<&SendingGauges>, families: &mut Families) {
    let Some(gauges) = gauges else { return };
    let sending = &telemetry.sending;
    let published = sending.published();
    families.counter(
        "hookgate_outbound_published_total",
        "Requests to publish an event, by result.",
        &["result"],
        PublishResult::ALL.map(|result| {
            let count = published.get(&result).copied().unwrap_or(0);
            (vec![result.word()], count)
        }),
    );
    families.counter(
        "hookgate_outbound_attempts_total",
        "Attempts to send an event to an endpoint, by outcome.",
        &["outcome"],
        sending
            .attempts()
            .into_iter()
            .map(|(label, count)| (vec![label], count)),
    );
    families.collect(&sending.start_seconds);
    families.collect(&sending.attempt_seconds);
    families.level(
        "hookgate_outbound_waiting",
        "Events that wait for an endpoint, also for a paused one. Each endpoint of an event counts.",
        gauges.waiting,
    );
    families.level(
        "hookgate_outbound_dead",
        "Events whose attempts to an endpoint are exhausted. Each endpoint of an event counts.",
        gauges.dead,
    );
    let labelled = [
        (
            "hookgate_outbound_endpoints",
            "Endpoints by state.",
            "state",
            &gauges.endpoints,
        ),
        (
            "hookgate_outbound_slots",
            "Attempts to endpoints under way. Half of the slots are never given to `suspects`: endpoints whose last attempt had no answer, or a slow one.",
            "half",
            &gauges.slots,
        ),
    ];
    for (name, help, label, counts) in labelled {
        let values = counts
            .iter()
            .map(|(word, count)| (vec![*word], float(*count)));
        families.gauge(name, help, &[label], values);
    }
}

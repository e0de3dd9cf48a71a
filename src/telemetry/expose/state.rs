//! Metrics of the gateway's state: ledger, memory, connections, breakers, queue and store.
use super::{Families, Gauges, float};

pub(super) fn add(gauges: &Gauges, families: &mut Families) {
    add_levels(gauges, families);
    add_totals(gauges, families);
    add_flags(gauges, families);
    add_queue(gauges, families);
}

fn add_levels(gauges: &Gauges, families: &mut Families) {
    let levels = [
        (
            "hookgate_ledger_entries",
            "Delivery IDs remembered.",
            gauges.ledger_entries,
        ),
        (
            "hookgate_ledger_bytes",
            "Memory of the ledger, in bytes.",
            gauges.ledger_bytes,
        ),
        (
            "hookgate_ledger_unsaved",
            "Delivery IDs that are not in the store yet.",
            gauges.ledger_unsaved,
        ),
        (
            "hookgate_in_flight_bytes",
            "Bytes of bodies in memory.",
            gauges.in_flight_bytes,
        ),
        (
            "hookgate_connections",
            "Open connections of senders.",
            gauges.connections,
        ),
        (
            "hookgate_store_bytes",
            "Bytes of the store's files.",
            gauges.store_bytes,
        ),
        (
            "hookgate_store_writes_waiting",
            "Writes that wait for the disk.",
            gauges.store_writes_waiting,
        ),
        (
            "hookgate_store_alarm",
            "1 while the store was set aside or its writes fail.",
            u64::from(gauges.store_alarm),
        ),
    ];
    for (name, help, value) in levels {
        families.level(name, help, value);
    }
}

fn add_totals(gauges: &Gauges, families: &mut Families) {
    families.total(
        "hookgate_ledger_forgotten_early_total",
        "Delivery IDs forgotten before their window ended, because the ledger was full.",
        gauges.forgotten_early,
    );
    families.total(
        "hookgate_late_attempts_total",
        "Attempts that ended after their lease had passed to another.",
        gauges.late_attempts,
    );
    let by_label = [
        (
            "hookgate_connections_refused_total",
            "Connections refused before their first request, by reason.",
            "reason",
            &gauges.refused_connections,
        ),
        (
            "hookgate_accept_errors_total",
            "Connections that the system could not give to the gateway, by cause.",
            "cause",
            &gauges.accept_errors,
        ),
    ];
    for (name, help, label, counts) in by_label {
        let values = counts.iter().map(|(word, count)| (vec![*word], *count));
        families.counter(name, help, &[label], values);
    }
}

fn add_flags(gauges: &Gauges, families: &mut Families) {
    families.gauge(
        "hookgate_route_not_enforcing",
        "1 while the route lets unverified requests through.",
        &["route"],
        gauges
            .enforcing
            .iter()
            .map(|(name, enforces)| (vec![&**name], float(u64::from(!enforces)))),
    );
    families.flags(
        "hookgate_upstream_breaker_open",
        "1 while nothing is sent to the upstream, because it could not be reached.",
        "upstream",
        &gauges.breakers,
    );
    families.flags(
        "hookgate_route_breaker_open",
        "1 while nothing of the route is sent, because its handler did not answer in time.",
        "route",
        &gauges.handlers,
    );
    families.flags(
        "hookgate_queue_paused",
        "1 while the queue of the route is paused, because its upstream is down or overloaded.",
        "route",
        &gauges.paused,
    );
}

fn add_queue(gauges: &Gauges, families: &mut Families) {
    for (name, help, counts) in [
        (
            "hookgate_queue_waiting",
            "Deliveries that wait for an attempt.",
            &gauges.waiting,
        ),
        (
            "hookgate_queue_dead",
            "Deliveries whose attempts are exhausted, without cancelled ones.",
            &gauges.dead,
        ),
        (
            "hookgate_queue_cancelled",
            "Deliveries that were cancelled.",
            &gauges.cancelled,
        ),
    ] {
        let values = counts
            .iter()
            .map(|(route, count)| (vec![&**route], float(*count)));
        families.gauge(name, help, &["route"], values);
    }
}

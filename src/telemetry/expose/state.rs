//! Metrics of the gateway's state: ledger, memory, connections, breakers, queue and store.
use std::sync::Arc;
use std::time::SystemTime;

use super::families::{Families, float};
use super::sending::SendingGauges;
use super::shared_store::SharedStoreGauges;
use crate::clock::unix_ms;

/// The values of refused requests that are kept.
#[derive(Clone, Debug, Default)]
pub struct QuarantineGauges {
    /// The requests and bytes that each route keeps; a route without a quarantine that keeps nothing is left out.
    pub kept: Vec<(Arc<str>, (u64, u64))>,
    /// Requests that were not kept since the start, by reason.
    pub not_kept: Vec<(&'static str, u64)>,
}

/// The values of metrics that only the caller knows, read at each scrape.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Delivery IDs remembered.
    pub ledger_entries: u64,
    /// Memory they take, in bytes.
    pub ledger_bytes: u64,
    /// The hash over all files and variables of the config.
    pub hash: String,
    /// IDs forgotten before their window was over, since the start.
    pub forgotten_early: u64,
    /// Committed IDs that are not in the store yet.
    pub ledger_unsaved: u64,
    /// Deliveries in the spool, if there is one.
    pub spool_waiting: Option<u64>,
    /// Decisions about shared rate limits that were made by this gateway's share, since the start; none without such limits.
    pub rate_limit_local: Option<u64>,
    /// Bytes of bodies held now.
    pub in_flight_bytes: u64,
    /// Connections open now.
    pub connections: u64,
    /// Connections refused since the start, before their first request, by reason.
    pub refused_connections: Vec<(&'static str, u64)>,
    /// Errors of accepting since the start, by cause.
    pub accept_errors: Vec<(&'static str, u64)>,
    /// Every webhook route, and whether it refuses what is not authentic.
    pub enforcing: Vec<(Arc<str>, bool)>,
    /// Every upstream, and whether the breaker of its address is open.
    pub breakers: Vec<(Arc<str>, bool)>,
    /// Every webhook route, and whether the breaker of its handler is open.
    pub handlers: Vec<(Arc<str>, bool)>,
    /// Secret files without a usable secret now.
    pub stale_secrets: u64,
    /// Certificates whose files have no valid pair now.
    pub stale_certificates: u64,
    /// The end of each certificate in use.
    pub certificates: Vec<(String, SystemTime)>,
    /// Whether the store was set aside or its writes fail.
    pub store_alarm: bool,
    /// Deliveries that wait, by route.
    pub waiting: Vec<(Arc<str>, u64)>,
    /// Whether the queue of each route pauses.
    pub paused: Vec<(Arc<str>, bool)>,
    /// Dead deliveries, by route.
    pub dead: Vec<(Arc<str>, u64)>,
    /// Cancelled deliveries, by route.
    pub cancelled: Vec<(Arc<str>, u64)>,
    /// The secrets that routes list.
    pub secrets: Vec<SecretGauge>,
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Writes that wait for the disk.
    pub store_writes_waiting: u64,
    /// Attempts that ended after their lease had passed to another, since the start.
    pub late_attempts: u64,
    /// The values of refused requests that are kept.
    pub quarantine: QuarantineGauges,
    /// The values of sending; none if nothing is sent.
    pub sending: Option<SendingGauges>,
    /// The values of a store that gateways share; none if the store is this gateway's own.
    pub shared_store: Option<SharedStoreGauges>,
}

/// A secret that a route lists.
#[derive(Clone, Debug)]
pub struct SecretGauge {
    /// The route.
    pub route: Arc<str>,
    /// The secret's name.
    pub secret: Arc<str>,
    /// The time of its last match, at any gateway that shares the store.
    pub last_match: Option<SystemTime>,
    /// The time at which it expires.
    pub expires: Option<SystemTime>,
}

pub(super) fn add(gauges: &Gauges, families: &mut Families) {
    add_levels(gauges, families);
    add_totals(gauges, families);
    add_flags(gauges, families);
    add_queue(gauges, families);
    add_quarantine(&gauges.quarantine, families);
    add_secrets(gauges, families);
}

fn add_levels(gauges: &Gauges, families: &mut Families) {
    let levels = [
        (
            "hookgate_ledger_entries",
            "Delivery IDs remembered. With store.postgres: by all gateways, as the database estimates it.",
            gauges.ledger_entries,
        ),
        (
            "hookgate_ledger_bytes",
            "Memory of the ledger, in bytes. With store.postgres: its tables and indexes in the database.",
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
            "Bytes of the store's files. With store.postgres: its tables and indexes in the database.",
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
    if let Some(waiting) = gauges.spool_waiting {
        let help =
            "Deliveries on the local disk that were not handed over to the shared store yet.";
        families.level("hookgate_spool_waiting", help, waiting);
    }
}

fn add_totals(gauges: &Gauges, families: &mut Families) {
    if let Some(local) = gauges.rate_limit_local {
        let help = "Requests and attempts that were judged by this gateway's share of a fleet's rate limit, because the shared store did not answer.";
        families.total("hookgate_rate_limit_local_total", help, local);
    }
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
            "Deliveries that wait for an attempt. With store.postgres, each gateway has the number of all gateways: take the maximum, not the sum.",
            &gauges.waiting,
        ),
        (
            "hookgate_queue_dead",
            "Deliveries whose attempts are exhausted, without cancelled ones. With store.postgres: take the maximum of the gateways.",
            &gauges.dead,
        ),
        (
            "hookgate_queue_cancelled",
            "Deliveries that were cancelled. With store.postgres: take the maximum of the gateways.",
            &gauges.cancelled,
        ),
    ] {
        let values = counts
            .iter()
            .map(|(route, count)| (vec![&**route], float(*count)));
        families.gauge(name, help, &["route"], values);
    }
}

/// Adds the metrics of kept requests, if a route keeps any or may.
fn add_quarantine(quarantine: &QuarantineGauges, families: &mut Families) {
    if quarantine.kept.is_empty() {
        return;
    }
    let kept = |value: fn(&(u64, u64)) -> u64| {
        let routes = quarantine.kept.iter();
        routes.map(move |(route, sums)| (vec![&**route], float(value(sums))))
    };
    families.gauge(
        "hookgate_quarantine_requests",
        "Refused requests that this gateway keeps.",
        &["route"],
        kept(|(requests, _)| *requests),
    );
    families.gauge(
        "hookgate_quarantine_bytes",
        "Bytes of the refused requests that this gateway keeps, with 512 more for each.",
        &["route"],
        kept(|(_, bytes)| *bytes),
    );
    let not_kept = quarantine.not_kept.iter();
    families.counter(
        "hookgate_quarantine_not_kept_total",
        "Refused requests of routes with a quarantine that were not kept, by reason.",
        &["reason"],
        not_kept.map(|(reason, count)| (vec![*reason], *count)),
    );
}

/// Adds the times of secrets. A secret that has not matched, or does not expire, has none.
fn add_secrets(gauges: &Gauges, families: &mut Families) {
    type TimeOf = fn(&SecretGauge) -> Option<SystemTime>;
    let times: [(&str, &str, TimeOf); 2] = [
        (
            "hookgate_secret_last_match_timestamp_seconds",
            "Unix time of the last request that the secret matched. With store.postgres: at any gateway.",
            |secret| secret.last_match,
        ),
        (
            "hookgate_secret_expires_timestamp_seconds",
            "Unix time at which the secret expires.",
            |secret| secret.expires,
        ),
    ];
    for (name, help, time) in times {
        let values = gauges.secrets.iter().filter_map(|secret| {
            let seconds = unix_ms(time(secret)?) / 1000;
            Some((vec![&*secret.route, &*secret.secret], float(seconds)))
        });
        families.gauge(name, help, &["route", "secret"], values);
    }
}

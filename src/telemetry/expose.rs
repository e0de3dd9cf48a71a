//! Metrics as text. Labels are names from the config and closed sets; nothing of a sender becomes one.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder};

use super::{Histograms, NO_ROUTE, Telemetry, log};
use crate::alarm::Code;
use crate::telemetry::counters::RouteSeen;

/// What only the caller knows, read when metrics are asked for.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Delivery IDs remembered.
    pub ledger_entries: u64,
    /// Memory they take, in bytes.
    pub ledger_bytes: u64,
    /// Over all that the config was read from.
    pub hash: String,
    /// IDs forgotten before their window was over, since the start.
    pub forgotten_early: u64,
    /// IDs handed on that are not in the store yet.
    pub ledger_unsaved: u64,
    /// Bytes of bodies held now.
    pub in_flight_bytes: u64,
    /// Connections open now.
    pub connections: u64,
    /// Connections closed before their first request since the start, by why.
    pub turned_away: Vec<(&'static str, u64)>,
    /// Errors of accepting since the start, by cause.
    pub accept_errors: Vec<(&'static str, u64)>,
    /// Every webhook route, and whether it refuses what is not authentic.
    pub enforcing: Vec<(Arc<str>, bool)>,
    /// Every upstream, and whether the breaker of its address is open.
    pub breakers: Vec<(Arc<str>, bool)>,
    /// Every webhook route, and whether the breaker of its handler is open.
    pub handlers: Vec<(Arc<str>, bool)>,
    /// Secret files that hold no usable text now.
    pub stale_secrets: u64,
    /// Certificates whose files hold no valid pair now.
    pub stale_certificates: u64,
    /// The end of each certificate in use.
    pub certificates: Vec<(String, SystemTime)>,
    /// Whether the store was set aside or does not take writes.
    pub store_alarm: bool,
    /// Deliveries that wait, by route.
    pub waiting: Vec<(Arc<str>, u64)>,
    /// Whether the queue of each route pauses.
    pub paused: Vec<(Arc<str>, bool)>,
    /// Dead deliveries, by route.
    pub dead: Vec<(Arc<str>, u64)>,
    /// Cancelled deliveries, by route.
    pub cancelled: Vec<(Arc<str>, u64)>,
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Writes that wait for the disk.
    pub store_writes_waiting: u64,
    /// Tries that came back after another had taken over, since the start.
    pub late_attempts: u64,
}

const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
const VERIFY_SECONDS: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1,
];
const AGE_SECONDS: &[f64] = &[
    0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0,
];

impl Histograms {
    pub(super) fn new() -> Self {
        Self {
            request_seconds: histogram(
                "hookgate_request_seconds",
                "From the head of a request to the end of its answer.",
                "route",
                REQUEST_SECONDS,
            ),
            verify_seconds: histogram(
                "hookgate_verify_seconds",
                "The verdict, after the body was there.",
                "route",
                VERIFY_SECONDS,
            ),
            signature_age: histogram(
                "hookgate_signature_age_seconds",
                "How old signed times are on arrival; one ahead of the gate's clock counts as 0.",
                "route",
                AGE_SECONDS,
            ),
            upstream_seconds: histogram(
                "hookgate_upstream_seconds",
                "From connecting to the end of the upstream's answer.",
                "upstream",
                REQUEST_SECONDS,
            ),
        }
    }

    pub(super) fn of_route(&self, name: &str) -> RouteSeen {
        let of = |vec: &HistogramVec| vec.with_label_values(&[name]);
        RouteSeen::new(
            of(&self.request_seconds),
            of(&self.verify_seconds),
            of(&self.signature_age),
        )
    }
}

#[expect(
    clippy::expect_used,
    reason = "names, labels and buckets are constants, and a test makes them all"
)]
fn histogram(name: &str, help: &str, label: &str, buckets: &[f64]) -> HistogramVec {
    HistogramVec::new(
        HistogramOpts::new(name, help).buckets(buckets.to_vec()),
        &[label],
    )
    .expect("a valid metric")
}

/// Families made for one scrape from counters of our own.
struct Families(Vec<MetricFamily>);

impl Families {
    fn counter<'a>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
    ) {
        let Ok(counter) = IntCounterVec::new(Opts::new(name, help), labels) else {
            return;
        };
        for (labels, value) in values {
            counter.with_label_values(&labels).inc_by(value);
        }
        self.0.extend(counter.collect());
    }

    fn gauge<'a>(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) {
        let Ok(gauge) = GaugeVec::new(Opts::new(name, help), labels) else {
            return;
        };
        for (labels, value) in values {
            gauge.with_label_values(&labels).set(value);
        }
        self.0.extend(gauge.collect());
    }

    fn total(&mut self, name: &str, help: &str, value: u64) {
        self.counter(name, help, &[], [(vec![], value)]);
    }

    fn level(&mut self, name: &str, help: &str, value: u64) {
        self.gauge(name, help, &[], [(vec![], float(value))]);
    }
}

pub(super) fn text(telemetry: &Telemetry, gauges: &Gauges) -> String {
    let mut families = Families(Vec::new());
    of_requests(telemetry, &mut families);
    of_state(gauges, &mut families);
    of_alarms(telemetry, gauges, &mut families);
    of_config(telemetry, gauges, &mut families);
    let mut families = families.0;
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    TextEncoder::new()
        .encode_to_string(&families)
        .unwrap_or_default()
}

fn of_requests(telemetry: &Telemetry, families: &mut Families) {
    let routes = telemetry.routes.read();
    let named = routes.iter().map(|(name, seen)| (&**name, &**seen));
    let all: Vec<_> = named.chain([(NO_ROUTE, &telemetry.unrouted)]).collect();
    let requests = all.iter().flat_map(|(route, seen)| {
        // refusals that never happened would be hundreds of lines
        let seen = seen
            .totals()
            .filter(|(outcome, total)| *total > 0 || (!outcome.is_refusal() && *route != NO_ROUTE));
        seen.map(|(outcome, total)| (vec![*route, outcome.label()], total))
            .collect::<Vec<_>>()
    });
    families.counter(
        "hookgate_requests_total",
        "Requests by what became of them.",
        &["route", "outcome"],
        requests,
    );
    let secrets: Vec<_> = all
        .iter()
        .flat_map(|(route, seen)| {
            seen.secrets()
                .into_iter()
                .map(|(name, seen)| (*route, name, seen.matches))
        })
        .collect();
    families.counter(
        "hookgate_secret_matches_total",
        "Authentic requests by the secret that matched.",
        &["route", "secret"],
        secrets
            .iter()
            .map(|(route, name, matches)| (vec![*route, &**name], *matches)),
    );
    let late = all
        .iter()
        .filter(|(route, _)| *route != NO_ROUTE)
        .map(|(route, seen)| (vec![*route], seen.late_retries()));
    let help =
        "Retries that were accepted although their signed time was older than the tolerance.";
    families.counter("hookgate_late_retries_total", help, &["route"], late);
    let would_refuse: Vec<_> = all
        .iter()
        .flat_map(|(route, seen)| {
            seen.would_refuse()
                .into_iter()
                .map(|(code, count)| (vec![*route, code], count))
        })
        .collect();
    let help = "Requests that a route with `mode: observe` let in and would have refused.";
    families.counter(
        "hookgate_would_refuse_total",
        help,
        &["route", "code"],
        would_refuse,
    );
    let Histograms {
        request_seconds,
        verify_seconds,
        signature_age,
        upstream_seconds,
    } = &telemetry.histograms;
    for histogram in [
        request_seconds,
        verify_seconds,
        signature_age,
        upstream_seconds,
    ] {
        families.0.extend(histogram.collect());
    }
    let skew = telemetry.skew();
    let seen = (skew.samples > 0).then_some((vec![], skew.seconds));
    let help =
        "How far signed times are behind the gate's clock, the median of late; negative: ahead.";
    families.gauge("hookgate_clock_skew_seconds", help, &[], seen);
    families.total(
        "hookgate_malformed_total",
        "Requests so malformed that they were refused before anything else.",
        log::malformed(),
    );
    families.total(
        "hookgate_library_warnings_total",
        "Warnings of libraries; their text is not logged.",
        log::silenced(),
    );
    families.total(
        "hookgate_lost_claims_total",
        "Deliveries that took so long that a duplicate was handed on as well.",
        telemetry.lost_claims.load(Ordering::Relaxed),
    );
    for (name, help, label, counts) in [
        (
            "hookgate_attempts_total",
            "Tries of deliveries that waited, by what they came to.",
            "outcome",
            telemetry.attempts.by_outcome(),
        ),
        (
            "hookgate_attempts_settled_total",
            "Tries of deliveries that waited, by what followed.",
            "after",
            telemetry.attempts.by_after(),
        ),
    ] {
        let values = counts
            .iter()
            .map(|((route, word), count)| (vec![&**route, *word], *count));
        families.counter(name, help, &["route", label], values);
    }
    families.total(
        "hookgate_not_recorded_total",
        "Deliveries that `record` asks to keep and the store did not take.",
        telemetry.unrecorded.load(Ordering::Relaxed),
    );
    families.total(
        "hookgate_log_lines_dropped_total",
        "Log lines dropped because nobody took them.",
        telemetry.lines.dropped(),
    );
}

/// Every alarm there can be, so that one that was never raised is 0.
fn of_alarms(telemetry: &Telemetry, gauges: &Gauges, families: &mut Families) {
    let raised = telemetry.alarms();
    let is_raised = |code, route: Option<&str>| {
        raised
            .iter()
            .any(|alarm| alarm.code == code && alarm.route.as_deref() == route)
    };
    let values = Code::ALL.iter().copied().flat_map(|code| {
        let routes = gauges
            .enforcing
            .iter()
            .filter(move |_| code.is_of_route())
            .map(|(name, _)| Some(&**name));
        let gate = (!code.is_of_route()).then_some(None);
        routes.chain(gate).map(move |route| (code, route))
    });
    families.gauge(
        "hookgate_alarm",
        "1 while the alarm is raised.",
        &["code", "route"],
        values.map(|(code, route)| {
            (
                vec![code.code(), route.unwrap_or(NO_ROUTE)],
                float(u64::from(is_raised(code, route))),
            )
        }),
    );
}

fn of_state(gauges: &Gauges, families: &mut Families) {
    families.level(
        "hookgate_ledger_entries",
        "Delivery IDs remembered.",
        gauges.ledger_entries,
    );
    families.level(
        "hookgate_ledger_bytes",
        "Memory of the ledger.",
        gauges.ledger_bytes,
    );
    families.total(
        "hookgate_ledger_forgotten_early_total",
        "Delivery IDs forgotten before their time, for want of room.",
        gauges.forgotten_early,
    );
    families.level(
        "hookgate_ledger_unsaved",
        "Delivery IDs that are not in the store yet.",
        gauges.ledger_unsaved,
    );
    families.level(
        "hookgate_in_flight_bytes",
        "Bytes of bodies held.",
        gauges.in_flight_bytes,
    );
    families.level(
        "hookgate_connections",
        "Connections of senders.",
        gauges.connections,
    );
    families.counter(
        "hookgate_connections_refused_total",
        "Connections closed before their first request, by reason.",
        &["reason"],
        gauges
            .turned_away
            .iter()
            .map(|(why, count)| (vec![*why], *count)),
    );
    families.counter(
        "hookgate_accept_errors_total",
        "Connections that the system did not give to the gateway, by cause.",
        &["cause"],
        gauges
            .accept_errors
            .iter()
            .map(|(cause, count)| (vec![*cause], *count)),
    );
    families.gauge(
        "hookgate_route_not_enforcing",
        "1 while the route lets in what is not authentic.",
        &["route"],
        gauges
            .enforcing
            .iter()
            .map(|(name, enforces)| (vec![&**name], float(u64::from(!enforces)))),
    );
    families.gauge(
        "hookgate_upstream_breaker_open",
        "1 while nothing is sent to the upstream, because it could not be reached.",
        &["upstream"],
        gauges
            .breakers
            .iter()
            .map(|(name, open)| (vec![&**name], float(u64::from(*open)))),
    );
    families.gauge(
        "hookgate_route_breaker_open",
        "1 while nothing of the route is sent, because its handler did not answer in time.",
        &["route"],
        gauges
            .handlers
            .iter()
            .map(|(name, open)| (vec![&**name], float(u64::from(*open)))),
    );
    for (name, help, counts) in [
        (
            "hookgate_queue_waiting",
            "Deliveries that wait for a try.",
            &gauges.waiting,
        ),
        (
            "hookgate_queue_dead",
            "Dead deliveries: their attempts are exhausted.",
            &gauges.dead,
        ),
        (
            "hookgate_queue_cancelled",
            "Cancelled deliveries.",
            &gauges.cancelled,
        ),
    ] {
        families.gauge(
            name,
            help,
            &["route"],
            counts
                .iter()
                .map(|(route, count)| (vec![&**route], float(*count))),
        );
    }
    families.gauge(
        "hookgate_queue_paused",
        "1 while the queue of the route pauses, because its app is away or has too much to do.",
        &["route"],
        gauges
            .paused
            .iter()
            .map(|(name, paused)| (vec![&**name], float(u64::from(*paused)))),
    );
    families.level(
        "hookgate_store_bytes",
        "Bytes of the store's files.",
        gauges.store_bytes,
    );
    families.level(
        "hookgate_store_writes_waiting",
        "Writes that wait for the disk.",
        gauges.store_writes_waiting,
    );
    families.total(
        "hookgate_late_attempts_total",
        "Tries that came back after another had taken over.",
        gauges.late_attempts,
    );
    families.level(
        "hookgate_store_alarm",
        "1 while the store needs somebody to look at it.",
        u64::from(gauges.store_alarm),
    );
}

fn of_config(telemetry: &Telemetry, gauges: &Gauges, families: &mut Families) {
    let config = &telemetry.config;
    let reloads = [
        (vec!["accepted"], &config.accepted),
        (vec!["refused"], &config.refused),
    ];
    let reloads = reloads.map(|(labels, count)| (labels, count.load(Ordering::Relaxed)));
    families.counter(
        "hookgate_reloads_total",
        "Reloads by result.",
        &["result"],
        reloads,
    );
    families.gauge(
        "hookgate_config_info",
        "The hash over all that the config was read from.",
        &["hash"],
        [(vec![&*gauges.hash], 1.0)],
    );
    families.level(
        "hookgate_config_generation",
        "The config that requests run on.",
        config.generation.load(Ordering::Relaxed),
    );
    let loaded =
        std::time::Duration::from_millis(config.loaded_ms.load(Ordering::Relaxed)).as_secs_f64();
    families.gauge(
        "hookgate_config_loaded_timestamp_seconds",
        "When it was loaded.",
        &[],
        [(vec![], loaded)],
    );
    let succeeded = u64::from(!config.last_failed.load(Ordering::Relaxed));
    families.level(
        "hookgate_config_last_reload_success",
        "0 if the last reload was refused.",
        succeeded,
    );
    families.level(
        "hookgate_secret_stale",
        "Secret files that hold no usable text; their last good text counts.",
        gauges.stale_secrets,
    );
    families.level(
        "hookgate_certificate_stale",
        "Certificates whose files hold no valid pair; the last good one counts.",
        gauges.stale_certificates,
    );
    let seconds = |end: SystemTime| {
        end.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    families.gauge(
        "hookgate_certificate_not_after_seconds",
        "When the certificate in use expires, in seconds since the Unix epoch.",
        &["certificate"],
        gauges
            .certificates
            .iter()
            .map(|(label, end)| (vec![label.as_str()], seconds(*end))),
    );
}

/// Exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; counts stay far below 2^53"
)]
fn float(number: u64) -> f64 {
    number as f64
}

//! Metrics as text. Labels are names from the config and closed sets, never data from a request.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, TextEncoder};

use super::{Histograms, NO_ROUTE, Telemetry};
use crate::alarm::Code;
use crate::telemetry::counters::RouteCounters;

mod requests;
mod state;

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
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Writes that wait for the disk.
    pub store_writes_waiting: u64,
    /// Attempts that ended after their lease had passed to another, since the start.
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
                "Time from the head of a request to the end of its response.",
                "route",
                REQUEST_SECONDS,
            ),
            verify_seconds: histogram(
                "hookgate_verify_seconds",
                "CPU time of verification, after the body has arrived.",
                "route",
                VERIFY_SECONDS,
            ),
            signature_age: histogram(
                "hookgate_signature_age_seconds",
                "Age of signed times on arrival. A time ahead of the gateway's clock counts as 0.",
                "route",
                AGE_SECONDS,
            ),
            upstream_seconds: histogram(
                "hookgate_upstream_seconds",
                "Time from connecting to the end of the upstream's response.",
                "upstream",
                REQUEST_SECONDS,
            ),
        }
    }

    pub(super) fn of_route(&self, name: &str) -> RouteCounters {
        let of = |vec: &HistogramVec| vec.with_label_values(&[name]);
        RouteCounters::new(
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

/// The metric families of one scrape, made from the gateway's own counters.
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

    fn collect(&mut self, collector: &impl Collector) {
        self.0.extend(collector.collect());
    }

    fn total(&mut self, name: &str, help: &str, value: u64) {
        self.counter(name, help, &[], [(vec![], value)]);
    }

    fn level(&mut self, name: &str, help: &str, value: u64) {
        self.gauge(name, help, &[], [(vec![], float(value))]);
    }

    /// Adds a gauge that is 1 for each name with `true`.
    fn flags(&mut self, name: &str, help: &str, label: &str, values: &[(Arc<str>, bool)]) {
        let values = values
            .iter()
            .map(|(name, is_set)| (vec![&**name], float(u64::from(*is_set))));
        self.gauge(name, help, &[label], values);
    }
}

pub(super) fn text(telemetry: &Telemetry, gauges: &Gauges) -> String {
    let mut families = Families(Vec::new());
    requests::add(telemetry, &mut families);
    state::add(gauges, &mut families);
    add_alarms(telemetry, gauges, &mut families);
    add_config(telemetry, gauges, &mut families);
    let mut families = families.0;
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    TextEncoder::new()
        .encode_to_string(&families)
        .unwrap_or_default()
}

/// Adds every alarm that exists, so that one that was never raised is 0.
fn add_alarms(telemetry: &Telemetry, gauges: &Gauges, families: &mut Families) {
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

fn add_config(telemetry: &Telemetry, gauges: &Gauges, families: &mut Families) {
    let config = &telemetry.config;
    let reloads = [
        (vec!["accepted"], &config.accepted),
        (vec!["refused"], &config.refused),
    ];
    let reloads = reloads.map(|(labels, count)| (labels, count.load(Ordering::Relaxed)));
    families.counter(
        "hookgate_reloads_total",
        "Reloads of the config, by result.",
        &["result"],
        reloads,
    );
    families.gauge(
        "hookgate_config_info",
        "The hash over all files and variables of the config.",
        &["hash"],
        [(vec![&*gauges.hash], 1.0)],
    );
    families.level(
        "hookgate_config_generation",
        "The generation of the config in use.",
        config.generation.load(Ordering::Relaxed),
    );
    let loaded =
        std::time::Duration::from_millis(config.loaded_ms.load(Ordering::Relaxed)).as_secs_f64();
    families.gauge(
        "hookgate_config_loaded_timestamp_seconds",
        "Unix time at which the config in use was loaded.",
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
        "Secret files without a usable secret. Their last good secret stays in use.",
        gauges.stale_secrets,
    );
    families.level(
        "hookgate_certificate_stale",
        "Certificates whose files have no valid pair. The last good pair stays in use.",
        gauges.stale_certificates,
    );
    let seconds = |end: SystemTime| {
        end.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    families.gauge(
        "hookgate_certificate_not_after_seconds",
        "Unix time at which the certificate in use expires.",
        &["certificate"],
        gauges
            .certificates
            .iter()
            .map(|(label, end)| (vec![label.as_str()], seconds(*end))),
    );
}

/// Converts a count to a float; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; counts stay far below 2^53"
)]
fn float(number: u64) -> f64 {
    number as f64
}

//! The histograms of requests.
use prometheus::{Histogram, HistogramOpts, HistogramVec};

use super::counters::RouteCounters;

const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
const VERIFY_SECONDS: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1,
];
const AGE_SECONDS: &[f64] = &[
    0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0,
];

/// The histograms, each with a label for the route or the upstream.
#[derive(Debug)]
pub(super) struct Histograms {
    pub(super) request_seconds: HistogramVec,
    pub(super) verify_seconds: HistogramVec,
    pub(super) signature_age: HistogramVec,
    pub(super) upstream_seconds: HistogramVec,
}

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

/// Makes a histogram without labels.
#[expect(
    clippy::expect_used,
    reason = "names and buckets are constants, and a test makes them all"
)]
pub(super) fn unlabelled(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        .expect("a valid metric")
}

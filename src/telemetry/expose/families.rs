//! Metric families in the types of the library.
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, Opts};

/// The metric families of one scrape, made from the gateway's own counters.
pub(super) struct Families(pub(super) Vec<MetricFamily>);

impl Families {
    pub(super) fn counter<'a>(
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

    pub(super) fn gauge<'a>(
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

    pub(super) fn collect(&mut self, collector: &impl Collector) {
        self.0.extend(collector.collect());
    }

    pub(super) fn total(&mut self, name: &str, help: &str, value: u64) {
        self.counter(name, help, &[], [(vec![], value)]);
    }

    pub(super) fn level(&mut self, name: &str, help: &str, value: u64) {
        self.gauge(name, help, &[], [(vec![], float(value))]);
    }

    /// Adds a gauge that is 1 for each name with `true`.
    pub(super) fn flags(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(Arc<str>, bool)],
    ) {
        let values = values
            .iter()
            .map(|(name, is_set)| (vec![&**name], float(u64::from(*is_set))));
        self.gauge(name, help, &[label], values);
    }
}

/// Converts a count to a float; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; counts stay far below 2^53"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

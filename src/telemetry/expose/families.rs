//! Metric families in the types of the library.
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
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

    /// Adds a histogram of values that were counted elsewhere.
    pub(super) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: Option<&str>,
        values: impl IntoIterator<Item = (&'a str, &'a Distribution)>,
    ) {
        let metric = |(value, observed): (&str, &Distribution)| {
            let mut metric =
                Metric::from_label(label.map(|name| pair(name, value)).into_iter().collect());
            metric.set_histogram(observed.to_proto());
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(values.into_iter().map(metric).collect());
        self.0.push(family);
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

/// Values that were observed elsewhere, counted by bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// The upper bounds, ascending.
    pub bounds: &'static [f64],
    /// The values up to each bound that are above the one before; then those above the last.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
}

impl Distribution {
    fn to_proto(&self) -> Histogram {
        let mut total = 0;
        let mut buckets = Vec::new();
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(self.counts.iter().sum());
        histogram.set_sample_sum(self.sum);
        histogram
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// Converts a count to a float; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; counts stay far below 2^53"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

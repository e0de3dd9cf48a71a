//! The counts and times of this gateway's calls since its start, for metrics.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// The bounds by which calls are counted, in seconds.
const CALL_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// The bounds by which batches are counted, in rows.
const BATCH_ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Values that were observed, counted by bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The upper bounds, ascending. A value that equals a bound is within it.
    pub bounds: &'static [f64],
    /// The values up to each bound that are above the one before; then those above the last.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
}

impl Distribution {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    fn observe(&mut self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum += value;
    }
}

/// The reason for which a call was made once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Repeat {
    /// Other calls changed the same rows.
    Contended,
    /// The tables of a day were missing.
    NoDay,
    /// One of its rows was refused, so that its rows were sent one by one.
    BadRow,
}

impl Repeat {
    const ALL: [Self; 3] = [Self::Contended, Self::NoDay, Self::BadRow];

    fn word(self) -> &'static str {
        match self {
            Self::Contended => "contended",
            Self::NoDay => "no_day",
            Self::BadRow => "bad_row",
        }
    }
}

/// The counts and times of this gateway's calls since its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The connections that are open now.
    pub connections: u64,
    /// The seconds that calls took until their answers, by the name of the call.
    pub calls: Vec<(&'static str, Distribution)>,
    /// The rows of calls that can take rows of several callers.
    pub batches: Distribution,
    /// The calls whose answers were lost.
    pub unknown: u64,
    /// The calls that were made once more, by reason.
    pub repeats: Vec<(&'static str, u64)>,
}

/// Counts and measures the calls of this gateway.
#[derive(Debug)]
pub(super) struct Recorder(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    connections: u64,
    calls: BTreeMap<&'static str, Distribution>,
    batches: Distribution,
    unknown: u64,
    repeats: BTreeMap<Repeat, u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self(Mutex::new(Counts {
            connections: 0,
            calls: BTreeMap::new(),
            batches: Distribution::new(BATCH_ROWS),
            unknown: 0,
            repeats: Repeat::ALL.map(|why| (why, 0)).into(),
        }))
    }
}

impl Recorder {
    /// Records a call that took so long. `is_unknown` says whether its answer was lost.
    pub(super) fn call(&self, function: &'static str, took: Duration, is_unknown: bool) {
        // `accept_1` and a later `accept_2` are the same call for an operator
        let call = function.rsplit_once('_').map_or(function, |(call, _)| call);
        let mut counts = self.0.lock();
        let of_call = counts.calls.entry(call);
        let of_call = of_call.or_insert_with(|| Distribution::new(CALL_SECONDS));
        of_call.observe(took.as_secs_f64());
        counts.unknown += u64::from(is_unknown);
    }

    /// Records the rows of a call that can take rows of several callers.
    pub(super) fn batch(&self, rows: usize) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.0.lock().batches.observe(f64::from(rows));
    }

    /// Records that a call is made once more.
    pub(super) fn repeat(&self, why: Repeat) {
        *self.0.lock().repeats.entry(why).or_default() += 1;
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenConnection {
        self.0.lock().connections += 1;
        OpenConnection(Arc::clone(self))
    }

    /// Returns the figures of now.
    pub(super) fn figures(&self) -> Figures {
        let counts = self.0.lock();
        Figures {
            connections: counts.connections,
            calls: counts
                .calls
                .iter()
                .map(|(call, took)| (*call, took.clone()))
                .collect(),
            batches: counts.batches.clone(),
            unknown: counts.unknown,
            repeats: counts
                .repeats
                .iter()
                .map(|(why, count)| (why.word(), *count))
                .collect(),
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<Recorder>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock();
        counts.connections = counts.connections.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_calls() {
        let recorder = Arc::<Recorder>::default();
        let one = recorder.open();
        let other = recorder.open();
        drop(one);
        recorder.call("accept_1", Duration::from_millis(5), false);
        recorder.call("accept_1", Duration::from_millis(6), true);
        recorder.call("lease_1", Duration::from_secs(60), false);
        recorder.batch(3);
        recorder.batch(4);
        recorder.repeat(Repeat::NoDay);
        let figures = recorder.figures();
        assert_eq!((figures.connections, figures.unknown), (1, 1));
        let repeats = [("contended", 0), ("no_day", 1), ("bad_row", 0)];
        assert_eq!(figures.repeats, repeats);
        let [(accept, accepts), (lease, leases)] = &figures.calls[..] else {
            panic!("{:?}", figures.calls)
        };
        assert_eq!((*accept, *lease), ("accept", "lease"));
        // 5 ms is within its bound, 6 ms is above it
        assert_eq!(accepts.counts[2..4], [1, 1]);
        assert!((accepts.sum - 0.011).abs() < 1e-9);
        assert_eq!(leases.counts.last(), Some(&1));
        assert_eq!(figures.batches.counts[..3], [0, 0, 2]);
        drop(other);
        assert_eq!(recorder.figures().connections, 0);
    }
}

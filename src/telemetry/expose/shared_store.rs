//! Metrics of a store that gateways share.
pub use super::families::Distribution;
use super::families::Families;

/// The values of the metrics of a shared store, read at each scrape.
#[derive(Clone, Debug, Default)]
pub struct SharedStoreGauges {
    /// Whether a server can be reached.
    pub up: bool,
    /// Open connections of this gateway.
    pub connections: u64,
    /// Seconds of calls, by the name of the call.
    pub calls: Vec<(&'static str, Distribution)>,
    /// Rows of calls that take rows of several requests.
    pub batches: Distribution,
    /// Calls whose answers were lost.
    pub unknown: u64,
    /// Calls that were made once more, by reason.
    pub repeats: Vec<(&'static str, u64)>,
    /// The condition of the fleet at the last heartbeat; none before the first.
    pub fleet: Option<FleetGauges>,
}

/// The condition of the gateways that share a store, at the last heartbeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetGauges {
    /// Gateways.
    pub gateways: u64,
    /// Different configs that they run.
    pub configs: u64,
    /// Days after today for which there are tables.
    pub days_ahead: u64,
    /// Seconds by which the server's clock is ahead of this gateway's.
    pub clock_ahead: f64,
}

/// Adds the metrics of a shared store, if the store is one.
pub(super) fn add(gauges: Option<&SharedStoreGauges>, families: &mut Families) {
    let Some(gauges) = gauges else { return };
    families.level(
        "hookgate_store_up",
        "0 while no database server can be reached.",
        u64::from(gauges.up),
    );
    families.level(
        "hookgate_store_connections",
        "Open connections of this gateway to the database.",
        gauges.connections,
    );
    families.total(
        "hookgate_store_unknown_total",
        "Calls of the database whose answers were lost. They are repeated, and take effect once.",
        gauges.unknown,
    );
    families.counter(
        "hookgate_store_repeats_total",
        "Calls of the database that were made once more: contended (others changed the same rows), no_day (the tables of a day were missing), bad_row (a row was refused, so the rows were sent one by one).",
        &["why"],
        gauges.repeats.iter().map(|(why, count)| (vec![*why], *count)),
    );
    families.histogram(
        "hookgate_store_call_seconds",
        "Time from sending a call to the database to the end of its answer.",
        Some("call"),
        gauges.calls.iter().map(|(call, seconds)| (*call, seconds)),
    );
    families.histogram(
        "hookgate_store_batch_size",
        "Rows of a call of the database that takes rows of several requests.",
        None,
        [("", &gauges.batches)],
    );
    if let Some(fleet) = gauges.fleet {
        add_fleet(fleet, families);
    }
}

fn add_fleet(fleet: FleetGauges, families: &mut Families) {
    let levels = [
        (
            "hookgate_store_gateways",
            "Gateways that share the store, at the last heartbeat.",
            fleet.gateways,
        ),
        (
            "hookgate_store_configs",
            "Different configs of the gateways that share the store. More than 1 is normal only while a change rolls out.",
            fleet.configs,
        ),
        (
            "hookgate_store_days_ahead",
            "Days after today for which the store has tables. Gateways keep 7.",
            fleet.days_ahead,
        ),
    ];
    for (name, help, value) in levels {
        families.level(name, help, value);
    }
    families.gauge(
        "hookgate_store_clock_skew_seconds",
        "Time by which the clock of the database server is ahead of this gateway's. Negative: it is behind.",
        &[],
        [(vec![], fleet.clock_ahead)],
    );
}

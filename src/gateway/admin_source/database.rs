//! The status of a store on PostgreSQL.
use std::time::Instant;

use crate::api::status::{FleetStatus, PostgresStatus};
use crate::config::snapshot::{Durability, PostgresEngine};
use crate::store::{self, Figures, Fleet, Health, Standby, Store};
use crate::telemetry::{Distribution, FleetGauges, SharedStoreGauges};

/// Returns the status of the database.
pub(super) fn status(engine: &PostgresEngine, health: &Health, now: Instant) -> PostgresStatus {
    let durability = engine.durability.map(|durability| match durability {
        Durability::Disk => "disk",
        Durability::Storage => "storage",
        Durability::Standby => "standby",
    });
    PostgresStatus {
        server: engine.server.clone(),
        schema: engine.schema.clone(),
        durability: durability.map(str::to_owned),
        away_seconds: health.away.map(|away| away.as_secs_f64()),
        fleet: health.fleet.as_ref().map(|fleet| shared(fleet, now)),
    }
}

fn shared(fleet: &Fleet, now: Instant) -> FleetStatus {
    let standby = match fleet.standby {
        Standby::Waits => "waits",
        Standby::Ignored => "ignored",
        Standby::None => "none",
    };
    FleetStatus {
        age_seconds: now.saturating_duration_since(fleet.seen).as_secs_f64(),
        gateways: fleet.gates,
        configs: fleet.hashes,
        versions: fleet.versions,
        days_ahead: fleet.days_ahead,
        standby: standby.to_owned(),
        writable: fleet.writable,
        clock_ahead_seconds: clock_ahead(fleet),
    }
}

/// Returns the seconds by which the server's clock is ahead of this gateway's.
fn clock_ahead(fleet: &Fleet) -> f64 {
    let skew = fleet.skew.as_secs_f64();
    if fleet.is_ahead { skew } else { -skew }
}

/// Returns the values of the metrics of a store on PostgreSQL; none for another store.
pub(super) fn gauges(store: &dyn Store) -> Option<SharedStoreGauges> {
    let Figures {
        connections,
        calls,
        batches,
        unknown,
        repeats,
    } = store.figures()?;
    let health = store.health();
    let calls = calls.into_iter();
    Some(SharedStoreGauges {
        up: health.away.is_none(),
        connections,
        calls: calls
            .map(|(call, took)| (call, distribution(took)))
            .collect(),
        batches: distribution(batches),
        unknown,
        repeats,
        fleet: health.fleet.map(|fleet| FleetGauges {
            gateways: fleet.gates.into(),
            configs: fleet.hashes.into(),
            days_ahead: fleet.days_ahead.into(),
            clock_ahead: clock_ahead(&fleet),
        }),
    })
}

fn distribution(of: store::Distribution) -> Distribution {
    let store::Distribution {
        bounds,
        counts,
        sum,
    } = of;
    Distribution {
        bounds,
        counts,
        sum,
    }
}

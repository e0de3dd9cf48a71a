//! The status of a store on PostgreSQL.
use std::time::Instant;

use crate::api::status::{FleetStatus, PostgresStatus};
use crate::config::snapshot::{Durability, PostgresEngine};
use crate::store::{Fleet, Standby};

/// Returns the status of the database. `fleet` is what the last heartbeat said.
pub(super) fn status(
    engine: &PostgresEngine,
    fleet: Option<&Fleet>,
    now: Instant,
) -> PostgresStatus {
    let durability = engine.durability.map(|durability| match durability {
        Durability::Disk => "disk",
        Durability::Storage => "storage",
        Durability::Standby => "standby",
    });
    PostgresStatus {
        server: engine.server.clone(),
        schema: engine.schema.clone(),
        durability: durability.map(str::to_owned),
        fleet: fleet.map(|fleet| shared(fleet, now)),
    }
}

fn shared(fleet: &Fleet, now: Instant) -> FleetStatus {
    let standby = match fleet.standby {
        Standby::Waits => "waits",
        Standby::Ignored => "ignored",
        Standby::None => "none",
    };
    let skew = fleet.skew.as_secs_f64();
    FleetStatus {
        age_seconds: now.saturating_duration_since(fleet.seen).as_secs_f64(),
        gateways: fleet.gates,
        configs: fleet.hashes,
        versions: fleet.versions,
        days_ahead: fleet.days_ahead,
        standby: standby.to_owned(),
        writable: fleet.writable,
        clock_ahead_seconds: if fleet.is_ahead { skew } else { -skew },
    }
}

//! The lines of `status` about a store on PostgreSQL.
use std::time::Duration;

use crate::api::status::{FleetStatus, PostgresStatus, SpoolStatus};
use crate::cli::deliveries::export::deliveries;
use crate::cli::term;

/// The days ahead for which there must be tables. Gateways keep seven.
const DAYS_AHEAD: u32 = 3;

/// Describes the database: `PostgreSQL db-rw:5432/hooks, schema hookgate; 3 gateways, one config; commits wait for a standby; last write 2 ms`.
pub(super) fn line(postgres: &PostgresStatus, last_write: Option<f64>) -> String {
    let mut parts = vec![format!(
        "PostgreSQL {}, schema {}",
        postgres.server, postgres.schema
    )];
    if let Some(fleet) = &postgres.fleet {
        parts.push(gateways(fleet));
        match fleet.standby.as_str() {
            "waits" => parts.push("commits wait for a standby".to_owned()),
            "ignored" => parts.push("commits do not wait for the standby".to_owned()),
            _ => {}
        }
    }
    parts.extend(last_write.map(|took| format!("last write {}", term::took(took))));
    parts.join("; ")
}

/// Describes the gateways: `3 gateways, one config`.
fn gateways(fleet: &FleetStatus) -> String {
    let gateways = term::counted(u64::from(fleet.gateways), "gateway");
    let differ = |count: u32, one: &str, what: &str| match count {
        0 | 1 => one.to_owned(),
        count => format!(", {count} {what}"),
    };
    let configs = differ(fleet.configs, ", one config", "configs");
    let versions = differ(fleet.versions, "", "versions");
    format!("{gateways}{configs}{versions}")
}

/// Describes the spool: `3 deliveries wait, 12 KiB of 1 GiB, oldest 3 m, in /var/lib/hookgate`.
pub(super) fn spool(spool: &SpoolStatus) -> String {
    let room = format!(
        "{} of {}",
        term::size(spool.bytes),
        term::size(spool.capacity)
    );
    let waiting = match spool.waiting {
        0 => "empty".to_owned(),
        1 => "1 delivery waits".to_owned(),
        waiting => format!("{} wait", deliveries(waiting)),
    };
    let oldest = age(spool.oldest_seconds).map(|age| format!(", oldest {age}"));
    format!(
        "{waiting}, {room}{}, in {}",
        oldest.unwrap_or_default(),
        spool.path
    )
}

/// Returns an age that may be unknown.
fn age(seconds: Option<f64>) -> Option<String> {
    let age = Duration::try_from_secs_f64(seconds?).ok()?;
    Some(term::age(age))
}

/// Returns the time for which no server could be reached, to follow the reason; nothing if one can be.
pub(super) fn away(postgres: &PostgresStatus) -> String {
    age(postgres.away_seconds).map_or_else(String::new, |age| format!(", for {age}"))
}

/// Returns what needs attention, each with the command for it.
pub(super) fn attention(postgres: &PostgresStatus) -> Vec<(String, &'static str)> {
    let Some(fleet) = &postgres.fleet else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut add = |text: String, command| all.push((text, command));
    let doctor = "hookgate doctor";
    match (postgres.durability.as_deref(), fleet.standby.as_str()) {
        (None, "ignored") => add(
            "commits do not wait for the standby: a failover loses acknowledged deliveries"
                .to_owned(),
            doctor,
        ),
        (Some("standby"), "ignored" | "none") => add(
            "`durability` is `standby`, and commits wait for none".to_owned(),
            doctor,
        ),
        _ => {}
    }
    if fleet.days_ahead < DAYS_AHEAD {
        let days = term::counted(u64::from(fleet.days_ahead), "day");
        add(
            format!(
                "there are tables for {days} ahead only: without one, no delivery of that day is stored"
            ),
            "hookgate migrate",
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> PostgresStatus {
        PostgresStatus {
            server: "db-rw:5432/hooks".to_owned(),
            schema: "hookgate".to_owned(),
            durability: None,
            away_seconds: None,
            fleet: Some(FleetStatus {
                age_seconds: 2.0,
                gateways: 3,
                configs: 1,
                versions: 1,
                days_ahead: 7,
                standby: "waits".to_owned(),
                writable: true,
                clock_ahead_seconds: 0.0,
            }),
        }
    }

    #[test]
    fn line_describes_server_and_fleet() {
        let mut postgres = status();
        assert_eq!(
            line(&postgres, Some(0.002)),
            "PostgreSQL db-rw:5432/hooks, schema hookgate; 3 gateways, one config; commits wait for a standby; last write 2 ms"
        );
        let fleet = postgres.fleet.as_mut().unwrap();
        (fleet.gateways, fleet.configs, fleet.versions) = (1, 2, 2);
        fleet.standby = "none".to_owned();
        assert_eq!(
            line(&postgres, None),
            "PostgreSQL db-rw:5432/hooks, schema hookgate; 1 gateway, 2 configs, 2 versions"
        );
        postgres.fleet = None;
        assert_eq!(
            line(&postgres, None),
            "PostgreSQL db-rw:5432/hooks, schema hookgate"
        );
    }

    #[test]
    fn spool_says_what_waits_and_for_how_long() {
        let mut of = SpoolStatus {
            path: "/var/lib/hookgate".to_owned(),
            bytes: 40_960,
            capacity: 1 << 30,
            ..SpoolStatus::default()
        };
        assert_eq!(spool(&of), "empty, 40 KiB of 1 GiB, in /var/lib/hookgate");
        (of.waiting, of.oldest_seconds) = (3, Some(185.0));
        assert_eq!(
            spool(&of),
            "3 deliveries wait, 40 KiB of 1 GiB, oldest 3 m, in /var/lib/hookgate"
        );
        let mut postgres = status();
        assert_eq!(away(&postgres), "");
        postgres.away_seconds = Some(61.0);
        assert_eq!(away(&postgres), ", for 1 m");
    }

    #[test]
    fn trouble_of_the_server_needs_attention() {
        let count = |change: fn(&mut PostgresStatus)| {
            let mut postgres = status();
            change(&mut postgres);
            attention(&postgres).len()
        };
        let standby = |postgres: &mut PostgresStatus, standby: &str| {
            postgres.fleet.as_mut().unwrap().standby = standby.to_owned();
        };
        assert_eq!(count(|_| ()), 0);
        assert_eq!(count(|postgres| postgres.fleet = None), 0);
        let (mut ignored, mut accepted, mut none) = (status(), status(), status());
        standby(&mut ignored, "ignored");
        standby(&mut accepted, "ignored");
        accepted.durability = Some("storage".to_owned());
        standby(&mut none, "none");
        none.durability = Some("standby".to_owned());
        let counts = [ignored, accepted, none].map(|postgres| attention(&postgres).len());
        assert_eq!(counts, [1, 0, 1]);
        let few = |postgres: &mut PostgresStatus| postgres.fleet.as_mut().unwrap().days_ahead = 2;
        assert_eq!(count(few), 1);
    }
}

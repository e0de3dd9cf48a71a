//! Checks of a store on PostgreSQL: its server, its schema, and what its commits are safe from.
use std::time::Duration;

use super::finding::Finding;
use crate::app::postgres::options;
use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::term;
use crate::config::snapshot::{Durability, PostgresEngine, PostgresTlsMode};
use crate::store::postgres::NoConnection;
use crate::store::postgres::facts::{Facts, Fit, facts};

/// The days ahead for which there must be tables. Gateways keep seven.
const DAYS_AHEAD: i64 = 3;
/// The difference of clocks, in milliseconds, from which on it is reported.
const MAX_CLOCK_MS: i64 = 60_000;

/// Connects to the server of the config, and judges it. `migrate` is the command that migrates.
pub(super) fn look(engine: &PostgresEngine, migrate: &str) -> Result<Vec<Finding>, Error> {
    let found = context::block_on(async { facts(&options(engine)).await })?;
    Ok(match found {
        Ok(facts) => judge(&facts, engine, migrate),
        Err(error) => vec![unconnected(&error, engine)],
    })
}

/// Returns the finding about a server to which there is no connection.
fn unconnected(error: &NoConnection, engine: &PostgresEngine) -> Finding {
    let help = match error {
        NoConnection::Away(_) => "check the server, and the host in `store.postgres`",
        NoConnection::Login(_) => {
            "check the user, the password and the database in `store.postgres`"
        }
        NoConnection::Unusable(_) => "check `store.postgres`",
    };
    Finding::bad("store", format!("{}: {error}", engine.server), help)
}

/// Judges a server that was reached.
fn judge(facts: &Facts, engine: &PostgresEngine, migrate: &str) -> Vec<Finding> {
    let mut findings = vec![server(facts, engine)];
    findings.extend(schema(facts, engine, migrate));
    findings.push(durability(facts, engine));
    findings.extend(connections(facts, engine));
    findings.extend(clock(facts));
    findings.extend(rights(facts, engine));
    findings
}

fn server(facts: &Facts, engine: &PostgresEngine) -> Finding {
    let (major, minor) = (facts.server / 10_000, facts.server % 10_000);
    if !facts.is_recent() {
        let message = format!("the server is PostgreSQL {major}: the gateway needs 15 or later");
        return Finding::bad("store", message, "upgrade the server");
    }
    if !facts.is_writable {
        let message = format!(
            "{} takes no writes: it is a standby, or read-only",
            engine.server
        );
        return Finding::bad(
            "store",
            message,
            "write the host of the primary into the URL",
        );
    }
    let tls = match engine.tls.mode {
        _ if engine.server.starts_with('/') => "by a unix socket",
        PostgresTlsMode::VerifyFull => "TLS verify-full",
        PostgresTlsMode::VerifyCa => "TLS verify-ca",
        PostgresTlsMode::Off => "without TLS",
    };
    let pooler = if facts.has_pooler {
        ", through a pooler"
    } else {
        ""
    };
    let message = format!(
        "PostgreSQL {major}.{minor} at {}, {tls}{pooler}",
        engine.server
    );
    Finding::good("store", message, format!("PostgreSQL {major}.{minor}"))
}

fn schema(facts: &Facts, engine: &PostgresEngine, migrate: &str) -> Option<Finding> {
    let (name, own) = (&engine.schema, Facts::own_version());
    let found = match (facts.fit(), &facts.schema) {
        (Fit::OtherMajor, version) => {
            let version = version.as_deref().unwrap_or_default();
            let message =
                format!("schema {name} has version {version}, and this program knows {own}");
            return Some(Finding::bad(
                "schema",
                message,
                "run the release that made it, or write another `schema`",
            ));
        }
        (Fit::ToMigrate, None) => format!("there is no schema {name} that the role may use"),
        (Fit::ToMigrate, Some(version)) => {
            format!("schema {name} has version {version}, this program makes {own}")
        }
        (Fit::Usable, _) if facts.days_ahead < DAYS_AHEAD => {
            let days = term::counted(u64::try_from(facts.days_ahead).unwrap_or(0), "day");
            let message = format!(
                "schema {name} has tables for {days} ahead: without one, no delivery of that day is stored"
            );
            return Some(Finding::bad("schema", message, migrate));
        }
        (Fit::Usable, version) => {
            let version = version.as_deref().unwrap_or_default();
            let message = format!(
                "schema {name}, version {version}, tables for {} days ahead",
                facts.days_ahead
            );
            return Some(Finding::good("schema", message, "schema"));
        }
    };
    let finding = if engine.migrate && !may_migrate(facts) {
        Finding::bad(
            "schema",
            format!("{found}, and it has no right to make it: the gateway does not start"),
            "hookgate migrate as the owner, with --grant ROLE; then `migrate: false`",
        )
    } else if engine.migrate {
        Finding::warning(
            "schema",
            format!("{found}; the gateway makes it when it starts"),
            migrate,
        )
    } else {
        Finding::bad(
            "schema",
            format!("{found}: the gateway waits for it"),
            migrate,
        )
    };
    Some(finding)
}

/// Returns whether the role may create or upgrade the schema.
fn may_migrate(facts: &Facts) -> bool {
    let may_make = if facts.has_schema {
        facts.owns_schema
    } else {
        facts.may_create
    };
    may_make || facts.is_superuser
}

/// Judges what a commit is safe from, by what the config says of it.
fn durability(facts: &Facts, engine: &PostgresEngine) -> Finding {
    if facts.waits_for_standby {
        // the functions that acknowledge raise what waits for less
        let commit = match facts.synchronous_commit.as_str() {
            "off" | "local" | "remote_write" => "on",
            other => other,
        };
        let message = format!(
            "commits wait for a standby, {} attached (synchronous_commit {commit})",
            facts.standbys
        );
        return Finding::good("durability", message, "commits wait for a standby");
    }
    let help = "set `synchronous_standby_names`, or write `durability: storage` or `disk`";
    match engine.durability {
        Some(Durability::Standby) => Finding::bad(
            "durability",
            "`durability` is `standby`, and commits wait for none: the gateway does not start",
            help,
        ),
        None if facts.standbys > 0 => Finding::warning(
            "durability",
            "a standby is attached, and commits do not wait for it: a failover loses acknowledged deliveries",
            help,
        ),
        Some(Durability::Storage) => Finding::good(
            "durability",
            "the server's storage is replicated, says the config",
            "durability",
        ),
        Some(Durability::Disk) | None => Finding::good(
            "durability",
            "commits are on the server's disk",
            "durability",
        ),
    }
}

/// Judges the connections that all gateways may open. A pooler has limits of its own.
fn connections(facts: &Facts, engine: &PostgresEngine) -> Option<Finding> {
    if facts.has_pooler {
        return None;
    }
    let gateways = facts.gateways.max(1);
    let each = i64::try_from(engine.connections).unwrap_or(i64::MAX);
    // each lane of calls keeps so many more that were given up, and one
    let (more, while_hanging) = if facts.waits_for_standby {
        (each.saturating_add(3), " while a standby hangs")
    } else {
        (0, "")
    };
    let wanted = gateways.saturating_mul(each.saturating_add(more));
    let gateways = term::counted(u64::try_from(gateways).unwrap_or(1), "gateway");
    let message = format!(
        "{gateways} may open {wanted} connections{while_hanging}, and the server takes {}",
        facts.max_connections
    );
    Some(if wanted > facts.max_connections {
        let help = "a higher `max_connections`, a lower `store.postgres.connections`, or PgBouncer";
        Finding::warning("connections", message, help)
    } else {
        Finding::good("connections", message, "connections")
    })
}

fn clock(facts: &Facts) -> Option<Finding> {
    let apart = facts.clock_ahead_ms;
    (apart.abs() > MAX_CLOCK_MS).then(|| {
        let age = term::age(Duration::from_millis(apart.unsigned_abs()));
        let side = if apart > 0 { "ahead of" } else { "behind" };
        let message = format!("the clock of the database server is {age} {side} this machine's");
        Finding::warning("clock", message, "timedatectl, on both")
    })
}

/// Judges what the role may do beyond what a gateway needs.
fn rights(facts: &Facts, engine: &PostgresEngine) -> Option<Finding> {
    let help = "hookgate migrate --grant ROLE, and ROLE in the URL";
    if facts.is_superuser {
        let message = "the role is a superuser: whoever has its password has the whole server";
        return Some(Finding::warning("rights", message, help));
    }
    if facts.owns_schema && !engine.migrate {
        let message = "the role owns the schema, and with `migrate: false` it need not";
        return Some(Finding::warning("rights", message, help));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::snapshot::{PostgresTls, TextPlace};

    fn engine() -> PostgresEngine {
        PostgresEngine {
            url: TextPlace::Written("postgres://u@db-rw/hooks".to_owned()),
            password: None,
            server: "db-rw:5432/hooks".to_owned(),
            schema: "hookgate".to_owned(),
            connections: 6,
            timeout: Duration::from_secs(2),
            tls: PostgresTls {
                mode: PostgresTlsMode::VerifyFull,
                ca: None,
                client: None,
            },
            durability: None,
            migrate: true,
        }
    }

    fn good() -> Facts {
        Facts {
            server: 170_004,
            schema: Some(Facts::own_version()),
            is_writable: true,
            days_ahead: 7,
            waits_for_standby: true,
            standbys: 1,
            synchronous_commit: "on".to_owned(),
            has_pooler: false,
            clock_ahead_ms: 12,
            max_connections: 100,
            gateways: 3,
            is_superuser: false,
            owns_schema: true,
            may_create: true,
            has_schema: true,
        }
    }

    /// Returns the messages of the findings that need attention.
    fn bad(facts: &Facts, engine: &PostgresEngine) -> Vec<String> {
        let findings = judge(facts, engine, "hookgate migrate");
        let bad = findings.into_iter().filter(Finding::needs_attention);
        bad.map(|finding| format!("{}: {}", finding.check, finding.message))
            .collect()
    }

    #[test]
    fn good_server_needs_no_attention() {
        assert_eq!(bad(&good(), &engine()), [""; 0]);
        let findings = judge(&good(), &engine(), "");
        assert_eq!(
            findings[0].message,
            "PostgreSQL 17.4 at db-rw:5432/hooks, TLS verify-full"
        );
        assert_eq!(
            findings[3].message,
            "3 gateways may open 45 connections while a standby hangs, and the server takes 100"
        );
    }

    #[test]
    fn each_trouble_has_its_finding() {
        type Case = (fn(&mut Facts, &mut PostgresEngine), &'static str);
        let cases: [Case; 15] = [
            (
                |facts, _| facts.server = 140_011,
                "store: the server is PostgreSQL 14",
            ),
            (
                |facts, _| facts.is_writable = false,
                "store: db-rw:5432/hooks takes no writes",
            ),
            (
                |facts, _| facts.schema = None,
                "schema: there is no schema hookgate that the role may use; the gateway makes it",
            ),
            (
                |facts, engine| {
                    (facts.schema, engine.migrate, facts.owns_schema) = (None, false, false);
                },
                "schema: there is no schema hookgate that the role may use: the gateway waits",
            ),
            (
                |facts, _| {
                    (facts.schema, facts.has_schema, facts.may_create) = (None, false, false);
                },
                "schema: there is no schema hookgate that the role may use, and it has no right to make it",
            ),
            (
                |facts, _| (facts.schema, facts.owns_schema) = (None, false),
                "schema: there is no schema hookgate that the role may use, and it has no right to make it",
            ),
            (
                |facts, _| facts.schema = Some("99.0".to_owned()),
                "schema: schema hookgate has version 99.0",
            ),
            (
                |facts, _| facts.schema = Some("odd".to_owned()),
                "schema: schema hookgate has version odd",
            ),
            (
                |facts, _| facts.days_ahead = 2,
                "schema: schema hookgate has tables for 2 days ahead",
            ),
            (
                |facts, _| facts.waits_for_standby = false,
                "durability: a standby is attached",
            ),
            (
                |facts, engine| {
                    (facts.waits_for_standby, engine.durability) =
                        (false, Some(Durability::Standby));
                },
                "durability: `durability` is `standby`",
            ),
            (
                |facts, _| facts.gateways = 7,
                "connections: 7 gateways may open 105 connections while a standby hangs,",
            ),
            (
                |facts, _| facts.clock_ahead_ms = -90_000,
                "clock: the clock of the database server is 1 m behind",
            ),
            (
                |facts, _| facts.is_superuser = true,
                "rights: the role is a superuser",
            ),
            (
                |_, engine| engine.migrate = false,
                "rights: the role owns the schema",
            ),
        ];
        for (change, message) in cases {
            let (mut facts, mut engine) = (good(), engine());
            change(&mut facts, &mut engine);
            let bad = bad(&facts, &engine);
            assert!(
                bad.len() == 1 && bad[0].starts_with(message),
                "{message}: {bad:?}"
            );
        }
        for durability in [Durability::Storage, Durability::Disk] {
            let (mut facts, mut engine) = (good(), engine());
            (facts.waits_for_standby, engine.durability) = (false, Some(durability));
            assert_eq!(bad(&facts, &engine), [""; 0], "{durability:?}");
        }
        let pooled = Facts {
            has_pooler: true,
            gateways: 99,
            ..good()
        };
        assert_eq!(bad(&pooled, &engine()), [""; 0]);
    }
}

//! Opens the store of a fleet, and waits for its server. Not ready meanwhile, but the health listener answers.
use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::app::operators::HealthListener;
use crate::app::start_error::StartError;
use crate::clock::Clock;
use crate::config::secret::{MAX_BYTES, check_secret_text, without_line_feed};
use crate::config::snapshot::{Durability, PostgresEngine, PostgresTlsMode, TextPlace};
use crate::config::source::read_regular;
use crate::store::Store;
use crate::store::postgres::Postgres;
use crate::store::postgres::facts::{Facts, Fit, facts};
use crate::store::postgres::migrate::{MigrateError, Migration, migrate};
use crate::store::postgres::options::{Options, Tls, TlsMode};
use crate::store::postgres::url_servers::{ReadText, UrlServers};

/// The pause between two attempts to reach the server.
const PAUSE: Duration = Duration::from_secs(1);
/// The time after which the log says again why the gateway waits.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Returns the options with which the store of a config is opened.
pub fn options(engine: &PostgresEngine) -> Options {
    let password = engine.password.clone().map(reader);
    let tls = &engine.tls;
    Options {
        servers: Arc::new(UrlServers::new(reader(engine.url.clone()), password)),
        schema: engine.schema.as_str().into(),
        connections: engine.connections,
        timeout: engine.timeout,
        tls: Tls {
            mode: match tls.mode {
                PostgresTlsMode::VerifyFull => TlsMode::VerifyFull,
                PostgresTlsMode::VerifyCa => TlsMode::VerifyCa,
                PostgresTlsMode::Off => TlsMode::Off,
            },
            ca: tls.ca.clone(),
            client: tls.client.clone(),
        },
        // a command remembers nothing
        remembered: 1,
    }
}

/// Returns what reads a text from its place.
fn reader(place: TextPlace) -> ReadText {
    Box::new(move || {
        let (what, bytes) = match &place {
            TextPlace::Written(text) => return Ok(Zeroizing::new(text.clone())),
            TextPlace::File(path) => {
                let what = path.display().to_string();
                match read_regular(path, MAX_BYTES) {
                    Ok(bytes) => (what, bytes),
                    Err(why) => return Err(format!("{what} {why}")),
                }
            }
            TextPlace::Variable(name) => match std::env::var_os(name) {
                Some(text) => (name.clone(), Zeroizing::new(text.into_vec())),
                None => return Err(format!("the environment variable {name} is not set")),
            },
        };
        let (bytes, _) = without_line_feed(bytes);
        check_secret_text(&bytes, true).map_err(|(why, _)| format!("{what} {why}"))?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        Ok(Zeroizing::new(text.to_owned()))
    })
}

/// The reason why an attempt to open the store failed.
enum Failure {
    /// The server may be reached later.
    Away(String),
    /// Waiting does not help.
    Refused(String),
}

/// Opens the store, and waits as long as no server can be reached.
pub(super) async fn open(
    engine: &PostgresEngine,
    remembered: usize,
    clock: &Arc<dyn Clock>,
    health: &mut HealthListener,
) -> Result<Arc<dyn Store>, StartError> {
    let options = Options {
        remembered,
        ..options(engine)
    };
    let mut said: Option<(String, Instant)> = None;
    loop {
        match attempt(engine, &options, clock).await {
            Ok(store) => return Ok(store),
            Err(Failure::Refused(why)) => return Err(StartError::Open(why.into())),
            Err(Failure::Away(why)) => {
                let now = clock.mono();
                let is_said =
                    |(last, at): &(String, Instant)| *last == why && now < *at + SAID_AGAIN_AFTER;
                if !said.as_ref().is_some_and(is_said) {
                    tracing::warn!(
                        server = engine.server,
                        error = why,
                        "cannot open the store; waiting for it, not ready"
                    );
                    said = Some((why, now));
                }
            }
        }
        // the process that is replaced may have this address too, and leaves it
        health.listen().await.ok();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Migrates the schema unless the config says otherwise, and opens the store.
async fn attempt(
    engine: &PostgresEngine,
    options: &Options,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, Failure> {
    let found = facts(options).await;
    let found = found.map_err(|error| Failure::Away(error.to_string()))?;
    judge(&found, engine)?;
    if engine.migrate {
        let done = migrate(options, &Migration::default()).await;
        for line in done.map_err(failure)? {
            tracing::info!("{line}");
        }
    } else if found.fit() == Fit::ToMigrate {
        let own = Facts::own_version();
        let there = found.schema.map_or_else(
            || "there is no such schema that the role may use".to_owned(),
            |version| format!("it has version {version}, this program needs {own}"),
        );
        let why = format!("schema {}: {there}; run `hookgate migrate`", engine.schema);
        return Err(Failure::Away(why));
    }
    let opened = Postgres::open(options.clone(), Arc::clone(clock)).await;
    let store: Arc<dyn Store> = opened.map_err(|error| Failure::Away(error.to_string()))?;
    Ok(store)
}

/// Refuses a server or a schema that does not become another one while the gateway waits.
fn judge(found: &Facts, engine: &PostgresEngine) -> Result<(), Failure> {
    if !found.is_recent() {
        return Err(Failure::Refused(format!(
            "the server is PostgreSQL {}, and the gateway needs 15 or later",
            found.server / 10_000
        )));
    }
    if found.fit() == Fit::OtherMajor {
        let version = found.schema.as_deref().unwrap_or_default();
        let major = version.split('.').next().unwrap_or_default();
        return Err(Failure::Refused(format!(
            "schema {} has version {version}, and this program knows {}: run a release of hookgate whose schema is {major}.x, or write another `store.postgres.schema`",
            engine.schema,
            Facts::own_version(),
        )));
    }
    if engine.durability == Some(Durability::Standby) && !found.waits_for_standby {
        return Err(Failure::Refused(
            "`store.postgres.durability` is `standby`, and the server waits for none: set `synchronous_standby_names`, or write `durability: storage` or `disk`".to_owned(),
        ));
    }
    Ok(())
}

fn failure(error: MigrateError) -> Failure {
    match error {
        MigrateError::Refused(why) => Failure::Refused(format!(
            "the schema cannot be migrated: {why}; run `hookgate migrate` as the owner of the schema"
        )),
        MigrateError::NoConnection(why) => Failure::Away(why.to_string()),
    }
}

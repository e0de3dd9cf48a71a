//! Tests over a real server.
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio_postgres::{Config, NoTls};

use super::Postgres;
use super::migrate::{Migration, migrate};
use super::options::{Options, Tls};
use crate::clock::Clock as _;
use crate::store::contract::HandClock;

mod address_book;
mod archive;
mod bad_row;
mod bouncer;
mod cuts;
mod ledger;
mod link;
mod maintenance;
mod migration;
mod proxy;
mod queue;
mod quota;
mod seed;
mod server;
mod standby;
mod tls;

/// The time of a call in tests, which share the processors with others.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A database with the schema whose time is that of `clock`.
pub(super) struct Database {
    pub(super) config: Config,
    pub(super) clock: Arc<HandClock>,
    /// The way that gateways take: to the server itself, or to a pooler before it.
    gateways: Config,
}

impl Database {
    /// Makes a database of this test.
    pub(super) fn new() -> Self {
        static TEMPLATE: OnceLock<()> = OnceLock::new();
        let server = server::server();
        TEMPLATE.get_or_init(|| {
            server.execute("postgres", "create database hookgate_template");
            let options = options(&server.database("hookgate_template"));
            server::in_thread(async move { migrate(&options, &Migration::default()).await })
                .unwrap();
            server.execute(
                "hookgate_template",
                "create table hookgate.test_clock (at timestamptz not null);
                insert into hookgate.test_clock values (now());
                create or replace function hookgate.store_time() returns timestamptz language sql stable as
                    $$ select at from hookgate.test_clock $$",
            );
        });
        let config = server.create("hookgate_template");
        let clock = HandClock::new();
        follow(&config, &clock);
        let gateways = config.clone();
        Self {
            config,
            clock,
            gateways,
        }
    }

    /// Makes a database that gateways reach through PgBouncer in transaction mode.
    pub(super) fn pooled() -> Self {
        let database = Self::new();
        let gateways = bouncer::before(&database.config);
        Self {
            gateways,
            ..database
        }
    }

    /// Makes the databases over which a contract is tested.
    pub(super) fn both() -> [Self; 2] {
        [Self::new(), Self::pooled()]
    }

    /// Returns the options of a gateway.
    pub(super) fn options(&self) -> Options {
        options(&self.gateways)
    }

    /// Opens a gateway's store on it.
    pub(super) async fn open(&self) -> Postgres {
        let clock = Arc::<HandClock>::clone(&self.clock);
        Postgres::connect(self.options(), clock).await.unwrap()
    }

    /// Runs statements.
    pub(super) fn execute(&self, sql: &str) {
        server::server().execute(self.config.get_dbname().unwrap(), sql);
    }
}

/// Returns the options of a gateway on this database.
pub(super) fn options(config: &Config) -> Options {
    let config = config.clone();
    Options {
        servers: Arc::new(move || Ok(config.clone())),
        schema: "hookgate".into(),
        connections: 6,
        timeout: TIMEOUT,
        tls: Tls::default(),
        remembered: 1000,
    }
}

/// Moves the time of the database to that of the clock, now and whenever it moves.
fn follow(config: &Config, clock: &HandClock) {
    let (to_thread, mut times) =
        mpsc::unbounded_channel::<(SystemTime, std::sync::mpsc::Sender<()>)>();
    let config = config.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async move {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            let _driver = tokio::spawn(connection);
            while let Some((at, done)) = times.recv().await {
                let set = "update hookgate.test_clock set at = $1";
                let kind = tokio_postgres::types::Type::TIMESTAMPTZ;
                client.query_typed(set, &[(&at, kind)]).await.unwrap();
                done.send(()).unwrap();
            }
        });
    });
    let set = move |at| {
        let (done, is_done) = std::sync::mpsc::channel();
        to_thread.send((at, done)).unwrap();
        is_done.recv().unwrap();
    };
    set(clock.now().wall);
    clock.on_move(move |now| set(now.wall));
}

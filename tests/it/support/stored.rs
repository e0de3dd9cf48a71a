//! The store of a fleet without a gateway: what tests offer to it, and how they open it.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate::clock::{Clock as _, SystemClock};
use hookgate::store::postgres::migrate::Migration;
use hookgate::store::postgres::options::{Options, Tls};
use hookgate::store::queue::{
    Accept, Attempt, Cause, DeliveryRef, NewUnit, OriginId, Start, TargetId,
};
use hookgate::store::record::Record;
use tokio_postgres::Config;

/// Returns the options of a gateway that opens at most so many connections.
pub fn options(config: &Config, connections: usize) -> Options {
    let config = config.clone();
    Options {
        servers: Arc::new(move || Ok(config.clone())),
        schema: "hookgate".into(),
        connections,
        timeout: Duration::from_secs(10),
        tls: Tls::default(),
        remembered: 1000,
    }
}

/// Makes the schema.
pub async fn migrate(config: &Config) {
    let options = options(config, 3);
    let migration = Migration::default();
    hookgate::store::postgres::migrate::migrate(&options, &migration)
        .await
        .unwrap();
}

/// Returns the way to the same database by the socket in another directory.
pub fn at(directory: &Path, config: &Config) -> Config {
    let mut other = Config::new();
    other
        .host_path(directory)
        .user("hookgate")
        .dbname(config.get_dbname().unwrap());
    other
}

/// Returns a delivery to one target that any gateway may attempt, with a body of a kilobyte.
pub fn delivery(target: u32) -> Accept {
    Accept {
        id: DeliveryRef::draw(),
        origin: OriginId(target),
        delivery_id: None,
        key: None,
        event_type: None,
        to: vec![NewUnit {
            target: TargetId(target),
            lane: None,
            start: Start::Anyone,
            attempts: Vec::new(),
        }],
        record: Record::default(),
        body: Bytes::from(vec![b'x'; 1024]),
        versions: Vec::new(),
    }
}

/// Returns an attempt that was answered with 200.
pub fn attempt() -> Attempt {
    Attempt {
        cause: Cause::Schedule,
        started: SystemClock.now().wall,
        took: Duration::from_millis(9),
        connect: None,
        first_byte: None,
        status: Some(200),
        error: None,
        peer: None,
        head: Bytes::new(),
        body: Bytes::from_static(b"ok"),
        facts: Bytes::new(),
    }
}

//! Deliveries that tests put into a database by the function that accepts them.
use std::fmt::Write as _;
use std::time::Duration;

use super::Database;
use crate::store::queue::DeliveryRef;
use crate::store::record::Record;

/// The state of each unit of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Waiting,
    Delivered,
    Dead,
    Cancelled,
}

/// A delivery.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) id: DeliveryRef,
    pub(super) origin: u32,
    /// The first of its targets, and their number.
    pub(super) targets: (u32, u32),
    pub(super) unit: Unit,
    pub(super) body: String,
    pub(super) event_type: &'static str,
}

impl Seed {
    /// Returns a delivery of an origin that is its target, too.
    pub(super) fn of(origin: u32, unit: Unit) -> Self {
        Self {
            id: DeliveryRef::draw(),
            origin,
            targets: (origin, 1),
            unit,
            body: "{}".into(),
            event_type: "push",
        }
    }

    fn sql(&self) -> String {
        let Self {
            id,
            origin,
            targets: (first, count),
            unit,
            body,
            event_type,
        } = self;
        let (kind, reason) = match unit {
            Unit::Waiting => (1, "null"),
            Unit::Delivered => (2, "null"),
            Unit::Dead => (3, "1"),
            Unit::Cancelled => (3, "null"),
        };
        let record: String =
            Record::default()
                .encode()
                .iter()
                .fold(String::new(), |mut text, byte| {
                    write!(text, "{byte:02x}").unwrap();
                    text
                });
        let last = first + count - 1;
        let units = format!("from generate_series({first}, {last}) n");
        // what was not delivered was attempted, so that an archive shows it
        format!(
            "select hookgate.accept_1(array[null::bytea], array['{id}'::uuid], array[0::bigint], array[false], array[null::bytea],
                array['{id}'::uuid], array[{origin}], array[null::bytea], array['evt-{id}'], array['{event_type}'], array['\\x{record}'::bytea],
                array[convert_to('{body}', 'UTF8')], array(select 1 {units}), array(select n {units}), array(select null::bytea {units}),
                array(select {kind}::smallint {units}), array(select 0::bigint {units}), array(select {reason}::int {units}),
                array(select 1 {units}), array(select 1 {units}), array(select n {units}), array(select 1 {units}),
                array(select 0::smallint {units}), array(select hookgate.store_time() {units}), array(select 12::bigint {units}),
                array(select null::bigint {units}), array(select null::bigint {units}), array(select 503 {units}),
                array(select null::text {units}), array(select '127.0.0.1:80' {units}), array(select '\\x00'::bytea {units}),
                array(select '\\x61'::bytea {units}), array(select null::bytea {units}), '{{}}', '{{}}', '{{}}');"
        )
    }
}

/// Puts deliveries into a database.
pub(super) fn sow(database: &Database, seeds: &[Seed]) {
    for some in seeds.chunks(200) {
        let sql: Vec<_> = some.iter().map(Seed::sql).collect();
        database.execute(&sql.concat());
    }
}

pub(super) const DAY: Duration = Duration::from_secs(86_400);

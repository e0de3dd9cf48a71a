//! Reads the rows of endpoints, with their secrets and their health.
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Params, Row, params};

use super::connection::at;
use super::health;
use super::look::Reading;
use super::query::Query;
use super::tenant;
use crate::store::StoreError;
use crate::store::address_book::{
    Endpoint, EndpointName, EndpointState, Inactive, SecretRow, Unhealthy,
};
use crate::store::queue::{OriginId, TargetId};

pub(super) const OF_TENANT: &str = "select number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor from endpoint
    where tenant = ?1 and state <> 6 and number > ?2 order by number limit ?3";
pub(super) const BY_ID: &str = "select number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor from endpoint
    where tenant = ?1 and id = ?2 and state <> 6";
pub(super) const BY_UID: &str = "select number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor from endpoint
    where tenant = ?1 and uid = ?2 and state <> 6";
pub(super) const BY_NUMBER: &str = "select number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor from endpoint
    where number = ?1";
pub(super) const WITH_JOB: &str = "select number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor from endpoint
    where cursor is not null and number > ?1 order by number limit ?2";
pub(super) const SECRETS: &str =
    "select n, name, created, ends, sealed from secret where endpoint = ?1 order by n";
pub(super) const UNHEALTHY: &str = "select h.since, h.failures, h.hours, h.last, h.status, h.cause, h.first, h.notified, e.number, e.tenant, e.state
    from health h cross join endpoint e on e.number = h.endpoint where h.endpoint > ?1 and e.state <> 6 order by h.endpoint limit ?2";
pub(super) const INACTIVE: &str = "select number, state, since from endpoint where state <> 0 and state <> 6 and number > ?1 order by number limit ?2";

/// The units that wait for paused endpoints, by kind. The index needs the first conditions on the state.
pub(super) const WAITING_FOR_INACTIVE: [&str; 2] = [
    "select count(*) from endpoint e cross join due d on d.target = e.number where e.number > 0 and e.state <> 0 and e.state <> 6 and e.state in (1, 2, 3) and d.attempt_count = 0",
    "select count(*) from endpoint e cross join due d on d.target = e.number where e.number > 0 and e.state <> 0 and e.state <> 6 and e.state in (1, 2, 3) and d.attempt_count > 0",
];

/// Encodes a state for a row. The indexes of `endpoint` name 0 and 6.
pub(crate) fn number_of(state: EndpointState) -> u8 {
    state.number()
}

impl ToSql for EndpointState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(i64::from(number_of(*self))))
    }
}

impl FromSql for EndpointState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = u8::column_result(value)?;
        Self::from_number(number).ok_or_else(|| FromSqlError::OutOfRange(i64::from(number)))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint {
        target: row.get(0)?,
        id: row.get(1)?,
        tenant: OriginId(row.get(2)?),
        uid: row.get(3)?,
        edition: row.get(4)?,
        state: row.get(5)?,
        since: at(row.get(6)?),
        url: row.get(7)?,
        settings: row.get(8)?,
        sealed: row.get::<_, Option<Vec<u8>>>(9)?.map(Bytes::from),
        secrets: Vec::new(),
        health: None,
        job: row.get(10)?,
        cursor: row.get::<_, Option<Vec<u8>>>(11)?.map(Bytes::from),
    })
}

fn read_secret(row: &Row<'_>) -> rusqlite::Result<SecretRow> {
    Ok(SecretRow {
        n: row.get(0)?,
        name: row.get(1)?,
        created: at(row.get(2)?),
        ends: row.get::<_, Option<i64>>(3)?.map(at),
        sealed: Bytes::from(row.get::<_, Vec<u8>>(4)?),
    })
}

/// Adds secrets and health.
fn whole(query: &impl Query, mut endpoint: Endpoint) -> Result<Endpoint, StoreError> {
    endpoint.secrets = query.all(SECRETS, params![endpoint.target], read_secret)?;
    endpoint.health = health::of(query, endpoint.target)?;
    Ok(endpoint)
}

fn found(
    query: &impl Query,
    sql: &str,
    params: impl Params,
) -> Result<Option<Endpoint>, StoreError> {
    let found = query.first(sql, params, read)?;
    found.map(|endpoint| whole(query, endpoint)).transpose()
}

fn list(
    reading: &Reading<'_>,
    sql: &str,
    params: impl Params,
) -> Result<Vec<Endpoint>, StoreError> {
    let found = reading.rows(sql, params, read)?;
    found
        .into_iter()
        .map(|endpoint| whole(reading, endpoint))
        .collect()
}

/// Returns the number that a cursor begins after.
pub(super) fn number_before(after: Option<TargetId>) -> u32 {
    after.map_or(0, |target| target.0)
}

/// Returns the endpoints of a tenant after a number.
pub(crate) fn endpoints(
    reading: &Reading<'_>,
    tenant: OriginId,
    after: Option<TargetId>,
    limit: u16,
) -> Result<Vec<Endpoint>, StoreError> {
    list(
        reading,
        OF_TENANT,
        params![tenant.0, number_before(after), limit],
    )
}

/// Returns an endpoint of a tenant.
pub(crate) fn endpoint(
    reading: &Reading<'_>,
    tenant: OriginId,
    name: &EndpointName,
) -> Result<Option<Endpoint>, StoreError> {
    match name {
        EndpointName::Id(id) => found(reading, BY_ID, params![tenant.0, id]),
        EndpointName::Uid(uid) => found(reading, BY_UID, params![tenant.0, uid]),
    }
}

/// Returns the endpoint of a number, in any state.
pub(super) fn by_number(
    query: &impl Query,
    target: TargetId,
) -> Result<Option<Endpoint>, StoreError> {
    found(query, BY_NUMBER, params![target])
}

/// Returns the endpoints of some numbers.
pub(crate) fn endpoints_of(
    reading: &Reading<'_>,
    targets: &[TargetId],
) -> Result<Vec<Endpoint>, StoreError> {
    let mut endpoints = Vec::with_capacity(targets.len());
    for target in targets {
        endpoints.extend(by_number(reading, *target)?);
    }
    Ok(endpoints)
}

/// Returns the endpoints that are neither active nor removed, after a number.
pub(crate) fn inactive(
    reading: &Reading<'_>,
    after: Option<TargetId>,
    limit: u16,
) -> Result<Vec<Inactive>, StoreError> {
    reading.rows(INACTIVE, params![number_before(after), limit], |row| {
        Ok(Inactive {
            target: row.get(0)?,
            state: row.get(1)?,
            since: at(row.get(2)?),
        })
    })
}

/// Counts the units that wait for endpoints which are not active.
pub(crate) fn waiting_for_inactive(reading: &Reading<'_>) -> Result<u64, StoreError> {
    let mut sum = 0;
    for sql in WAITING_FOR_INACTIVE {
        let count: Option<u32> = reading.row(sql, params![], |row| row.get(0))?;
        sum += u64::from(count.unwrap_or(0));
    }
    Ok(sum)
}

/// Returns the endpoints whose job is not over, after a number.
pub(crate) fn with_jobs(
    reading: &Reading<'_>,
    after: Option<TargetId>,
    limit: u16,
) -> Result<Vec<Endpoint>, StoreError> {
    list(reading, WITH_JOB, params![number_before(after), limit])
}

/// Returns the endpoints that have a row of health, after a number.
pub(crate) fn unhealthy(
    reading: &Reading<'_>,
    after: Option<TargetId>,
    limit: u16,
) -> Result<Vec<Unhealthy>, StoreError> {
    reading.rows(UNHEALTHY, params![number_before(after), limit], |row| {
        Ok(Unhealthy {
            target: row.get(8)?,
            tenant: OriginId(row.get(9)?),
            state: row.get(10)?,
            health: health::read(row)?,
        })
    })
}

/// Returns what tenants and endpoints are called.
pub(crate) fn called(
    reading: &Reading<'_>,
    numbers: &[u32],
) -> Result<Vec<(u32, Arc<str>)>, StoreError> {
    let of_endpoint = "select id from endpoint where number = ?1";
    let mut called = Vec::with_capacity(numbers.len());
    for number in numbers {
        let name = if OriginId(*number).is_tenant() {
            tenant::called(reading, *number)?
        } else {
            reading.row(of_endpoint, params![number], |row| row.get(0))?
        };
        called.extend(name.map(|name| (*number, name)));
    }
    Ok(called)
}

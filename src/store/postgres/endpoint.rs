//! Reads the rows of endpoints, with their secrets and their health, and makes parameters of them.
use std::time::SystemTime;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::call::{Blob, Call, Text, column};
use super::columns::{
    int, number, optional_bytes, optional_text, status, text, to_blob, to_optional_text, to_text,
};
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointState, Inactive, SecretRow, Unhealthy};
use crate::store::queue::{OriginId, TargetId};
use crate::tenant::Cause;
use crate::tenant::health::{Notified, Streak};

/// The column of a row of an endpoint from which on its health is.
const HEALTH: usize = 17;

/// Reads an endpoint.
pub(super) fn endpoint(row: &Row) -> Result<Endpoint, StoreError> {
    Ok(Endpoint {
        target: TargetId(number(row, 0)?),
        id: text(row, 1)?,
        tenant: OriginId(number(row, 2)?),
        uid: optional_text(row, 3)?,
        edition: number(row, 4)?,
        state: state(row, 5)?,
        since: column(row, 6)?,
        url: text(row, 7)?,
        settings: text(row, 8)?,
        sealed: optional_bytes(row, 9)?,
        job: optional_text(row, 10)?,
        cursor: optional_bytes(row, 11)?,
        secrets: secrets(row)?,
        health: health(row, HEALTH)?,
    })
}

fn secrets(row: &Row) -> Result<Vec<SecretRow>, StoreError> {
    let numbers: Vec<i32> = column(row, 12)?;
    let names: Vec<&str> = column(row, 13)?;
    let created: Vec<SystemTime> = column(row, 14)?;
    let ends: Vec<Option<SystemTime>> = column(row, 15)?;
    let sealed: Vec<&[u8]> = column(row, 16)?;
    let all = numbers.into_iter().zip(names).zip(created).zip(ends);
    let secrets = all
        .zip(sealed)
        .map(|((((n, name), created), ends), sealed)| SecretRow {
            n: u32::try_from(n).unwrap_or(0),
            name: name.into(),
            created,
            ends,
            sealed: Bytes::copy_from_slice(sealed),
        });
    Ok(secrets.collect())
}

/// Reads an endpoint to which nothing is delivered now.
pub(super) fn inactive(row: &Row) -> Result<Inactive, StoreError> {
    Ok(Inactive {
        target: TargetId(number(row, 0)?),
        state: state(row, 1)?,
        since: column(row, 2)?,
    })
}

/// Reads an endpoint that fails; none if it has recovered meanwhile.
pub(super) fn unhealthy(row: &Row) -> Result<Option<Unhealthy>, StoreError> {
    let (target, tenant) = (TargetId(number(row, 0)?), OriginId(number(row, 1)?));
    let state = state(row, 2)?;
    Ok(health(row, 3)?.map(|health| Unhealthy {
        target,
        tenant,
        state,
        health,
    }))
}

/// Reads a state.
pub(super) fn state(row: &Row, index: usize) -> Result<EndpointState, StoreError> {
    let number = column::<i16>(row, index)?;
    let state = u8::try_from(number)
        .ok()
        .and_then(EndpointState::from_number);
    state.ok_or_else(|| StoreError::Corrupted(format!("an endpoint has the state {number}").into()))
}

/// Reads a streak of failures from the columns from `first` on, if there is one.
fn health(row: &Row, first: usize) -> Result<Option<Streak>, StoreError> {
    let Some(since) = column(row, first)? else {
        return Ok(None);
    };
    let notified = column::<i16>(row, first + 7)?;
    let known = u8::try_from(notified).ok().and_then(Notified::from_number);
    Ok(Some(Streak {
        since,
        failures: number(row, first + 1)?,
        hours: number(row, first + 2)?,
        last: column(row, first + 3)?,
        cause: Cause::from_stored(status(row, first + 4)?, column(row, first + 5)?),
        first: column::<Uuid>(row, first + 6)?,
        notified: known.ok_or_else(|| {
            StoreError::Corrupted(format!("notifications have the number {notified}").into())
        })?,
    }))
}

/// Adds the columns of an endpoint to a call, as they are saved.
pub(super) fn with_endpoint(call: Call, endpoint: &Endpoint) -> Call {
    let endpoint = endpoint.as_stored();
    let secrets = &endpoint.secrets;
    let names: Vec<Text> = secrets.iter().map(|secret| to_text(&secret.name)).collect();
    let created: Vec<_> = secrets.iter().map(|secret| secret.created).collect();
    let ends: Vec<_> = secrets.iter().map(|secret| secret.ends).collect();
    let sealed: Vec<_> = secrets
        .iter()
        .map(|secret| Blob(secret.sealed.clone()))
        .collect();
    call.with(int(endpoint.target.0))
        .with(to_text(&endpoint.id))
        .with(int(endpoint.tenant.0))
        .with(to_optional_text(endpoint.uid.as_deref()))
        .with(i16::from(endpoint.state.number()))
        .with(endpoint.since)
        .with(to_text(&endpoint.url))
        .with(to_text(&endpoint.settings))
        .with(to_blob(endpoint.sealed.as_ref()))
        .with(to_optional_text(endpoint.job.as_deref()))
        .with(to_blob(endpoint.cursor.as_ref()))
        .with(
            secrets
                .iter()
                .map(|secret| int(secret.n))
                .collect::<Vec<_>>(),
        )
        .with(names)
        .with(created)
        .with(ends)
        .with(sealed)
}

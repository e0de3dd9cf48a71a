//! Makes and replaces the rows of endpoints.
use rusqlite::params;

use super::accept::{Unique, accept};
use super::act::{self, Audited};
use super::endpoint::{by_number, number_of};
use super::health;
use super::int;
use super::tenant;
use super::writing::{ENDPOINTS, Writing};
use crate::clock::unix_ms;
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointChange, EndpointState, Saved};
use crate::store::archive::Scope;
use crate::store::queue::{LAST_ENDPOINT, OriginId, TargetId};

pub(super) const COUNT: &str = "select count(*) from endpoint where tenant = ?1 and state <> 6";
pub(super) const SAME_NAME: &str =
    "select 1 from endpoint where tenant = ?1 and uid = ?2 and number <> ?3";

/// Draws the number of an endpoint.
pub(crate) fn reserve(writing: &Writing<'_>) -> Result<TargetId, StoreError> {
    let next = "update sqlite_sequence set seq = seq + 1 where name = 'endpoint' and seq < ?1 returning seq";
    writing
        .row(next, params![LAST_ENDPOINT], |row| row.get(0))?
        .ok_or_else(|| StoreError::Unavailable("all numbers of endpoints are used".into()))
}

/// Makes or replaces the row of an endpoint, with its secrets.
pub(crate) fn save(
    writing: &Writing<'_>,
    endpoint: &Endpoint,
    expected: Option<u32>,
    limit_of_tenant: u32,
    audited: Option<&Audited>,
) -> Result<Saved, StoreError> {
    let (saved, _) = save_once(writing, endpoint, expected, limit_of_tenant, audited)?;
    Ok(saved)
}

/// Makes a change: the row, the acts on units of the endpoint, and the notification. A repeated call changes nothing.
pub(crate) fn change(
    writing: &Writing<'_>,
    change: &EndpointChange,
    notice: Option<&[u8]>,
    audited: Option<&Audited>,
) -> Result<Saved, StoreError> {
    let EndpointChange {
        endpoint,
        expected,
        failing_since,
        acts,
        notice: event,
        audit: _,
    } = change;
    if let Some(since) = failing_since
        && !health::goes_on(writing, endpoint.target, *since)?
    {
        return Ok(Saved::Conflict);
    }
    let (saved, is_new) = save_once(writing, endpoint, Some(*expected), u32::MAX, audited)?;
    if !is_new {
        return Ok(saved);
    }
    let scope = Scope::of(endpoint.tenant);
    for (kind, ids) in acts {
        act::apply(writing, &scope, *kind, ids, &[endpoint.target])?;
    }
    if let (Some(event), Some(record)) = (event, notice) {
        accept(writing, event, record, Unique::Not)?;
    }
    Ok(saved)
}

/// Makes or replaces the row of an endpoint. Returns whether it was not done by an earlier call, either.
fn save_once(
    writing: &Writing<'_>,
    endpoint: &Endpoint,
    expected: Option<u32>,
    limit_of_tenant: u32,
    audited: Option<&Audited>,
) -> Result<(Saved, bool), StoreError> {
    let found = by_number(writing, endpoint.target)?;
    let wanted = Endpoint {
        edition: expected.map_or(1, |expected| expected.saturating_add(1)),
        ..endpoint.as_stored()
    };
    let done = Saved::Done {
        number: wanted.target.0,
        edition: wanted.edition,
    };
    if found.as_ref().is_some_and(|found| is_same(found, &wanted)) {
        return Ok((done, false));
    }
    let refused = match (&found, expected) {
        (None, None) => refuse_new(writing, &wanted, limit_of_tenant)?,
        (Some(found), Some(expected)) => refuse_change(writing, found, &wanted, expected)?,
        (None, Some(_)) | (Some(_), None) => Some(Saved::Conflict),
    };
    if let Some(refused) = refused {
        return Ok((refused, false));
    }
    write(writing, &wanted)?;
    let before = found.map(|found| found.state);
    if before != Some(wanted.state) {
        let ends_health = matches!(wanted.state, EndpointState::Active | EndpointState::Removed);
        if ends_health && before.is_some() {
            health::forget(writing, wanted.target)?;
        }
        if let Some(before) = before {
            writing.count(ENDPOINTS, u32::from(number_of(before)), -1, 0);
        }
        writing.count(ENDPOINTS, u32::from(number_of(wanted.state)), 1, 0);
    }
    if let Some(audited) = audited {
        audited.note(writing)?;
    }
    Ok((done, true))
}

/// Returns whether a row is what an earlier call of this save made of it.
fn is_same(found: &Endpoint, wanted: &Endpoint) -> bool {
    let found = Endpoint {
        health: None,
        ..found.clone()
    };
    found == *wanted
}

fn refuse_new(
    writing: &Writing<'_>,
    wanted: &Endpoint,
    limit_of_tenant: u32,
) -> Result<Option<Saved>, StoreError> {
    let same_id = "select 1 from endpoint where id = ?1";
    if !wanted.target.is_endpoint()
        || wanted.state == EndpointState::Removed
        || !tenant::is_there(writing, wanted.tenant)?
        || writing
            .row(same_id, params![wanted.id], |_| Ok(()))?
            .is_some()
    {
        return Ok(Some(Saved::Conflict));
    }
    if is_taken(writing, wanted)? {
        return Ok(Some(Saved::Taken));
    }
    let is_full = count(writing, wanted.tenant)? >= limit_of_tenant;
    Ok(is_full.then_some(Saved::Full))
}

fn count(writing: &Writing<'_>, tenant: OriginId) -> Result<u32, StoreError> {
    let count = writing.row(COUNT, params![tenant.0], |row| row.get(0))?;
    Ok(count.unwrap_or(0))
}

fn refuse_change(
    writing: &Writing<'_>,
    found: &Endpoint,
    wanted: &Endpoint,
    expected: u32,
) -> Result<Option<Saved>, StoreError> {
    if found.edition != expected
        || found.state == EndpointState::Removed
        || found.tenant != wanted.tenant
        || found.id != wanted.id
    {
        return Ok(Some(Saved::Conflict));
    }
    Ok(is_taken(writing, wanted)?.then_some(Saved::Taken))
}

/// Returns whether another endpoint of the tenant has the app's name.
fn is_taken(writing: &Writing<'_>, wanted: &Endpoint) -> Result<bool, StoreError> {
    let other = writing.row(
        SAME_NAME,
        params![wanted.tenant.0, wanted.uid, wanted.target],
        |_| Ok(()),
    )?;
    Ok(other.is_some())
}

fn write(writing: &Writing<'_>, endpoint: &Endpoint) -> Result<(), StoreError> {
    let Endpoint {
        target,
        id,
        tenant,
        uid,
        edition,
        state,
        since,
        url,
        settings,
        sealed,
        secrets,
        health: _,
        job,
        cursor,
    } = endpoint;
    let put = "insert into endpoint (number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
        on conflict (number) do update set (uid, edition, state, since, url, settings, sealed, job, cursor) = (excluded.uid, excluded.edition,
            excluded.state, excluded.since, excluded.url, excluded.settings, excluded.sealed, excluded.job, excluded.cursor)
            where endpoint.tenant = excluded.tenant";
    writing.execute(
        put,
        params![
            target,
            id,
            tenant.0,
            uid,
            edition,
            state,
            int(unix_ms(*since)),
            url,
            settings,
            sealed.as_deref(),
            job,
            cursor.as_deref()
        ],
    )?;
    writing.execute("delete from secret where endpoint = ?1", params![target])?;
    let insert = "insert into secret (endpoint, n, name, created, ends, sealed) values (?1, ?2, ?3, ?4, ?5, ?6)";
    for secret in secrets {
        let ends = secret.ends.map(|ends| int(unix_ms(ends)));
        writing.execute(
            insert,
            params![
                target,
                secret.n,
                secret.name,
                int(unix_ms(secret.created)),
                ends,
                &secret.sealed[..]
            ],
        )?;
    }
    Ok(())
}

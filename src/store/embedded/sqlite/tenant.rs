//! The rows of tenants.
use std::sync::Arc;

use rusqlite::{Row, params};

use super::act::Audited;
use super::connection::at;
use super::int;
use super::look::Reading;
use super::query::Query;
use super::writing::{TENANTS, Writing};
use crate::clock::unix_ms;
use crate::clock::whole_ms;
use crate::store::StoreError;
use crate::store::address_book::{Saved, Tenant};
use crate::store::queue::{FIRST_ENDPOINT, OriginId};

pub(super) const BY_NAME: &str =
    "select number, uid, created, edition, removed_at is not null, settings from tenant
    where uid > ?1 and removed_at is null order by uid limit ?2";
pub(super) const BY_UID: &str = "select number, uid, created, edition, removed_at is not null, settings from tenant where uid = ?1";
pub(super) const BY_NUMBER: &str = "select number, uid, created, edition, removed_at is not null, settings from tenant where number = ?1";

fn read(row: &Row<'_>) -> rusqlite::Result<Tenant> {
    Ok(Tenant {
        origin: OriginId(row.get(0)?),
        uid: row.get(1)?,
        created: at(row.get(2)?),
        edition: row.get(3)?,
        removed: row.get(4)?,
        settings: row.get(5)?,
    })
}

/// Returns tenants after a name.
pub(crate) fn tenants(
    reading: &Reading<'_>,
    after: Option<&str>,
    limit: u16,
) -> Result<Vec<Tenant>, StoreError> {
    reading.rows(BY_NAME, params![after.unwrap_or_default(), limit], read)
}

/// Returns the tenant of a name.
pub(crate) fn tenant(reading: &Reading<'_>, uid: &str) -> Result<Option<Tenant>, StoreError> {
    let found = reading.row(BY_UID, params![uid], read)?;
    Ok(found.filter(|tenant| !tenant.removed))
}

/// Returns what a tenant is called.
pub(super) fn called(query: &impl Query, number: u32) -> Result<Option<Arc<str>>, StoreError> {
    let name = "select uid from tenant where number = ?1";
    query.first(name, params![number], |row| row.get(0))
}

/// Returns whether there is a tenant that is not removed.
pub(super) fn is_there(writing: &Writing<'_>, tenant: OriginId) -> Result<bool, StoreError> {
    let live = "select 1 from tenant where number = ?1 and removed_at is null";
    Ok(writing.row(live, params![tenant.0], |_| Ok(()))?.is_some())
}

/// Makes or replaces the row of a tenant. `wall` is the time in milliseconds of wall time.
pub(crate) fn save(
    writing: &Writing<'_>,
    tenant: &Tenant,
    expected: Option<u32>,
    audited: Option<&Audited>,
    wall: i64,
) -> Result<Saved, StoreError> {
    let saved = match expected {
        None => insert(writing, tenant)?,
        Some(expected) => replace(writing, tenant, expected, wall)?,
    };
    if let (Attempt::Written(_), Some(audited)) = (saved, audited) {
        audited.note(writing)?;
    }
    Ok(match saved {
        Attempt::Written(saved) | Attempt::Answered(saved) => saved,
    })
}

/// The result of a save, and whether it wrote anything.
#[derive(Clone, Copy)]
enum Attempt {
    Written(Saved),
    /// Refused, or done by an earlier call.
    Answered(Saved),
}

/// Returns the answer for a row that is as wanted.
fn done(tenant: &Tenant) -> Saved {
    Saved::Done {
        number: tenant.origin.0,
        edition: tenant.edition,
    }
}

fn insert(writing: &Writing<'_>, tenant: &Tenant) -> Result<Attempt, StoreError> {
    if tenant.removed {
        return Ok(Attempt::Answered(Saved::Conflict));
    }
    let mut wanted = Tenant {
        edition: 1,
        created: whole_ms(tenant.created),
        ..tenant.clone()
    };
    if let Some(found) = writing.row(BY_UID, params![tenant.uid], read)? {
        wanted.origin = found.origin;
        let answer = if found == wanted {
            done(&found)
        } else {
            Saved::Taken
        };
        return Ok(Attempt::Answered(answer));
    }
    writing.ensure_marker()?;
    let insert = "insert into tenant (uid, created, edition, settings) values (?1, ?2, 1, ?3)";
    let created = int(unix_ms(wanted.created));
    writing.execute(insert, params![wanted.uid, created, wanted.settings])?;
    let number = u32::try_from(writing.last_row()).ok();
    let Some(number) = number.filter(|number| *number < FIRST_ENDPOINT) else {
        return Err(StoreError::Unavailable(
            "all numbers of tenants are used".into(),
        ));
    };
    wanted.origin = OriginId(number);
    writing.count(TENANTS, 0, 1, 0);
    Ok(Attempt::Written(done(&wanted)))
}

fn replace(
    writing: &Writing<'_>,
    tenant: &Tenant,
    expected: u32,
    wall: i64,
) -> Result<Attempt, StoreError> {
    let number = tenant.origin.0;
    let Some(found) = writing.row(BY_NUMBER, params![number], read)? else {
        return Ok(Attempt::Answered(Saved::Conflict));
    };
    let mut wanted = Tenant {
        edition: expected.saturating_add(1),
        created: found.created,
        ..tenant.clone()
    };
    if wanted.removed {
        wanted.uid = format!("#{number}").into();
    }
    if found == wanted {
        return Ok(Attempt::Answered(done(&found)));
    }
    if found.edition != expected || found.removed {
        return Ok(Attempt::Answered(Saved::Conflict));
    }
    let other = "select 1 from tenant where uid = ?1 and number <> ?2";
    if writing
        .row(other, params![wanted.uid, number], |_| Ok(()))?
        .is_some()
    {
        return Ok(Attempt::Answered(Saved::Taken));
    }
    let update = "update tenant set uid = ?2, edition = ?3, removed_at = ?4, settings = ?5 where number = ?1";
    writing.execute(
        update,
        params![
            number,
            wanted.uid,
            wanted.edition,
            wanted.removed.then_some(wall),
            wanted.settings
        ],
    )?;
    if wanted.removed {
        writing.count(TENANTS, 0, -1, 0);
    }
    Ok(Attempt::Written(done(&wanted)))
}

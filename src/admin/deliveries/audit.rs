//! The endpoint that reads the audit log.
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::store_access;
use super::errors::{bad_request, unavailable};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::api::actions::{Audit, AuditEntry};
use crate::clock::rfc3339;
use crate::store::archive;

/// The number of entries, by default and at most.
const DEFAULT_ENTRIES: u16 = 50;
const MAX_ENTRIES: u16 = 1000;

/// The query of `GET /-/audit`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// The maximum number of entries: up to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<u16>,
}

pub(super) async fn audit(
    State(source): State<Arc<dyn AdminSource>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Audit>, Denied> {
    let Query(AuditQuery { limit }) =
        query.map_err(|error| bad_request(&error.body_text(), "write `?limit=20`"))?;
    let limit = limit.unwrap_or(DEFAULT_ENTRIES);
    if limit == 0 || limit > MAX_ENTRIES {
        return Err(bad_request(
            "`limit` is out of bounds",
            "write a number from 1 to 1000",
        ));
    }
    let rows = store_access(&source)?
        .store
        .audit(limit)
        .await
        .map_err(|error| unavailable(&error))?;
    let entry = |row: archive::Audit| AuditEntry {
        at: rfc3339(row.at),
        who: row.who.to_string(),
        action: row.what.to_string(),
        selection: row.which.to_string(),
        reason: row.reason.to_string(),
        done: row.done,
    };
    Ok(Json(Audit {
        audit: rows.into_iter().map(entry).collect(),
    }))
}

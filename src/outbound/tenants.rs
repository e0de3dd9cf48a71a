//! The calls for tenants.
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::access::{Caller, Right};
use super::faults;
use super::listing::PageQuery;
use super::names::is_name;
use super::shown::{ShownTenant, Tenants};
use super::state::{Api, audit};
use crate::store::address_book::{Saved, Tenant};
use crate::store::queue::OriginId;
use crate::tenant::settings::TenantSettings;
use crate::web::input::{ApiQuery, JsonBody};
use crate::web::problem::Problem;

/// The times that a save is tried again after another request's.
const SAVES: u32 = 5;

/// Lists tenants.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<Tenants>, Problem> {
    caller.may(Right::Read)?;
    let limit = query.limit()?;
    let after = query.after().map(Arc::from);
    let rows = api.ask(api.store().tenants(after, limit)).await?;
    let next = (rows.len() == usize::from(limit))
        .then(|| rows.last().map(|last| last.uid.to_string()))
        .flatten();
    let shown = rows.iter().filter(|row| !row.removed).map(ShownTenant::of);
    Ok(Json(Tenants {
        tenants: shown.collect(),
        next,
    }))
}

/// Shows a tenant.
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
) -> Result<Json<ShownTenant>, Problem> {
    caller.may(Right::Read)?;
    let tenant = api.tenant(&uid).await?;
    Ok(Json(ShownTenant::of(&tenant)))
}

/// Makes a tenant, or replaces its settings.
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<ShownTenant>, Problem> {
    caller.may(Right::Manage)?;
    check_uid(&uid)?;
    let settings = TenantSettings::read(&body).map_err(faults::invalid)?;
    let settings: Arc<str> = settings.to_json().into();
    for _ in 0..SAVES {
        let known = api.ask(api.store().tenant(&uid)).await?;
        let expected = known.as_ref().map(|tenant| tenant.edition);
        let row = Tenant {
            settings: Arc::clone(&settings),
            ..known.unwrap_or_else(|| Tenant {
                origin: OriginId(0),
                uid: uid.as_str().into(),
                created: api.clock().now().wall,
                edition: 0,
                removed: false,
                settings: "".into(),
            })
        };
        let what = if expected.is_some() {
            "edit tenant"
        } else {
            "make tenant"
        };
        let entry = audit(&caller.name, what, uid.clone(), "");
        let saved = api.save_tenant(&uid, &row, expected, entry).await?;
        if let Saved::Done { .. } = saved {
            return Ok(Json(ShownTenant::of(&row)));
        }
    }
    Err(faults::conflict())
}

/// Removes a tenant without endpoints.
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Right::Manage)?;
    let tenant = api.tenant(&uid).await?;
    let endpoints = api
        .ask(api.store().endpoints(tenant.origin, None, 1))
        .await?;
    if !endpoints.is_empty() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "state",
            "the tenant has endpoints",
            "remove its endpoints first",
        ));
    }
    let expected = Some(tenant.edition);
    let row = Tenant {
        removed: true,
        ..tenant
    };
    let entry = audit(&caller.name, "remove tenant", uid.clone(), "");
    match api.save_tenant(&uid, &row, expected, entry).await? {
        Saved::Done { .. } => Ok(StatusCode::NO_CONTENT),
        Saved::Conflict | Saved::Taken | Saved::Full => Err(faults::conflict()),
    }
}

/// Checks the name of a new tenant.
fn check_uid(uid: &str) -> Result<(), Problem> {
    if !is_name(uid) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "this cannot be the name of a tenant",
            "use 1 to 128 letters, digits and `.`, `_`, `:`, `-`, but not `.` or `..` alone",
        ));
    }
    Ok(())
}

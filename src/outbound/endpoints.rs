//! The calls for endpoints.
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::access::{Caller, Right};
use super::endpoint_body::{EndpointFields, Given, kind, signed_headers};
use super::faults;
use super::listing::{PageQuery, bad_cursor};
use super::shown::{Endpoints, MadeEndpoint, ShownEndpoint, all_shown, shown};
use super::state::{Api, audit};
use crate::deliver::{OpenSecrets, Rules, can_sign, open_headers, seal_headers, seal_secret};
use crate::random;
use crate::store::address_book::{Endpoint, EndpointName, EndpointState, Saved, Tenant};
use crate::store::queue::TargetId;
use crate::tenant::Invalid;
use crate::tenant::job::{EndpointJob, JobCursor, Work};
use crate::tenant::secret::{RANDOM_BYTES, Secret, first};
use crate::tenant::settings::{EndpointSettings, TenantSettings};
use crate::web::input::{ApiQuery, JsonBody};
use crate::web::problem::Problem;

/// The times that a change is tried again after another request's.
pub(super) const SAVES: u32 = 5;
/// The prefix of an endpoint's ID.
const PREFIX: &str = "ep_";

/// Returns the endpoint with an ID or the app's name, within its tenant.
pub(super) async fn find(api: &Api, tenant: &Tenant, name: &str) -> Result<Endpoint, Problem> {
    let found = api
        .ask(api.store().endpoint(tenant.origin, name_of(name)))
        .await?;
    found
        .filter(|row| row.state != EndpointState::Removing)
        .ok_or_else(|| faults::missing("no_endpoint", "endpoint"))
}

fn name_of(text: &str) -> EndpointName {
    if text.starts_with(PREFIX) {
        EndpointName::Id(text.into())
    } else {
        EndpointName::Uid(text.into())
    }
}

/// Lists the endpoints of a tenant.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> Result<Json<Endpoints>, Problem> {
    caller.may(Right::Read)?;
    let limit = query.limit()?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    let after = match query.after() {
        Some(text) => Some(TargetId(text.parse().map_err(|_| bad_cursor())?)),
        None => None,
    };
    let rows = api
        .ask(api.store().endpoints(tenant.origin, after, limit))
        .await?;
    let next = (rows.len() == usize::from(limit))
        .then(|| rows.last().map(|last| last.target.0.to_string()))
        .flatten();
    Ok(Json(Endpoints {
        endpoints: all_shown(&api, &rows, &rules).await?,
        next,
    }))
}

/// Shows an endpoint.
pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
) -> Result<Json<ShownEndpoint>, Problem> {
    caller.may(Right::Read)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    let row = find(&api, &tenant, &name).await?;
    Ok(Json(shown(&api, &row, &rules).await?))
}

/// Makes an endpoint.
pub(super) async fn make(
    State(api): State<Api>,
    caller: Caller,
    Path(uid): Path<String>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.may(Right::Manage)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    let fields = EndpointFields::read(body, Given::Whole(None), &rules.outbound)?;
    let made = create(&api, &caller, &tenant, fields, &rules).await?;
    let made = made.ok_or_else(faults::taken)?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Makes the endpoint with the app's name in the path, or replaces its settings.
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(mut body): JsonBody<Map<String, Value>>,
) -> Result<Response, Problem> {
    caller.may(Right::Manage)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    if !name.starts_with(PREFIX) {
        body.entry("uid").or_insert_with(|| name.as_str().into());
        if body.get("uid").and_then(Value::as_str) != Some(&name) {
            let help = "leave `uid` out, or write it as in the path";
            return Err(Problem::bad_request("`uid` differs from the path", help).at("/uid"));
        }
    }
    for _ in 0..SAVES {
        let known = api
            .ask(api.store().endpoint(tenant.origin, name_of(&name)))
            .await?;
        let given = Given::Whole(known.as_ref().map(|row| &*row.settings));
        let fields = EndpointFields::read(body.clone(), given, &rules.outbound)?;
        if known
            .as_ref()
            .is_some_and(|row| row.state == EndpointState::Removing)
        {
            return Err(faults::missing("no_endpoint", "endpoint"));
        }
        let Some(row) = known else {
            if name.starts_with(PREFIX) {
                return Err(faults::missing("no_endpoint", "endpoint"));
            }
            match create(&api, &caller, &tenant, fields, &rules).await? {
                Some(made) => return Ok((StatusCode::CREATED, Json(made)).into_response()),
                // another request made it meanwhile
                None => continue,
            }
        };
        if let Some(saved) = change(&api, &caller, &uid, row, fields, true).await? {
            return Ok(Json(shown(&api, &saved, &rules).await?).into_response());
        }
    }
    Err(faults::conflict())
}

/// Changes the given fields of an endpoint.
pub(super) async fn patch(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(body): JsonBody<Map<String, Value>>,
) -> Result<Json<ShownEndpoint>, Problem> {
    caller.may(Right::Manage)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        let given = Given::Change(&row.settings);
        let fields = EndpointFields::read(body.clone(), given, &rules.outbound)?;
        if let Some(saved) = change(&api, &caller, &uid, row, fields, false).await? {
            return Ok(Json(shown(&api, &saved, &rules).await?));
        }
    }
    Err(faults::conflict())
}

/// Saves a changed row with its audit entry. Returns whether no other request came first.
pub(super) async fn save_change(
    api: &Api,
    caller: &Caller,
    uid: &str,
    row: &Endpoint,
    what: &str,
    reason: &str,
) -> Result<bool, Problem> {
    let entry = audit(&caller.name, what, format!("{uid} {}", row.id), reason);
    let expected = Some(row.edition);
    let saved = api
        .save_endpoint(uid, row, expected, u32::MAX, entry)
        .await?;
    Ok(matches!(saved, Saved::Done { .. }))
}

/// Removes an endpoint. The worker ends the events that wait for it.
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.may(Right::Manage)?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        let now = api.clock().now().wall;
        let job = EndpointJob::new(Work::Remove, &caller.name, None, now);
        let row = Endpoint {
            state: EndpointState::Removing,
            since: now,
            uid: None,
            job: Some(job.to_json().into()),
            cursor: Some(JobCursor::default().to_bytes().into()),
            ..row
        };
        if save_change(&api, &caller, &uid, &row, "remove endpoint", "").await? {
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(faults::conflict())
}

/// Makes an endpoint; `None` if the app's name is taken.
async fn create(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    fields: EndpointFields,
    rules: &Rules,
) -> Result<Option<MadeEndpoint>, Problem> {
    let EndpointFields {
        url,
        uid,
        settings,
        headers,
        secret,
    } = fields;
    let Some(url) = url else {
        let error = "the endpoint has no URL";
        let help = "add `\"url\": \"https://hooks.example.com/path\"`";
        return Err(faults::invalid(Invalid::new("/url", error, help)));
    };
    let target = api.ask(api.store().reserve_endpoint()).await?;
    let now = api.clock().now().wall;
    let sign = settings.sign.name();
    let is_given = secret.is_some();
    let secret = match secret {
        Some(secret) => secret,
        None => Secret::generate(kind(sign), &draw::<RANDOM_BYTES>()?),
    };
    let entry = first(None, now).map_err(|_| unsealed())?;
    let sealed =
        seal_secret(&secret, &entry, target, &rules.keys, draw()?).map_err(|_| unsealed())?;
    let headers = headers.unwrap_or_default();
    let row = Endpoint {
        target,
        id: format!("{PREFIX}{}", hex::encode(draw::<16>()?)).into(),
        tenant: tenant.origin,
        uid,
        edition: 0,
        state: EndpointState::Active,
        since: now,
        url: url.text().into(),
        settings: settings.to_json().into(),
        sealed: seal_headers(&headers, target, &rules.keys, draw()?).map_err(|_| unsealed())?,
        secrets: vec![sealed],
        health: None,
        job: None,
        cursor: None,
    };
    let limit = TenantSettings::from_json(&tenant.settings)
        .ok()
        .and_then(|settings| settings.limits.endpoints)
        .unwrap_or(rules.outbound.endpoints.per_tenant);
    let which = format!("{} {}", tenant.uid, row.id);
    let entry = audit(&caller.name, "make endpoint", which, "");
    check_signing(&row, rules, api)?;
    let saved = api
        .save_endpoint(&tenant.uid, &row, None, limit, entry)
        .await?;
    match saved {
        Saved::Done { .. } => Ok(Some(MadeEndpoint {
            endpoint: ShownEndpoint::with_types(&row, rules, 0),
            secret: (!is_given).then(|| secret.text().to_string()),
        })),
        Saved::Taken => Ok(None),
        Saved::Full => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "limit",
            format!("the tenant has {limit} endpoints already"),
            "remove one, or raise `limits.endpoints` of the tenant",
        )),
        Saved::Conflict => Err(faults::missing("no_tenant", "tenant")),
    }
}

/// Changes an endpoint; `None` if another request changed it meanwhile.
async fn change(
    api: &Api,
    caller: &Caller,
    uid: &str,
    row: Endpoint,
    fields: EndpointFields,
    replaces: bool,
) -> Result<Option<Endpoint>, Problem> {
    let EndpointFields {
        url,
        uid: own,
        settings,
        headers,
        secret,
    } = fields;
    let rules = api.rules()?;
    let is_known = |secret: &Secret| {
        let opened = OpenSecrets::of(&row, &rules.keys);
        opened.is_ok_and(|opened| opened.secrets.iter().any(|known| known.is_same(secret)))
    };
    if secret.is_some_and(|secret| !is_known(&secret)) {
        let error = "an endpoint that exists keeps its secrets";
        let help = "use POST …/rotate to give it another one";
        return Err(faults::invalid(Invalid::new("/secret", error, help)));
    }
    let headers = if replaces {
        Some(headers.unwrap_or_default())
    } else {
        headers
    };
    let sealed = match headers {
        Some(headers) => {
            seal_headers(&headers, row.target, &rules.keys, draw()?).map_err(|_| unsealed())?
        }
        None => row.sealed.clone(),
    };
    let expected = Some(row.edition);
    let row = Endpoint {
        url: url.map_or_else(|| Arc::clone(&row.url), |url| url.text().into()),
        uid: own.or_else(|| row.uid.clone()),
        settings: settings.to_json().into(),
        sealed,
        ..row
    };
    let which = format!("{uid} {}", row.id);
    let entry = audit(&caller.name, "edit endpoint", which, "");
    check_signing(&row, &rules, api)?;
    let saved = api
        .save_endpoint(uid, &row, expected, u32::MAX, entry)
        .await?;
    match saved {
        Saved::Done { .. } => Ok(Some(row)),
        Saved::Taken => Err(faults::taken()),
        Saved::Conflict | Saved::Full => Ok(None),
    }
}

/// Draws bytes for a secret.
///
/// # Errors
/// The system gives none.
pub(super) fn draw<const N: usize>() -> Result<[u8; N], Problem> {
    random::secret().map_err(|_| unsealed())
}

/// Checks that the secrets of an endpoint can sign in its scheme, and that its own headers leave those of the scheme alone.
fn check_signing(row: &Endpoint, rules: &Rules, api: &Api) -> Result<(), Problem> {
    let settings = EndpointSettings::from_json(&row.settings).unwrap_or_default();
    let kind = kind(settings.sign.name());
    let opened = OpenSecrets::of(row, &rules.keys);
    let has_kind = opened.is_ok_and(|opened| opened.secrets.iter().all(|one| one.kind() == kind));
    if !has_kind || !can_sign(row, rules, api.clock().now()) {
        let error = "the secret of the endpoint cannot sign in this scheme";
        let help = "send a secret in the form that the scheme needs, or make a new endpoint for the scheme";
        return Err(faults::invalid(Invalid::new("/sign", error, help)));
    }
    let signed = signed_headers(settings.sign.name(), &rules.outbound);
    let headers = open_headers(row, &rules.keys).unwrap_or_default();
    if headers.conflicts(&signed) {
        let error = "the scheme that signs the events writes one of these headers";
        let help = "choose another name";
        return Err(faults::invalid(Invalid::new("/headers", error, help)));
    }
    Ok(())
}

/// Makes the error of a cipher that cannot seal.
pub(super) fn unsealed() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the secret could not be sealed",
        "send the request again",
    )
}

//! The calls for the secrets of an endpoint.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::{Caller, Right};
use super::endpoint_body::kind;
use super::endpoints::{SAVES, draw, find, unsealed};
use super::faults;
use super::state::{Api, audit};
use crate::clock::rfc3339;
use crate::config::snapshot::STANDARD;
use crate::deliver::{OpenSecrets, Rules, seal_secret};
use crate::store::address_book::{Endpoint, Saved, SecretRow};
use crate::tenant::Invalid;
use crate::tenant::secret::{
    ListError, RANDOM_BYTES, Secret, SecretEntry, Signers, end, expired, rotate as rotated, signing,
};
use crate::tenant::settings::EndpointSettings;
use crate::web::input::JsonBody;
use crate::web::problem::Problem;

/// The overlap of a rotation, unless the request says another.
const OVERLAP: u64 = 86_400;

/// The secrets of an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Secrets {
    secrets: Vec<ShownSecret>,
}

/// A secret without its text.
#[derive(Debug, Serialize, JsonSchema)]
struct ShownSecret {
    /// The name.
    name: String,
    /// The time at which it was made.
    created_at: String,
    /// The time at which it ends, if it does.
    ends_at: Option<String>,
    /// Whether it signs now.
    signs: bool,
}

/// A rotation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateBody {
    /// The time for which the old secrets stay valid, in seconds, 0 to 604800 (default 86400).
    overlap: Option<u64>,
    /// The new secret; without it the gateway makes one.
    secret: Option<String>,
    /// The name of the new secret (default: the date).
    name: Option<String>,
}

/// A new secret.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NewSecret {
    /// The name.
    name: String,
    /// The secret, unless the request gave it. It is shown in this response alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The time from which on it signs.
    signs_from: String,
    /// The time at which the last of the old secrets ends.
    old_until: Option<String>,
}

/// Lists the secrets of an endpoint.
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
) -> Result<Json<Secrets>, Problem> {
    caller.may(Right::Read)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    let row = find(&api, &tenant, &name).await?;
    let (opened, signers, _) = open(&row, &rules)?;
    let now = api.clock().now().wall;
    let signing: Vec<u32> = signing(&opened.entries, signers, now)
        .into_iter()
        .map(|entry| entry.n)
        .collect();
    let secrets = opened.entries.iter().map(|entry| ShownSecret {
        name: entry.name.to_string(),
        created_at: rfc3339(entry.created),
        ends_at: entry.ends.map(rfc3339),
        signs: signing.contains(&entry.n),
    });
    Ok(Json(Secrets {
        secrets: secrets.collect(),
    }))
}

/// Adds a secret, and ends the others after the overlap.
pub(super) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(body): JsonBody<RotateBody>,
) -> Result<Json<NewSecret>, Problem> {
    caller.may(Right::Manage)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        let (opened, signers, scheme) = open(&row, &rules)?;
        let kind = kind(&scheme);
        let secret = match &body.secret {
            Some(text) => Secret::parse(kind, text).map_err(|wrong| {
                let error = "this cannot be the secret";
                faults::invalid(Invalid::new("/secret", error, wrong.to_string()))
            })?,
            None => Secret::generate(kind, &draw::<RANDOM_BYTES>()?),
        };
        let overlap = Duration::from_secs(body.overlap.unwrap_or(OVERLAP));
        let now = api.clock().now().wall;
        let rotation = rotated(&opened.entries, body.name.as_deref(), signers, now, overlap)
            .map_err(refused)?;
        let Some(added) = rotation.added() else {
            return Err(unsealed());
        };
        let sealed = seal_secret(&secret, added, row.target, &rules.keys, draw()?)
            .map_err(|_| unsealed())?;
        let mut secrets = kept(&row, &rotation.entries, now);
        secrets.push(sealed);
        let answer = NewSecret {
            name: added.name.to_string(),
            secret: body.secret.is_none().then(|| secret.text().to_string()),
            signs_from: rfc3339(rotation.signs_from),
            old_until: rotation.old_until.map(rfc3339),
        };
        if save(&api, &caller, &uid, row, secrets, "rotate secret").await? {
            return Ok(Json(answer));
        }
    }
    Err(faults::conflict())
}

/// Ends a secret at once.
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name, secret)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    caller.may(Right::Manage)?;
    let rules = api.rules()?;
    let tenant = api.tenant(&uid).await?;
    for _ in 0..SAVES {
        let row = find(&api, &tenant, &name).await?;
        let (opened, ..) = open(&row, &rules)?;
        let now = api.clock().now().wall;
        let entries = end(&opened.entries, &secret, now).map_err(refused)?;
        let secrets = kept(&row, &entries, now);
        if save(&api, &caller, &uid, row, secrets, "end secret").await? {
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(faults::conflict())
}

/// Opens the secrets of a row. Returns which of them sign, and the scheme.
fn open(row: &Endpoint, rules: &Rules) -> Result<(OpenSecrets, Signers, Arc<str>), Problem> {
    let unreadable = |_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the secrets of the endpoint cannot be read",
            "is `store.key` the key that sealed them? `hookgate doctor` tells",
        )
    };
    let opened = OpenSecrets::of(row, &rules.keys).map_err(unreadable)?;
    let settings = EndpointSettings::from_json(&row.settings).unwrap_or_default();
    let scheme: Arc<str> = settings.sign.name().into();
    let signers = if *scheme == *STANDARD {
        Signers::All
    } else {
        Signers::Oldest
    };
    Ok((opened, signers, scheme))
}

/// Returns the rows of secrets that an endpoint has already, with their new ends, without those that ended.
fn kept(row: &Endpoint, entries: &[SecretEntry], now: SystemTime) -> Vec<SecretRow> {
    let over = expired(entries, now);
    let secrets = row.secrets.iter().filter_map(|secret| {
        let entry = entries
            .iter()
            .find(|entry| entry.n == secret.n && !over.contains(&entry.n))?;
        Some(SecretRow {
            ends: entry.ends,
            ..secret.clone()
        })
    });
    secrets.collect()
}

/// Saves the secrets of an endpoint. Returns whether no other request came first.
async fn save(
    api: &Api,
    caller: &Caller,
    uid: &str,
    row: Endpoint,
    secrets: Vec<SecretRow>,
    what: &str,
) -> Result<bool, Problem> {
    let expected = Some(row.edition);
    let row = Endpoint { secrets, ..row };
    let entry = audit(&caller.name, what, format!("{uid} {}", row.id), "");
    let saved = api
        .save_endpoint(uid, &row, expected, u32::MAX, entry)
        .await?;
    Ok(matches!(saved, Saved::Done { .. }))
}

fn refused(error: ListError) -> Problem {
    match error {
        ListError::Missing => faults::missing("no_secret", "valid secret"),
        ListError::Last | ListError::TooMany => Problem::new(
            StatusCode::CONFLICT,
            "state",
            error.to_string(),
            "GET …/secrets lists them",
        ),
        ListError::Overlap => {
            faults::invalid(Invalid::new("/overlap", error.to_string(), "see above"))
        }
        ListError::Taken | ListError::Name => {
            faults::invalid(Invalid::new("/name", error.to_string(), "leave it out"))
        }
    }
}

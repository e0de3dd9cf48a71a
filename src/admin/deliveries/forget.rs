//! Forgets a delivery ID, so that the next delivery with it is accepted as new.
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::access::{names_of, store_access};
use super::body::{RequestBody, parse_body, parse_reason};
use super::errors::{bad_request, unavailable};
use super::filter::search_of;
use super::read::{parse_id, same_sender};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::admin::token::Actor;
use crate::api::actions::{Forget, Forgotten};
use crate::api::deliveries::Filter;
use crate::queue::stored;
use crate::replay::{DeliveryName, LedgerKeys, Search, StoreAccess};
use crate::request::Params;
use crate::store::Key;
use crate::store::archive::{self, Forgetting};
use crate::store::text::storable;
use crate::web::problem::quoted;

/// The maximum size of a request to forget an ID in bytes. It may have the body of a delivery in base64.
pub(super) const MAX_FORGET_BODY: usize = 48 << 20;
/// The maximum number of stored deliveries with the ID that are examined.
const MAX_EXAMINED: u16 = 100;

pub(super) async fn forget(
    Actor(who): Actor,
    State(source): State<Arc<dyn AdminSource>>,
    body: RequestBody,
) -> Result<Json<Forgotten>, Denied> {
    let request: Forget = parse_body(body)?;
    let (reason, access) = (parse_reason(&request.reason)?, store_access(&source)?);
    let mut keys = keys_of(&access, &request).await?;
    keys.sort_unstable_by_key(|key| key.0);
    keys.dedup();
    let account = request
        .account
        .as_deref()
        .map(|account| format!(" account {}", quoted(account)))
        .unwrap_or_default();
    let which = format!(
        "route {}{account} id {}",
        request.route,
        quoted(&request.id)
    );
    let forgetting = Forgetting {
        keys: keys.clone(),
        who,
        which: storable(&which).into(),
        reason,
    };
    let forgotten = access
        .store
        .forget(forgetting)
        .await
        .map_err(|error| unavailable(&error))?;
    source.forget_here(&keys);
    tracing::info!(route = request.route, forgotten, "delivery ID forgotten");
    Ok(Json(Forgotten {
        forgotten: forgotten > 0,
    }))
}

/// Returns the ledger keys of an ID: those of stored deliveries, which know theirs, and the ones that the request determines.
async fn keys_of(access: &StoreAccess, request: &Forget) -> Result<Vec<Key>, Denied> {
    let Forget {
        route,
        id,
        params,
        account,
        body_base64,
        reason: _,
    } = request;
    let body = body_base64
        .as_ref()
        .map(|text| STANDARD.decode(text))
        .transpose()
        .map_err(|_| {
            bad_request(
                "`body_base64` is not base64",
                "encode the body exactly as it was received",
            )
        })?;
    let params = Params(
        params
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
    );
    let mut keys = stored_keys(access, request, &params).await?;
    let named = DeliveryName {
        id,
        params: &params,
        account: account.as_deref(),
        secret: None,
        body: body.as_deref(),
    };
    match access.routes.ledger_keys(route, named) {
        LedgerKeys::Known(all) => keys.extend(all),
        unknown @ (LedgerKeys::NeedsBody
        | LedgerKeys::Needs { .. }
        | LedgerKeys::NoDedupe
        | LedgerKeys::NoRoute) => {
            if keys.is_empty() {
                return Err(no_keys(unknown));
            }
        }
    }
    Ok(keys)
}

/// Returns the ledger keys of the stored deliveries with an ID. If several senders used the ID, the request must name one of them.
async fn stored_keys(
    access: &StoreAccess,
    request: &Forget,
    params: &Params,
) -> Result<Vec<Key>, Denied> {
    let names = names_of(access).await?;
    let filter = Filter {
        route: Some(request.route.clone()),
        id: Some(request.id.clone()),
        ..Filter::default()
    };
    let Search { scope, filter } = search_of(access, &filter, &names, access.now().wall).await?;
    let (store, failed) = (&access.store, |error| unavailable(&error));
    let mut found = store
        .page(
            scope.clone(),
            &filter,
            archive::Order::Newest,
            None,
            MAX_EXAMINED,
            archive::UnitsShown::First(0),
        )
        .await
        .map_err(failed)?
        .rows;
    if let Some(own) = parse_id(&request.id) {
        found.extend(
            store
                .rows(scope, &[own], archive::UnitsShown::First(0))
                .await
                .map_err(failed)?,
        );
    }
    let is_named = |row: &&archive::Row| {
        let of = stored::parameters(&row.record);
        let account = request.account.as_deref();
        account.is_none_or(|account| stored::fact(&row.record, stored::ACCOUNT) == Some(account))
            && params
                .0
                .iter()
                .all(|(name, value)| of.get(name) == Some(value))
    };
    let rows: Vec<_> = found.iter().filter(is_named).collect();
    if let Some(first) = rows.first()
        && rows.iter().any(|row| !same_sender(&names, row, first))
    {
        return Err(bad_request(
            "several accounts have a delivery with this ID",
            "write the `account`, or the `params` of the delivery",
        ));
    }
    Ok(rows.iter().filter_map(|row| row.key).collect())
}

/// Returns the error for an ID whose ledger keys are not known.
fn no_keys(keys: LedgerKeys) -> Denied {
    match keys {
        LedgerKeys::Known(_) | LedgerKeys::NeedsBody => Denied::new(
            StatusCode::CONFLICT,
            "no stored delivery of this route has this ID",
            "the ledger key depends on the body: send it with `body_base64`; if the key also depends on the signed time, only a stored delivery can be forgotten",
        ),
        LedgerKeys::Needs { params, account } => {
            let params =
                (!params.is_empty()).then(|| format!("`params` with {}", params.join(", ")));
            let missing: Vec<_> = account
                .then(|| "`account`".to_owned())
                .into_iter()
                .chain(params)
                .collect();
            let missing = if missing.is_empty() {
                "no `params`".to_owned()
            } else {
                missing.join(" and ")
            };
            bad_request(
                &format!("the ID alone does not determine the delivery: write {missing}"),
                "the ledger key depends on the account and the path parameters",
            )
        }
        LedgerKeys::NoDedupe => Denied::new(
            StatusCode::CONFLICT,
            "the route remembers no IDs",
            "it has no `dedupe`",
        ),
        LedgerKeys::NoRoute => Denied::new(
            StatusCode::NOT_FOUND,
            "the route is gone, and no stored delivery has this ID",
            "`GET /-/status` lists the routes",
        ),
    }
}

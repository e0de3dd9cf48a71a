//! Actions on stored deliveries: replay one, cancel, purge, attempt now.
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::access::{names_of, store_access};
use super::body::{RequestBody, parse_body, parse_reason};
use super::errors::{bad_request, unavailable};
use super::filter::{refuse_empty, select_found, waits};
use super::plan::plan;
use super::read::{find, id_of, parse_id};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::admin::token::Actor;
use crate::api::actions::{ActAnswer, ActMany, Acted};
use crate::api::deliveries::{DeliveryState, Filter, ReplayOne, Replayed};
use crate::replay::{Names, Selection, StoreAccess, find_duplicate};
use crate::store::archive::{self, Act, ActKind, Scope, UnitsShown, Which};
use crate::store::queue::{Cause, DeliveryRef};
use crate::web::problem::quoted;

/// The number of deliveries that one step of an action changes.
const DELIVERIES_PER_STEP: u16 = 100;
/// The maximum duration of one call. The caller repeats it if there is more to do.
const MAX_DURATION: Duration = Duration::from_secs(20);
/// The maximum number of IDs in one call.
const MAX_IDS: usize = 1000;

pub(super) async fn replay_one(
    Actor(who): Actor,
    State(source): State<Arc<dyn AdminSource>>,
    path: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> Result<Json<Replayed>, Denied> {
    let ReplayOne {
        reason,
        include_delivered,
        bypass_dedupe,
    } = parse_body(body)?;
    let (reason, access) = (parse_reason(&reason)?, store_access(&source)?);
    let (shown, _) = find(&access, &id_of(path)?).await?;
    let id = shown.stored.id;
    if !bypass_dedupe {
        refuse_duplicate(&access, id).await?;
    }
    let kind = ActKind::Replay {
        delivered: include_delivered,
        cause: Cause::Replay,
    };
    let act = Act {
        which: Which::Ids(vec![id]),
        ..new_act(kind, who, reason, None)
    };
    let step = access
        .store
        .act(Scope::All, &act, 1)
        .await
        .map_err(|error| unavailable(&error))?;
    if step.done == 0 {
        return Err(Denied::new(
            StatusCode::CONFLICT,
            "there is nothing to replay",
            "the delivery was delivered (set `include_delivered` to send it again), is being attempted, or waits behind others of its lane",
        ));
    }
    tracing::info!(delivery = %id, who = &*act.who, "delivery replayed");
    Ok(Json(Replayed {
        id: id.to_string(),
        done: step.done,
    }))
}

/// Refuses to replay a delivery if another one with the same ID was delivered or is waiting.
async fn refuse_duplicate(access: &StoreAccess, id: DeliveryRef) -> Result<(), Denied> {
    let rows = access
        .store
        .rows(Scope::All, &[id], UnitsShown::All)
        .await
        .map_err(|error| unavailable(&error))?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let names = names_of(access).await?;
    match find_duplicate(access, &names, row)
        .await
        .map_err(|error| unavailable(&error))?
    {
        None => Ok(()),
        Some(other) => Err(Denied::new(
            StatusCode::CONFLICT,
            &format!("{other} has the same ID"),
            "your app would receive it twice; set `bypass_dedupe` to replay it anyway",
        )),
    }
}

pub(super) async fn cancel(
    actor: Actor,
    State(source): State<Arc<dyn AdminSource>>,
    body: RequestBody,
) -> Result<Json<ActAnswer>, Denied> {
    many(actor, &source, ActKind::Cancel, parse_body(body)?).await
}

pub(super) async fn purge(
    actor: Actor,
    State(source): State<Arc<dyn AdminSource>>,
    body: RequestBody,
) -> Result<Json<ActAnswer>, Denied> {
    let request: ActMany = parse_body(body)?;
    let kind = ActKind::Purge {
        waiting: request.include_waiting,
    };
    many(actor, &source, kind, request).await
}

/// Cancels or purges deliveries, or returns the plan.
async fn many(
    Actor(who): Actor,
    source: &Arc<dyn AdminSource>,
    kind: ActKind,
    request: ActMany,
) -> Result<Json<ActAnswer>, Denied> {
    let ActMany {
        ids,
        filter,
        reason,
        dry_run,
        include_waiting: _,
    } = request;
    let (reason, access) = (parse_reason(&reason)?, store_access(source)?);
    let about = match (&ids, &filter) {
        (Some(ids), _) => Some(ids.join(" ").into()),
        (None, filter) => serde_json::to_string(filter).ok().map(Arc::from),
    };
    let names = names_of(&access).await?;
    let selection = select(&access, &names, kind, ids, filter).await?;
    if dry_run {
        let spares = matches!(kind, ActKind::Purge { waiting: false });
        let is_changed = |row: &archive::Row| !(spares && waits(row));
        let plan = plan(
            &access,
            &names,
            &selection,
            archive::Order::Oldest,
            is_changed,
        )
        .await?;
        return Ok(Json(ActAnswer::Plan(Box::new(plan))));
    }
    let act = new_act(kind, who, reason, about);
    let who = Arc::clone(&act.who);
    let acted = act_in_steps(&access, act, selection).await?;
    tracing::info!(
        action = if kind == ActKind::Cancel {
            "cancel"
        } else {
            "purge"
        },
        who = &*who,
        done = acted.done,
        more = acted.more,
        "deliveries changed"
    );
    Ok(Json(ActAnswer::Acted(acted)))
}

/// Makes all deliveries due that wait for a later time, except parked ones.
pub(in crate::admin) async fn attempt_now(
    source: &Arc<dyn AdminSource>,
    Actor(who): Actor,
) -> Result<(), Denied> {
    let access = store_access(source)?;
    let names = names_of(&access).await?;
    let filter = Filter {
        state: vec![DeliveryState::Pending, DeliveryState::Retrying],
        ..Filter::default()
    };
    let selection = select_found(&access, &names, &filter).await?;
    let about = Some("all waiting deliveries".into());
    let act = new_act(ActKind::AttemptNow, who, "drain".into(), about);
    let acted = act_in_steps(&access, act, selection).await?;
    tracing::info!(
        done = acted.done,
        more = acted.more,
        "waiting deliveries are due now"
    );
    Ok(())
}

/// Makes an act whose deliveries are not chosen yet. `about` describes them for the audit log.
fn new_act(kind: ActKind, who: Arc<str>, reason: Arc<str>, about: Option<Arc<str>>) -> Act {
    Act {
        kind,
        which: Which::Ids(Vec::new()),
        targets: Arc::default(),
        who,
        reason,
        description: about,
        goes_on: None,
    }
}

/// Selects the deliveries of a request. A request that selects nothing is refused: it would change all deliveries.
async fn select(
    access: &StoreAccess,
    names: &Names,
    kind: ActKind,
    ids: Option<Vec<String>>,
    filter: Option<Filter>,
) -> Result<Selection, Denied> {
    match (ids, filter) {
        (Some(ids), None) if ids.len() > MAX_IDS => Err(bad_request(
            &format!("there are more than {MAX_IDS} `ids`"),
            "send them in several requests",
        )),
        (Some(ids), None) => {
            let parse = |id: &String| {
                parse_id(id).ok_or_else(|| {
                    bad_request(
                        &format!("{} is not an ID of the gateway", quoted(id)),
                        "write the `id` of a list",
                    )
                })
            };
            let ids = ids.iter().map(parse).collect::<Result<_, _>>()?;
            Ok(Selection::Ids(ids))
        }
        (None, Some(mut filter)) => {
            refuse_empty(&filter)?;
            if kind == ActKind::Cancel && filter.state.is_empty() {
                filter.state = vec![
                    DeliveryState::Pending,
                    DeliveryState::Retrying,
                    DeliveryState::Parked,
                ];
            }
            select_found(access, names, &filter).await
        }
        (Some(_), Some(_)) | (None, None) => Err(bad_request(
            "exactly one of `ids` and `filter` must be given",
            "write, for example, `{\"filter\": {\"route\": \"NAME\"}}`",
        )),
    }
}

/// Acts in small steps, for at most [`MAX_DURATION`].
async fn act_in_steps(
    access: &StoreAccess,
    mut act: Act,
    selection: Selection,
) -> Result<Acted, Denied> {
    let end = access.now().mono + MAX_DURATION;
    let mut acted = Acted::default();
    let (mut ids, mut after) = match &selection {
        Selection::Ids(ids) => (ids.clone(), None),
        Selection::Found(_) => (Vec::new(), None),
    };
    loop {
        let scope = match &selection {
            Selection::Ids(_) => {
                let rest = ids.split_off(ids.len().min(usize::from(DELIVERIES_PER_STEP)));
                act.which = Which::Ids(std::mem::replace(&mut ids, rest));
                Scope::All
            }
            Selection::Found(search) => {
                act.targets = Arc::clone(&search.filter.targets);
                act.which = Which::Found(search.filter.clone(), after);
                search.scope.clone()
            }
        };
        let step = access
            .store
            .act(scope, &act, DELIVERIES_PER_STEP)
            .await
            .map_err(|error| unavailable(&error))?;
        acted.done += step.done;
        act.goes_on = step.audit.or(act.goes_on);
        after = step.next;
        acted.more = match &selection {
            Selection::Ids(_) => !ids.is_empty(),
            Selection::Found(_) => step.more,
        };
        if !acted.more || access.now().mono >= end {
            return Ok(acted);
        }
    }
}

//! Acting: one delivery is replayed; many are cancelled or purged; an ID is forgotten.
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::desk::{DeliveryName, Desk, Keyed, Names, bad, shortened, unavailable};
use super::filter::{Sought, sought};
use super::plan::{self, plan};
use super::read::{desk, find, id_of, parse, same_sender};
use crate::admin::Source;
use crate::admin::answer::Denied;
use crate::admin::deliveries::replay::duplicate::find_duplicate;
use crate::admin::token::Actor;
use crate::api::actions::{ActAnswer, ActMany, Acted, Forget, Forgotten};
use crate::api::deliveries::{DeliveryState, Filter, ReplayOne, Replayed};
use crate::queue::stored;
use crate::request::Params;
use crate::store::Key;
use crate::store::archive::{self, Act, Deed, Forgetting, Scope, Statuses, Which};
use crate::store::queue::{Cause, DeliveryRef};

/// Deliveries that one step of an act changes.
const STEP: u16 = 100;
/// How long one call acts at most: who asked is told that there is more.
const LONGEST: Duration = Duration::from_secs(20);
/// IDs of one call.
const MOST_IDS: usize = 1000;
/// Bytes of a request to forget an ID, which may have a body of a delivery in base64.
pub(super) const MOST_FORGOTTEN: usize = 48 << 20;
/// Bytes of a reason.
const LONGEST_REASON: usize = 1024;

/// What a body says; nothing at all says nothing.
pub(super) fn told<T: DeserializeOwned>(body: &[u8]) -> Result<T, Denied> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    // the parser would take a list for the fields in their order
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(bad(
            "the body is no JSON object",
            "`GET /-/openapi.json` says what can be told",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        bad(
            &error.to_string(),
            "`GET /-/openapi.json` says what can be told",
        )
    })
}

/// The body of a request, bounded by its layer.
pub(super) type Told = Result<Bytes, axum::extract::rejection::BytesRejection>;

pub(super) fn whole(body: Told) -> Result<Bytes, Denied> {
    body.map_err(|error| Denied::new(error.status(), &error.body_text(), "send 64 KiB at most"))
}

/// A reason as it is kept.
pub(super) fn reason(text: &str) -> Result<Arc<str>, Denied> {
    if text.len() > LONGEST_REASON {
        return Err(bad(
            &format!("`reason` is longer than {LONGEST_REASON} bytes"),
            "say it shorter",
        ));
    }
    Ok(text.into())
}

pub(super) async fn replay_one(
    Actor(who): Actor,
    State(source): State<Arc<dyn Source>>,
    path: Result<Path<String>, PathRejection>,
    body: Told,
) -> Result<Json<Replayed>, Denied> {
    let ReplayOne {
        reason: why,
        include_delivered,
        bypass_dedupe,
    } = told(&whole(body)?)?;
    let (why, desk) = (reason(&why)?, desk(&source)?);
    let (shown, _) = find(&*desk, &id_of(path)?).await?;
    let id = shown.stored.id;
    let row = desk
        .store()
        .rows(Scope::All, &[id])
        .await
        .map_err(|error| unavailable(&error))?
        .pop();
    if !bypass_dedupe && let Some(row) = &row {
        let names = Names::of(&*desk).await?;
        if let Some(other) = find_duplicate(&*desk, &names, row)
            .await
            .map_err(|error| unavailable(&error))?
        {
            let help = "the app would see it twice: say `bypass_dedupe` if it shall";
            return Err(Denied::new(
                StatusCode::CONFLICT,
                &format!("{other} has the same ID"),
                help,
            ));
        }
    }
    let act = Act {
        deed: Deed::Replay {
            delivered: include_delivered,
            cause: Cause::Replay,
        },
        which: Which::Ids(vec![id]),
        targets: Arc::default(),
        who,
        reason: why,
        said: None,
        goes_on: None,
    };
    let step = desk
        .store()
        .act(Scope::All, &act, 1)
        .await
        .map_err(|error| unavailable(&error))?;
    if step.done == 0 {
        let help = "it was delivered (say `include_delivered` to send it again), is being attempted now, or waits behind others";
        return Err(Denied::new(
            StatusCode::CONFLICT,
            "there is nothing to replay",
            help,
        ));
    }
    tracing::info!(delivery = %id, who = &*act.who, "replayed");
    Ok(Json(Replayed {
        id: id.to_string(),
        done: step.done,
    }))
}

pub(super) async fn cancel(
    actor: Actor,
    State(source): State<Arc<dyn Source>>,
    body: Told,
) -> Result<Json<ActAnswer>, Denied> {
    many(actor, &source, Deed::Cancel, told(&whole(body)?)?).await
}

pub(super) async fn purge(
    actor: Actor,
    State(source): State<Arc<dyn Source>>,
    body: Told,
) -> Result<Json<ActAnswer>, Denied> {
    let asked: ActMany = told(&whole(body)?)?;
    many(
        actor,
        &source,
        Deed::Purge {
            waiting: asked.include_waiting,
        },
        asked,
    )
    .await
}

/// Cancels or purges.
async fn many(
    Actor(who): Actor,
    source: &Arc<dyn Source>,
    deed: Deed,
    asked: ActMany,
) -> Result<Json<ActAnswer>, Denied> {
    let ActMany {
        ids,
        filter,
        reason: why,
        dry_run,
        include_waiting: _,
    } = asked;
    let (why, desk) = (reason(&why)?, desk(source)?);
    let said = match (&ids, &filter) {
        (Some(ids), _) => Some(ids.join(" ").into()),
        (None, filter) => serde_json::to_string(filter).ok().map(Arc::from),
    };
    let names = Names::of(&*desk).await?;
    let which = which(&*desk, &names, deed, ids, filter)?;
    if dry_run {
        let spares = matches!(deed, Deed::Purge { waiting: false });
        let plan = plan(&*desk, &names, &which, archive::Order::Oldest, |row| {
            !(spares && plan::waits(row))
        })
        .await?;
        return Ok(Json(ActAnswer::Plan(Box::new(plan))));
    }
    let act = Act {
        deed,
        which: Which::Ids(Vec::new()),
        targets: Arc::default(),
        who,
        reason: why,
        said,
        goes_on: None,
    };
    let acted = steps(&*desk, act, which).await?;
    tracing::info!(
        done = acted.done,
        more = acted.more,
        "cancelled or purged, see the audit"
    );
    Ok(Json(ActAnswer::Acted(acted)))
}

/// Makes everything due that waits for a later time, but for what is parked.
pub(in crate::admin) async fn attempt_now(
    source: &Arc<dyn Source>,
    Actor(who): Actor,
) -> Result<(), Denied> {
    let desk = desk(source)?;
    let names = Names::of(&*desk).await?;
    let filter = Filter {
        state: vec![DeliveryState::Pending, DeliveryState::Retrying],
        ..Filter::default()
    };
    let wanted = Wanted::Found(Box::new(bounded(
        &*desk,
        sought(&filter, &names, desk.now().wall)?,
    )));
    let said = Some("all that waits".into());
    let act = Act {
        deed: Deed::AttemptNow,
        which: Which::Ids(Vec::new()),
        targets: Arc::default(),
        who,
        reason: "drain".into(),
        said,
        goes_on: None,
    };
    let acted = steps(&*desk, act, wanted).await?;
    tracing::info!(
        done = acted.done,
        more = acted.more,
        "what waited for a later time is due now"
    );
    Ok(())
}

/// What an act is about. What does not say which is refused: it would be all.
fn which(
    desk: &dyn Desk,
    names: &Names,
    deed: Deed,
    ids: Option<Vec<String>>,
    filter: Option<Filter>,
) -> Result<Wanted, Denied> {
    match (ids, filter) {
        (Some(ids), None) if ids.len() > MOST_IDS => Err(bad(
            &format!("there are more than {MOST_IDS} `ids`"),
            "say them in several calls",
        )),
        (Some(ids), None) => {
            let one = |id: &String| {
                parse(id).ok_or_else(|| {
                    bad(
                        &format!("{} is no ID of the gate's", shortened(id)),
                        "give the `id` of a list",
                    )
                })
            };
            Ok(Wanted::Ids(ids.iter().map(one).collect::<Result<_, _>>()?))
        }
        (None, Some(mut filter)) => {
            said(&filter)?;
            if deed == Deed::Cancel && filter.state.is_empty() {
                filter.state = vec![
                    DeliveryState::Pending,
                    DeliveryState::Retrying,
                    DeliveryState::Parked,
                ];
            }
            Ok(Wanted::Found(Box::new(bounded(
                desk,
                sought(&filter, names, desk.now().wall)?,
            ))))
        }
        (Some(_), Some(_)) | (None, None) => Err(bad(
            "say either `ids` or `filter`",
            "`{\"filter\": {\"route\": \"NAME\"}}`, for example",
        )),
    }
}

/// A filter that says nothing would be all there is.
pub(super) fn said(filter: &Filter) -> Result<(), Denied> {
    if *filter == Filter::default() {
        return Err(bad(
            "`filter` says nothing: it would be all there is",
            "say `\"since\": \"2000-01-01T00:00:00Z\"` if it shall be all",
        ));
    }
    Ok(())
}

/// What comes in while an act goes on is not meant.
pub(super) fn bounded(desk: &dyn Desk, mut sought: Sought) -> Sought {
    // one of this millisecond is
    let now = desk.now().wall + Duration::from_millis(1);
    sought.filter.until = Some(sought.filter.until.map_or(now, |until| until.min(now)));
    sought
}

/// Which deliveries an act is about.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// These.
    Ids(Vec<DeliveryRef>),
    /// Those found.
    Found(Box<Sought>),
}

/// Acts in small steps, for as long as one call may.
async fn steps(desk: &dyn Desk, mut act: Act, wanted: Wanted) -> Result<Acted, Denied> {
    let ends = desk.now().mono + LONGEST;
    let mut acted = Acted::default();
    let (mut ids, mut after) = match &wanted {
        Wanted::Ids(ids) => (ids.clone(), None),
        Wanted::Found(_) => (Vec::new(), None),
    };
    loop {
        let scope = match &wanted {
            Wanted::Ids(_) => {
                let rest = ids.split_off(ids.len().min(usize::from(STEP)));
                act.which = Which::Ids(std::mem::replace(&mut ids, rest));
                Scope::All
            }
            Wanted::Found(sought) => {
                act.targets = Arc::clone(&sought.filter.targets);
                act.which = Which::Found(sought.filter.clone(), after);
                sought.scope.clone()
            }
        };
        let step = desk
            .store()
            .act(scope, &act, STEP)
            .await
            .map_err(|error| unavailable(&error))?;
        acted.done += step.done;
        act.goes_on = step.audit.or(act.goes_on);
        after = step.next;
        acted.more = match &wanted {
            Wanted::Ids(_) => !ids.is_empty(),
            Wanted::Found(_) => step.more,
        };
        if !acted.more || desk.now().mono >= ends {
            return Ok(acted);
        }
    }
}

pub(super) async fn forget(
    Actor(who): Actor,
    State(source): State<Arc<dyn Source>>,
    body: Told,
) -> Result<Json<Forgotten>, Denied> {
    let asked: Forget = told(&whole(body)?)?;
    let (why, desk) = (reason(&asked.reason)?, desk(&source)?);
    let mut keys = keys_of(&*desk, &asked).await?;
    keys.sort_unstable_by_key(|key| key.0);
    keys.dedup();
    let account = asked
        .account
        .as_deref()
        .map(|account| format!(" account {}", shortened(account)));
    let which = format!(
        "route {}{} id {}",
        asked.route,
        account.unwrap_or_default(),
        shortened(&asked.id)
    );
    let forgetting = Forgetting {
        keys,
        who,
        which: which.into(),
        reason: why,
    };
    let forgotten = desk
        .store()
        .forget(forgetting)
        .await
        .map_err(|error| unavailable(&error))?;
    tracing::info!(
        route = asked.route,
        forgotten,
        "an ID was forgotten, see the audit"
    );
    Ok(Json(Forgotten {
        forgotten: forgotten > 0,
    }))
}

/// Returns the ledger keys of an ID: those of stored deliveries, which know theirs whatever it was made of, and the one that the ID gives.
async fn keys_of(desk: &dyn Desk, asked: &Forget) -> Result<Vec<Key>, Denied> {
    let Forget {
        route,
        id,
        params,
        account,
        body_base64,
        reason: _,
    } = asked;
    let wrong = |_| {
        bad(
            "`body_base64` is no base64",
            "encode the body exactly as it came",
        )
    };
    let body = body_base64
        .as_ref()
        .map(|text| STANDARD.decode(text))
        .transpose()
        .map_err(wrong)?;
    let params = Params(
        params
            .iter()
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect(),
    );
    let names = Names::of(desk).await?;
    let filter = Filter {
        route: Some(route.clone()),
        id: Some(id.clone()),
        ..Filter::default()
    };
    let Sought { scope, filter } = sought(&filter, &names, desk.now().wall)?;
    let told = |error| unavailable(&error);
    let mut found = desk
        .store()
        .page(scope.clone(), &filter, archive::Order::Newest, None, STEP)
        .await
        .map_err(told)?
        .rows;
    if let Some(own) = parse(id) {
        found.extend(desk.store().rows(scope, &[own]).await.map_err(told)?);
    }
    let is_named = |row: &&archive::Row| {
        let of = stored::parameters(&row.record);
        account
            .as_deref()
            .is_none_or(|account| stored::fact(&row.record, stored::ACCOUNT) == Some(account))
            && params
                .0
                .iter()
                .all(|(name, value)| of.get(name) == Some(value))
    };
    let rows: Vec<_> = found.iter().filter(is_named).collect();
    if rows
        .first()
        .is_some_and(|first| rows.iter().any(|row| !same_sender(&names, row, first)))
    {
        return Err(bad(
            "several accounts have a delivery of that ID",
            "say `account`, or the `params` it came with",
        ));
    }
    let mut keys: Vec<_> = rows.iter().filter_map(|row| row.key).collect();
    match desk.keyed(
        route,
        DeliveryName {
            id,
            params: &params,
            account: account.as_deref(),
            secret: None,
            body: body.as_deref(),
        },
    ) {
        Keyed::By(all) => keys.extend(all),
        _ if !keys.is_empty() => {}
        Keyed::ByBody => {
            let help = "its key is made of the body too: give the body as well with `body_base64`; where it is made of the signed time, only a \
                stored delivery can be forgotten";
            return Err(Denied::new(
                StatusCode::CONFLICT,
                "no stored delivery of this route has that ID",
                help,
            ));
        }
        Keyed::Needs { params, account } => {
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
            let help = "the account and the path parameters are part of what is remembered";
            return Err(bad(
                &format!("the ID alone does not name the delivery: say {missing}"),
                help,
            ));
        }
        Keyed::Not => {
            return Err(Denied::new(
                StatusCode::CONFLICT,
                "the route remembers no IDs",
                "it has no `dedupe`",
            ));
        }
        Keyed::NoRoute => {
            return Err(Denied::new(
                StatusCode::NOT_FOUND,
                "the route is gone, and nothing stored has that ID",
                "`GET /-/status` lists the routes",
            ));
        }
    }
    Ok(keys)
}

/// Statuses that a replay is about if it does not say.
pub(super) fn replayable(statuses: &mut Vec<DeliveryState>, delivered: bool) {
    if statuses.is_empty() {
        statuses.extend([DeliveryState::Dead, DeliveryState::Cancelled]);
        statuses.extend(delivered.then_some(DeliveryState::Delivered));
    }
}

/// Whether units with that status wait.
pub(super) fn is_waiting(status: archive::Status) -> bool {
    Statuses::waiting().contains(status)
}

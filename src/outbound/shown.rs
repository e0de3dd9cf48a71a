//! Tenants and endpoints as JSON.
use schemars::JsonSchema;
use serde::Serialize;

use super::state::Api;
use crate::clock::rfc3339;
use crate::deliver::{Rules, open_headers, streak_message};
use crate::event::Pattern;
use crate::event::catalogue::Catalogue;
use crate::store::address_book::{Endpoint, EndpointState, Tenant};
use crate::store::archive::{Filter, Order, Scope, Status, Statuses, UnitsShown, WaitingCount};
use crate::tenant::event_id::event_id;
use crate::tenant::health::Notified;
use crate::tenant::job::{EndpointJob, StopReason};
use crate::tenant::settings::{EndpointSettings, TenantSettings};
use crate::web::problem::Problem;

/// The most waiting events of an endpoint that are counted.
const MAX_COUNTED: u32 = 100_000;
/// The most waiting events of each endpoint that are counted in a list.
const MAX_COUNTED_IN_LIST: u32 = 1_000;
/// The most dead events of an endpoint that are counted: each is a row to read.
const MAX_DEAD: u16 = 100;
/// The most pages that are read to count them. Each looks at a limited number of rows.
const MAX_DEAD_PAGES: usize = 8;

/// A page of tenants.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tenants {
    pub(super) tenants: Vec<ShownTenant>,
    /// The value of `after` for the next page; none at the end.
    pub(super) next: Option<String>,
}

/// A tenant.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ShownTenant {
    /// Your name of it.
    uid: String,
    /// The time at which it was made.
    created_at: String,
    #[serde(flatten)]
    settings: TenantSettings,
}

impl ShownTenant {
    pub(super) fn of(row: &Tenant) -> Self {
        Self {
            uid: row.uid.to_string(),
            created_at: rfc3339(row.created),
            settings: TenantSettings::from_json(&row.settings).unwrap_or_default(),
        }
    }
}

/// A page of endpoints.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Endpoints {
    pub(super) endpoints: Vec<ShownEndpoint>,
    /// The value of `after` for the next page; none at the end.
    pub(super) next: Option<String>,
}

/// An endpoint that was just made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeEndpoint {
    #[serde(flatten)]
    pub(super) endpoint: ShownEndpoint,
    /// The secret, unless the request gave it. It is shown in this response alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

/// An endpoint.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ShownEndpoint {
    /// Its ID.
    id: String,
    /// Your name of it.
    uid: Option<String>,
    /// The URL.
    url: String,
    #[serde(flatten)]
    settings: EndpointSettings,
    /// The names of its own headers. Their values are never shown.
    headers: Vec<String>,
    /// `active`, `paused`, `resuming` or `removing`.
    state: &'static str,
    /// The pause, if it is paused.
    paused: Option<Paused>,
    /// Its failures since its last success, if there are any.
    health: Option<Health>,
    /// The events whose attempts are exhausted, counted up to 100; none in a list, for a new endpoint, and where counting takes too long. A
    /// recovery sends them again.
    dead: Option<u64>,
    /// The patterns of `types` that match no type of the catalogue; none in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    unknown_types: Vec<String>,
    /// Its last job, if it had one.
    job: Option<Job>,
}

/// The pause of an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct Paused {
    /// `by_hand`, `failing` or `gone`.
    why: &'static str,
    /// The time of the pause.
    since: String,
    /// The events that wait for the endpoint. They are counted up to 100000, and in a list up to 1000.
    waiting: u64,
}

/// The failures of an endpoint since its last success.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    /// The time of the first failure.
    failing_since: String,
    /// The number of failed attempts.
    failures: u32,
    /// The status of the last one, if there was one.
    status: Option<u16>,
    /// The error of the last one, if there was no status.
    error: Option<String>,
    /// The failures in words that a customer understands, without a full stop.
    message: String,
    /// The event that failed first.
    first: String,
}

impl Health {
    /// Describes the failures of an endpoint; `None` if it has none.
    fn of(row: &Endpoint, rules: &Rules, waiting: u64) -> Option<Self> {
        let streak = row
            .health
            .filter(|streak| streak.notified != Notified::Over)?;
        Some(Self {
            failing_since: rfc3339(streak.since),
            failures: streak.failures,
            status: streak.cause.status(),
            error: streak.cause.code().map(str::to_owned),
            message: streak_message(row, &streak, rules, waiting),
            first: event_id(streak.first),
        })
    }
}

/// The last job of an endpoint.
#[derive(Debug, Serialize, JsonSchema)]
struct Job {
    /// `resume`, `recover` or `remove`.
    kind: &'static str,
    /// `running`, `done` or `stopped`.
    state: &'static str,
    /// The reason why it stopped before its end: `person`, `failures`, `unavailable` or `paused`.
    stop_reason: Option<&'static str>,
    /// The name of the token with which it was started.
    by: String,
    /// The reason that was given.
    reason: Option<String>,
    /// The time at which it was started.
    started_at: String,
    /// The time at which it ended or stopped.
    ended_at: Option<String>,
    /// The events that it is about, if they were counted.
    planned: Option<u64>,
    /// The events that are done: of a recovery those whose attempts were begun.
    done: u64,
}

impl Job {
    /// Describes the last job of an endpoint; `None` if it had none, or one of another version of the gateway.
    fn of(row: &Endpoint) -> Option<Self> {
        let job = EndpointJob::from_json(row.job.as_deref()?).ok()?;
        let state = match (row.cursor.is_some(), job.stopped) {
            (true, _) => "running",
            (false, None) => "done",
            (false, Some(_)) => "stopped",
        };
        Some(Self {
            kind: job.work.kind(),
            state,
            stop_reason: job.stopped.map(StopReason::word),
            by: job.actor,
            reason: job.reason.filter(|reason| !reason.is_empty()),
            started_at: rfc3339(job.started),
            ended_at: job.ended.map(rfc3339),
            planned: job.planned,
            done: job.done,
        })
    }
}

/// Shows an endpoint.
///
/// # Errors
/// The store does not answer.
pub(super) async fn shown(
    api: &Api,
    row: &Endpoint,
    rules: &Rules,
) -> Result<ShownEndpoint, Problem> {
    let waiting = count_waiting(api, row, MAX_COUNTED).await?;
    Ok(ShownEndpoint {
        dead: count_dead(api, row).await,
        ..ShownEndpoint::with_types(row, rules, waiting)
    })
}

/// Shows the endpoints of a list.
///
/// # Errors
/// The store does not answer.
pub(super) async fn all_shown(
    api: &Api,
    rows: &[Endpoint],
    rules: &Rules,
) -> Result<Vec<ShownEndpoint>, Problem> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let waiting = count_waiting(api, row, MAX_COUNTED_IN_LIST).await?;
        all.push(ShownEndpoint::of(row, rules, waiting));
    }
    Ok(all)
}

/// Counts the events whose attempts at an endpoint are exhausted. `None` if there are too many cancelled ones between them, or the store cannot be
/// read: the endpoint is shown nevertheless.
async fn count_dead(api: &Api, row: &Endpoint) -> Option<u64> {
    let filter = Filter {
        targets: [row.target].into(),
        statuses: Statuses::of(&[Status::Dead]),
        ..Filter::default()
    };
    let (mut count, mut after) = (0, None);
    for _ in 0..MAX_DEAD_PAGES {
        let (scope, units) = (Scope::of(row.tenant), UnitsShown::Of(row.target));
        let page = api
            .store()
            .page(scope, &filter, Order::Newest, after, MAX_DEAD, units);
        let page = api.ask(page).await.ok()?;
        count += page.rows.len();
        after = page.next;
        if count >= usize::from(MAX_DEAD) || after.is_none() {
            return u64::try_from(count)
                .ok()
                .map(|count| count.min(MAX_DEAD.into()));
        }
    }
    None
}

/// Returns the patterns that match no type of the catalogue, as they are written. Without a catalogue there are none.
fn unknown_types(types: &[Pattern], catalogue: Option<&Catalogue>) -> Vec<String> {
    let Some(catalogue) = catalogue else {
        return Vec::new();
    };
    let is_known = |pattern: &&Pattern| catalogue.types().any(|(known, _)| pattern.matches(known));
    let unknown = types.iter().filter(|pattern| !is_known(pattern));
    unknown.map(ToString::to_string).collect()
}

/// Counts the events that wait for an endpoint. Returns 0 for an endpoint that gets its events.
async fn count_waiting(api: &Api, row: &Endpoint, most: u32) -> Result<u64, Problem> {
    if row.state == EndpointState::Active && row.health.is_none() {
        return Ok(0);
    }
    let counted = api.store().count_waiting(WaitingCount {
        target: row.target,
        since: None,
        until: None,
        only_new: false,
        most,
    });
    Ok(api.ask(counted).await?.min(u64::from(most)))
}

impl ShownEndpoint {
    fn of(row: &Endpoint, rules: &Rules, waiting: u64) -> Self {
        let headers = open_headers(row, &rules.keys).unwrap_or_default();
        Self {
            id: row.id.to_string(),
            uid: row.uid.as_deref().map(str::to_owned),
            url: row.url.to_string(),
            settings: EndpointSettings::from_json(&row.settings).unwrap_or_default(),
            headers: headers.names().map(str::to_owned).collect(),
            state: row.state.word(),
            paused: row.state.pause_reason().map(|why| Paused {
                why,
                since: rfc3339(row.since),
                waiting,
            }),
            health: Health::of(row, rules, waiting),
            dead: None,
            unknown_types: Vec::new(),
            job: Job::of(row),
        }
    }

    /// Shows an endpoint, and which of its patterns match nothing.
    pub(super) fn with_types(row: &Endpoint, rules: &Rules, waiting: u64) -> Self {
        let shown = Self::of(row, rules, waiting);
        let events = rules.outbound.events.as_ref();
        Self {
            unknown_types: unknown_types(
                &shown.settings.types,
                events.map(|events| &*events.catalogue),
            ),
            ..shown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::catalogue::Files;

    #[test]
    fn patterns_that_match_no_type_are_named() {
        let patterns = ["*", "invoice.*", "invoice.paid", "invoce.*", "invoice"];
        let patterns = patterns.map(|text| Pattern::new(text).unwrap());
        assert!(unknown_types(&patterns, None).is_empty());
        let path = "invoice.paid/1.schema.json".to_owned();
        let files = Files::from([(path, br#"{"type": "object"}"#.to_vec())]);
        let (catalogue, _) = Catalogue::compile(&files);
        assert_eq!(
            unknown_types(&patterns, Some(&catalogue)),
            ["invoce.*", "invoice"]
        );
    }
}

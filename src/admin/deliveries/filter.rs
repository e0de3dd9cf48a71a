//! Converts a filter of the API into a search of the store, and says which deliveries an action is about.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::errors::{bad_request, no_route, no_such, unavailable};
use crate::admin::answer::Denied;
use crate::api::deliveries::{DeliveryState, Filter};
use crate::replay::{Names, Search, Selection, StoreAccess, is_waiting};
use crate::store::address_book::EndpointName;
use crate::store::archive::{self, Row, Scope, Status, Statuses};
use crate::store::queue::{OriginId, TargetId};
use crate::store::text::storable;
use crate::units;
use crate::web::problem::quoted;

/// The maximum length of a text of a filter in bytes.
const MAX_TEXT: usize = 1024;

/// The part of a search that a tenant and its endpoint name.
struct OfTenant {
    tenant: OriginId,
    endpoint: Option<TargetId>,
}

/// Looks up the tenant and the endpoint of a filter.
async fn of_tenant(access: &StoreAccess, filter: &Filter) -> Result<Option<OfTenant>, Denied> {
    let (uid, name) = match (&filter.tenant, &filter.endpoint) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(bad_request(
                "`endpoint` needs a `tenant`",
                "add the tenant that has the endpoint",
            ));
        }
        (Some(_), _) if filter.route.is_some() => {
            return Err(bad_request(
                "`route` and `tenant` exclude each other",
                "leave one of them out",
            ));
        }
        (Some(uid), name) => (uid, name),
    };
    let failed = |error| unavailable(&error);
    let tenant = access.store.tenant(uid).await.map_err(failed)?;
    let tenant = tenant.ok_or_else(|| no_such("tenant", uid))?.origin;
    let Some(name) = name else {
        return Ok(Some(OfTenant {
            tenant,
            endpoint: None,
        }));
    };
    let named = if name.starts_with("ep_") {
        EndpointName::Id(name.as_str().into())
    } else {
        EndpointName::Uid(name.as_str().into())
    };
    let found = access.store.endpoint(tenant, named).await.map_err(failed)?;
    let endpoint = found.ok_or_else(|| no_such("endpoint", name))?.target;
    Ok(Some(OfTenant {
        tenant,
        endpoint: Some(endpoint),
    }))
}

/// Converts a filter into a search. Ages are relative to `now`.
pub(super) async fn search_of(
    access: &StoreAccess,
    filter: &Filter,
    names: &Names,
    now: SystemTime,
) -> Result<Search, Denied> {
    let of_tenant = of_tenant(access, filter).await?;
    let Filter {
        route,
        tenant: _,
        endpoint: _,
        state,
        since,
        until,
        id,
        event_type,
        text,
    } = filter;
    let numbers = match route {
        None => Vec::new(),
        Some(route) => Some(names.numbers(route))
            .filter(|numbers| !numbers.is_empty())
            .ok_or_else(|| no_route(route))?,
    };
    let statuses: Vec<Status> = state.iter().filter_map(|state| status_of(*state)).collect();
    let filter = archive::Filter {
        // without a state, a delivery is found by its origin, even if it is at no target any more
        targets: numbers
            .iter()
            .filter(|_| !state.is_empty())
            .map(|number| TargetId(*number))
            .chain(of_tenant.iter().filter_map(|of| of.endpoint))
            .collect(),
        statuses: Statuses::of(&statuses),
        gone: Arc::clone(&names.gone),
        parked: state.contains(&DeliveryState::Parked),
        since: given("since", since.as_deref(), |name, text| {
            time(name, text, now)
        })?,
        until: given("until", until.as_deref(), |name, text| {
            time(name, text, now)
        })?,
        delivery_id: given("id", id.as_deref(), check_length)?.map(|id| storable(id).into()),
        event_type: given("type", event_type.as_deref(), check_length)?
            .map(|event_type| storable(event_type).into()),
        key: None,
        text: given("text", text.as_deref(), check_length)?.map(|text| text.as_bytes().into()),
    };
    let scope = match (numbers.as_slice(), of_tenant) {
        (_, Some(of)) => Scope::of(of.tenant),
        ([], None) => Scope::All,
        (numbers, None) => Scope::Origins(numbers.iter().map(|number| OriginId(*number)).collect()),
    };
    Ok(Search { scope, filter })
}

/// Selects the deliveries that a filter finds and that are stored now. Deliveries that arrive while an action goes on are not selected.
pub(super) async fn select_found(
    access: &StoreAccess,
    names: &Names,
    filter: &Filter,
) -> Result<Selection, Denied> {
    if filter.endpoint.is_some() {
        return Err(bad_request(
            "only a list can be about one endpoint: an action is about whole events",
            "leave `endpoint` out, or use the calls of the endpoint in `/v1/tenants/…`",
        ));
    }
    let now = access.now().wall;
    let mut search = search_of(access, filter, names, now).await?;
    // a delivery of this millisecond is stored
    let end = now + Duration::from_millis(1);
    search.filter.until = Some(search.filter.until.map_or(end, |until| until.min(end)));
    Ok(Selection::Found(Box::new(search)))
}

/// Parses the value of a field, if there is one.
fn given<'t, T>(
    name: &str,
    text: Option<&'t str>,
    parse: impl FnOnce(&str, &'t str) -> Result<T, Denied>,
) -> Result<Option<T>, Denied> {
    text.map(|text| parse(name, text)).transpose()
}

/// Refuses an empty filter, which would select all deliveries.
pub(super) fn refuse_empty(filter: &Filter) -> Result<(), Denied> {
    if *filter == Filter::default() {
        return Err(bad_request(
            "`filter` is empty: it would select all deliveries",
            "write `\"since\": \"2000-01-01T00:00:00Z\"` to select all of them",
        ));
    }
    Ok(())
}

/// Adds the states that a replay selects by default.
pub(super) fn default_replayable(states: &mut Vec<DeliveryState>, include_delivered: bool) {
    if states.is_empty() {
        states.extend([DeliveryState::Dead, DeliveryState::Cancelled]);
        states.extend(include_delivered.then_some(DeliveryState::Delivered));
    }
}

/// Returns whether a delivery waits at any of its targets.
pub(super) fn waits(row: &Row) -> bool {
    row.units.iter().any(|unit| is_waiting(unit.status))
}

/// Checks the length of a text to search for.
fn check_length<'t>(name: &str, text: &'t str) -> Result<&'t str, Denied> {
    match text.len() {
        0 => Err(bad_request(
            &format!("`{name}` is empty"),
            "leave it out to match all deliveries",
        )),
        1..=MAX_TEXT => Ok(text),
        _ => Err(bad_request(
            &format!("`{name}` is longer than {MAX_TEXT} bytes"),
            "write a part of it",
        )),
    }
}

/// Parses a time, or an age relative to `now`.
fn time(name: &str, text: &str, now: SystemTime) -> Result<SystemTime, Denied> {
    let wrong = || {
        bad_request(
            &format!("`{name}` is not a time: {}", quoted(text)),
            "write a time such as 2026-01-31T12:00:00Z, or an age such as 90s, 22h or 3d",
        )
    };
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
        return Ok(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    }
    let age = units::duration(text).map_err(|_| wrong())?;
    Ok(now
        .checked_sub(age)
        .filter(|at| *at > SystemTime::UNIX_EPOCH)
        .unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Parses the states of a query parameter, separated by commas.
pub(super) fn parse_states(text: &str) -> Result<Vec<DeliveryState>, Denied> {
    let state = |word: &str| {
        let found = DeliveryState::ALL
            .into_iter()
            .find(|state| state.word() == word.trim());
        found.ok_or_else(|| {
            bad_request(
                &format!("`state` does not know {}", quoted(word)),
                "write one or more of pending, retrying, dead, cancelled, delivered and parked, separated by commas",
            )
        })
    };
    text.split(',').map(state).collect()
}

/// Returns the store's status of a state. The store does not know which routes are gone from the config.
fn status_of(state: DeliveryState) -> Option<Status> {
    match state {
        DeliveryState::Pending => Some(Status::Pending),
        DeliveryState::Retrying => Some(Status::Retrying),
        DeliveryState::Dead => Some(Status::Dead),
        DeliveryState::Cancelled => Some(Status::Cancelled),
        DeliveryState::Delivered => Some(Status::Delivered),
        DeliveryState::Parked => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_an_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let ago = |seconds| now - Duration::from_secs(seconds);
        for (text, is) in [
            ("22h", ago(79_200)),
            ("90s", ago(90)),
            ("2027-01-15T08:00:00Z", now),
            ("2027-01-15T09:00:00+01:00", now),
        ] {
            assert_eq!(time("since", text, now).unwrap(), is, "{text}");
        }
        assert_eq!(
            time("since", "99999d", now).unwrap(),
            SystemTime::UNIX_EPOCH
        );
        for text in [
            "",
            "yesterday",
            "-1h",
            "12",
            "2027-01-15",
            "2027-01-15T08:00:00",
            "\0",
        ] {
            assert_eq!(time("since", text, now).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn states_are_separated_by_commas() {
        assert_eq!(
            parse_states("dead, parked").unwrap(),
            [DeliveryState::Dead, DeliveryState::Parked]
        );
        for text in ["", "dead,", "Dead", "gone"] {
            assert_eq!(parse_states(text).unwrap_err().status, 400, "{text}");
        }
    }
}

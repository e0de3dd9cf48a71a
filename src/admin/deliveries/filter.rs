//! What a filter of the API means to the store.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;

use super::desk::{Names, bad, shortened};
use crate::admin::answer::Denied;
use crate::api::deliveries::{DeliveryState, Filter};
use crate::store::archive::{self, Scope, Status, Statuses};
use crate::store::queue::{OriginId, TargetId};
use crate::units;

/// Bytes of a text that is searched for, at most, and of the other words.
const LONGEST: usize = 1024;

/// What is looked for, and among whose deliveries.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    pub(super) scope: Scope,
    pub(super) filter: archive::Filter,
}

/// Reads a filter. `now` is what ages are told from.
pub(super) fn sought(filter: &Filter, names: &Names, now: SystemTime) -> Result<Sought, Denied> {
    let Filter {
        route,
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
    let given = archive::Filter {
        // one that is on none of its ways any more is found by its origin alone
        targets: numbers
            .iter()
            .filter(|_| !state.is_empty())
            .map(|number| TargetId(*number))
            .collect(),
        statuses: Statuses::of(&statuses),
        gone: Arc::clone(&names.gone),
        parked: state.contains(&DeliveryState::Parked),
        since: since
            .as_deref()
            .map(|text| time("since", text, now))
            .transpose()?,
        until: until
            .as_deref()
            .map(|text| time("until", text, now))
            .transpose()?,
        delivery_id: id
            .as_deref()
            .map(|id| word("id", id))
            .transpose()?
            .map(Arc::from),
        event_type: event_type
            .as_deref()
            .map(|name| word("type", name))
            .transpose()?
            .map(Arc::from),
        key: None,
        text: text
            .as_deref()
            .map(|text| word("text", text))
            .transpose()?
            .map(|text| Arc::from(text.as_bytes())),
    };
    let scope = match numbers.as_slice() {
        [] => Scope::All,
        numbers => Scope::Origins(numbers.iter().map(|number| OriginId(*number)).collect()),
    };
    Ok(Sought {
        scope,
        filter: given,
    })
}

fn no_route(name: &str) -> Denied {
    let help =
        "`GET /-/status` lists the routes; one that is gone from the config has its name still";
    Denied::new(
        StatusCode::NOT_FOUND,
        &format!("there is no route {}", shortened(name)),
        help,
    )
}

fn word<'t>(name: &str, text: &'t str) -> Result<&'t str, Denied> {
    match text.len() {
        0 => Err(bad(
            &format!("`{name}` is empty"),
            "leave it out, and it does not matter",
        )),
        1..=LONGEST => Ok(text),
        _ => Err(bad(
            &format!("`{name}` is longer than {LONGEST} bytes"),
            "a piece of it will do",
        )),
    }
}

/// A time, or an age.
fn time(name: &str, text: &str, now: SystemTime) -> Result<SystemTime, Denied> {
    let wrong = || {
        bad(
            &format!("`{name}` is no time: {}", shortened(text)),
            "write 2026-01-31T12:00:00Z, or an age such as 90s, 22h or 3d",
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

/// The states that are named in one word of a query, with commas between.
pub(super) fn states(text: &str) -> Result<Vec<DeliveryState>, Denied> {
    let state = |word: &str| {
        let found = DeliveryState::ALL
            .into_iter()
            .find(|state| state.word() == word.trim());
        found.ok_or_else(|| {
            bad(
                &format!("`state` has no word {}", shortened(word)),
                "its words are pending, retrying, dead, cancelled, delivered and parked, with commas between",
            )
        })
    };
    text.split(',').map(state).collect()
}

/// The store's word; it knows nothing of routes that are gone.
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
    fn times_and_ages() {
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
    fn words_of_status() {
        assert_eq!(
            states("dead, parked").unwrap(),
            [DeliveryState::Dead, DeliveryState::Parked]
        );
        for text in ["", "dead,", "Dead", "gone"] {
            assert_eq!(states(text).unwrap_err().status, 400, "{text}");
        }
    }
}

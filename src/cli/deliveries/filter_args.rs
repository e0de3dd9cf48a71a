//! The filter of deliveries that list, export, replay, cancel and purge share.
use std::time::SystemTime;

use crate::api::deliveries::{DeliveryState, Filter};
use crate::cli::term;
use crate::clock::rfc3339;
use crate::config::diagnostic::did_you_mean;
use crate::units;

/// A filter of deliveries. All its conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(in crate::cli) struct FilterArgs {
    /// Only deliveries of this route.
    #[arg(long, value_name = "ROUTE")]
    pub(super) route: Option<String>,
    /// Only events that your app published to this tenant.
    #[arg(long, value_name = "TENANT", conflicts_with = "route")]
    pub(super) tenant: Option<String>,
    /// Only events that go to this endpoint of the tenant: its ID, or your app's name. For lists.
    #[arg(long, value_name = "ENDPOINT", requires = "tenant")]
    endpoint: Option<String>,
    /// Only deliveries in one of these states: pending, retrying, dead, cancelled, delivered, parked.
    #[arg(long, value_name = "STATE,…", value_delimiter = ',', value_parser = state)]
    pub(super) state: Vec<DeliveryState>,
    /// Only deliveries accepted at or after this time: an age such as 22h, or a time such as 2026-11-23T09:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = when)]
    since: Option<When>,
    /// Only deliveries accepted before this time: an age, or a time.
    #[arg(long, value_name = "TIME", value_parser = when)]
    until: Option<When>,
    /// Only deliveries with this ID of the provider.
    #[arg(long = "id", value_name = "ID")]
    delivery_id: Option<String>,
    /// Only deliveries of this event type.
    #[arg(long = "type", value_name = "EVENT")]
    event_type: Option<String>,
    /// Only deliveries whose body contains this text.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

/// An age, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum When {
    Ago(std::time::Duration),
    At(SystemTime),
}

/// Parses an age or a time.
///
/// # Errors
/// The text to write.
pub(in crate::cli) fn when(text: &str) -> Result<When, String> {
    if let Ok(ago) = units::duration(text) {
        return Ok(When::Ago(ago));
    }
    term::moment(text).map(When::At).ok_or_else(|| {
        "write an age such as `22h`, or a time such as `2026-11-23T09:00:00Z`".to_owned()
    })
}

fn state(text: &str) -> Result<DeliveryState, String> {
    DeliveryState::ALL
        .into_iter()
        .find(|state| state.word() == text)
        .ok_or_else(|| {
            let all = DeliveryState::ALL.map(DeliveryState::word);
            did_you_mean(text, all.into_iter())
                .unwrap_or_else(|| format!("there are {}", all.join(", ")))
        })
}

impl When {
    /// Returns the time as RFC 3339. An age is counted from `now`.
    pub(in crate::cli) fn text(self, now: SystemTime) -> String {
        rfc3339(match self {
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
            Self::At(at) => at,
        })
    }
}

impl FilterArgs {
    /// Returns a filter for deliveries in these states.
    pub(in crate::cli) fn in_states(states: &[DeliveryState]) -> Self {
        Self {
            state: states.to_vec(),
            ..Self::default()
        }
    }

    /// Returns whether there is no condition.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the filter of the admin API. Ages are counted from `now`, so that a plan and the change are about the same deliveries.
    pub(super) fn to_filter(&self, now: SystemTime) -> Filter {
        Filter {
            route: self.route.clone(),
            tenant: self.tenant.clone(),
            endpoint: self.endpoint.clone(),
            state: self.state.clone(),
            since: self.since.map(|when| when.text(now)),
            until: self.until.map(|when| when.text(now)),
            id: self.delivery_id.clone(),
            event_type: self.event_type.clone(),
            text: self.text.clone(),
        }
    }
}

/// Returns the target of a page of the deliveries that `filter` finds.
pub(super) fn target(filter: &Filter, order: &str, limit: u64, after: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let state: Vec<&str> = filter.state.iter().map(|state| state.word()).collect();
    let state = (!state.is_empty()).then(|| state.join(","));
    let limit = limit.to_string();
    let parts = [
        ("route", filter.route.as_deref()),
        ("tenant", filter.tenant.as_deref()),
        ("endpoint", filter.endpoint.as_deref()),
        ("state", state.as_deref()),
        ("since", filter.since.as_deref()),
        ("until", filter.until.as_deref()),
        ("id", filter.id.as_deref()),
        ("type", filter.event_type.as_deref()),
        ("text", filter.text.as_deref()),
        ("order", Some(order)),
        ("limit", Some(limit.as_str())),
        ("after", after),
    ];
    query.extend_pairs(
        parts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    format!("/-/deliveries?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_flags_become_a_query_and_ages_become_times() {
        let now = term::moment("2026-11-24T13:00:00Z").unwrap();
        let which = FilterArgs {
            route: Some("a b".to_owned()),
            state: vec![DeliveryState::Dead, DeliveryState::Retrying],
            since: Some(when("22h").unwrap()),
            until: Some(when("2026-11-24T12:00:00+01:00").unwrap()),
            text: Some("a&b=c".to_owned()),
            ..FilterArgs::default()
        };
        let filter = which.to_filter(now);
        let query = "route=a+b&state=dead%2Cretrying&since=2026-11-23T15%3A00%3A00.000Z&until=2026-11-24T11%3A00%3A00.000Z&text=a%26b%3Dc";
        assert_eq!(
            target(&filter, "newest", 50, Some("x")),
            format!("/-/deliveries?{query}&order=newest&limit=50&after=x")
        );
        assert!(FilterArgs::default().is_empty() && !which.is_empty());
    }

    #[test]
    fn unknown_state_lists_the_known_ones() {
        assert!(state("ded").unwrap_err().contains("dead"));
        assert!(state("x").unwrap_err().contains("pending"));
        assert!(when("yesterday").is_err());
    }
}

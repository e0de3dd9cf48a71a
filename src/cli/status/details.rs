//! The deliveries and refused requests that the attention lines of `hookgate status` name.
use std::collections::BTreeMap;

use crate::api::deliveries::{Deliveries, Delivery};
use crate::api::refusals::{RecentRefusal, Refusals};
use crate::api::status::Status;
use crate::cli::admin_client::AdminClient;
use crate::cli::error::Error;
use crate::telemetry::REMEMBERED;

/// The deliveries and requests that commands of attention lines name, by route.
#[derive(Default)]
pub(super) struct Details {
    /// The oldest retrying delivery.
    pub(super) oldest: BTreeMap<String, Delivery>,
    /// The last refused request of each code that is kept.
    pub(super) kept: BTreeMap<String, Vec<RecentRefusal>>,
}

impl Details {
    /// Asks the gateway. Leaves out what it does not answer.
    pub(super) async fn of(client: &AdminClient, status: &Status) -> Self {
        Self {
            oldest: oldest(client, status).await,
            kept: kept(client, status).await,
        }
    }
}

/// Returns the last refused request of each route and code that is kept, among the refusals that the gateway remembers.
async fn kept(client: &AdminClient, status: &Status) -> BTreeMap<String, Vec<RecentRefusal>> {
    let mut found: BTreeMap<String, Vec<RecentRefusal>> = BTreeMap::new();
    let routes = &status.routes;
    if routes.iter().all(|route| route.hour.refused.is_empty()) {
        return found;
    }
    let target = format!("/-/refusals?limit={REMEMBERED}");
    let refused: Result<Refusals, Error> = client.get(&target).await;
    for refusal in refused.into_iter().flat_map(|refused| refused.refusals) {
        let (Some(route), Some(_)) = (&refusal.route, &refusal.kept_until) else {
            continue;
        };
        let kept = found.entry(route.clone()).or_default();
        // newest first
        if kept.iter().all(|newer| newer.code != refusal.code) {
            kept.push(refusal);
        }
    }
    found
}

/// Returns the oldest retrying delivery of each route that has pending ones. Leaves a route out if the gateway does not answer.
async fn oldest(client: &AdminClient, status: &Status) -> BTreeMap<String, Delivery> {
    let mut found = BTreeMap::new();
    for route in status
        .routes
        .iter()
        .filter(|route| route.waiting.is_some_and(|waiting| waiting > 0))
    {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([
            ("route", route.name.as_str()),
            ("state", "retrying"),
            ("order", "oldest"),
            ("limit", "1"),
        ]);
        let page: Result<Deliveries, Error> = client
            .get(&format!("/-/deliveries?{}", query.finish()))
            .await;
        if let Some(first) = page
            .ok()
            .and_then(|page| page.deliveries.into_iter().next())
        {
            found.insert(route.name.clone(), first);
        }
    }
    found
}

//! Refused requests that are kept, for the admin API.
use std::collections::BTreeMap;
use std::sync::Arc;

use super::GatewaySource;
use crate::admin::QuarantineError;
use crate::api::quarantine::{
    QuarantineRoute, Quarantined, QuarantinedRequest, Reverified, ReverifyPlan,
};
use crate::api::refusals::RecentRefusal;
use crate::clock::rfc3339;
use crate::gateway::active_config::ActiveRoute;
use crate::gateway::reverify;
use crate::quarantine::{Entry, TableError};
use crate::request::RequestId;

impl GatewaySource {
    /// Returns the last refusals, each with the time until which it is kept.
    pub(super) async fn recent_refusals(&self, limit: usize) -> Vec<RecentRefusal> {
        let refused = self.gate.telemetry.recent(limit).into_iter();
        let mut refused: Vec<RecentRefusal> = refused.map(Into::into).collect();
        let ids = refused.iter().map(|of| of.request_id.clone()).collect();
        // the list is as good without what cannot be read, and the log has the cause
        let kept = self.gate.quarantine.kept_until(ids).await;
        let kept = kept.unwrap_or_default();
        for of in &mut refused {
            of.kept_until = kept.get(&of.request_id).copied().map(rfc3339);
        }
        refused
    }

    pub(super) async fn listed(
        &self,
        route: Option<String>,
        limit: u16,
    ) -> Result<Quarantined, QuarantineError> {
        let mut routes = self.quarantine_routes();
        if let Some(name) = &route {
            routes.retain(|of| of.route == *name);
            if routes.is_empty() && self.webhook(name).is_none() {
                return Err(QuarantineError::NoRoute);
            }
        }
        let requests = self.gate.quarantine.newest(route, limit).await;
        Ok(Quarantined {
            requests: requests
                .map_err(unreadable)?
                .into_iter()
                .map(shown)
                .collect(),
            routes,
        })
    }

    /// Returns the routes of the config that have a quarantine, and the others that keep requests, by name.
    fn quarantine_routes(&self) -> Vec<QuarantineRoute> {
        let mut routes = BTreeMap::new();
        for webhook in &self.gate.snapshot().webhooks {
            if let Some(bounds) = webhook.quarantine {
                let of = QuarantineRoute {
                    route: webhook.name.to_string(),
                    max_bytes: Some(bounds.max_bytes),
                    max_age: Some(bounds.max_age.as_secs()),
                    ..QuarantineRoute::default()
                };
                routes.insert(Arc::clone(&webhook.name), of);
            }
        }
        for (name, sum) in self.gate.quarantine.sums() {
            let of = routes.entry(name).or_default();
            (of.requests, of.bytes) = (sum.requests, sum.bytes);
        }
        let named = |(name, of): (Arc<str>, QuarantineRoute)| QuarantineRoute {
            route: name.to_string(),
            ..of
        };
        routes.into_iter().map(named).collect()
    }

    pub(super) async fn planned(&self, route: &str) -> Result<ReverifyPlan, QuarantineError> {
        let route = self.enforcing(route)?;
        reverify::plan(&self.gate, &route).await.map_err(unreadable)
    }

    pub(super) async fn released(
        &self,
        route: &str,
        after: Option<RequestId>,
    ) -> Result<Reverified, QuarantineError> {
        let route = self.enforcing(route)?;
        if !self.gate.accepts() {
            return Err(QuarantineError::Draining);
        }
        let done = reverify::release(&self.gate, &route, after).await;
        done.map_err(unreadable)
    }

    /// Finds a route of the current config that refuses what is not authentic.
    fn enforcing(&self, name: &str) -> Result<Arc<ActiveRoute>, QuarantineError> {
        let route = self.webhook(name).ok_or(QuarantineError::NoRoute)?;
        let dates = self.gate.dates(self.gate.clock.mono());
        match route.webhook.enforces(&dates) {
            true => Ok(route),
            false => Err(QuarantineError::NotEnforcing),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(super) fn unreadable(error: TableError) -> QuarantineError {
    QuarantineError::Unreadable(error.to_string())
}

fn shown(entry: Entry) -> QuarantinedRequest {
    QuarantinedRequest {
        id: entry.id,
        route: entry.route.to_string(),
        code: entry.code.into(),
        received_at: rfc3339(entry.received_at),
        kept_until: rfc3339(entry.until),
        client: entry.client,
        bytes: entry.bytes,
    }
}

//! What the admin API is told of deliveries: the gate's store, and what its config says now.
use std::sync::Arc;

use crate::admin::{DeliveryName, Desk, Keyed, Policy};
use crate::clock::Now;
use crate::dedupe::key::{Identity, Scope};
use crate::gateway::Gate;
use crate::gateway::active_config::LiveHook;
use crate::request::Params;
use crate::store::Store;
use crate::verify::KeyedBy;

/// A gate whose store is on disk.
#[derive(Debug)]
pub(super) struct GateDesk(pub(super) Arc<Gate>);

impl GateDesk {
    fn route(&self, name: &str) -> Option<Arc<LiveHook>> {
        self.0
            .live
            .load()
            .hooks()
            .find(|route| *route.hook.name == *name)
            .cloned()
    }
}

impl Desk for GateDesk {
    fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    fn now(&self) -> Now {
        self.0.clock.now()
    }

    fn policy(&self, route: &str) -> Option<Policy> {
        self.route(route).map(|route| Policy {
            max_attempts: route.hook.deliver.schedule.max_attempts(),
        })
    }

    fn keyed(&self, route: &str, named: DeliveryName<'_>) -> Keyed {
        let Some(route) = self.route(route) else {
            return Keyed::NoRoute;
        };
        let hook = &*route.hook;
        let (Some(dedupe), Some(verifier)) = (hook.dedupe, &hook.verifier) else {
            return Keyed::Not;
        };
        let DeliveryName {
            id,
            params,
            account,
            secret,
            body,
        } = named;
        let needs_body = dedupe.by_content || !verifier.covers_id() || hook.id_with_body;
        // the signed time of such a key is known of a stored delivery alone
        let needs_time =
            !dedupe.by_content && !verifier.covers_id() && hook.late_retries().is_some();
        if needs_time || (needs_body && body.is_none()) {
            return Keyed::ByBody;
        }
        let digest = body
            .filter(|_| needs_body)
            .map(|body| self.0.ids.bodies.digest(body));
        // an ID that the signature does not cover may have been missing
        let with_id = (!dedupe.by_content).then_some(Some(id.as_bytes()));
        let without = (dedupe.by_content || !verifier.covers_id()).then_some(None);
        let ids: Vec<_> = with_id.into_iter().chain(without).collect();
        let (names, keyed_by) = (parameters(&hook.path), verifier.secrets().keyed_by());
        // a parameter that is the account need be named once
        let (by_param, by_header) = match keyed_by {
            Some(KeyedBy::Param(name)) => (Some(name), false),
            Some(KeyedBy::Header(_)) => (None, true),
            None => (None, false),
        };
        let given = |name: &String| {
            let found = params
                .get(name)
                .or_else(|| account.filter(|_| by_param.is_some_and(|param| **param == **name)))?;
            Some((name.as_str().into(), found.into()))
        };
        let all: Option<Vec<_>> = names.iter().map(given).collect();
        let known = params
            .0
            .iter()
            .all(|(name, _)| names.iter().any(|known| **known == **name));
        let Some(all) = all
            .filter(|_| known && (!by_header || account.is_some()))
            .map(Params)
        else {
            return Keyed::Needs {
                params: names,
                account: by_header,
            };
        };
        let account = match by_param {
            Some(param) => all.get(param),
            None => account.filter(|_| by_header),
        };
        let (scope, hash_key) = (
            Scope::named(&route.ledger, &all, account),
            self.0.store.hash_key(),
        );
        let key = |secret, id| {
            scope.ledger_key(
                &hash_key,
                Identity {
                    id,
                    secret,
                    digest,
                    ..Identity::default()
                },
            )
        };
        let keys = |secret| ids.iter().map(move |id| key(secret, *id));
        Keyed::By(match (dedupe.per_secret, secret) {
            (false, _) => keys(None).collect(),
            (true, Some(_)) => keys(secret).collect(),
            (true, None) => verifier
                .secrets()
                .names(account)
                .iter()
                .flat_map(|name| keys(Some(&**name)).collect::<Vec<_>>())
                .collect(),
        })
    }
}

/// The parameters of a path, in its order.
fn parameters(path: &str) -> Vec<String> {
    let pieces = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    pieces
        .map(|name| name.trim_start_matches('*').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_paths() {
        for (path, names) in [
            ("/a", &[][..]),
            ("/a/{b}", &["b"]),
            ("/{a}/x/{*rest}", &["a", "rest"]),
            ("/v{n}.json", &["n"]),
        ] {
            assert_eq!(parameters(path), names, "{path}");
        }
    }
}

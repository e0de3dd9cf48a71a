//! What the admin API is told of deliveries: the gate's store, and what its config says now.
use std::sync::Arc;

use crate::admin::{DeliveryName, Desk, Keyed, Policy};
use crate::clock::Now;
use crate::dedupe::key::{Identity, Scope};
use crate::gateway::Gate;
use crate::gateway::live::LiveHook;
use crate::request::Params;
use crate::store::Store;
use crate::verify::KeyedBy;

/// A gate whose store is on disk.
#[derive(Debug)]
pub(super) struct GateDesk(pub(super) Arc<Gate>);

impl GateDesk {
    fn route(&self, name: &str) -> Option<Arc<LiveHook>> {
        self.0.live.load().hooks().find(|route| *route.hook.name == *name).cloned()
    }
}

impl Desk for GateDesk {
    fn store(&self) -> &Arc<dyn Store> {
        &self.0.deliverer.store
    }

    fn now(&self) -> Now {
        self.0.clock.now()
    }

    fn policy(&self, route: &str) -> Option<Policy> {
        self.route(route).map(|route| Policy { max_attempts: route.hook.deliver.schedule.max_attempts() })
    }

    fn keyed(&self, route: &str, named: DeliveryName<'_>) -> Keyed {
        let Some(route) = self.route(route) else { return Keyed::NoRoute };
        let hook = &*route.hook;
        let (Some(dedupe), Some(verifier)) = (hook.dedupe, &hook.verifier) else { return Keyed::Not };
        if dedupe.by_content || !verifier.covers_id() || hook.id_with_body {
            return Keyed::ByBody;
        }
        let DeliveryName { id, params, account, secret } = named;
        let (names, keyed_by) = (parameters(&hook.path), verifier.secrets().keyed_by());
        // a parameter that is the account need be named once
        let (by_param, by_header) = match keyed_by {
            Some(KeyedBy::Param(name)) => (Some(name), false),
            Some(KeyedBy::Header(_)) => (None, true),
            None => (None, false),
        };
        let given = |name: &String| {
            let found = params.get(name).or_else(|| account.filter(|_| by_param.is_some_and(|param| **param == **name)))?;
            Some((name.as_str().into(), found.into()))
        };
        let all: Option<Vec<_>> = names.iter().map(given).collect();
        let known = params.0.iter().all(|(name, _)| names.iter().any(|known| **known == **name));
        let Some(all) = all.filter(|_| known && (!by_header || account.is_some())).map(Params) else {
            return Keyed::Needs { params: names, account: by_header };
        };
        let account = match by_param {
            Some(param) => all.get(param),
            None => account.filter(|_| by_header),
        };
        let (scope, hash_key) = (Scope::named(&route.ledger, &all, account), self.0.ids.ledger.hash_key());
        let key = |secret| scope.ledger_key(&hash_key, Identity { id: Some(id.as_bytes()), secret, ..Identity::default() });
        Keyed::By(match (dedupe.per_secret, secret) {
            (false, _) => vec![key(None)],
            (true, Some(_)) => vec![key(secret)],
            (true, None) => verifier.secrets().names(account).iter().map(|name| key(Some(&**name))).collect(),
        })
    }
}

/// The parameters of a path, in its order.
fn parameters(path: &str) -> Vec<String> {
    let pieces = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    pieces.map(|name| name.trim_start_matches('*').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_paths() {
        for (path, names) in [("/a", &[][..]), ("/a/{b}", &["b"]), ("/{a}/x/{*rest}", &["a", "rest"]), ("/v{n}.json", &["n"])] {
            assert_eq!(parameters(path), names, "{path}");
        }
    }
}

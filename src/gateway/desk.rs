//! What the admin API is told of deliveries: the gate's store, and what its config says now.
use std::sync::Arc;

use crate::admin::{Desk, Keyed, Policy};
use crate::clock::Now;
use crate::dedupe::key::{Parts, key_of};
use crate::gateway::Gate;
use crate::gateway::live::LiveHook;
use crate::request::Params;
use crate::store::Store;

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

    fn keyed(&self, route: &str, id: &str, params: &Params) -> Keyed {
        let Some(route) = self.route(route) else { return Keyed::NoRoute };
        let hook = &*route.hook;
        let (Some(dedupe), Some(verifier)) = (hook.dedupe, &hook.verifier) else { return Keyed::Not };
        if dedupe.by_content || !verifier.covers_id() {
            return Keyed::ByBody;
        }
        let names = parameters(&hook.path);
        let given: Option<Vec<_>> = names.iter().map(|name| params.0.iter().find(|(known, _)| **known == **name).cloned()).collect();
        match given.filter(|given| given.len() == params.0.len()) {
            Some(given) => {
                let parts = Parts { ledger: &route.ledger, params: &Params(given), id: Some(id.as_bytes()), digest: None };
                Keyed::By(key_of(&self.0.ids.ledger.hash_key(), parts))
            }
            None => Keyed::ByParams(names),
        }
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

//! The ledger keys of a delivery that an operator names.
use crate::dedupe::key::{Identity, Scope};
use crate::gateway::Gate;
use crate::gateway::active_config::ActiveRoute;
use crate::replay::{DeliveryName, LedgerKeys};
use crate::request::Params;
use crate::verify::{KeyedBy, Verifier};

/// Returns the keys under which the ledger remembers a delivery of a route.
pub(super) fn of(gate: &Gate, route: &ActiveRoute, named: DeliveryName<'_>) -> LedgerKeys {
    let webhook = &*route.webhook;
    let (Some(dedupe), Some(verifier)) = (webhook.dedupe, &webhook.verifier) else {
        return LedgerKeys::NoDedupe;
    };
    let is_id_covered = verifier.covers_id();
    let needs_body = dedupe.by_content || !is_id_covered || webhook.id_with_body;
    // the signed time in such a key is only known of a stored delivery
    let needs_time = !dedupe.by_content && !is_id_covered && webhook.late_retries().is_some();
    if needs_time || (needs_body && named.body.is_none()) {
        return LedgerKeys::NeedsBody;
    }
    let digest = named
        .body
        .filter(|_| needs_body)
        .map(|body| gate.ids.bodies.digest(body));
    let Sender { params, account } = match sender(&webhook.path, verifier, named) {
        Ok(sender) => sender,
        Err(needs) => return needs,
    };
    let account = account.as_deref();
    let (scope, hash_key) = (
        Scope::named(&route.ledger, &params, account),
        gate.store.hash_key(),
    );
    // an ID that the signature does not cover may have been missing
    let with_id = (!dedupe.by_content).then_some(Some(named.id.as_bytes()));
    let without_id = (dedupe.by_content || !is_id_covered).then_some(None);
    let ids: Vec<_> = with_id.into_iter().chain(without_id).collect();
    let keys = |secret| {
        let key = |id: &Option<_>| {
            let identity = Identity {
                id: *id,
                secret,
                digest,
                ..Identity::default()
            };
            scope.ledger_key(&hash_key, identity)
        };
        ids.iter().map(key).collect::<Vec<_>>()
    };
    LedgerKeys::Known(match (dedupe.per_secret, named.secret) {
        (false, _) => keys(None),
        (true, Some(secret)) => keys(Some(secret)),
        (true, None) => {
            let secrets = verifier.secrets().names(account);
            secrets
                .iter()
                .flat_map(|secret| keys(Some(&**secret)))
                .collect()
        }
    })
}

/// The sender of a delivery, as the scope of its ledger key needs it.
struct Sender {
    params: Params,
    account: Option<String>,
}

/// Returns the sender of a named delivery, or what else must be given.
fn sender(path: &str, verifier: &Verifier, named: DeliveryName<'_>) -> Result<Sender, LedgerKeys> {
    let names = parameters(path);
    // a parameter that is the account needs to be given only once
    let (by_param, by_header) = match verifier.secrets().keyed_by() {
        Some(KeyedBy::Param(name)) => (Some(name), false),
        Some(KeyedBy::Header(_)) => (None, true),
        None => (None, false),
    };
    let DeliveryName {
        params, account, ..
    } = named;
    let given = |name: &String| {
        let found = params
            .get(name)
            .or_else(|| account.filter(|_| by_param.is_some_and(|param| **param == **name)))?;
        Some((name.as_str().into(), found.into()))
    };
    let all: Option<Vec<_>> = names.iter().map(given).collect();
    let are_known = params
        .0
        .iter()
        .all(|(name, _)| names.iter().any(|known| **known == **name));
    let Some(params) = all
        .filter(|_| are_known && (!by_header || account.is_some()))
        .map(Params)
    else {
        return Err(LedgerKeys::Needs {
            params: names,
            account: by_header,
        });
    };
    let account = match by_param {
        Some(param) => params.get(param).map(str::to_owned),
        None => account.filter(|_| by_header).map(str::to_owned),
    };
    Ok(Sender { params, account })
}

/// Returns the names of a path's parameters, in order.
fn parameters(path: &str) -> Vec<String> {
    let names = path
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next());
    names
        .map(|name| name.trim_start_matches('*').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_parameters_are_listed() {
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

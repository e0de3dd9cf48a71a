//! Compiles a webhook route.
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::listed::{listed, origins};
use crate::config::compile::methods::methods_of;
use crate::config::compile::outgoing::CompiledAction;
use crate::config::compile::proof::{self, Facts, Proof, proof};
use crate::config::compile::route_keys::{Actions, Common, WebhookKeys, action};
use crate::config::compile::{dedupe, forward, handshake, mode, quarantine, queue, rate, refused};
use crate::config::diagnostic::Place;
use crate::config::file::{self, VerifyOrNone};
use crate::config::presets::{Known, Preset};
use crate::config::snapshot::{
    Action, Allow, Dedupe, Quarantine, RefusedAnswer, SecretOrigin, WebhookRoute,
};
use crate::route::router;
use crate::verify::{Covers, Handshakes, SecretLocations, Verifier};

/// The default of `max_body`, in bytes, if the preset has none.
const MAX_BODY: usize = 5 * 1024 * 1024;

/// The verification of a route's senders, and what follows from it.
struct Senders {
    /// Whether the route does not have `verify: none`.
    verifies: bool,
    proven: Option<Proof>,
    facts: Facts,
    handshakes: Handshakes,
    secret_origins: Vec<SecretOrigin>,
    secret_locations: SecretLocations,
    dedupe: Option<Dedupe>,
    refused: RefusedAnswer,
    observe_until: Option<SystemTime>,
    quarantine: Option<Quarantine>,
}

/// Compiles a webhook route at `place`.
pub(super) fn webhook(
    common: Common,
    mut keys: WebhookKeys,
    actions: Actions,
    upstreams: &Upstreams,
    has_proxies: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<WebhookRoute> {
    let keep = keys.keep.take();
    let says_store_down =
        (keys.dedupe.as_ref()).is_some_and(|dedupe| dedupe.on_store_down.is_some());
    let senders = senders(keys, &common, place, cx);
    let Common {
        name,
        previously,
        host: _,
        path,
        methods,
        max_body,
        allow,
        rate_limit,
    } = common;
    let methods =
        methods_of(&methods, &place.key("methods"), cx).unwrap_or_else(|| vec![Method::POST]);
    let max_body = cx.size(
        max_body.as_deref(),
        &place.key("max_body"),
        senders.facts.max_body.unwrap_or(MAX_BODY),
    );
    let allow = cx.allow(&allow, &place.key("allow"));
    let rate_limits = rate::limits(rate_limit, &place.key("rate_limit"), has_proxies, cx);
    let written = action(actions, place, cx);
    let forward = forward::Given::new(
        &name,
        &path,
        senders.proven.as_ref(),
        senders.facts.answer_within,
        !senders.verifies,
    );
    let given = queue::Given {
        forward,
        success_status: senders.facts.success_status,
        has_dedupe: senders.dedupe.is_some() || cx.problems.is_spoiled(&place.key("dedupe")),
        keep,
        rate_limits,
    };
    let compiled = queue::compile(written?, given, upstreams, place, cx)?;
    if says_store_down && matches!(compiled.action, Action::Queue) {
        let help = "leave it out: a delivery that is not stored is not acknowledged, whatever the store has of its ID";
        cx.problems.error_at_key(
            &place.key("dedupe").key("on_store_down"),
            "a route with `queue` cannot do without the store",
            help.to_owned(),
        );
    }
    let basics = Basics {
        name,
        previously,
        path,
        methods,
        max_body,
        allow,
    };
    Some(assembled(basics, senders, compiled))
}

/// The compiled keys of a webhook route that do not depend on its senders or its action.
struct Basics {
    name: String,
    previously: Vec<String>,
    path: String,
    methods: Vec<Method>,
    max_body: usize,
    allow: Allow,
}

/// Puts a webhook route together.
fn assembled(basics: Basics, senders: Senders, compiled: CompiledAction) -> WebhookRoute {
    let Basics {
        name,
        previously,
        path,
        methods,
        max_body,
        allow,
    } = basics;
    let Senders {
        verifies: _,
        proven,
        facts,
        handshakes,
        secret_origins,
        secret_locations,
        dedupe,
        refused,
        observe_until,
        quarantine,
    } = senders;
    let CompiledAction {
        forward,
        action,
        answer,
        deliver,
        keep,
        rate_limits,
    } = compiled;
    let provider = proven.as_ref().and_then(|proven| proven.provider.as_ref());
    WebhookRoute {
        name: name.into(),
        previously: previously.into_iter().map(String::into_boxed_str).collect(),
        path,
        methods,
        max_body,
        allow,
        provider: provider.map(|preset| Arc::clone(&preset.name)),
        id_with_body: proven.as_ref().is_some_and(|proven| proven.id_with_body),
        verifier: proven
            .and_then(|proven| proven.verifier)
            .map(|verifier| handshakes.keep_apart(verifier)),
        secret_origins,
        secret_locations,
        observe_until,
        handshakes,
        rate_limits,
        dedupe,
        forward,
        action,
        deliver,
        keep,
        answer,
        refused,
        quarantine,
        answer_within: facts.answer_within,
        retries_for: facts.retries_for,
        retry_keeps_time: facts.retry_keeps_time == Known::Yes,
        disables_after: facts.disables_after,
    }
}

/// Compiles the keys of a webhook route that are about its senders.
fn senders(keys: WebhookKeys, common: &Common, place: &Place, cx: &mut Context<'_>) -> Senders {
    // No `..`: a new field must be dealt with here.
    let WebhookKeys {
        public_url,
        verify,
        refused_status,
        refused_body,
        handshake,
        dedupe,
        mode,
        until,
        keep: _,
        quarantine,
    } = keys;
    let name = common.name.as_str();
    let public_url = public_url.and_then(|url| public(url, &place.key("public_url"), cx));
    let may_have_public_url =
        public_url.is_some() || cx.problems.is_faulty(&place.key("public_url"));
    let given = proof::Given {
        route: name,
        params: router::parameters(&common.path),
        host: common.host.as_deref(),
        public_url,
        may_have_public_url,
    };
    let verifies = !matches!(verify, Some(VerifyOrNone::None));
    let secrets = listed(verify.as_ref());
    let proven = verified(verify, given, name, place, cx);
    let provider = proven.as_ref().and_then(|proven| proven.provider.clone());
    let verifier = proven.as_ref().and_then(|proven| proven.verifier.as_ref());
    let handshakes = handshake::handshakes(handshake, provider.as_deref(), verifier, place, cx);
    let of_verifier = proven
        .as_ref()
        .map(|proven| proven.secrets_stand.clone())
        .unwrap_or_default();
    let facts = Facts::of(provider.as_deref());
    let title = provider.as_deref().map(Preset::title);
    let names = (name, title);
    let dedupe = deduped(dedupe, &secrets, names, proven.as_ref(), &facts, place, cx);
    let written = refused::Written {
        status: refused_status,
        body: refused_body.as_deref(),
        verifies,
    };
    let refused = refused::refused(&written, &facts, title, name, place, cx);
    let written = mode::Written {
        mode: mode.as_deref(),
        until: until.as_deref(),
        verifies,
    };
    let observe_until = mode::observe_until(written, name, place, cx);
    let given = quarantine::Given::new(name, verifies, verifier, observe_until, dedupe.is_some());
    let quarantine = quarantine::quarantine(quarantine, given, place, cx);
    // a request that is released late must still be found to be a duplicate
    let dedupe =
        dedupe.map(|dedupe| quarantine.map_or(dedupe, |kept| dedupe.at_least(kept.max_age)));
    Senders {
        verifies,
        secret_origins: origins(&secrets),
        secret_locations: handshakes.and_secrets(of_verifier),
        proven,
        facts,
        handshakes,
        dedupe,
        refused,
        observe_until,
        quarantine,
    }
}

/// Compiles `dedupe`, and warns about duplicates that it cannot recognise.
fn deduped(
    written: Option<file::Dedupe>,
    secrets: &[file::Secret],
    (name, title): (&str, Option<&str>),
    proven: Option<&Proof>,
    facts: &Facts,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Dedupe> {
    let has_id = proven.is_some_and(|proven| proven.has_id && !proven.id_with_body);
    let given = dedupe::Given {
        route: name,
        title,
        retries_for: facts.retries_for,
        bodies_repeat: facts.bodies_repeat,
        has_id,
    };
    let dedupe = written.map(|written| dedupe::dedupe(written, given, &place.key("dedupe"), cx));
    dedupe::note_senders(secrets, dedupe, name, place, cx);
    let tolerance = proven
        .and_then(|proven| proven.verifier.as_ref())
        .and_then(Verifier::tolerance);
    dedupe::note_late_retries(
        dedupe,
        tolerance.filter(|_| facts.retry_keeps_time == Known::Yes),
        given,
        place,
        cx,
    );
    if let Some(proven) = proven {
        note_what_is_unsigned(
            proven,
            dedupe.map(|dedupe| dedupe.by_content),
            facts.bodies_repeat,
            name,
            place,
            cx,
        );
    }
    dedupe
}

/// Compiles `verify`; `None` if it is `none` or missing.
fn verified(
    verify: Option<VerifyOrNone>,
    given: proof::Given<'_>,
    name: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Proof> {
    let here = place.key("verify");
    match verify {
        Some(VerifyOrNone::Block(block)) => Some(proof(&block, given, &here, cx)),
        Some(VerifyOrNone::None) => {
            let help = "anyone who knows the path can send requests to the upstream".to_owned();
            cx.problems.warning(
                &here,
                format!("route {name} does not verify requests"),
                help,
            );
            None
        }
        None => {
            let help =
                "add `verify: { provider: NAME, secrets: … }`, or write `verify: none`".to_owned();
            cx.problems
                .missing(place, "verify", "the route has no `verify`", help);
            None
        }
    }
}

/// Warns if a captured request can be replayed. `by_content` is `None` without `dedupe`.
fn note_what_is_unsigned(
    proven: &Proof,
    by_content: Option<bool>,
    bodies_repeat: Known,
    name: &str,
    place: &Place,
    cx: &mut Context<'_>,
) {
    let Covers {
        body,
        id,
        timestamp,
        ..
    } = proven.covers;
    if proven.verifier.is_none() || !body || timestamp {
        return;
    }
    match by_content {
        Some(false) if proven.has_id && !id && bodies_repeat == Known::No => {
            let message = format!(
                "route {name}: the signature covers neither the delivery ID nor a time, so a captured request can be replayed under a new ID"
            );
            let help =
                "add `by: content`; this provider never sends two events with the same bytes"
                    .to_owned();
            cx.problems
                .warning_at_key(&place.key("dedupe"), message, help);
        }
        None if !id && !cx.problems.is_spoiled(&place.key("dedupe")) => {
            let message = format!(
                "route {name}: the signature covers neither a delivery ID nor a time, so a captured request can be replayed"
            );
            let help = match bodies_repeat {
                Known::No => {
                    "add `dedupe: { by: content }` to the route; this provider never sends two events with the same bytes"
                }
                Known::Yes | Known::Unknown => {
                    "add `dedupe: {}` to the route to drop repeated requests"
                }
            };
            let help = help.to_owned();
            cx.problems
                .warning_at_key(&place.key("verify"), message, help);
        }
        Some(_) | None => {}
    }
}

/// Checks `public_url`.
fn public(url: String, place: &Place, cx: &mut Context<'_>) -> Option<String> {
    let uri = url.parse::<http::Uri>().ok();
    let is_url = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    });
    if !is_url || url.contains(['?', '#']) {
        cx.problems.error(
            place,
            "this is not a URL without a query",
            "write `https://HOST/PATH` as it was given to the sender".to_owned(),
        );
        return None;
    }
    Some(url)
}

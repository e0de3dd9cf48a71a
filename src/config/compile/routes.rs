//! The routes.
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::config::compile::proof::{self, Facts, Proof, proof};
use crate::config::compile::{
    Context, Upstreams, dedupe, forward, handshake, mode, pass, queue, rate, refused,
};
use crate::config::diagnostic::{Place, shown};
use crate::config::file::{self, VerifyOrNone};
use crate::config::presets::Known;
use crate::config::snapshot::{Dedupe, Route, WebhookRoute};
use crate::route::router::{self, Conflict, Router};
use crate::verify::Covers;
use crate::verify::Verifier;

/// How large a body may be if nobody says.
const MAX_BODY: usize = 5 * 1024 * 1024;

pub(super) fn routes(
    written: Vec<(Place, file::Route)>,
    upstreams: &Upstreams,
    has_proxies: bool,
    cx: &mut Context<'_>,
) -> (Vec<Route>, Router) {
    if written.is_empty() {
        let help = "add `routes: [{ name: … }]`; a file that was cut off while it was written looks like this, too".to_owned();
        cx.problems.error_at_key(
            &Place::root(0).key("routes"),
            "there are no routes, so every request would be refused",
            help,
        );
    }
    let mut names = HashMap::new();
    let mut router = Router::default();
    let mut taken: Vec<(String, Place)> = Vec::new();
    let mut routes = Vec::with_capacity(written.len());
    for (place, mut route) in written {
        let name = name_of(&route, &place, &mut names, cx);
        route_to(&mut router, &route, &mut taken, &name, &place, cx);
        let route = match route
            .pass
            .take_if(|_| route.forward.is_none() && route.queue.is_none())
        {
            Some(passed) => pass::pass(name, route, passed, upstreams, has_proxies, &place, cx)
                .map(|pass| Route::Pass(Arc::new(pass))),
            None => hook(name, route, upstreams, has_proxies, &place, cx)
                .map(|hook| Route::Webhook(Arc::new(hook))),
        };
        routes.extend(route);
    }
    (routes, router)
}

/// The name of a route, if it is one and no other has it, now or before.
fn name_of(
    route: &file::Route,
    place: &Place,
    names: &mut HashMap<String, (String, Place)>,
    cx: &mut Context<'_>,
) -> String {
    let name = route.name.clone().unwrap_or_default();
    if route.name.is_none() {
        cx.problems.missing(
            place,
            "name",
            "the route has no name",
            "add `name: NAME`; logs and metrics call it so".to_owned(),
        );
    }
    let own = route.name.iter().map(|name| (place.key("name"), name));
    let before = route
        .previously
        .iter()
        .enumerate()
        .map(|(index, name)| (place.key("previously").index(index), name));
    for (place, one) in own.chain(before) {
        if !is_name(one) {
            let help =
                "use lower-case letters, digits and `-`, at most 63, a letter or digit first"
                    .to_owned();
            cx.problems
                .error(&place, "this is not a name for a route", help);
        } else if let Some((other, there)) =
            names.insert(one.clone(), (name.clone(), place.clone()))
        {
            let help = "each route needs a name of its own, now and before".to_owned();
            let whose = if other == *one {
                "another route".to_owned()
            } else {
                format!("route {other}, once,")
            };
            cx.problems.clash(
                &place,
                &there,
                format!("{whose} has the name `{one}`"),
                help,
            );
        }
    }
    name
}

/// Whether it is a name as routes and tokens have it.
pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    first
        && name.len() <= 63
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn route_to(
    router: &mut Router,
    route: &file::Route,
    taken: &mut Vec<(String, Place)>,
    name: &str,
    place: &Place,
    cx: &mut Context<'_>,
) {
    let Some(path) = route.path.as_deref() else {
        cx.problems.missing(
            place,
            "path",
            "the route has no path",
            "add `path: /webhooks/NAME`".to_owned(),
        );
        return;
    };
    // Routes and names keep step only while there is no error; with one, no router is used.
    let index = taken.len();
    taken.push((name.to_owned(), place.key("path")));
    let insert = if route.pass.is_some() {
        Router::insert_pass
    } else {
        Router::insert
    };
    match insert(router, route.host.as_deref(), path, index) {
        Ok(()) => {}
        Err(Conflict::Taken { by }) => {
            let message = |name: &str| {
                format!(
                    "{} takes the same requests",
                    if name.is_empty() {
                        "another route"
                    } else {
                        name
                    }
                )
            };
            let help = "give it a path or a host of its own".to_owned();
            match by.and_then(|by| taken.get(by)) {
                Some((name, there)) => cx.problems.clash(
                    &place.key("path"),
                    there,
                    message(&format!("route {}", shown(name))),
                    help,
                ),
                None => cx.problems.error(&place.key("path"), message(""), help),
            }
        }
        Err(Conflict::Path(help)) => cx.problems.error(
            &place.key("path"),
            "this is not a path of a route",
            help.to_owned(),
        ),
        Err(conflict @ Conflict::Host) => cx.problems.error(
            &place.key("host"),
            "this is not a host",
            conflict.to_string(),
        ),
    }
}

fn hook(
    name: String,
    route: file::Route,
    upstreams: &Upstreams,
    has_proxies: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<WebhookRoute> {
    // No `..`: a new field must be dealt with here.
    let file::Route {
        name: _,
        previously,
        host,
        path,
        methods,
        public_url,
        max_body,
        allow,
        verify,
        refused_status,
        refused_body,
        handshake,
        rate_limit,
        dedupe,
        forward,
        queue,
        pass,
        mode,
        until,
        keep,
    } = route;
    let path = path.unwrap_or_default();
    let public_url = public_url.and_then(|url| public(url, &place.key("public_url"), cx));
    let given = proof::Given {
        route: &name,
        params: router::parameters(&path),
        host: host.as_deref(),
        public_url,
    };
    let verifies = !matches!(verify, Some(VerifyOrNone::None));
    let (secrets, proven) = (
        listed(verify.as_ref()),
        verified(verify, given, &name, place, cx),
    );
    let provider = proven.as_ref().and_then(|proven| proven.provider.clone());
    let handshakes = handshake::handshakes(
        handshake,
        provider.as_deref(),
        proven.as_ref().and_then(|proven| proven.verifier.as_ref()),
        place,
        cx,
    );
    let secret_locations = handshakes.and_secrets(
        proven
            .as_ref()
            .map(|proven| proven.secrets_stand.clone())
            .unwrap_or_default(),
    );
    let facts = Facts::of(provider.as_deref());
    let methods =
        methods_of(&methods, &place.key("methods"), cx).unwrap_or_else(|| vec![Method::POST]);
    let max_body = cx.size(
        max_body.as_deref(),
        &place.key("max_body"),
        facts.max_body.unwrap_or(MAX_BODY),
    );
    let (allow, rate_limits) = (
        cx.allow(&allow, &place.key("allow")),
        rate::limits(rate_limit, &place.key("rate_limit"), has_proxies, cx),
    );
    let title = provider.as_ref().map(|preset| preset.title());
    let dedupe = deduped(
        dedupe,
        &secrets,
        (&name, title),
        proven.as_ref(),
        &facts,
        place,
        cx,
    );
    let written = refused::Written {
        status: refused_status,
        body: refused_body.as_deref(),
        verifies,
    };
    let refused = refused::refused(&written, &facts, title, &name, place, cx);
    let observe_until = mode::observe_until(
        mode::Written {
            mode: mode.as_deref(),
            until: until.as_deref(),
            verifies,
        },
        &name,
        place,
        cx,
    );
    let written = action(forward, queue, pass.is_some(), place, cx);
    let forward = forward::Given::new(
        &name,
        &path,
        proven.as_ref(),
        facts.answer_within,
        !verifies,
    );
    let given = queue::Given {
        forward,
        success_status: facts.success_status,
        has_dedupe: dedupe.is_some(),
        keep,
        rate_limits,
    };
    let queue::Compiled {
        forward,
        action,
        answer,
        deliver,
        keep,
        rate_limits,
    } = queue::compile(written?, given, upstreams, place, cx)?;
    Some(WebhookRoute {
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
        answer_within: facts.answer_within,
        retries_for: facts.retries_for,
        retry_keeps_time: facts.retry_keeps_time == Known::Yes,
        disables_after: facts.disables_after,
    })
}

/// Returns the secrets of a block that lists them.
fn listed(verify: Option<&VerifyOrNone>) -> Vec<file::Secret> {
    match verify {
        Some(VerifyOrNone::Block(block)) => match &block.secrets {
            Some(file::Secrets::List(list)) => list.clone(),
            Some(file::Secrets::Table(_)) | None => Vec::new(),
        },
        Some(VerifyOrNone::None) | None => Vec::new(),
    }
}

/// Compiles `dedupe`, and says what it cannot tell apart.
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
    dedupe::note_senders(secrets, dedupe, name, &place.key("verify"), cx);
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

/// `None`: the route says `verify: none`, or does not say what it should.
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
            let help = "whoever finds the path can send to the app".to_owned();
            cx.problems
                .warning(&here, format!("route {name} verifies nothing"), help);
            None
        }
        None => {
            let help =
                "add `verify: { provider: NAME, secrets: … }`, or say `verify: none`".to_owned();
            cx.problems.missing(
                place,
                "verify",
                "the route does not say how it verifies",
                help,
            );
            None
        }
    }
}

/// Tells what a captured request can still do. `by_content` is `None` without `dedupe`.
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
                "route {name}: the signature covers neither the delivery ID nor a time, so a captured request passes under a new ID"
            );
            let help = "add `by: content`: two events of this provider never have the same bytes"
                .to_owned();
            cx.problems
                .warning_at_key(&place.key("dedupe"), message, help);
        }
        None if !id && !cx.problems.is_spoiled(&place.key("dedupe")) => {
            let message = format!(
                "route {name}: the signature covers neither a delivery ID nor a time, so a captured request passes again"
            );
            let help = match bodies_repeat {
                Known::No => {
                    "add `dedupe: { by: content }` to the route: two events of this provider never have the same bytes"
                }
                Known::Yes | Known::Unknown => {
                    "add `dedupe: {}` to the route: the same request is dropped while it is remembered"
                }
            };
            let help = help.to_owned();
            cx.problems
                .warning_at_key(&place.key("verify"), message, help);
        }
        Some(_) | None => {}
    }
}

/// The methods that are written, if any are.
pub(super) fn methods_of(
    written: &[String],
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Vec<Method>> {
    let mut methods = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ];
        match known.into_iter().find(|method| method.as_str() == text) {
            Some(method) if methods.contains(&method) => {
                cx.problems
                    .error(&place.index(index), "this method is here twice", None)
            }
            Some(method) => methods.push(method),
            None => cx.problems.error(
                &place.index(index),
                "this is not a method",
                "write `POST`, in capitals".to_owned(),
            ),
        }
    }
    (!methods.is_empty()).then_some(methods)
}

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
            "this is not a URL without query",
            "write `https://HOST/PATH`, as the sender was given it".to_owned(),
        );
        return None;
    }
    Some(url)
}

/// Exactly one of the three actions; a route that says `pass` alone does not come here.
fn action(
    forward: Option<file::Forward>,
    queue: Option<file::Queue>,
    pass: bool,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<queue::Written> {
    let count = usize::from(forward.is_some()) + usize::from(queue.is_some()) + usize::from(pass);
    if count > 1 {
        let second = if pass { "pass" } else { "queue" };
        cx.problems.error_at_key(
            &place.key(second),
            "the route has more than one action",
            "keep exactly one of `forward`, `queue`, `pass`".to_owned(),
        );
    }
    let spoiled = ["queue", "pass"]
        .iter()
        .any(|key| cx.problems.is_spoiled(&place.key(key)));
    if count == 0 && !spoiled {
        let help = "add `forward: { upstream: NAME }`, or `queue: { upstream: NAME }`".to_owned();
        cx.problems.missing(
            place,
            "forward",
            "the route does nothing with its deliveries",
            help,
        );
    }
    forward
        .map(queue::Written::Forward)
        .or(queue.map(queue::Written::Queue))
}

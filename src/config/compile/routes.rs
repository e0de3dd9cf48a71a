//! Compiles the routes: names, paths, and the kind of each route.
use std::collections::HashMap;
use std::sync::Arc;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::needed::Needed;
use crate::config::compile::route_keys::sorted;
use crate::config::compile::{pass, webhook};
use crate::config::diagnostic::{Place, shown};
use crate::config::file;
use crate::config::snapshot::Route;
use crate::route::router::{Conflict, Router};

/// Compiles all routes, and the router that finds the route of a request.
pub(super) fn routes(
    written: Vec<(Place, file::Route)>,
    upstreams: &Upstreams,
    has_proxies: bool,
    needs: Needed,
    cx: &mut Context<'_>,
) -> (Vec<Route>, Router) {
    let help = match needs {
        Needed::ToReceive => {
            Some("add `routes: [{ name: … }]`, or check whether the file was written completely")
        }
        Needed::ToReceiveToo => Some(
            "add `routes: [{ name: … }]`, or leave `listen` out as well: the gateway only sends then",
        ),
        Needed::None => None,
    };
    if let Some(help) = help.filter(|_| written.is_empty() && !cx.may_be_left_out(&["routes"])) {
        cx.problems.error_at_key(
            &Place::root(0).key("routes"),
            "there are no routes, so every request would be refused",
            help.to_owned(),
        );
    }
    let mut names = HashMap::new();
    let mut router = Router::default();
    let mut taken: Vec<(String, Place)> = Vec::new();
    let mut routes = Vec::with_capacity(written.len());
    for (place, route) in written {
        let name = name_of(&route, &place, &mut names, cx);
        route_to(&mut router, &route, &mut taken, &name, &place, cx);
        let (common, keys, mut actions) = sorted(name, route);
        let is_webhook = actions.forward.is_some() || actions.queue.is_some();
        let route = match actions.pass.take_if(|_| !is_webhook) {
            Some(passed) => pass::pass(common, &keys, passed, upstreams, has_proxies, &place, cx)
                .map(|pass| Route::Pass(Arc::new(pass))),
            None => webhook::webhook(common, keys, actions, upstreams, has_proxies, &place, cx)
                .map(|webhook| Route::Webhook(Arc::new(webhook))),
        };
        routes.extend(route);
    }
    (routes, router)
}

/// Returns the name of a route, and reports one that is not valid or that another route has, now or before.
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
            "add `name: NAME`; logs and metrics use it".to_owned(),
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
                "use at most 63 lower-case letters, digits and `-`; begin with a letter or digit"
                    .to_owned();
            cx.problems
                .error(&place, "this is not a valid route name", help);
        } else if let Some((other, there)) =
            names.insert(one.clone(), (name.clone(), place.clone()))
        {
            let help = "give each route a unique name, `previously` included".to_owned();
            let message = if other == *one {
                format!("another route has the name `{one}`")
            } else {
                format!("route {other} lists the name `{one}` under `previously`")
            };
            cx.problems.clash(&place, &there, message, help);
        }
    }
    name
}

/// Returns whether it is a valid name for a route or a token.
pub(super) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    first
        && name.len() <= 63
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Adds the route to the router.
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
    // Routes and names have the same indices only while there is no error; with one, no router is used.
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
            let help = "give it another path or host".to_owned();
            match by.and_then(|by| taken.get(by)) {
                Some((name, there)) => cx.problems.clash(
                    &place.key("path"),
                    there,
                    format!("route {} matches the same requests", shown(name)),
                    help,
                ),
                None => cx.problems.error(
                    &place.key("path"),
                    "another route matches the same requests",
                    help,
                ),
            }
        }
        Err(Conflict::Path(help)) => cx.problems.error(
            &place.key("path"),
            "this is not a valid route path",
            help.into_owned(),
        ),
        Err(conflict @ Conflict::Host) => cx.problems.error(
            &place.key("host"),
            "this is not a valid host",
            conflict.to_string(),
        ),
    }
}

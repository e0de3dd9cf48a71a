//! Compiles the config as written to the snapshot, one file per block. Goes on after an error, so that all are reported at once.
use std::sync::Arc;

use crate::config::compile::context::Upstreams;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Route, Snapshot, Store, WebhookRoute};
use crate::route::guard::GuardedPathsByApp;

mod admin;
mod alarms;
mod certificates;
mod context;
mod dedupe;
mod event_catalogue;
mod forward;
mod forward_action;
pub mod handshake;
mod limits;
mod listed;
mod listen;
mod methods;
mod mode;
mod needed;
mod outbound;
mod outbound_app;
mod outbound_pause;
mod outgoing;
mod own;
mod pass;
mod postgres;
mod postgres_text;
mod proof;
mod quarantine;
mod queue;
mod rate;
mod refused;
mod retry;
mod route_keys;
mod routes;
mod sign;
mod store;
mod tls;
mod tokens;
mod upstreams;
pub mod verify;
mod webhook;

pub use context::Context;

/// The config as written in all files: `upstreams` and `routes` with their places.
#[derive(Debug)]
pub struct Written {
    /// The main file, without its upstreams and routes.
    pub main: file::File,
    /// All upstreams.
    pub upstreams: Vec<(Place, String, file::Upstream)>,
    /// All routes.
    pub routes: Vec<(Place, file::Route)>,
}

/// Compiles the config. The snapshot is only usable if there is no error. The caller sets its `hash` and `files`.
pub fn compile(written: Written, generation: u64, cx: &mut Context<'_>) -> Snapshot {
    let root = Place::root(0);
    // No `..`: a new field must be dealt with here.
    let file::File {
        include: _,
        listen,
        health,
        admin,
        trusted_proxies,
        limits,
        shutdown,
        store,
        egress,
        alarms,
        outbound,
        log,
        providers: _,
        upstreams: _,
        routes: _,
    } = written.main;
    let trusted_proxies = cx.proxies(&trusted_proxies, &root.key("trusted_proxies"));
    let needs = needed::needed(&listen, &written.routes, outbound.is_some(), &root, cx);
    let listeners = of_one_gateway(cx, |cx| {
        listen::listeners(listen, &trusted_proxies, needs, &root, cx)
    });
    let health = health.and_then(|health| listen::health(health, &root.key("health"), cx));
    let at = root.key("store");
    let store = store::store(store, &at, cx);
    let admin = of_one_gateway(cx, |cx| {
        admin.and_then(|admin| admin::admin(admin, &root.key("admin"), &store.engine, cx))
    });
    let limits = limits::limits(limits, &root.key("limits"), cx);
    let shutdown = limits::shutdown(shutdown, &root.key("shutdown"), cx);
    let egress = alarms::egress(egress.unwrap_or_default(), &root.key("egress"), cx);
    let alarms = alarms::alarms(alarms.unwrap_or_default(), &root.key("alarms"), cx);
    let outbound = outbound::compile(outbound, &egress, &store, &root, cx);
    let own = own::listeners(&listeners, health, admin.as_ref(), outbound.as_ref(), cx);
    let log = limits::log(log, &root.key("log"), cx);
    let upstreams = upstreams_apart(written.upstreams, &own, cx);
    let has_proxies =
        !trusted_proxies.is_empty() || cx.problems.is_faulty(&root.key("trusted_proxies"));
    let (routes, router) = routes::routes(written.routes, &upstreams, has_proxies, needs, cx);
    let webhooks: Vec<Arc<WebhookRoute>> =
        routes.iter().filter_map(Route::webhook).cloned().collect();
    note_disk(outbound.is_some(), &webhooks, &store, &at, cx);
    Snapshot {
        generation,
        hash: String::new(),
        common_hash: String::new(),
        loaded_at: cx.loader.now.wall,
        listeners: listeners.into_iter().map(|(one, _)| one).collect(),
        health,
        admin,
        trusted_proxies: Arc::new(trusted_proxies),
        limits,
        shutdown,
        store,
        egress: Arc::new(egress),
        alarms,
        outbound: outbound.map(Arc::new),
        log,
        upstreams: upstreams
            .into_iter()
            .filter_map(|(name, upstream)| Some((name, upstream?)))
            .collect(),
        guards: GuardedPathsByApp::of_routes(webhooks.iter().map(|webhook| webhook.guarded())),
        webhooks,
        routes,
        router,
        certificates: std::mem::take(&mut cx.certificates),
        files: Vec::new(),
    }
}

/// Notes the disk of a store in which deliveries are kept. `at` is the place of the store.
fn note_disk(
    sends: bool,
    webhooks: &[Arc<WebhookRoute>],
    store: &Store,
    at: &Place,
    cx: &mut Context<'_>,
) {
    if sends || webhooks.iter().any(|webhook| webhook.action.keeps()) {
        store::note_disk(store.engine.directory(), &at.key("path"), cx);
    }
}

/// Compiles a part of the config that each gateway of a fleet may have of its own, files included.
fn of_one_gateway<T>(cx: &mut Context<'_>, compile: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let common = cx.loader.inputs.common();
    let compiled = compile(cx);
    cx.loader.inputs.restore_common(common);
    compiled
}

/// Compiles the upstreams, and reports those that are the gateway itself.
fn upstreams_apart(
    written: Vec<(Place, String, file::Upstream)>,
    own: &[own::Own],
    cx: &mut Context<'_>,
) -> Upstreams {
    let places: Vec<(String, Place)> = written
        .iter()
        .map(|(place, name, _)| (name.clone(), place.clone()))
        .collect();
    let upstreams = upstreams::upstreams(written, cx);
    own::loops(&upstreams, &places, own, cx);
    upstreams
}

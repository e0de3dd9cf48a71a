//! Compiles the config as written to the snapshot, one file per block. Goes on after an error, so that all are reported at once.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::file;
use crate::config::presets::Catalogue;
use crate::config::secret::Loader;
use crate::config::snapshot::{self, Route, Snapshot};
use crate::mount::Mount;
use crate::route::guard::GuardedPathsByApp;
use crate::units;

mod admin;
mod alarms;
mod certificates;
mod dedupe;
mod forward;
mod forward_action;
pub mod handshake;
mod limits;
mod listen;
mod methods;
mod mode;
mod outgoing;
mod own;
mod pass;
mod proof;
mod queue;
mod rate;
mod refused;
mod retry;
mod routes;
mod sign;
mod tls;
mod upstreams;
pub mod verify;
mod webhook;

/// The inputs and outputs that every block needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// The diagnostics.
    pub problems: Diagnostics,
    /// The loader of secrets and other files.
    pub loader: Loader<'a>,
    /// The presets.
    pub catalogue: &'a Catalogue,
    /// The mounts of the machine.
    pub mounts: &'a [Mount],
    /// The certificates that were read.
    pub certificates: Vec<snapshot::CertificateUse>,
    /// Whether a listener has a `client_ca`.
    pub asks_for_certificates: bool,
    /// Whether there is a store on disk, or one with an error.
    pub has_store: bool,
}

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
        log,
        providers: _,
        upstreams: _,
        routes: _,
    } = written.main;
    let trusted_proxies = cx.proxies(&trusted_proxies, &root.key("trusted_proxies"));
    let listeners = listen::listeners(listen, &trusted_proxies, &root, cx);
    let health = health.and_then(|health| listen::health(health, &root.key("health"), cx));
    let at = root.key("store");
    let store = limits::store(store, &at, cx);
    cx.has_store = store.path.is_some()
        || cx.problems.has_error_at(&at)
        || cx.problems.is_spoiled(&at.key("path"));
    let admin = admin.and_then(|admin| admin::admin(admin, &root.key("admin"), cx));
    let own = own::listeners(&listeners, health, admin.as_ref(), &root);
    own::apart(&own, cx);
    let limits = limits::limits(limits, &root.key("limits"), cx);
    let shutdown = limits::shutdown(shutdown, &root.key("shutdown"), cx);
    let egress = alarms::egress(egress.unwrap_or_default(), &root.key("egress"), cx);
    let alarms = alarms::alarms(alarms.unwrap_or_default(), &root.key("alarms"), cx);
    let log = limits::log(log, &root.key("log"), cx);
    let upstreams = upstreams_apart(written.upstreams, &own, cx);
    let has_proxies = !trusted_proxies.is_empty();
    let (routes, router) = routes::routes(written.routes, &upstreams, has_proxies, cx);
    let hooks: Vec<Arc<snapshot::WebhookRoute>> =
        routes.iter().filter_map(Route::webhook).cloned().collect();
    if hooks.iter().any(|hook| hook.action.keeps()) {
        limits::note_disk(store.path.as_deref(), &at.key("path"), cx);
    }
    Snapshot {
        generation,
        hash: String::new(),
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
        log,
        upstreams: upstreams
            .into_iter()
            .filter_map(|(name, upstream)| Some((name, upstream?)))
            .collect(),
        guards: GuardedPathsByApp::of_routes(hooks.iter().map(|hook| hook.guarded())),
        hooks,
        routes,
        router,
        certificates: std::mem::take(&mut cx.certificates),
        files: Vec::new(),
    }
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

/// The upstreams by name. One with an error is `None`, so that routes to it are not reported as well.
type Upstreams = BTreeMap<Arc<str>, Option<Arc<snapshot::Upstream>>>;

impl Context<'_> {
    /// Parses a duration, or returns the default.
    fn duration(&mut self, written: Option<&str>, place: &Place, default: Duration) -> Duration {
        self.maybe_duration(written, place).unwrap_or(default)
    }

    /// Parses a duration, if one is written.
    fn maybe_duration(&mut self, written: Option<&str>, place: &Place) -> Option<Duration> {
        let text = written?;
        match units::duration(text) {
            Ok(duration) if duration.is_zero() => {
                self.problems
                    .error(place, "this must be greater than 0", None);
            }
            Ok(duration) if duration > MAX_DURATION => {
                self.problems
                    .error(place, "this must not be longer than ten years", None);
            }
            Ok(duration) => return Some(duration),
            Err(_) if is_count(text) => self.problems.error(
                place,
                "this duration has no unit",
                format!("write `{text}s`"),
            ),
            Err(why) => self
                .problems
                .error(place, "this is not a duration", why.to_string()),
        }
        None
    }

    /// Parses a size in bytes, or returns the default.
    fn size(&mut self, written: Option<&str>, place: &Place, default: usize) -> usize {
        let Some(text) = written else { return default };
        match units::size(text) {
            Ok(0) => self
                .problems
                .error(place, "this must be greater than 0", None),
            Ok(size) if size > MAX_SIZE => {
                self.problems
                    .error(place, "this must not be larger than 1 TiB", None);
            }
            Ok(size) => return size,
            Err(why) => self
                .problems
                .error(place, "this is not a size", why.to_string()),
        }
        default
    }

    /// Parses a rate.
    fn rate(&mut self, text: &str, place: &Place) -> Option<units::Rate> {
        match units::rate(text) {
            Ok(rate) => return Some(rate),
            Err(_)
                if text.split_once('/').is_some_and(|(count, _)| {
                    count.trim().bytes().all(|byte| byte == b'0') && !count.is_empty()
                }) =>
            {
                self.problems.error(
                    place,
                    "a rate must be greater than 0",
                    "write at least `1/s`, `1/m` or `1/h`".to_owned(),
                );
            }
            Err(_) if is_count(text) && text != "0" => {
                self.problems
                    .error(place, "this rate has no unit", format!("write `{text}/s`"));
            }
            Err(why) => self
                .problems
                .error(place, "this is not a rate", why.to_string()),
        }
        None
    }

    /// Parses a network as CIDR, or a single address. `instead` names the alternative that the key allows.
    fn network(&mut self, text: &str, instead: &str, place: &Place) -> Option<ipnet::IpNet> {
        let network = text.parse::<ipnet::IpNet>().ok().or_else(|| {
            text.parse::<std::net::IpAddr>()
                .ok()
                .map(ipnet::IpNet::from)
        });
        let Some(network) = network else {
            let help = format!("write CIDR, such as `10.0.0.0/8` or `2001:db8::/32`{instead}");
            self.problems.error(place, "this is not a network", help);
            return None;
        };
        if network.addr() != network.network() {
            let message = format!(
                "the address is not the first one of its network; it is read as {}",
                network.trunc()
            );
            let one = ipnet::IpNet::from(network.addr());
            self.problems.warning(
                place,
                message,
                format!(
                    "write `{}`, or `{one}` for this address alone",
                    network.trunc()
                ),
            );
        }
        Some(network.trunc())
    }

    /// Compiles `trusted_proxies`.
    fn proxies(&mut self, written: &[String], place: &Place) -> snapshot::TrustedProxies {
        let mut proxies = snapshot::TrustedProxies::default();
        for (index, text) in written.iter().enumerate() {
            if text == "unix" {
                proxies.unix = true;
            } else {
                proxies
                    .networks
                    .extend(self.network(text, ", or `unix`", &place.index(index)));
            }
        }
        proxies
    }

    /// Compiles the `allow` of a route.
    fn allow(&mut self, written: &[String], place: &Place) -> snapshot::Allow {
        let mut allow = snapshot::Allow::default();
        for (index, text) in written.iter().enumerate() {
            let place = place.index(index);
            match text.strip_prefix("subject:") {
                None => allow
                    .networks
                    .extend(self.network(text, ", or `subject:NAME`", &place)),
                Some("") => self.problems.error(
                    &place,
                    "`subject:` needs a name",
                    "write `subject:NAME`".to_owned(),
                ),
                Some(_) if !self.asks_for_certificates => {
                    let help = "add `client_ca: FILE` to the `tls` of a listener".to_owned();
                    self.problems
                        .error(&place, "no listener asks clients for a certificate", help);
                }
                Some(name) => allow.subjects.push(name.to_owned()),
            }
        }
        allow
    }

    /// Parses one of a few words.
    fn word<T: Copy>(
        &mut self,
        written: Option<&str>,
        place: &Place,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = written?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.problems.error(
                place,
                "this value is not allowed",
                format!("write {}", known.join(" or ")),
            );
        }
        found
    }

    /// Reports that `what` at `place` needs a store, if there is none.
    fn needs_store(&mut self, place: &Place, what: &str) {
        if !self.has_store {
            let help = "add `store: { path: /var/lib/hookgate }` to the config".to_owned();
            self.problems
                .error_at_key(place, format!("{what} needs a store on disk"), help);
        }
    }
}

/// The largest size that a config may have.
const MAX_SIZE: usize = 1 << 40;
/// The longest duration that a config may have. Calculations with longer ones could overflow.
const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Returns whether the text consists of digits.
fn is_count(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

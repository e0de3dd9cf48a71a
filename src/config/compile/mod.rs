//! From what the files say to what runs: a file a block. Goes on after an error, so that all are told at once.
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
pub mod handshake;
mod limits;
mod listen;
mod mode;
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

/// What every block needs.
#[derive(Debug)]
pub struct Context<'a> {
    /// Where findings go.
    pub problems: Diagnostics,
    /// Reads secrets and other files.
    pub loader: Loader<'a>,
    /// The presets.
    pub catalogue: &'a Catalogue,
    /// What the machine has mounted.
    pub mounts: &'a [Mount],
    /// The certificates that were read.
    pub certificates: Vec<snapshot::CertificateUse>,
    /// Whether a listener has a `client_ca`.
    pub asks_for_certificates: bool,
    /// Whether there is a store on disk, or one that is blamed already.
    pub has_store: bool,
}

/// What is written, over all files: `upstreams` and `routes` with the file each comes from.
#[derive(Debug)]
pub struct Written {
    /// The main file, without its upstreams and routes.
    pub main: file::File,
    /// All upstreams.
    pub upstreams: Vec<(Place, String, file::Upstream)>,
    /// All routes.
    pub routes: Vec<(Place, file::Route)>,
}

/// The snapshot of what is written; worth something only if no error was found. Its `hash` and `files` are for the caller to fill in.
pub fn compile(written: Written, generation: u64, cx: &mut Context<'_>) -> Snapshot {
    let root = Place::root(0);
    let Written {
        main,
        upstreams,
        routes,
    } = written;
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
    } = main;
    let trusted_proxies = cx.proxies(&trusted_proxies, &root.key("trusted_proxies"));
    let listeners = listen::listeners(listen, &trusted_proxies, &root, cx);
    let health = health.and_then(|health| listen::health(health, &root.key("health"), cx));
    let store = limits::store(store, &root.key("store"), cx);
    let at = root.key("store");
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
    let places: Vec<(String, Place)> = upstreams
        .iter()
        .map(|(place, name, _)| (name.clone(), place.clone()))
        .collect();
    let upstreams = upstreams::upstreams(upstreams, cx);
    own::loops(&upstreams, &places, &own, cx);
    let (routes, router) = routes::routes(routes, &upstreams, !trusted_proxies.is_empty(), cx);
    let hooks: Vec<Arc<snapshot::WebhookRoute>> =
        routes.iter().filter_map(Route::webhook).cloned().collect();
    if let Some(path) = store
        .path
        .as_ref()
        .filter(|_| hooks.iter().any(|hook| hook.action.keeps()))
    {
        limits::note_disk(path, &at.key("path"), cx);
    }
    Snapshot {
        generation,
        hash: String::new(),
        loaded_at: cx.loader.now.wall,
        listeners: listeners
            .into_iter()
            .map(|(listener, _)| listener)
            .collect(),
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

/// Upstreams by name. One that is there but wrong is `None`, so that routes to it are not blamed as well.
type Upstreams = BTreeMap<Arc<str>, Option<Arc<snapshot::Upstream>>>;

impl Context<'_> {
    /// The duration that is written, else the default.
    fn duration(&mut self, written: Option<&str>, place: &Place, default: Duration) -> Duration {
        self.maybe_duration(written, place).unwrap_or(default)
    }

    fn maybe_duration(&mut self, written: Option<&str>, place: &Place) -> Option<Duration> {
        let text = written?;
        match units::duration(text) {
            Ok(duration) if duration.is_zero() => {
                self.problems
                    .error(place, "this must be longer than nothing", None)
            }
            Ok(duration) if duration > MOST => {
                self.problems
                    .error(place, "this is longer than ten years", None)
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

    /// The size in bytes that is written, else the default.
    fn size(&mut self, written: Option<&str>, place: &Place, default: usize) -> usize {
        let Some(text) = written else { return default };
        match units::size(text) {
            Ok(0) => self
                .problems
                .error(place, "this must be more than nothing", None),
            Ok(size) if size > MOST_BYTES => {
                self.problems.error(place, "this is more than 1 TiB", None)
            }
            Ok(size) => return size,
            Err(why) => self
                .problems
                .error(place, "this is not a size", why.to_string()),
        }
        default
    }

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
                    "this rate lets nothing through",
                    "write at least `1/s`, `1/m` or `1/h`".to_owned(),
                );
            }
            Err(_) if is_count(text) && text != "0" => {
                self.problems
                    .error(place, "this rate has no unit", format!("write `{text}/s`"))
            }
            Err(why) => self
                .problems
                .error(place, "this is not a rate", why.to_string()),
        }
        None
    }

    /// A network as CIDR; a bare address is a network of one. `instead` is what else may stand there.
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
                "the address is not the first of its network: this means {}",
                network.trunc()
            );
            let one = ipnet::IpNet::from(network.addr());
            self.problems.warning(
                place,
                message,
                format!("write `{}`, or `{one}` for the one", network.trunc()),
            );
        }
        Some(network.trunc())
    }

    /// The proxies in front of the gate.
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

    /// Who a route takes.
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
                    "there is no name",
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

    /// One of a few words.
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
                "this word is not known here",
                format!("write {}", known.join(" or ")),
            );
        }
        found
    }

    /// What `place` says needs a store.
    fn needs_store(&mut self, place: &Place, what: &str) {
        if !self.has_store {
            let help = "add `store: { path: /var/lib/hookgate }` to the config".to_owned();
            self.problems.error_at_key(
                place,
                format!("{what} needs a store on disk, and there is none"),
                help,
            );
        }
    }
}

/// No config means more memory than that.
const MOST_BYTES: usize = 1 << 40;
/// No config means more than ten years; time reckoned with more could overflow.
const MOST: Duration = Duration::from_secs(10 * 366 * 86_400);

fn is_count(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

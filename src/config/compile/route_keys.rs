//! The keys of a route, sorted by the kind of route that they belong to.
use crate::config::compile::context::Context;
use crate::config::compile::queue;
use crate::config::diagnostic::Place;
use crate::config::file::{self, HandshakeOrNone, OneOrMany, VerifyOrNone};

/// The keys that every route has.
pub(super) struct Common {
    pub(super) name: String,
    pub(super) previously: Vec<String>,
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    pub(super) max_body: Option<String>,
    pub(super) allow: Vec<String>,
    pub(super) rate_limit: Option<OneOrMany<file::RateLimit>>,
}

/// The keys that only a webhook route has.
pub(super) struct WebhookKeys {
    pub(super) public_url: Option<String>,
    pub(super) verify: Option<VerifyOrNone>,
    pub(super) refused_status: Option<u16>,
    pub(super) refused_body: Option<String>,
    pub(super) handshake: Option<HandshakeOrNone>,
    pub(super) dedupe: Option<file::Dedupe>,
    pub(super) mode: Option<String>,
    pub(super) until: Option<String>,
    pub(super) keep: Option<file::Keep>,
    pub(super) quarantine: Option<file::Quarantine>,
}

/// The actions of a route.
pub(super) struct Actions {
    pub(super) forward: Option<file::Forward>,
    pub(super) queue: Option<file::Queue>,
    pub(super) pass: Option<file::Pass>,
}

/// Sorts the keys of a route by the kind of route that they belong to.
pub(super) fn sorted(name: String, route: file::Route) -> (Common, WebhookKeys, Actions) {
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
        quarantine,
    } = route;
    let common = Common {
        name,
        previously,
        host,
        path: path.unwrap_or_default(),
        methods,
        max_body,
        allow,
        rate_limit,
    };
    let keys = WebhookKeys {
        public_url,
        verify,
        refused_status,
        refused_body,
        handshake,
        dedupe,
        mode,
        until,
        keep,
        quarantine,
    };
    let actions = Actions {
        forward,
        queue,
        pass,
    };
    (common, keys, actions)
}

impl WebhookKeys {
    /// Returns the names of the keys that are written.
    pub(super) fn written(&self) -> impl Iterator<Item = &'static str> {
        [
            ("verify", self.verify.is_some()),
            ("refused_status", self.refused_status.is_some()),
            ("refused_body", self.refused_body.is_some()),
            ("handshake", self.handshake.is_some()),
            ("dedupe", self.dedupe.is_some()),
            ("public_url", self.public_url.is_some()),
            ("mode", self.mode.is_some()),
            ("until", self.until.is_some()),
            ("keep", self.keep.is_some()),
            ("quarantine", self.quarantine.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, is_written)| is_written.then_some(key))
    }
}

/// Returns the only action of a webhook route. A route that has `pass` alone does not come here.
pub(super) fn action(
    actions: Actions,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<queue::Written> {
    let Actions {
        forward,
        queue,
        pass,
    } = actions;
    let has_pass = pass.is_some();
    let count =
        usize::from(forward.is_some()) + usize::from(queue.is_some()) + usize::from(has_pass);
    if count > 1 {
        let second = if has_pass { "pass" } else { "queue" };
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
        cx.problems
            .missing(place, "forward", "the route has no action", help);
    }
    forward
        .map(queue::Written::Forward)
        .or(queue.map(queue::Written::Queue))
}

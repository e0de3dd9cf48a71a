//! A compiled webhook route.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, Method};

use super::allow::Allow;
use super::deliver::{Acknowledgement, Action, Deliver, Keep, LimitScope, RefusedAnswer};
use super::upstream::Upstream;
use crate::alarm::DisablesAfter;
use crate::clock::Dates;
use crate::dedupe::late::LateRule;
use crate::limit::Quota;
use crate::request::RequestHead;
use crate::route::guard::GuardedRoute;
use crate::route::template::PathTemplate;
use crate::verify::{Handshakes, Locator, SecretLocations, SigningKey, Verifier};

/// The bounds of the requests that a route keeps although they are not authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The bytes of all of them.
    pub max_bytes: u64,
    /// The time after which one is removed.
    pub max_age: Duration,
}

/// The place that a secret is read from. Its path or variable is not shown: it may say where other secrets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// An environment variable.
    Env,
    /// A file.
    File,
    /// The config itself.
    Inline,
}

impl SecretOrigin {
    /// Returns its name in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Inline => "inline",
        }
    }
}

/// A webhook route.
#[derive(Debug)]
pub struct WebhookRoute {
    /// Its name: log field, metric label, part of ledger and limiter keys.
    pub name: Arc<str>,
    /// Its earlier names, the oldest first: it owns the entries of the store under them.
    pub previously: Vec<Box<str>>,
    /// The path as written in the config.
    pub path: String,
    /// The methods that it accepts.
    pub methods: Vec<Method>,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// The clients that may use it.
    pub allow: Allow,
    /// The preset's name, if it has one.
    pub provider: Option<Arc<str>>,
    /// The verification of senders; `None`: `verify: none`.
    pub verifier: Option<Verifier>,
    /// The origins of its secrets, in the order of its list; none for a table.
    pub secret_origins: Vec<SecretOrigin>,
    /// The parts of its requests that contain a secret or a signature.
    pub secret_locations: SecretLocations,
    /// The time until which it observes: it forwards unverified requests and only counts them. `None`: it enforces.
    pub observe_until: Option<SystemTime>,
    /// The tests of the endpoint that the gateway answers.
    pub handshakes: Handshakes,
    /// Its rate limits.
    pub rate_limits: Vec<RateLimit>,
    /// The detection of duplicates, if enabled.
    pub dedupe: Option<Dedupe>,
    /// Whether two deliveries can have the same delivery ID, so that only ID and body together identify one.
    pub id_with_body: bool,
    /// The target of deliveries.
    pub forward: Forward,
    /// The action: forward or queue.
    pub action: Action,
    /// The delivery of stored deliveries. A route that never queues needs it for deliveries of an older config.
    pub deliver: Deliver,
    /// The retention of stored deliveries.
    pub keep: Keep,
    /// The response to a delivery that is stored in the queue, and to a duplicate.
    pub answer: Acknowledgement,
    /// The response to a request that is not authentic.
    pub refused: RefusedAnswer,
    /// The bounds of the requests that are kept although they are not authentic; `None`: none are.
    pub quarantine: Option<Quarantine>,
    /// The time that the provider waits for a response.
    pub answer_within: Option<Duration>,
    /// The time for which the provider retries a delivery.
    pub retries_for: Option<Duration>,
    /// Whether its retries keep the signed time of the first attempt; `false` if unknown.
    pub retry_keeps_time: bool,
    /// The failures after which the provider disables the endpoint, if known.
    pub disables_after: Option<DisablesAfter>,
}

impl WebhookRoute {
    /// Returns the paths that this route guards at its upstream.
    pub fn guarded(&self) -> GuardedRoute<'_> {
        GuardedRoute {
            name: &self.name,
            path: &self.path,
            onward: self.forward.path.as_ref(),
            app: self.forward.upstream.address.app(),
        }
    }

    /// Returns whether the ledger key of its deliveries depends on the body: only then a body is hashed as it arrives.
    pub fn keys_by_body(&self) -> bool {
        let by_body = |dedupe: Dedupe| {
            dedupe.by_content || !self.verifier.as_ref().is_some_and(Verifier::covers_id)
        };
        self.dedupe.is_some_and(by_body)
            || self.dedupe.is_some() && self.id_with_body
            || self.late_retries().is_some()
    }

    /// Returns the rule for retries that are older than the tolerance; `None` if they are never accepted.
    pub fn late_retries(&self) -> Option<LateRule> {
        let retries_for = self.retries_for.filter(|_| self.retry_keeps_time)?;
        let (verifier, dedupe) = (self.verifier.as_ref()?, self.dedupe?);
        let tolerance = verifier.tolerance()?;
        let rule = LateRule {
            tolerance,
            retries_for,
            window: dedupe.late_window(),
            covers_body: verifier.covers().body,
        };
        Some(rule).filter(|rule| rule.applies())
    }

    /// Returns how long a delivery is remembered. `has_id`: whether an ID identifies it.
    pub fn window_of(&self, has_id: bool) -> Duration {
        let Some(dedupe) = self.dedupe else {
            return Duration::ZERO;
        };
        // the signed time is part of the key: an equal body of a later event has another
        if self.late_retries().is_some() {
            dedupe.late_window()
        } else {
            dedupe.window_of(has_id)
        }
    }

    /// Returns a text of everything that decides how deliveries of a route with late retries are remembered. If it changes, earlier deliveries may be unknown.
    pub fn ledger_policy(&self) -> Option<String> {
        let (rule, verifier) = (self.late_retries()?, self.verifier.as_ref()?);
        let (dedupe, observes) = (&self.dedupe, &self.observe_until);
        Some(format!(
            "{rule:?} {dedupe:?} {observes:?} {} {:?} {:?}",
            self.path,
            verifier.secrets().keyed_by(),
            verifier.shape()
        ))
    }

    /// Returns whether it observes: requests that are not authentic are forwarded.
    pub fn observes(&self, dates: &Dates) -> bool {
        self.verifier.is_some()
            && self
                .observe_until
                .is_some_and(|until| !dates.has_ended(until))
    }

    /// Returns whether a header that must be single occurs with different values: two readers could use different ones.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        self.verifier
            .as_ref()
            .is_some_and(|verifier| verifier.is_ambiguous(head))
            || self.handshakes.is_ambiguous(head)
            || self.keys().any(|at| at.is_ambiguous(head))
    }

    /// Returns the headers that contain the account and the keys of rate limits and FIFO lanes.
    pub fn key_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let account = self
            .verifier
            .as_ref()
            .and_then(|verifier| verifier.secrets().keyed_by()?.header());
        account
            .into_iter()
            .chain(self.keys().flat_map(Locator::headers))
    }

    /// Returns the locations of the keys of its rate limits and FIFO lanes.
    fn keys(&self) -> impl Iterator<Item = &Locator> {
        let rates = self.rate_limits.iter().filter_map(|limit| {
            if let RateKey::Value(at) = &limit.key {
                Some(at)
            } else {
                None
            }
        });
        rates.chain(&self.deliver.fifo)
    }

    /// Returns whether it refuses requests that are not authentic.
    pub fn enforces(&self, dates: &Dates) -> bool {
        self.verifier.is_some() && !self.observes(dates)
    }
}

/// A rate limit of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// The rate and burst.
    pub quota: Quota,
    /// The requests that share it.
    pub key: RateKey,
    /// The gateways that share it.
    pub scope: LimitScope,
}

/// The requests that share a rate limit.
#[derive(Clone, Debug, PartialEq)]
pub enum RateKey {
    /// All requests of a client address, counted before verification.
    ClientIp,
    /// All authentic requests of the route.
    Route,
    /// All authentic requests with the same value at this location.
    Value(Locator),
}

/// The detection of duplicates on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedupe {
    /// The time that a delivery ID is remembered.
    pub window: Duration,
    /// The time that the body of a delivery without an ID is remembered.
    pub content_window: Duration,
    /// Whether deliveries are identified by the signed body alone.
    pub by_content: bool,
    /// Whether the same ID under a secret of another name is another delivery.
    pub per_secret: bool,
    /// The treatment of a delivery while the store cannot be asked for its ID.
    pub on_store_down: OnStoreDown,
}

/// The treatment of a delivery while the store cannot be asked for its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreDown {
    /// It is forwarded, unless this gateway remembers its ID.
    Pass,
    /// It is refused.
    Refuse,
}

impl Dedupe {
    /// Returns the same with windows that are no shorter than `age`.
    #[must_use]
    pub fn at_least(self, age: Duration) -> Self {
        Self {
            window: self.window.max(age),
            content_window: self.content_window.max(age),
            ..self
        }
    }

    /// Returns how long a delivery is remembered on a route with late retries.
    pub fn late_window(&self) -> Duration {
        if self.by_content {
            self.content_window
        } else {
            self.window
        }
    }

    /// Returns how long a delivery is remembered.
    pub fn window_of(&self, has_id: bool) -> Duration {
        if has_id && !self.by_content {
            self.window
        } else {
            self.content_window
        }
    }
}

/// The target of a route's deliveries.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The path at the upstream; `None`: the sender's.
    pub path: Option<PathTemplate>,
    /// Whether the upstream gets the query.
    pub keep_query: bool,
    /// The secrets that are removed before the upstream or the store gets the request.
    pub dropped: SecretLocations,
    /// The time for connecting, sending and answering together.
    pub timeout: Duration,
    /// Whether deliveries that are sent after their request are signed again as the provider does.
    pub resign: bool,
    /// The keys of the gateway's own signatures.
    pub sign: Option<Arc<[SigningKey]>>,
}

//! The client of one upstream: one way to hand a delivery on.
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use pingora::upstreams::peer::HttpPeer;

use super::Outgoing;
use super::answer_head::MAX_HEAD;
use super::breaker::{Breaker, Permit, Scope};
use super::exchange::{Bounds, Failure};
use super::render;
use super::switch::Switches;
use super::wire::Wire;
use crate::clock::Clock;
use crate::config::snapshot::{Upstream, WebhookRoute};
use crate::delivery::{Answer, AttemptContext, Delivery, Fault, Outcome, SendFacts};
use crate::queue::choose::Admission;

pub use super::answer_head::{announces_content, has_no_content};
pub use super::connect_fault::connect_fault;
pub use super::trust::Unusable;

/// The client of one upstream. A reload makes a new one, which shares what belongs to an unchanged address.
pub struct Client {
    policy: Arc<Upstream>,
    state: Arc<AddressState>,
    clock: Arc<dyn Clock>,
}

/// The connections and breakers of an upstream at one address. An upstream whose address changes gets new ones.
struct AddressState {
    wire: Wire,
    /// Counts failures to reach the address.
    breaker: Arc<Breaker>,
    /// Count requests that were not answered in time, by route.
    handlers: Mutex<HashMap<Arc<str>, Weak<Breaker>>>,
}

/// The client of an upstream as one route uses it.
#[derive(Clone)]
pub struct RouteClient {
    client: Arc<Client>,
    /// Counts the route's requests that were not answered in time.
    handler: Arc<Breaker>,
}

/// The result of sending.
#[derive(Debug)]
pub struct Sent {
    /// The outcome.
    pub outcome: Outcome,
    /// There exactly if the outcome is [`Outcome::Answered`].
    pub answer: Option<Answer>,
    /// The facts about how it was sent.
    pub facts: SendFacts,
}

impl Sent {
    pub(super) fn new(result: Result<Answer, Failure>, facts: SendFacts) -> Self {
        let (outcome, answer) = match result {
            Ok(answer) => (Outcome::Answered(answer.status), Some(answer)),
            Err(Failure::Unreached(fault)) => (Outcome::Unreached(fault), None),
            Err(Failure::Ambiguous(fault)) => (Outcome::Ambiguous(fault), None),
        };
        Self {
            outcome,
            answer,
            facts,
        }
    }
}

impl AddressState {
    fn new(policy: &Upstream, clock: &Arc<dyn Clock>) -> Result<Arc<Self>, Unusable> {
        let wire = Wire::new(&policy.address, Arc::clone(clock))?;
        let breaker = Breaker::new(Scope::Address, policy.breaker);
        Ok(Arc::new(Self {
            wire,
            breaker,
            handlers: Mutex::default(),
        }))
    }

    fn handlers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Breaker>>> {
        self.handlers.lock()
    }
}

impl Client {
    /// Makes a client without connections. Reads the CA file, or the system's certificates.
    ///
    /// # Errors
    /// The certificates can't be used.
    pub fn new(policy: Arc<Upstream>, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        let state = AddressState::new(&policy, &clock)?;
        Ok(Self {
            policy,
            state,
            clock,
        })
    }

    /// Makes a client for the same upstream under another policy. Where address, CA and certificates are the same, it shares connections and
    /// breakers (see [`Self::follow_policy`]); deliveries under way end on the old one.
    ///
    /// # Errors
    /// The certificates can't be used; nothing has changed then.
    pub fn with_policy(&self, policy: Arc<Upstream>) -> Result<Self, Unusable> {
        let same = policy.address == self.policy.address;
        let state = if same {
            Arc::clone(&self.state)
        } else {
            AddressState::new(&policy, &self.clock)?
        };
        Ok(Self {
            policy,
            state,
            clock: Arc::clone(&self.clock),
        })
    }

    /// Makes the shared breakers follow this client's policy: once it is certain that this client is used.
    pub fn follow_policy(&self) {
        self.state.breaker.set_policy(self.policy.breaker);
        self.state
            .handlers()
            .values()
            .filter_map(Weak::upgrade)
            .for_each(|handler| handler.set_policy(self.policy.breaker));
    }

    /// Returns the policy.
    pub fn policy(&self) -> &Arc<Upstream> {
        &self.policy
    }

    /// Returns the breaker of the address, for showing.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.state.breaker
    }

    /// Returns this client as a route uses it. The breaker of the route's handler lasts as long as the route and the address.
    pub fn for_route(self: &Arc<Self>, route: &Arc<str>) -> RouteClient {
        let mut handlers = self.state.handlers();
        let handler = handlers
            .get(route)
            .and_then(Weak::upgrade)
            .unwrap_or_else(|| {
                let new = Breaker::new(Scope::Handler, self.policy.breaker);
                handlers.retain(|_, handler| handler.strong_count() > 0);
                handlers.insert(Arc::clone(route), Arc::downgrade(&new));
                new
            });
        drop(handlers);
        RouteClient {
            client: Arc::clone(self),
            handler,
        }
    }

    /// Returns the peers that a stream may be sent to, in the order to connect to them.
    ///
    /// # Errors
    /// The name does not resolve, and never has, or not within the time a connection may take.
    pub async fn peers(&self) -> Result<Vec<HttpPeer>, Fault> {
        self.state
            .wire
            .peers_for_streams(self.policy.connect_timeout)
            .await
    }

    /// Makes a connection as for a request, TLS included, and closes it. Nothing is sent over it.
    ///
    /// # Errors
    /// The reason why no connection could be made.
    pub async fn dial(&self) -> Result<(), Fault> {
        let connect = self.policy.connect_timeout;
        let bounds = Bounds {
            connect,
            deadline: self.clock.mono() + 2 * connect,
            idle: Duration::ZERO,
            max_head: MAX_HEAD,
        };
        self.state.wire.connect(bounds).await.map(drop)
    }

    /// Returns the connections that were made to those peers.
    pub fn switches(&self) -> &Switches {
        self.state.wire.switches()
    }

    /// Looks its name up again: none of the peers took a connection for a stream.
    pub fn note_fault(&self) {
        if let Some(resolver) = self.state.wire.resolver() {
            resolver.note_fault();
        }
    }

    /// Returns for how long its name has not resolved, if that is long enough for an alarm. Called every few seconds, it also repeats the
    /// look-up.
    pub fn check_name(&self) -> Option<Duration> {
        self.state.wire.resolver()?.check()
    }
}

impl RouteClient {
    /// Returns the client of the upstream.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Returns the breaker of the route's handler, for showing.
    pub fn handler(&self) -> &Arc<Breaker> {
        &self.handler
    }

    /// Returns what may be sent at `now`: what both the address and the handler permit.
    pub fn admission(&self, now: Instant) -> Admission {
        match (
            self.handler.admission(now),
            self.client.breaker().admission(now),
        ) {
            (Admission::None, _) | (_, Admission::None) => Admission::None,
            (Admission::Probe, _) | (_, Admission::Probe) => Admission::Probe,
            (Admission::All, Admission::All) => Admission::All,
        }
    }

    /// Returns how long nothing may be sent from `now` on; zero if something may.
    pub fn shut_for(&self, now: Instant) -> Duration {
        self.handler
            .shut_for(now)
            .max(self.client.breaker().shut_for(now))
    }

    /// Sends a request once. `budget` bounds connecting, sending and the whole answer together.
    pub async fn send(&self, outgoing: &Outgoing, budget: Duration) -> Sent {
        let Client {
            policy,
            state,
            clock,
        } = &*self.client;
        let now = clock.mono();
        let permits = match self.admit(now, policy.connect_timeout + budget) {
            Ok(permits) => permits,
            Err(after) => {
                return Sent {
                    outcome: Outcome::Unreached(Fault::BreakerOpen(after)),
                    answer: None,
                    facts: SendFacts::default(),
                };
            }
        };
        let bounds = Bounds {
            connect: policy.connect_timeout,
            deadline: now + budget,
            idle: policy.idle_timeout,
            max_head: MAX_HEAD,
        };
        let sent = send(&state.wire, outgoing, bounds).await;
        let ended = clock.mono();
        permits
            .into_iter()
            .for_each(|permit| permit.record(sent.outcome, ended));
        sent
    }

    /// Sends a delivery of the route `webhook` once.
    pub async fn deliver(
        &self,
        delivery: &Delivery,
        webhook: &WebhookRoute,
        attempt: &AttemptContext,
    ) -> Sent {
        let (outgoing, stale) = render::delivery(delivery, webhook, attempt);
        if let Some(why) = stale {
            let request_id = delivery.head().request_id.as_str();
            tracing::warn!(route = &*webhook.name, request_id, %why, "a delivery goes on as it was signed, it cannot be signed anew");
        }
        self.send(&outgoing, attempt.budget).await
    }

    /// Returns a permit of both breakers. Where the second gives none, that of the first is dropped and counts for nothing.
    fn admit(&self, now: Instant, limit: Duration) -> Result<[Permit; 2], Duration> {
        let handler = self.handler.admit(now, limit)?;
        Ok([handler, self.client.breaker().admit(now, limit)?])
    }
}

/// Sends a request once.
pub(super) async fn send(wire: &Wire, outgoing: &Outgoing, bounds: Bounds) -> Sent {
    let mut facts = SendFacts::default();
    let result = wire.exchange(outgoing, bounds, &mut facts).await;
    Sent::new(result, facts)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("policy", &self.policy)
            .field("breaker", self.breaker())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RouteClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteClient")
            .field("client", &self.client)
            .field("handler", &self.handler)
            .finish()
    }
}

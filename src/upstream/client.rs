//! The client of one upstream: one way to hand a delivery on.
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::Outgoing;
use super::breaker::Breaker;
use super::render;
use super::wire::{Bounds, Failure, Wire};
use crate::clock::{Clock, within};
use crate::config::snapshot::{Hook, Upstream};
use crate::delivery::{Answer, Attempt, Delivery, Fault, HandOn, Outcome, Pending};

pub use super::wire::Unusable;

/// The client of one upstream: policy, connections, breaker. A reload makes a new one that shares what is unchanged.
pub struct Client {
    policy: Arc<Upstream>,
    wire: Arc<Wire>,
    breaker: Arc<Breaker>,
    clock: Arc<dyn Clock>,
}

/// What sending came to.
#[derive(Debug)]
pub struct Sent {
    /// The outcome.
    pub outcome: Outcome,
    /// There exactly if the outcome is [`Outcome::Answered`].
    pub answer: Option<Answer>,
    /// How it was made.
    pub made: Made,
}

/// How a delivery was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// How often it was sent, or tried to: 0 while the breaker is open, 2 after a stale connection.
    pub tries: u32,
    /// How long connecting took, if a connection was made for it.
    pub connect: Option<Duration>,
    /// How long the head of the answer took, from the first byte sent.
    pub first_byte: Option<Duration>,
    /// The address connected to; none for a unix socket.
    pub peer: Option<SocketAddr>,
}

impl Client {
    /// A client without connections. Reads the CA file, or the system's certificates.
    ///
    /// # Errors
    /// The certificates can't be used.
    pub fn new(policy: Arc<Upstream>, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        let wire = Arc::new(Wire::new(&policy.address, Arc::clone(&clock))?);
        let breaker = Breaker::new(policy.breaker);
        Ok(Self { policy, wire, breaker, clock })
    }

    /// A client for the same upstream under another policy. It shares the breaker (see [`Self::follow_policy`]), and the connections where
    /// address, CA and certificates are the same; deliveries under way end on the old one.
    ///
    /// # Errors
    /// The certificates can't be used; nothing has changed then.
    pub fn with_policy(&self, policy: Arc<Upstream>) -> Result<Self, Unusable> {
        let same = policy.address == self.policy.address;
        let wire = if same { Arc::clone(&self.wire) } else { Arc::new(Wire::new(&policy.address, Arc::clone(&self.clock))?) };
        Ok(Self { policy, wire, breaker: Arc::clone(&self.breaker), clock: Arc::clone(&self.clock) })
    }

    /// Has the shared breaker follow this client's policy: once it is certain that this client is used.
    pub fn follow_policy(&self) {
        self.breaker.set_policy(self.policy.breaker);
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Upstream> {
        &self.policy
    }

    /// The breaker: for those who show it, and for streams, which are sent by pingora itself.
    pub fn breaker(&self) -> &Arc<Breaker> {
        &self.breaker
    }

    /// Sends a request, and once more if a connection from the pool turns out dead before any byte of an answer. `budget` bounds
    /// connecting, sending and the whole answer together.
    pub async fn send(&self, outgoing: &Outgoing, budget: Duration) -> Sent {
        let now = self.clock.mono();
        let permit = match self.breaker.admit(now) {
            Ok(permit) => permit,
            Err(after) => {
                return Sent { outcome: Outcome::Unreached(Fault::BreakerOpen(after)), answer: None, made: Made::default() };
            }
        };
        let bounds = Bounds { connect: self.policy.connect_timeout, deadline: now + budget, idle: self.policy.idle_timeout };
        let sent = send(&self.wire, outgoing, bounds).await;
        permit.record(sent.outcome, self.clock.mono());
        sent
    }
}

impl Client {
    /// The peers that a stream may be sent to, in the order to try them.
    ///
    /// # Errors
    /// The name does not resolve, or not within the time a connection may take.
    pub async fn peers(&self) -> Result<Vec<HttpPeer>, Fault> {
        within(self.clock.mono() + self.policy.connect_timeout, self.wire.peers_for_streams()).await.unwrap_or(Err(Fault::Resolve))
    }
}

/// Sends once, and once more over a new connection if an old one was stale.
pub(super) async fn send(wire: &Wire, outgoing: &Outgoing, bounds: Bounds) -> Sent {
    let mut made = Made { tries: 1, ..Made::default() };
    let mut result = wire.exchange(outgoing, false, bounds, &mut made).await;
    if matches!(result, Err(Failure::Stale)) {
        made = Made { tries: 2, ..Made::default() };
        result = wire.exchange(outgoing, true, bounds, &mut made).await;
    }
    let outcome = match result {
        Ok(answer) => return Sent { outcome: Outcome::Answered(answer.status), answer: Some(answer), made },
        // The first try may have arrived.
        Err(Failure::Unreached(fault)) if made.tries > 1 => Outcome::Ambiguous(fault),
        Err(Failure::Unreached(fault)) => Outcome::Unreached(fault),
        Err(Failure::Ambiguous(fault)) => Outcome::Ambiguous(fault),
        Err(Failure::Stale) => Outcome::Ambiguous(Fault::Reset),
    };
    Sent { outcome, answer: None, made }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("policy", &self.policy).field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

/// Hands the deliveries of one route on to its app.
#[derive(Debug)]
pub struct Onward {
    client: Arc<Client>,
    hook: Arc<Hook>,
    made: OnceLock<Made>,
}

impl Onward {
    /// For one request or attempt.
    pub fn new(client: Arc<Client>, hook: Arc<Hook>) -> Self {
        Self { client, hook, made: OnceLock::new() }
    }

    /// How it was sent.
    pub fn made(&self) -> Made {
        self.made.get().copied().unwrap_or_default()
    }
}

impl HandOn for Onward {
    fn hand_on<'a>(&'a self, delivery: &'a Delivery, attempt: Attempt) -> Pending<'a, (Outcome, Option<Answer>)> {
        Box::pin(async move {
            let (outgoing, stale) = render::delivery(delivery, &self.hook, &attempt);
            if let Some(why) = stale {
                let request_id = delivery.head().request_id.as_str();
                tracing::warn!(route = &*self.hook.name, request_id, %why, "a delivery goes on as it was signed, it cannot be signed anew");
            }
            let sent = self.client.send(&outgoing, attempt.budget).await;
            self.made.get_or_init(|| sent.made);
            (sent.outcome, sent.answer)
        })
    }
}

//! The actions of a webhook route: forward, spill, acknowledge, retry, retain.
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::config::presets::RefusedBody;
use crate::limit::Quota;
use crate::retry::Schedule;
use crate::verify::Locator;

/// The action of a webhook route.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forwards a delivery within the request.
    Forward(Inline),
    /// Acknowledges a delivery once it is on disk, and delivers it later.
    Queue,
}

impl Action {
    /// Returns whether deliveries of the route can be stored in the queue.
    pub fn queues(&self) -> bool {
        match self {
            Self::Forward(inline) => inline.spill.is_some(),
            Self::Queue => true,
        }
    }

    /// Returns whether the route stores deliveries or records of them.
    pub fn keeps(&self) -> bool {
        match self {
            Self::Forward(inline) => inline.spill.is_some() || inline.record != Recording::None,
            Self::Queue => true,
        }
    }
}

/// The forwarding of a delivery within its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inline {
    /// The deliveries that are spilled if the upstream cannot take them; `None`: the sender gets an error.
    pub spill: Option<Spill>,
    /// The deliveries that are recorded although they are not stored in the queue.
    pub record: Recording,
    /// Whether a delivery is sent again at once if a reused connection turned out to be closed.
    pub resend: bool,
}

/// The deliveries that are spilled if the upstream cannot take them. A response 502, 503 or 504 counts as ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spill {
    /// Whether deliveries that never reached the upstream are spilled.
    pub unreached: bool,
    /// Whether deliveries that were sent and not answered are spilled.
    pub ambiguous: bool,
    /// The time for the upstream to answer within the request.
    pub budget: Duration,
}

/// The deliveries of a forwarding route that are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// All deliveries.
    All,
    /// Deliveries that were not forwarded.
    Failures,
    /// No deliveries.
    None,
}

/// The response to a delivery that is on disk, and to a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// A 2xx status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// The content type of the body.
    pub content_type: Option<HeaderValue>,
}

/// The response to a request that is not authentic: the same bytes, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAnswer {
    /// A 4xx or 5xx status.
    pub status: StatusCode,
    /// The body.
    pub body: RefusedBody,
}

/// The gateways that share a rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitScope {
    /// Each gateway counts for itself.
    #[default]
    Gateway,
    /// All gateways that share the store count together.
    Fleet,
}

/// The delivery of stored deliveries.
#[derive(Clone, Debug, PartialEq)]
pub struct Deliver {
    /// The schedule of attempts.
    pub schedule: Schedule,
    /// The rate of attempts of the whole route; `None`: limited by `concurrency` alone.
    pub rate: Option<Quota>,
    /// The gateways that share the rate.
    pub rate_scope: LimitScope,
    /// The number of attempts at the same time.
    pub concurrency: u32,
    /// The location of the FIFO key: deliveries with the same value are delivered one after the other, in order.
    pub fifo: Option<Locator>,
}

/// The retention of a route's stored deliveries. Pending deliveries are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The time after a delivery was delivered.
    pub age: Duration,
    /// The time after a delivery became dead or was cancelled.
    pub dead: Duration,
    /// The largest size of all of them, in bytes. The oldest are removed first.
    pub bytes: Option<u64>,
}

impl Keep {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        age: Duration::from_secs(7 * 86_400),
        dead: Duration::from_secs(30 * 86_400),
        bytes: None,
    };
}

//! What a route does with a delivery beside handing it on at once: acknowledge, spill, try again, keep.
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::config::presets::RefusedBody;
use crate::limit::Quota;
use crate::retry::Schedule;
use crate::verify::Locator;

/// What a webhook route does with a delivery.
#[derive(Clone, Debug)]
pub enum Action {
    /// Hands it on within the request.
    Forward(Inline),
    /// Acknowledges it once it is on the disk, and delivers it later.
    Queue,
}

impl Action {
    /// Whether deliveries of the route can come to wait in the queue.
    pub fn queues(&self) -> bool {
        match self {
            Self::Forward(inline) => inline.spill.is_some(),
            Self::Queue => true,
        }
    }

    /// Whether anything of the route's deliveries is kept in the store.
    pub fn keeps(&self) -> bool {
        match self {
            Self::Forward(inline) => inline.spill.is_some() || inline.record != Recording::None,
            Self::Queue => true,
        }
    }
}

/// How a delivery is handed on within its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inline {
    /// What goes into the queue when the app cannot take it; `None`: the sender is told.
    pub spill: Option<Spill>,
    /// What is kept of deliveries that do not go into the queue.
    pub record: Recording,
    /// Whether a delivery is sent again at once if it was sent over a kept connection that turned out closed.
    pub resend: bool,
}

/// Which deliveries go into the queue when the app cannot take them. One that was answered 502, 503 or 504 counts as ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spill {
    /// Those that never reached the app.
    pub unreached: bool,
    /// Those that were sent, and not answered.
    pub ambiguous: bool,
    /// How long the app may take within the request.
    pub budget: Duration,
}

/// What is kept of the deliveries of a route that forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// All.
    All,
    /// Those that were not handed on.
    Failures,
    /// None.
    None,
}

/// The answer to a delivery that is on the disk, and to a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// A 2xx.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    /// What the body is.
    pub content_type: Option<HeaderValue>,
}

/// The answer to a request that is not authentic: the same bytes, whatever the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAnswer {
    /// A 4xx or 5xx.
    pub status: StatusCode,
    /// The body.
    pub body: RefusedBody,
}

/// How what waits in the queue is delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Deliver {
    /// When it is tried again.
    pub schedule: Schedule,
    /// How often a delivery is tried, all of the route together; `None`: as often as there are places.
    pub rate: Option<Quota>,
    /// Tries at once.
    pub concurrency: u32,
    /// Deliveries with the same value there go out one after the other, in the order they came.
    pub fifo: Option<Locator>,
}

/// How long what is kept of a route is kept. What waits is kept in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// After it was accepted.
    pub age: Duration,
    /// After it died.
    pub dead: Duration,
    /// Bytes at most; the oldest go first.
    pub bytes: Option<u64>,
}

impl Keep {
    /// If nobody says.
    pub const DEFAULT: Self = Self {
        age: Duration::from_secs(7 * 86_400),
        dead: Duration::from_secs(30 * 86_400),
        bytes: None,
    };
}

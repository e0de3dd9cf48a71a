//! The result of an attempt, as its destination reports it.
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::delivery::{Answer, Fault, Outcome, SendFacts};
use crate::store::Ownership;
use crate::store::queue::{Lease, Next};
use crate::upstream::client::Sent;
use crate::upstream::outside::NotCalled;

/// The result of sending a message.
pub(super) struct SendResult {
    pub(super) outcome: Outcome,
    /// The answer, exactly if the outcome is [`Outcome::Answered`].
    pub(super) answer: Option<Answer>,
    pub(super) facts: SendFacts,
    /// The reason why no request was sent, where an outcome does not say it.
    pub(super) not_called: Option<NotCalled>,
    /// The record of what was sent where, for an endpoint.
    pub(super) recorded: Bytes,
}

impl From<Sent> for SendResult {
    fn from(sent: Sent) -> Self {
        let Sent {
            outcome,
            answer,
            facts,
        } = sent;
        Self {
            outcome,
            answer,
            facts,
            not_called: None,
            recorded: Bytes::new(),
        }
    }
}

impl From<NotCalled> for SendResult {
    fn from(why: NotCalled) -> Self {
        Self {
            outcome: Outcome::Unreached(why.fault()),
            answer: None,
            facts: SendFacts::default(),
            not_called: Some(why),
            recorded: Bytes::new(),
        }
    }
}

impl SendResult {
    /// Makes the result of a request that was not sent.
    pub(super) fn unreached(fault: Fault) -> Self {
        Self {
            outcome: Outcome::Unreached(fault),
            answer: None,
            facts: SendFacts::default(),
            not_called: None,
            recorded: Bytes::new(),
        }
    }
}

/// An attempt that has ended.
pub(super) struct AttemptReport {
    pub(super) lease: Lease,
    pub(super) outcome: Outcome,
    /// The error code, if there is no answer.
    pub(super) error: Option<&'static str>,
    /// The reason why no request was sent, where an outcome does not say it.
    pub(super) not_called: Option<NotCalled>,
    /// The time at which it began.
    pub(super) begun: Instant,
    pub(super) took: Duration,
    /// The next step of the delivery.
    pub(super) next: Next,
    /// Whether the attempt still held the lease; `None` if its result could not be saved.
    pub(super) ownership: Option<Ownership>,
}

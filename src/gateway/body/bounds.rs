//! The bounds of a body, and the body once it has arrived.
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::gateway::budget::{Budget, BudgetExceeded, Share};
use crate::listener::client_address::network_of;
use crate::refusal::Refusal;
use crate::request::{Body, RequestHead};

/// The memory overhead of a header line.
const LINE_OVERHEAD: usize = 64;

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct BodyBounds<'a> {
    /// The most bytes of the body.
    pub(in crate::gateway) max: usize,
    /// The time from the end of the head to the end of the body.
    pub(in crate::gateway) timeout: Duration,
    /// The route whose share the body counts against.
    pub(in crate::gateway) route: &'a Arc<str>,
    /// The memory of all bodies.
    pub(in crate::gateway) budget: &'a Arc<Budget>,
    /// The monotonic clock.
    pub(in crate::gateway) clock: &'a dyn Clock,
}

/// A body that has arrived, with the memory that counts against client and route until its sender is proved.
#[derive(Debug)]
pub(in crate::gateway) struct Arrived {
    /// The body, which holds its part of the budget.
    pub(in crate::gateway) body: Body,
    /// The share, to be dropped once the sender is proved. `None` if the body arrived with the head.
    pub(in crate::gateway) share: Option<Share>,
}

/// A function that gets each chunk of a body as it arrives.
pub(in crate::gateway) type Feed<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// Returns the memory of the header lines, in bytes.
pub(super) fn lines(head: &RequestHead) -> usize {
    head.headers
        .iter()
        .map(|(name, value)| LINE_OVERHEAD + name.len() + value.len())
        .sum()
}

/// Returns the network of the client, where its address identifies a single client.
pub(super) fn client(head: &RequestHead) -> Option<IpAddr> {
    head.client.own.then(|| network_of(head.client.ip))
}

/// Returns the refusal for bytes that do not fit.
pub(super) fn overloaded(_: BudgetExceeded) -> Refusal {
    Refusal::Overloaded
}

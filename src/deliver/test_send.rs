//! A test of an endpoint: one event is sent at once, past its pause and its circuit breaker. It enters no queue, and nothing is learned from it.
use std::sync::Arc;

use super::attempt::read_excerpt;
use super::endpoint::LiveEndpoint;
use super::rows::UnusableEndpoint;
use super::worker::Worker;
use crate::delivery::Outcome;
use crate::queue::attempt::attempt_row;
use crate::queue::outcome::was_attempted;
use crate::store::address_book::Endpoint;
use crate::store::queue::{Attempt, Cause, Stored};

/// The reason why a test was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestFault {
    /// The config does not send.
    Off,
    /// The row of the endpoint cannot be used.
    Unusable(UnusableEndpoint),
    /// No secret of the endpoint can sign.
    Unsigned,
    /// The gateway is short of resources.
    Short,
}

/// Sends an event once. Returns the attempt, and its outcome.
///
/// # Errors
/// No request could be made. An endpoint that cannot be reached is no error.
pub(crate) async fn send_test(
    worker: &Worker,
    row: Endpoint,
    stored: &Stored,
) -> Result<(Attempt, Outcome), TestFault> {
    let endpoints = worker.endpoints();
    let rules = endpoints.rules().ok_or(TestFault::Off)?;
    let target = endpoints.target(row.target);
    let begun = worker.clock.now();
    let endpoint =
        LiveEndpoint::new(row, target, Arc::clone(&rules), begun).map_err(TestFault::Unusable)?;
    let mut sent = endpoint
        .send_test(stored, &*worker.store, endpoints.outside(), begun)
        .await
        .ok_or(TestFault::Unsigned)?;
    if !was_attempted(sent.outcome) {
        return Err(TestFault::Short);
    }
    let excerpt = read_excerpt(sent.answer.take(), begun.wall).await;
    let took = worker.clock.mono().saturating_duration_since(begun.mono);
    let attempt = Attempt {
        facts: sent.recorded,
        head: excerpt.head,
        body: excerpt.body,
        ..attempt_row(Cause::Test, begun, took, sent.outcome, sent.facts)
    };
    Ok((attempt, sent.outcome))
}

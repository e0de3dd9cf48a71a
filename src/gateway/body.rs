//! Reads a body, bounded in size, time, pace and memory, and feeds the signature check and the digest as it arrives.
mod bounds;
mod reading;
mod source;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{at_once, within};
use crate::gateway::budget::{Account, Budget, Owner};
use crate::refusal::Refusal;
use crate::request::{Body, RequestHead};
pub(super) use bounds::{Arrived, BodyBounds, Feed};
use bounds::{client, lines, overloaded};
use reading::Reading;
pub(super) use source::{BodyFault, BodySource, Next};

/// The memory overhead of an HTTP/2 stream, besides its head and body.
const STREAM_OVERHEAD: usize = 24 * 1024;

/// Reads a body, and gives each chunk to `feed`.
///
/// # Errors
/// `BodyTooLarge`, `BodyTimeout` (also for a body that arrives too slowly), `Overloaded` (also for a declared size that cannot fit),
/// `Malformed` for malformed framing.
pub(super) async fn read(
    source: &mut impl BodySource,
    head: &RequestHead,
    bounds: BodyBounds<'_>,
    feed: Feed<'_>,
) -> Result<Arrived, Refusal> {
    let declared = head
        .declared_size
        .map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if declared.is_some_and(|size| size > bounds.max) {
        return Err(Refusal::BodyTooLarge);
    }
    if declared == Some(0) {
        return Ok(Arrived {
            body: Bytes::new().into(),
            share: None,
        });
    }
    let mut reading = None;
    if expects_continue(head) {
        // a sender that does not read must not delay this
        let begun = reading.insert(Reading::begin(head, declared, bounds)?);
        within(begun.deadline(), source.invite_body())
            .await
            .map_err(|_| Refusal::BodyTimeout)?;
    }
    let first = {
        let mut next = pin!(source.next_chunk());
        match (at_once(next.as_mut()).await, &mut reading) {
            (Some(first), _) => first.map_err(|BodyFault::Broken| Refusal::Malformed)?,
            (None, Some(begun)) => begun.wait(next).await?,
            (None, none) => {
                none.insert(Reading::begin(head, declared, bounds)?)
                    .wait(next)
                    .await?
            }
        }
    };
    match (first, reading) {
        (None, _) => Ok(Arrived {
            body: Bytes::new().into(),
            share: None,
        }),
        (Some(whole), None) if declared == Some(whole.len()) => {
            arrived_at_once(whole, bounds.budget, feed)
        }
        (Some(first), reading) => {
            let reading = match reading {
                Some(begun) => begun,
                None => Reading::begin(head, declared, bounds)?,
            };
            // boxed, since most bodies are small and arrive with their head
            Box::pin(reading.rest(source, first, feed)).await
        }
    }
}

/// Accepts a body that arrived with its head in one chunk, as most do. It is verified at once, so it needs no share.
fn arrived_at_once(whole: Bytes, budget: &Arc<Budget>, feed: Feed<'_>) -> Result<Arrived, Refusal> {
    let held = budget.hold(whole.len()).map_err(overloaded)?;
    feed(&whole);
    Ok(Arrived {
        body: Body::new(whole, Some(Box::new(held))),
        share: None,
    })
}

/// Charges the memory of an HTTP/2 stream as long as it is served, since a connection may have many. All streams have the share of a route.
///
/// # Errors
/// `Overloaded`.
pub(super) fn hold_stream(budget: &Arc<Budget>, head: &RequestHead) -> Result<Account, Refusal> {
    let bytes = STREAM_OVERHEAD + lines(head);
    let mut account = budget.open(Owner {
        client: client(head),
        route: Arc::from(""),
        one_body: bytes,
    });
    account.grow_to(bytes).map_err(overloaded)?;
    Ok(account)
}

fn expects_continue(head: &RequestHead) -> bool {
    head.headers
        .get(&http::header::EXPECT)
        .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests;

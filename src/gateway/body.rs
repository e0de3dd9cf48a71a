//! Reads a body, bounded in size, time, pace and memory, and feeds the signature check and the digest as it arrives.
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::{Clock, within};
use crate::gateway::budget::{Account, Budget, BudgetExceeded, Owner, Share};
use crate::gateway::buffer::{Buffer, NoRoom};
use crate::listener::client_address::network_of;
use crate::refusal::Refusal;
use crate::request::{Body, RequestHead};

/// The most bytes that are reserved for a body of declared size before its bytes have arrived.
const FIRST_DECLARED: usize = 256 * 1024;
/// The bytes that are reserved for a body of undeclared size when its first bytes have arrived.
const FIRST_UNDECLARED: usize = 16 * 1024;
/// The factor by which the reserved bytes grow. Pages that were not written to yet cost address space and no memory, so only the bytes that
/// arrived are charged, and they bound the address space.
const GROWTH: usize = 16;
/// The unit in which bytes are charged: memory is allocated in pages, and the budget is not locked for every packet.
const CHARGE_UNIT: usize = 4 * 1024;
/// The memory overhead of a body that is still arriving: its task.
const WAITING_OVERHEAD: usize = 8 * 1024;
/// The read buffers of a body, which cost memory up to the bytes that it has filled.
const READ_BUFFERS: usize = 128 * 1024;
/// The memory overhead of an HTTP/2 stream, besides its head and body.
const STREAM_OVERHEAD: usize = 24 * 1024;
/// The memory overhead of a header line.
const LINE_OVERHEAD: usize = 64;
/// The longest time that a body may be late, measured against [`MIN_PACE`].
const GRACE: Duration = Duration::from_secs(2);
/// The slowest pace of a body, in bytes a second.
const MIN_PACE: u32 = 32 * 1024;

/// The reason why no more of a body arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The framing is malformed, or the sender has left.
    Broken,
}

/// A source of the body of a request.
pub(super) trait BodySource: Send {
    /// Sends `100 Continue` to a sender that expects it.
    fn invite_body(&mut self) -> impl Future<Output = ()> + Send;
    /// Returns the next bytes of the body, never an empty chunk; `None` after the last.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send;
}

/// The bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBounds<'a> {
    /// The most bytes of the body.
    pub(super) max: usize,
    /// The time from the end of the head to the end of the body.
    pub(super) timeout: Duration,
    /// The route whose share the body counts against.
    pub(super) route: &'a Arc<str>,
    /// The memory of all bodies.
    pub(super) budget: &'a Arc<Budget>,
    /// The monotonic clock.
    pub(super) clock: &'a dyn Clock,
}

/// A body that has arrived, with the memory that counts against client and route until its sender is proved.
#[derive(Debug)]
pub(super) struct Arrived {
    /// The body, which holds its part of the budget.
    pub(super) body: Body,
    /// The share, to be dropped once the sender is proved. `None` if the body arrived with the head.
    pub(super) share: Option<Share>,
}

/// A function that gets each chunk of a body as it arrives.
pub(super) type Feed<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

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
        within(begun.pace.deadline(), source.invite_body())
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
        (Some(first), None) => {
            Reading::begin(head, declared, bounds)?
                .rest(source, first, feed)
                .await
        }
        (Some(first), Some(reading)) => reading.rest(source, first, feed).await,
    }
}

/// Polls a future once, and returns its output if it is ready.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
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

/// A body that is arriving.
struct Reading<'a> {
    bounds: BodyBounds<'a>,
    declared: Option<usize>,
    account: Account,
    /// The bytes that are held besides those of the body.
    overhead: usize,
    pace: Pace,
    whole: Buffer,
}

impl<'a> Reading<'a> {
    /// Opens the account of the body.
    ///
    /// # Errors
    /// `Overloaded` if the declared size, or the overhead alone, does not fit.
    fn begin(
        head: &RequestHead,
        declared: Option<usize>,
        bounds: BodyBounds<'a>,
    ) -> Result<Self, Refusal> {
        let overhead = WAITING_OVERHEAD + lines(head);
        let one_body = overhead.saturating_add(cost(bounds.max));
        let owner = Owner {
            client: client(head),
            route: Arc::clone(bounds.route),
            one_body,
        };
        bounds
            .budget
            .fits(&owner, overhead.saturating_add(cost(declared.unwrap_or(0))))
            .map_err(overloaded)?;
        let mut account = bounds.budget.open(owner);
        account.grow_to(overhead).map_err(overloaded)?;
        let pace = Pace::new(bounds.clock.mono(), head.received.mono + bounds.timeout);
        Ok(Self {
            bounds,
            declared,
            account,
            overhead,
            pace,
            whole: Buffer::new(),
        })
    }

    /// Reads to the end. `first` has arrived already.
    async fn rest(
        mut self,
        source: &mut impl BodySource,
        first: Bytes,
        feed: Feed<'_>,
    ) -> Result<Arrived, Refusal> {
        if self.declared == Some(first.len()) {
            return self.in_one_piece(first, feed);
        }
        let mut next = Some(first);
        while let Some(chunk) = next {
            self.append(&chunk)?;
            feed(&chunk);
            next = self.wait(source.next_chunk()).await?;
        }
        let (held, share) = self.account.split();
        Ok(Arrived {
            body: Body::new(self.whole.into_bytes(), Some(Box::new(held))),
            share: Some(share),
        })
    }

    /// Waits for the next chunk, as long as the pace allows.
    async fn wait(
        &mut self,
        next: impl Future<Output = Result<Option<Bytes>, BodyFault>>,
    ) -> Result<Option<Bytes>, Refusal> {
        let next = within(self.pace.deadline(), next)
            .await
            .map_err(|_| Refusal::BodyTimeout)?;
        let next = next.map_err(|BodyFault::Broken| Refusal::Malformed)?;
        let now = self.bounds.clock.mono();
        self.pace.arrived(next.as_ref().map_or(0, Bytes::len), now);
        if self.pace.is_over(now) {
            Err(Refusal::BodyTimeout)
        } else {
            Ok(next)
        }
    }

    fn in_one_piece(mut self, chunk: Bytes, feed: Feed<'_>) -> Result<Arrived, Refusal> {
        self.account
            .grow_to(self.overhead.saturating_add(cost(chunk.len())))
            .map_err(overloaded)?;
        feed(&chunk);
        let (held, share) = self.account.split();
        Ok(Arrived {
            body: Body::new(chunk, Some(Box::new(held))),
            share: Some(share),
        })
    }

    /// Charges a chunk, then appends it.
    fn append(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let size = self.whole.len().saturating_add(chunk.len());
        if size > self.bounds.max {
            return Err(Refusal::BodyTooLarge);
        }
        self.account
            .grow_to(self.overhead.saturating_add(cost(size)))
            .map_err(overloaded)?;
        if size > self.whole.capacity() {
            let room = capacity(self.whole.capacity(), size, self.declared, self.bounds.max);
            self.whole
                .reserve(room)
                .map_err(|NoRoom| Refusal::Overloaded)?;
        }
        self.whole
            .push(chunk)
            .map_err(|NoRoom| Refusal::Overloaded)?;
        Ok(())
    }
}

/// Returns the memory cost of `size` bytes of a body that arrive in several chunks.
fn cost(size: usize) -> usize {
    let pages = size
        .checked_next_multiple_of(CHARGE_UNIT)
        .unwrap_or(usize::MAX);
    pages.saturating_add(pages.min(READ_BUFFERS))
}

/// Returns the bytes to reserve for a body of which `size` bytes have arrived, if the `had` reserved ones do not suffice.
fn capacity(had: usize, size: usize, declared: Option<usize>, max: usize) -> usize {
    let first = if declared.is_some() {
        FIRST_DECLARED
    } else {
        FIRST_UNDECLARED
    };
    let grown = had.saturating_mul(GROWTH).max(first);
    grown.min(declared.unwrap_or(max)).max(size)
}

/// The pace of a body: every [`MIN_PACE`] bytes earn a second, up to [`GRACE`], so that a body that stops is cut off soon, however fast it
/// began.
#[derive(Clone, Copy, Debug)]
struct Pace {
    due: Instant,
    end: Instant,
}

impl Pace {
    fn new(now: Instant, end: Instant) -> Self {
        Self {
            due: now + GRACE,
            end,
        }
    }

    /// Returns the deadline of the next chunk.
    fn deadline(&self) -> Instant {
        self.due.min(self.end)
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.end
    }

    /// Notes that `bytes` arrived at `now`. A delay of the gateway itself does not count against the sender.
    fn arrived(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).saturating_mul(bytes) / MIN_PACE;
        self.due = (self.due.max(now) + earned).min(now + GRACE);
    }
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

fn lines(head: &RequestHead) -> usize {
    head.headers
        .iter()
        .map(|(name, value)| LINE_OVERHEAD + name.as_str().len() + value.len())
        .sum()
}

fn client(head: &RequestHead) -> Option<IpAddr> {
    head.client.own.then(|| network_of(head.client.ip))
}

fn overloaded(_: BudgetExceeded) -> Refusal {
    Refusal::Overloaded
}

fn expects_continue(head: &RequestHead) -> bool {
    head.headers
        .get(http::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests;

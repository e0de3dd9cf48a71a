//! Reads a body: bounded in size, time, pace and memory, and handed to the check and the hash as it arrives.
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clock::{Clock, within};
use crate::gateway::budget::{Account, Budget, Full, Owner, Share};
use crate::gateway::buffer::{Buffer, NoRoom};
use crate::listener::accept::network_of;
use crate::refusal::Refusal;
use crate::request::{Body, RequestHead};

/// Set aside for a declared body before its bytes are here, at most.
const FIRST_DECLARED: usize = 256 * 1024;
/// Set aside for a body of undeclared size when its first bytes are here.
const FIRST_UNDECLARED: usize = 16 * 1024;
/// What is set aside grows by this. Pages that nothing was written to yet cost address space and no memory, so only what arrived is charged;
/// and address space is bounded by what was charged.
const GROWTH: usize = 16;
/// Bytes are charged in pieces of this size: memory comes in pages, and the budget is not asked for every packet.
const PIECE: usize = 4 * 1024;
/// What a body that has to be waited for costs beside its own bytes: its task, and the buffers that it passes through, as far as it fills them.
const WAITING: usize = 8 * 1024;
const READ_BUFFERS: usize = 128 * 1024;
/// What a stream of HTTP/2 costs beside its head and body.
const STREAM: usize = 24 * 1024;
/// What a header line costs beside its text.
const LINE: usize = 64;
/// A body may be this late; what a whole second earns is [`PACE`] bytes.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes a second that a body has to come with.
const PACE: u32 = 32 * 1024;

/// Why no more of a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The framing is wrong, or the sender went away.
    Broken,
}

/// The sender's side of a request, as far as the spine needs it.
pub trait Sender: Send {
    /// Tells a sender that waits for it (`Expect: 100-continue`) to go on.
    fn invite_body(&mut self) -> impl Future<Output = ()> + Send;
    /// The next bytes of the body, never an empty piece; `None` after the last.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send;
}

/// Bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBounds<'a> {
    /// Its size in bytes.
    pub(super) max: usize,
    /// From the end of the head to the end of the body.
    pub(super) timeout: Duration,
    /// The route whose share it counts against.
    pub(super) route: &'a Arc<str>,
    /// The memory of all bodies.
    pub(super) budget: &'a Arc<Budget>,
    /// Tells how late it is.
    pub(super) clock: &'a dyn Clock,
}

/// A body that is wholly here, and what counts against client and route until its sender is proved.
#[derive(Debug)]
pub(super) struct Arrived {
    /// The body, which holds its part of the budget.
    pub(super) body: Body,
    /// Drop it once the sender is proved. `None`: the body was here with the head.
    pub(super) share: Option<Share>,
}

/// Takes each piece of a body as it arrives.
pub(super) type Feed<'a> = &'a mut (dyn FnMut(&[u8]) + Send);

/// Reads the whole body, and gives each piece to `feed`.
///
/// # Errors
/// `BodyTooLarge`, `BodyTimeout` (also for one that comes too slowly), `Overloaded` (also for a declared size that cannot fit),
/// `Malformed` for broken framing.
pub(super) async fn read(
    sender: &mut impl Sender,
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
        // a sender that takes nothing in must not hold this up
        let begun = reading.insert(Reading::begin(head, declared, bounds)?);
        within(begun.pace.deadline(), sender.invite_body())
            .await
            .map_err(|_| Refusal::BodyTimeout)?;
    }
    let first = {
        let mut next = pin!(sender.next_chunk());
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
            here_at_once(whole, bounds.budget, feed)
        }
        (Some(first), None) => {
            Reading::begin(head, declared, bounds)?
                .rest(sender, first, feed)
                .await
        }
        (Some(first), Some(reading)) => reading.rest(sender, first, feed).await,
    }
}

/// What comes of `future` without waiting for it.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Most bodies: one piece, which came with the head. It is judged now and waits for nobody, so no share is asked.
fn here_at_once(whole: Bytes, budget: &Arc<Budget>, feed: Feed<'_>) -> Result<Arrived, Refusal> {
    let held = budget.hold(whole.len()).map_err(overloaded)?;
    feed(&whole);
    Ok(Arrived {
        body: Body::new(whole, Some(Box::new(held))),
        share: None,
    })
}

/// A body on its way.
struct Reading<'a> {
    bounds: BodyBounds<'a>,
    declared: Option<usize>,
    account: Account,
    /// What is held beside the bytes of the body.
    beside: usize,
    pace: Pace,
    whole: Buffer,
}

impl<'a> Reading<'a> {
    /// Opens the account.
    ///
    /// # Errors
    /// `Overloaded`: the declared size cannot fit, or not even the wait for it.
    fn begin(
        head: &RequestHead,
        declared: Option<usize>,
        bounds: BodyBounds<'a>,
    ) -> Result<Self, Refusal> {
        let beside = WAITING + lines(head);
        let one_body = beside.saturating_add(cost(bounds.max));
        let owner = Owner {
            client: client(head),
            route: Arc::clone(bounds.route),
            one_body,
        };
        bounds
            .budget
            .fits(&owner, beside.saturating_add(cost(declared.unwrap_or(0))))
            .map_err(overloaded)?;
        let mut account = bounds.budget.open(owner);
        account.grow_to(beside).map_err(overloaded)?;
        let pace = Pace::new(bounds.clock.mono(), head.received.mono + bounds.timeout);
        Ok(Self {
            bounds,
            declared,
            account,
            beside,
            pace,
            whole: Buffer::new(),
        })
    }

    /// Reads to the end, `first` having come already.
    async fn rest(
        mut self,
        sender: &mut impl Sender,
        first: Bytes,
        feed: Feed<'_>,
    ) -> Result<Arrived, Refusal> {
        if self.declared == Some(first.len()) {
            return self.in_one_piece(first, feed);
        }
        let mut next = Some(first);
        while let Some(chunk) = next {
            self.keep(&chunk)?;
            feed(&chunk);
            next = self.wait(sender.next_chunk()).await?;
        }
        let (held, share) = self.account.split();
        Ok(Arrived {
            body: Body::new(self.whole.into_bytes(), Some(Box::new(held))),
            share: Some(share),
        })
    }

    /// Waits for the next piece, as long as it may take.
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
            .grow_to(self.beside.saturating_add(cost(chunk.len())))
            .map_err(overloaded)?;
        feed(&chunk);
        let (held, share) = self.account.split();
        Ok(Arrived {
            body: Body::new(chunk, Some(Box::new(held))),
            share: Some(share),
        })
    }

    /// Charges a piece, then keeps it.
    fn keep(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        let size = self.whole.len().saturating_add(chunk.len());
        if size > self.bounds.max {
            return Err(Refusal::BodyTooLarge);
        }
        self.account
            .grow_to(self.beside.saturating_add(cost(size)))
            .map_err(overloaded)?;
        if size > self.whole.capacity() {
            let room = capacity(self.whole.capacity(), size, self.declared, self.bounds.max);
            self.whole
                .make_room(room)
                .map_err(|NoRoom| Refusal::Overloaded)?;
        }
        self.whole
            .push(chunk)
            .map_err(|NoRoom| Refusal::Overloaded)?;
        Ok(())
    }
}

/// What `size` bytes of a body cost that came one after the other.
fn cost(size: usize) -> usize {
    let pages = size.checked_next_multiple_of(PIECE).unwrap_or(usize::MAX);
    pages.saturating_add(pages.min(READ_BUFFERS))
}

/// How much to set aside for a body of which `size` bytes are here and `had` do not suffice.
fn capacity(had: usize, size: usize, declared: Option<usize>, max: usize) -> usize {
    let first = if declared.is_some() {
        FIRST_DECLARED
    } else {
        FIRST_UNDECLARED
    };
    let grown = had.saturating_mul(GROWTH).max(first);
    grown.min(declared.unwrap_or(max)).max(size)
}

/// How late a body is: every [`PACE`] bytes buy a second, and never is more than [`GRACE`] in hand, so that a body that stops is cut soon
/// however fast it began.
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

    /// When to stop waiting for the next piece.
    fn deadline(&self) -> Instant {
        self.due.min(self.end)
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.end
    }

    /// `bytes` arrived at `now`. A gate that was itself late does not count it against the sender.
    fn arrived(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).saturating_mul(bytes) / PACE;
        self.due = (self.due.max(now) + earned).min(now + GRACE);
    }
}

/// Holds a place for a stream of HTTP/2, as long as it is served: its connection may have many. Streams have a share as a route has.
///
/// # Errors
/// `Overloaded`.
pub(super) fn hold_stream(budget: &Arc<Budget>, head: &RequestHead) -> Result<Account, Refusal> {
    let bytes = STREAM + lines(head);
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
        .map(|(name, value)| LINE + name.as_str().len() + value.len())
        .sum()
}

fn client(head: &RequestHead) -> Option<IpAddr> {
    head.client.own.then(|| network_of(head.client.ip))
}

fn overloaded(_: Full) -> Refusal {
    Refusal::Overloaded
}

fn expects_continue(head: &RequestHead) -> bool {
    head.headers
        .get(http::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[cfg(test)]
mod tests;

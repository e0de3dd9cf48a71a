//! Reads a body whose rest has not arrived yet: charges its bytes as they arrive, and judges its pace.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bounds::{Arrived, BodyBounds, Feed, client, lines, overloaded};
use super::source::{BodyFault, BodySource, Next};
use crate::clock::within;
use crate::gateway::budget::{Account, Owner};
use crate::gateway::buffer::{Buffer, NoRoom};
use crate::refusal::Refusal;
use crate::request::{Body, RequestHead};

/// The most bytes that are reserved for a body of declared size before its bytes have arrived.
const FIRST_DECLARED: usize = 256 * 1024;
/// The bytes that are reserved for a body of undeclared size when its first bytes have arrived.
const FIRST_UNDECLARED: usize = 16 * 1024;
/// The most bytes of one read of a body of declared size.
const MAX_READ: usize = 128 * 1024;
/// The factor by which the reserved bytes grow. Pages that were not written to yet cost address space and no memory, so only the bytes that
/// arrived are charged, and they bound the address space.
const GROWTH: usize = 16;
/// The unit in which bytes are charged: memory is allocated in pages, and the budget is not locked for every packet.
const CHARGE_UNIT: usize = 4 * 1024;
/// The memory overhead of a body that is still arriving: its task.
const WAITING_OVERHEAD: usize = 8 * 1024;
/// The read buffers of a body, which cost memory up to the bytes that it has filled.
const READ_BUFFERS: usize = 128 * 1024;
/// The longest time that a body may be late, measured against [`MIN_PACE`].
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The slowest pace of a body, in bytes a second.
const MIN_PACE: u32 = 32 * 1024;

/// A body that is arriving.
pub(super) struct Reading<'a> {
    bounds: BodyBounds<'a>,
    declared: Option<usize>,
    account: Account,
    /// The bytes that are held besides those of the body.
    overhead: usize,
    /// The bytes of the spare mapping that it arrives in. All of its pages may have been written to, so they are held from the beginning.
    spare: usize,
    pace: Pace,
    whole: Buffer,
}

impl<'a> Reading<'a> {
    /// Opens the account of the body.
    ///
    /// # Errors
    /// `Overloaded` if the declared size, or the overhead alone, does not fit.
    pub(super) fn begin(
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
            spare: 0,
            pace,
            whole: Buffer::new(Arc::clone(bounds.budget)),
        })
    }

    /// Reads to the end. `first` has arrived already.
    pub(super) async fn rest(
        mut self,
        source: &mut impl BodySource,
        first: Bytes,
        feed: Feed<'_>,
    ) -> Result<Arrived, Refusal> {
        if self.declared == Some(first.len()) {
            return self.in_one_piece(first, feed);
        }
        self.take_spare();
        let mut next = Next::Chunk(first);
        let mut fed = 0;
        loop {
            match next {
                Next::Chunk(chunk) => {
                    self.make_room(chunk.len())?;
                    self.whole
                        .push(&chunk)
                        .map_err(|NoRoom| Refusal::Overloaded)?;
                }
                Next::Filled(_) => self.charge(self.whole.len())?,
                Next::End => break,
            }
            feed(self.whole.since(fed));
            fed = self.whole.len();
            next = self.next(source).await?;
        }
        let (held, share) = self.account.split();
        Ok(Arrived {
            body: Body::new(self.whole.into_bytes(), Some(Box::new(held))),
            share: Some(share),
        })
    }

    /// Returns the time by which the next bytes must arrive.
    pub(super) fn deadline(&self) -> Instant {
        self.pace.deadline()
    }

    /// Waits for the next bytes.
    async fn next(&mut self, source: &mut impl BodySource) -> Result<Next, Refusal> {
        let size = self.whole.len();
        let left = self
            .declared
            .and_then(|declared| declared.checked_sub(size));
        let most = left.filter(|left| *left > 0).map(|left| left.min(MAX_READ));
        let Some(most) = most else {
            let chunk = self.wait(source.next_chunk()).await?;
            return Ok(chunk.map_or(Next::End, Next::Chunk));
        };
        self.reserve(size + most)?;
        let deadline = self.pace.deadline();
        let next = within(deadline, source.next_into(&mut self.whole, most)).await;
        self.judge(next, Next::len)
    }

    /// Waits for the next chunk, as long as the pace allows.
    pub(super) async fn wait(
        &mut self,
        next: impl Future<Output = Result<Option<Bytes>, BodyFault>>,
    ) -> Result<Option<Bytes>, Refusal> {
        let next = within(self.pace.deadline(), next).await;
        self.judge(next, |chunk| chunk.as_ref().map_or(0, Bytes::len))
    }

    /// Judges the pace of the bytes that have arrived.
    fn judge<T, E>(
        &mut self,
        next: Result<Result<T, BodyFault>, E>,
        len: impl FnOnce(&T) -> usize,
    ) -> Result<T, Refusal> {
        let next = next.map_err(|_| Refusal::BodyTimeout)?;
        let next = next.map_err(|BodyFault::Broken| Refusal::Malformed)?;
        let now = self.bounds.clock.mono();
        self.pace.arrived(len(&next), now);
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

    /// Takes a spare mapping for a body of declared size, if there is room for its bytes.
    fn take_spare(&mut self) {
        let Some(declared) = self.declared else {
            return;
        };
        let Some(size) = self.whole.take_spare(declared) else {
            return;
        };
        self.spare = size;
        // charged as a whole: bytes that do not fit later would end the body
        if self.charge(declared).is_err() {
            self.spare = 0;
            self.whole = Buffer::new(Arc::clone(self.account.budget()));
        }
    }

    /// Charges `more` bytes, and makes room for them.
    fn make_room(&mut self, more: usize) -> Result<(), Refusal> {
        let size = self.whole.len().saturating_add(more);
        if size > self.bounds.max {
            return Err(Refusal::BodyTooLarge);
        }
        self.charge(size)?;
        self.reserve(size)
    }

    /// Charges the body when it has `size` bytes.
    fn charge(&mut self, size: usize) -> Result<(), Refusal> {
        // a spare mapping costs its own size, and the read buffers as far as they are filled
        let unused = self.spare.saturating_sub(pages(size));
        let charged = self
            .overhead
            .saturating_add(cost(size))
            .saturating_add(unused);
        self.account.grow_to(charged).map_err(overloaded)
    }

    /// Reserves room for a body of `size` bytes and what may follow.
    fn reserve(&mut self, size: usize) -> Result<(), Refusal> {
        if size <= self.whole.capacity() {
            return Ok(());
        }
        let room = capacity(self.whole.capacity(), size, self.declared, self.bounds.max);
        self.whole
            .reserve(room)
            .map_err(|NoRoom| Refusal::Overloaded)
    }
}

/// Returns the memory cost of `size` bytes of a body that arrive in several chunks.
fn cost(size: usize) -> usize {
    let pages = pages(size);
    pages.saturating_add(pages.min(READ_BUFFERS))
}

/// Returns the bytes of the pages of `size` bytes.
fn pages(size: usize) -> usize {
    size.checked_next_multiple_of(CHARGE_UNIT)
        .unwrap_or(usize::MAX)
}

/// Returns the bytes to reserve for a body of which `size` bytes have arrived, if the `had` reserved ones do not suffice.
pub(super) fn capacity(had: usize, size: usize, declared: Option<usize>, max: usize) -> usize {
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

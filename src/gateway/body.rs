//! Reads a body: bounded in size, time and memory, fed to the check as it arrives.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::clock::within;
use crate::refusal::Refusal;
use crate::request::{Body, RequestHead};
use crate::verify::Check;

/// What is set aside for a body of undeclared size, and at most for a declared one before its bytes are here.
const FIRST_RESERVE: usize = 256 * 1024;

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

/// The bytes of bodies held at once, over the whole gate. Nobody waits for it: what does not fit is refused.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    limit: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes, all of them free.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), limit: AtomicUsize::new(limit) })
    }

    /// Changes the limit; what is held stays held.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn fits(&self, more: usize) -> bool {
        self.held().saturating_add(more) <= self.limit.load(Ordering::Relaxed)
    }
}

/// A body's share of the budget, given back on drop.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    fn grow(&mut self, more: usize) -> Result<(), Refusal> {
        let held = self.budget.held.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        self.bytes = self.bytes.saturating_add(more);
        if held > self.budget.limit.load(Ordering::Relaxed) { Err(Refusal::Overloaded) } else { Ok(()) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBounds {
    /// Its size in bytes.
    pub(super) max: usize,
    /// From the end of the head to the end of the body.
    pub(super) timeout: Duration,
}

/// Reads the whole body, feeding `check` with each piece.
///
/// # Errors
/// `BodyTooLarge`, `BodyTimeout`, `Overloaded` (also for a declared size that cannot fit), `Malformed` for broken framing.
pub(super) async fn read(
    sender: &mut impl Sender,
    head: &RequestHead,
    bounds: BodyBounds,
    budget: &Arc<Budget>,
    check: Option<&mut Check<'_>>,
) -> Result<Body, Refusal> {
    let declared = head.declared_size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if declared.is_some_and(|size| size > bounds.max) {
        return Err(Refusal::BodyTooLarge);
    }
    if declared.is_some_and(|size| !budget.fits(size)) {
        return Err(Refusal::Overloaded);
    }
    if declared == Some(0) {
        return Ok(Bytes::new().into());
    }
    let reading = async {
        if expects_continue(head) {
            sender.invite_body().await;
        }
        let share = Share { budget: Arc::clone(budget), bytes: 0 };
        read_all(sender, declared, bounds.max, share, check).await
    };
    within(head.received.mono + bounds.timeout, reading).await.unwrap_or(Err(Refusal::BodyTimeout))
}

async fn read_all(
    sender: &mut impl Sender,
    declared: Option<usize>,
    max: usize,
    mut share: Share,
    mut check: Option<&mut Check<'_>>,
) -> Result<Body, Refusal> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = sender.next_chunk().await.map_err(|BodyFault::Broken| Refusal::Malformed)? {
        if chunk.len() > max.saturating_sub(whole.len()) {
            return Err(Refusal::BodyTooLarge);
        }
        share.grow(chunk.len())?;
        if let Some(check) = check.as_deref_mut() {
            check.update(&chunk);
        }
        if whole.is_empty() && declared == Some(chunk.len()) {
            return Ok(Body::new(chunk, Some(Box::new(share))));
        }
        if whole.is_empty() {
            whole.reserve(declared.unwrap_or(0).clamp(chunk.len(), chunk.len().max(FIRST_RESERVE)));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Body::new(whole.freeze(), Some(Box::new(share))))
}

fn expects_continue(head: &RequestHead) -> bool {
    head.headers.get(http::header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

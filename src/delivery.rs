//! The nouns between the proof and the upstream: what was let through, what became of it, and who hands it on.
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use nix::errno::Errno;

use crate::clock::Dates;
use crate::request::{Params, Received, RequestHead};
use crate::verify::Cleared;

/// One webhook request that may go on.
#[derive(Debug)]
pub struct Delivery {
    route: Arc<str>,
    params: Params,
    cleared: Cleared,
}

impl Delivery {
    /// A delivery of `route`. There is no other way to make one: what was not cleared cannot be handed on.
    pub fn new(route: Arc<str>, params: Params, cleared: Cleared) -> Self {
        Self {
            route,
            params,
            cleared,
        }
    }

    /// The name of its route.
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// The path parameters of its route.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The proof, or the admission that there is none.
    pub fn cleared(&self) -> &Cleared {
        &self.cleared
    }

    /// The request as it came.
    pub fn received(&self) -> &Received {
        self.cleared.received()
    }

    /// The head as it came.
    pub fn head(&self) -> &RequestHead {
        &self.received().head
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        self.received().body.bytes()
    }
}

/// What distinguishes one try to hand a delivery on from another.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// When the delivery was received, as told to the app.
    pub received_at: SystemTime,
    /// How long it may take, from connecting to the last byte of the answer.
    pub budget: Duration,
    /// When it is made.
    pub at: SystemTime,
    /// The dates by which secrets are judged then.
    pub dates: Dates,
    /// Whether it is made within the delivery's own request.
    pub inline: bool,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream gave this final status.
    Answered(StatusCode),
    /// The upstream never saw the delivery.
    Unreached(Fault),
    /// The delivery was sent, and no answer came.
    Ambiguous(Fault),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The breaker is open; it lets a probe through after this time.
    BreakerOpen(Duration),
    /// The name does not resolve.
    Resolve,
    /// No connection: refused, unreachable, TLS failed.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// The connection broke before the head of an answer.
    Reset,
    /// A connection kept from an earlier exchange turned out closed before any byte of an answer. The request may have arrived all the same.
    Stale,
    /// No answer in time.
    Timeout,
    /// What came is not HTTP as it should be.
    Malformed,
    /// No connection, because the gateway has used up a resource of its own machine. It says nothing about the upstream.
    Local(Shortage),
}

/// A resource of the gateway's own machine that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// File descriptors: `EMFILE`, `ENFILE`.
    Descriptors,
    /// Local ports: `EADDRNOTAVAIL`.
    Ports,
    /// Memory for sockets: `ENOBUFS`, `ENOMEM`.
    Memory,
}

impl Shortage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Descriptors, Self::Ports, Self::Memory];

    /// Returns the shortage that an error of the system tells of, if it tells of one.
    pub fn of(error: &io::Error) -> Option<Self> {
        let shortages = [
            (Errno::EMFILE, Self::Descriptors),
            (Errno::ENFILE, Self::Descriptors),
            (Errno::EADDRNOTAVAIL, Self::Ports),
            (Errno::ENOBUFS, Self::Memory),
            (Errno::ENOMEM, Self::Memory),
        ];
        let errno = Errno::from_raw(error.raw_os_error()?);
        shortages
            .into_iter()
            .find(|(known, _)| *known == errno)
            .map(|(_, shortage)| shortage)
    }

    /// Returns the resource in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Descriptors => "file descriptors",
            Self::Ports => "local ports",
            Self::Memory => "memory for sockets",
        }
    }
}

/// The upstream's answer, its body still to come.
pub struct Answer {
    /// The final status.
    pub status: StatusCode,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    /// The rest.
    pub body: Box<dyn AnswerBody>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A future that a trait object returns.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The body of an answer, read piece by piece.
pub trait AnswerBody: Send {
    /// The next piece; `None` after the last.
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>>;

    /// Whether it is known already that no piece comes any more.
    fn is_over(&self) -> bool {
        false
    }
}

/// What an upstream does, and nothing else: it takes a delivery and says what came of it.
pub trait HandOn: Send + Sync {
    /// Hands the delivery on, once. The answer is there exactly if the outcome is [`Outcome::Answered`].
    fn hand_on<'a>(
        &'a self,
        delivery: &'a Delivery,
        attempt: Attempt,
    ) -> Pending<'a, (Outcome, Option<Answer>)>;
}

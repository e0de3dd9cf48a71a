//! A delivery, the circumstances of an attempt to send it, and the outcome.
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::clock::Dates;
use crate::request::{Params, Received, RequestHead};
use crate::verify::Cleared;

mod fault;

pub use fault::{Fault, Shortage, TlsFault};

/// A webhook request that may be forwarded.
#[derive(Debug)]
pub struct Delivery {
    route: Arc<str>,
    params: Params,
    cleared: Cleared,
    from_quarantine: bool,
}

impl Delivery {
    /// Makes a delivery of `route`. This is the only constructor: a request that was not cleared cannot be forwarded.
    pub fn new(route: Arc<str>, params: Params, cleared: Cleared) -> Self {
        Self {
            route,
            params,
            cleared,
            from_quarantine: false,
        }
    }

    /// Marks it as released from quarantine, for its record.
    #[must_use]
    pub fn from_quarantine(self) -> Self {
        Self {
            from_quarantine: true,
            ..self
        }
    }

    /// Returns whether it was released from quarantine: it was refused when it was received.
    pub fn is_from_quarantine(&self) -> bool {
        self.from_quarantine
    }

    /// Returns the name of its route.
    pub fn route(&self) -> &Arc<str> {
        &self.route
    }

    /// Returns the path parameters of its route.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the proof, or the admission that there is none.
    pub fn cleared(&self) -> &Cleared {
        &self.cleared
    }

    /// Returns the request as it was received.
    pub fn received(&self) -> &Received {
        self.cleared.received()
    }

    /// Returns the head as it was received.
    pub fn head(&self) -> &RequestHead {
        &self.received().head
    }

    /// Returns the body as it was received.
    pub fn body(&self) -> &Bytes {
        self.received().body.bytes()
    }
}

/// The circumstances of one attempt to send a delivery.
#[derive(Clone, Debug)]
pub struct AttemptContext {
    /// Counted from 1.
    pub number: u32,
    /// The time at which the delivery was received, as the app sees it.
    pub received_at: SystemTime,
    /// The time that it may take, from connecting to the last byte of the answer.
    pub budget: Duration,
    /// The time at which it is made.
    pub at: SystemTime,
    /// The dates by which secrets are judged then.
    pub dates: Dates,
    /// Whether it is made within the delivery's own request.
    pub inline: bool,
    /// Whether the store could not be asked for the delivery's ID, so that it may be a duplicate.
    pub id_unchecked: bool,
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream gave this final status.
    Answered(StatusCode),
    /// The upstream never saw the delivery.
    Unreached(Fault),
    /// The upstream may have seen the delivery, but gave no answer.
    Ambiguous(Fault),
}

impl Outcome {
    /// Returns the final status, if the upstream gave one.
    pub fn status(self) -> Option<StatusCode> {
        match self {
            Self::Answered(status) => Some(status),
            Self::Unreached(_) | Self::Ambiguous(_) => None,
        }
    }

    /// Returns the reason why there is no answer, if there is none.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Answered(_) => None,
            Self::Unreached(fault) | Self::Ambiguous(fault) => Some(fault),
        }
    }
}

/// Facts about how a request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFacts {
    /// The time that connecting took, if a connection was made for it.
    pub connect: Option<Duration>,
    /// The time from the first byte sent to the head of the response.
    pub first_byte: Option<Duration>,
    /// The address connected to; `None` for a unix socket.
    pub peer: Option<SocketAddr>,
}

/// The upstream's answer.
pub struct Answer {
    /// The final status.
    pub status: StatusCode,
    /// End-to-end headers only.
    pub headers: HeaderMap,
    /// The body.
    pub body: AnswerBody,
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

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// Its beginning, and the rest as it arrives.
    Pieces(Bytes, Box<dyn BodyPieces>),
}

/// The body of an answer that is read piece by piece.
pub trait BodyPieces: Send {
    /// Returns the next piece; `None` after the last.
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, Fault>>;

    /// Returns whether it is known already that no piece follows.
    fn is_over(&self) -> bool {
        false
    }
}

impl AnswerBody {
    /// Returns the next piece, which is not empty; `None` after the last.
    ///
    /// # Errors
    /// The body broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let (Self::Whole(first) | Self::Pieces(first, _)) = self;
        let first = std::mem::take(first);
        if !first.is_empty() {
            return Ok(Some(first));
        }
        let Self::Pieces(_, rest) = self else {
            return Ok(None);
        };
        loop {
            match rest.next().await {
                Ok(Some(piece)) if piece.is_empty() => {}
                piece => return piece,
            }
        }
    }

    /// Returns whether it is known already that no piece follows.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(first, rest) => first.is_empty() && rest.is_over(),
        }
    }
}

impl fmt::Debug for AnswerBody {
    /// Shows the length alone: a body may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Pieces(first, _) => write!(f, "Pieces({} bytes, …)", first.len()),
        }
    }
}

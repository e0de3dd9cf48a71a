//! A check in progress: the scheme computes what it can while the body arrives, and the verdict comes at the end.
use std::fmt;
use std::time::SystemTime;

use super::authentic::{Authentic, NotAuthentic, Refused};
use super::comparison::{Comparison, MatchedSecret};
use super::scheme::{Inputs, Progress};
use super::secret::Candidates;
use super::shape::Shape;
use crate::clock::{Dates, Now};
use crate::request::{Received, RequestHead, RequestId};

/// A check in progress.
pub struct Check<'a> {
    shape: &'a Shape,
    public_url: Option<&'a str>,
    candidates: Candidates<'a>,
    /// The request that the check began with: the bytes fed count for this one alone.
    request: RequestId,
    progress: Progress,
    fed: usize,
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("fed", &self.fed)
            .finish_non_exhaustive()
    }
}

/// The verdict on a request.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// It is authentic.
    Authentic(Authentic),
    /// Its signed time is too old. Whether it is authentic otherwise does not show before [`Stale::resolve`].
    Stale(Stale<'a>),
    /// It is not authentic.
    Refused(Refused),
}

/// A request whose signed time is too old, with or without a matching signature.
///
/// Both are handled alike to the end, so that the time reveals to nobody whether a request that he holds is authentic.
pub struct Stale<'a> {
    shape: &'a Shape,
    received: Received,
    account: Option<Box<str>>,
    matched: Option<MatchedSecret>,
    signed_at: SystemTime,
}

impl fmt::Debug for Stale<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stale")
            .field("signed_at", &self.signed_at)
            .finish_non_exhaustive()
    }
}

impl Stale<'_> {
    /// Returns the request as received.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// Returns the account whose secrets the request was compared with.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the time at which the request claims to be signed.
    pub fn signed_at(&self) -> SystemTime {
        self.signed_at
    }

    /// Returns the delivery ID, if the signature covers it.
    pub fn covered_id(&self) -> Option<String> {
        let shape = self.shape;
        shape
            .delivery_id
            .as_ref()
            .filter(|_| shape.covers().id)
            .and_then(|id| id.find(&self.received))
    }

    /// Refuses the request.
    pub fn refuse(self) -> Refused {
        let why = if self.matched.is_some() {
            NotAuthentic::TimestampStale
        } else {
            NotAuthentic::SignatureMismatch
        };
        Refused {
            why,
            received: self.received,
        }
    }

    /// Accepts the request as authentic if it is a retry of one that came in time, and its signature matches.
    ///
    /// # Errors
    /// The reason why it is not authentic, with the request given back.
    #[expect(clippy::result_large_err, reason = "as `Check::finish`")]
    pub fn resolve(self, is_retry: bool) -> Result<Authentic, Refused> {
        match self {
            Self {
                shape,
                received,
                account,
                matched: Some(matched),
                ..
            } if is_retry => Ok(prove(matched, received, account, shape)),
            stale => Err(stale.refuse()),
        }
    }
}

impl<'a> Check<'a> {
    /// Begins a check with the head of a request.
    pub(super) fn new(
        shape: &'a Shape,
        public_url: Option<&'a str>,
        head: &RequestHead,
        candidates: Candidates<'a>,
    ) -> Self {
        let begun = shape.view(head, b"", public_url);
        Self {
            shape,
            public_url,
            request: head.request_id,
            progress: shape.scheme.begin(&begun, candidates.list()),
            candidates,
            fed: 0,
        }
    }

    /// Feeds the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        self.fed = self.fed.saturating_add(chunk.len());
        self.progress.update(chunk);
    }

    /// Returns the verdict on `received` as of `now`. `dates` decides which secrets are active.
    ///
    /// Head and body must be those that the check began with and was fed. If they visibly are not, everything is computed again from
    /// `received`, because the bytes fed decide nothing about another request.
    ///
    /// # Errors
    /// The reason why the request is not authentic, with the request given back.
    #[expect(
        clippy::result_large_err,
        reason = "the request is moved back to its owner; boxing it would cost an allocation a refusal"
    )]
    pub fn finish(self, received: Received, now: Now, dates: &Dates) -> Result<Authentic, Refused> {
        match self.judge(received, now, dates) {
            Verdict::Authentic(authentic) => Ok(authentic),
            Verdict::Stale(stale) => Err(stale.refuse()),
            Verdict::Refused(refused) => Err(refused),
        }
    }

    /// Judges like [`Self::finish`], but leaves open whether a request is refused whose only fault may be its age.
    pub fn judge(self, received: Received, now: Now, dates: &Dates) -> Verdict<'a> {
        let is_same =
            self.fed == received.body.bytes().len() && self.request == received.head.request_id;
        let progress = if is_same {
            self.progress
        } else {
            Progress::Deferred
        };
        let body = received.body.bytes();
        let inputs = Inputs {
            request: self.shape.view(&received.head, body, self.public_url),
            candidates: &self.candidates,
            could_be_token: self.shape.could_be_token(body),
            now: now.wall,
            dates,
        };
        let compared = self.shape.scheme.finish(&inputs, progress);
        let account = self.candidates.account().map(Into::into);
        match compared {
            Ok(Comparison::Fresh(matched)) => {
                Verdict::Authentic(prove(matched, received, account, self.shape))
            }
            Ok(Comparison::Stale { matched, signed_at }) => Verdict::Stale(Stale {
                shape: self.shape,
                received,
                account,
                matched,
                signed_at,
            }),
            Err(why) => Verdict::Refused(Refused { why, received }),
        }
    }
}

/// Returns the request with the proof that the secret gives.
fn prove(
    matched: MatchedSecret,
    received: Received,
    account: Option<Box<str>>,
    shape: &Shape,
) -> Authentic {
    Authentic {
        delivery_id: shape
            .delivery_id
            .as_ref()
            .and_then(|id| id.find(&received))
            .map(Into::into),
        covers: shape.covers(),
        account,
        received,
        secret: matched.name,
        signed_at: matched.signed_at,
    }
}

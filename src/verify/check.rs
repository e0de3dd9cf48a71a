//! A check in progress: the scheme computes what it can while the body arrives, and the verdict comes at the end.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::scheme::{Inputs, Progress};
use super::secret::Candidates;
use super::{Authentic, NotAuthentic, Refused, Verifier};
use crate::clock::{Dates, Now};
use crate::request::{Received, RequestHead, RequestId};

/// A check in progress.
pub struct Check<'a> {
    verifier: &'a Verifier,
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

/// The result of comparing what a request presents with the candidates.
pub(super) enum Comparison {
    /// A secret matches, and the time is not too old.
    Fresh(MatchedSecret),
    /// The time is too old, whether or not a secret matches.
    Stale {
        matched: Option<MatchedSecret>,
        signed_at: SystemTime,
    },
}

/// A secret that matched, with the signed time.
#[derive(Debug)]
pub(super) struct MatchedSecret {
    pub(super) name: Arc<str>,
    pub(super) signed_at: Option<SystemTime>,
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
    verifier: &'a Verifier,
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
        let shape = &self.verifier.shape;
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
                verifier,
                received,
                account,
                matched: Some(matched),
                ..
            } if is_retry => Ok(matched.prove(received, account, verifier)),
            stale => Err(stale.refuse()),
        }
    }
}

impl MatchedSecret {
    /// Returns the request with the proof that this secret gives.
    fn prove(
        self,
        received: Received,
        account: Option<Box<str>>,
        verifier: &Verifier,
    ) -> Authentic {
        let shape = &verifier.shape;
        Authentic {
            delivery_id: shape
                .delivery_id
                .as_ref()
                .and_then(|id| id.find(&received))
                .map(Into::into),
            covers: shape.covers(),
            account,
            received,
            secret: self.name,
            signed_at: self.signed_at,
        }
    }
}

impl<'a> Check<'a> {
    /// Begins a check with the head of a request.
    pub(super) fn new(
        verifier: &'a Verifier,
        head: &RequestHead,
        candidates: Candidates<'a>,
    ) -> Self {
        Self {
            verifier,
            request: head.request_id,
            progress: verifier
                .shape
                .scheme
                .begin(verifier, head, candidates.list()),
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
        let inputs = Inputs {
            verifier: self.verifier,
            candidates: &self.candidates,
            received: &received,
            now: now.wall,
            dates,
        };
        let compared = self.verifier.shape.scheme.finish(&inputs, progress);
        let account = self.candidates.account().map(Into::into);
        match compared {
            Ok(Comparison::Fresh(matched)) => {
                Verdict::Authentic(matched.prove(received, account, self.verifier))
            }
            Ok(Comparison::Stale { matched, signed_at }) => Verdict::Stale(Stale {
                verifier: self.verifier,
                received,
                account,
                matched,
                signed_at,
            }),
            Err(why) => Verdict::Refused(Refused { why, received }),
        }
    }
}

//! A check under way: the MAC streams where it can, the verdict waits for the end.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use subtle::{Choice, ConditionallySelectable};

use super::hmac::Mac;
use super::scheme::{Scheme, basic, mac, token};
use super::secret::Found;
use super::{Authentic, NotAuthentic, Refused, Verifier};
use crate::clock::{Dates, Now};
use crate::request::{Received, RequestHead, RequestId};

/// A check under way.
pub struct Check<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) found: Found<'a>,
    /// The request that was begun with; what was fed counts for this one alone.
    pub(super) request: RequestId,
    /// One MAC a candidate, fed up to here; `None` if the signed content cannot stream.
    pub(super) macs: Option<Vec<Mac>>,
    pub(super) fed: usize,
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("fed", &self.fed)
            .finish_non_exhaustive()
    }
}

/// A verdict under way: the signature was compared.
pub(super) enum Judged {
    /// It matches, and the time is not too old.
    Fresh(Proof),
    /// The time is too old, whether or not the signature matches.
    Stale {
        proof: Option<Proof>,
        signed_at: SystemTime,
    },
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

/// A request whose signed time is too old, with or without a signature that matches: both are handled alike up to the end, so that nobody learns
/// by the time it takes whether a request that he holds is authentic.
pub struct Stale<'a> {
    verifier: &'a Verifier,
    received: Received,
    account: Option<Box<str>>,
    proof: Option<Proof>,
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
    /// The request as it came.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// The account whose secrets it was compared with.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The time that it says it was signed at.
    pub fn signed_at(&self) -> SystemTime {
        self.signed_at
    }

    /// The delivery ID, where the signature covers it.
    pub fn covered_id(&self) -> Option<String> {
        let shape = &self.verifier.shape;
        shape
            .delivery_id
            .as_ref()
            .filter(|_| shape.covers().id)
            .and_then(|id| id.find(&self.received))
    }

    /// Refuses it.
    pub fn refuse(self) -> Refused {
        let why = if self.proof.is_some() {
            NotAuthentic::TimestampStale
        } else {
            NotAuthentic::SignatureMismatch
        };
        Refused {
            why,
            received: self.received,
        }
    }

    /// Takes it for authentic if it is a retry of a request that came in time, and its signature matches.
    ///
    /// # Errors
    /// Why it is not authentic, with the request given back.
    #[expect(clippy::result_large_err, reason = "as `Check::finish`")]
    pub fn resolve(self, is_retry: bool) -> Result<Authentic, Refused> {
        match self {
            Self {
                verifier,
                received,
                account,
                proof: Some(proof),
                ..
            } if is_retry => Ok(proof.of(received, account, verifier)),
            stale => Err(stale.refuse()),
        }
    }
}

impl Proof {
    fn of(self, received: Received, account: Option<Box<str>>, verifier: &Verifier) -> Authentic {
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
            secret: self.secret,
            signed_at: self.signed_at,
        }
    }
}

/// What was proved.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) secret: Arc<str>,
    pub(super) signed_at: Option<SystemTime>,
}

impl<'a> Check<'a> {
    pub(super) fn new(verifier: &'a Verifier, head: &RequestHead, found: Found<'a>) -> Self {
        let macs = match &verifier.shape.scheme {
            Scheme::Hmac(hmac) if hmac.content.streams() => {
                mac::start(verifier, hmac, head, found.candidates())
            }
            Scheme::Hmac(_) | Scheme::Token(_) | Scheme::Basic => None,
        };
        Self {
            verifier,
            found,
            request: head.request_id,
            macs,
            fed: 0,
        }
    }

    /// Feeds the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        self.fed = self.fed.saturating_add(chunk.len());
        for mac in self.macs.iter_mut().flatten() {
            mac.update(chunk);
        }
    }

    /// Returns the verdict on `received` as of `now`; `dates` judges the secrets. Its head and body must be those that were begun with and
    /// fed: if they are visibly not, the MAC is computed again from `received`, since what was fed decides nothing about another request.
    ///
    /// # Errors
    /// Why it is not authentic, with the request given back.
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

    /// Does what [`Self::finish`] does, and leaves open what becomes of a request whose one fault may be its age.
    pub fn judge(mut self, received: Received, now: Now, dates: &Dates) -> Verdict<'a> {
        let judged = match &self.verifier.shape.scheme {
            Scheme::Hmac(hmac) => self.hmac(hmac, &received, now.wall, dates),
            Scheme::Token(source) => token::presented(source, &received.head)
                .and_then(|digests| self.text(&digests, dates)),
            Scheme::Basic => {
                basic::presented(&received.head).and_then(|digest| self.text(&[digest], dates))
            }
        };
        let account = self.found.account().map(Into::into);
        match judged {
            Ok(Judged::Fresh(proof)) => {
                Verdict::Authentic(proof.of(received, account, self.verifier))
            }
            Ok(Judged::Stale { proof, signed_at }) => Verdict::Stale(Stale {
                verifier: self.verifier,
                received,
                account,
                proof,
                signed_at,
            }),
            Err(why) => Verdict::Refused(Refused { why, received }),
        }
    }

    fn text(&self, presented: &[[u8; 32]], dates: &Dates) -> Result<Judged, NotAuthentic> {
        self.single_key()?;
        let compared = self.found.candidates().iter().map(|candidate| {
            presented.iter().fold(Choice::from(0), |hit, digest| {
                hit | candidate.is_text(digest)
            })
        });
        let (any, place) = self.matched(compared, dates);
        if !bool::from(any) {
            return Err(NotAuthentic::SignatureMismatch);
        }
        Ok(Judged::Fresh(Proof {
            secret: self.name_of(place)?,
            signed_at: None,
        }))
    }

    pub(super) fn single_key(&self) -> Result<(), NotAuthentic> {
        if matches!(self.found, Found::Repeated) {
            Err(NotAuthentic::SignatureMalformed)
        } else {
            Ok(())
        }
    }

    /// Whether an active candidate matches, and the place of the first that does. All are compared before any is looked at.
    pub(super) fn matched(
        &self,
        hits: impl Iterator<Item = Choice>,
        dates: &Dates,
    ) -> (Choice, usize) {
        let known = Choice::from(u8::from(self.found.known()));
        let mut any = Choice::from(0);
        let mut place = 0_u32;
        for ((index, candidate), hit) in (0_u32..).zip(self.found.candidates()).zip(hits) {
            let counts = hit & known & Choice::from(u8::from(candidate.active(dates)));
            place.conditional_assign(&index, counts & !any);
            any |= counts;
        }
        (any, usize::try_from(place).unwrap_or(usize::MAX))
    }

    pub(super) fn name_of(&self, place: usize) -> Result<Arc<str>, NotAuthentic> {
        self.found
            .candidates()
            .get(place)
            .map(|candidate| Arc::clone(candidate.name()))
            .ok_or(NotAuthentic::SignatureMismatch)
    }
}

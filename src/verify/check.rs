//! A check under way: the MAC streams where it can, the verdict waits for the end.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use subtle::{Choice, ConditionallySelectable};

use super::content::{Sight, Span};
use super::hmac::{Mac, Tag};
use super::secret::{Candidate, Found};
use super::shape::{HmacScheme, Scheme};
use super::{Authentic, NotAuthentic, Refused, Verifier, basic, token};
use crate::clock::Now;
use crate::request::{Received, RequestHead, RequestId};

/// A check under way.
pub struct Check<'a> {
    verifier: &'a Verifier,
    found: Found<'a>,
    /// The request that was begun with; what was fed counts for this one alone.
    request: RequestId,
    /// One MAC a candidate, fed up to here; `None` if the signed content cannot stream.
    macs: Option<Vec<Mac>>,
    fed: usize,
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("fed", &self.fed).finish_non_exhaustive()
    }
}

/// What was proved.
struct Proof {
    secret: Arc<str>,
    signed_at: Option<SystemTime>,
    tag: Option<[u8; 32]>,
}

impl<'a> Check<'a> {
    pub(super) fn new(verifier: &'a Verifier, head: &RequestHead, found: Found<'a>) -> Self {
        let macs = match &verifier.shape.scheme {
            Scheme::Hmac(hmac) if hmac.content.streams() => start(verifier, hmac, head, found.candidates()),
            Scheme::Hmac(_) | Scheme::Token(_) | Scheme::Basic => None,
        };
        Self { verifier, found, request: head.request_id, macs, fed: 0 }
    }

    /// Feeds the next bytes of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        self.fed = self.fed.saturating_add(chunk.len());
        for mac in self.macs.iter_mut().flatten() {
            mac.update(chunk);
        }
    }

    /// The verdict on `received`, whose head and body must be those that were begun with and fed, as of `now`.
    /// If they are visibly not, the MAC is computed again from `received`: what was fed decides nothing about another request.
    ///
    /// # Errors
    /// Why it is not authentic, with the request given back.
    #[expect(clippy::result_large_err, reason = "the request is moved back to its owner; boxing it would cost an allocation a refusal")]
    pub fn finish(mut self, received: Received, now: Now) -> Result<Authentic, Refused> {
        let proof = match &self.verifier.shape.scheme {
            Scheme::Hmac(hmac) => self.hmac(hmac, &received, now.wall),
            Scheme::Token(source) => token::presented(source, &received.head).and_then(|digests| self.text(&digests, now.wall)),
            Scheme::Basic => basic::presented(&received.head).and_then(|digest| self.text(&[digest], now.wall)),
        };
        let shape = &self.verifier.shape;
        match proof {
            Ok(proof) => Ok(Authentic {
                delivery_id: shape.delivery_id.as_ref().and_then(|id| id.find(&received)).map(Into::into),
                covers: shape.covers(),
                account: self.found.account().map(Into::into),
                received,
                secret: proof.secret,
                signed_at: proof.signed_at,
                tag: proof.tag,
            }),
            Err(why) => Err(Refused { why, received }),
        }
    }

    fn hmac(&mut self, scheme: &HmacScheme, received: &Received, now: SystemTime) -> Result<Proof, NotAuthentic> {
        let (head, body) = (&received.head, received.body.bytes().as_ref());
        let verifier = self.verifier;
        let time = scheme.time.as_ref().map(|time| time.read(&scheme.source, head, body)).transpose();
        let tags = self.single_key().and_then(|()| scheme.source.tags(head, body, scheme.encoding));
        let sight = |time| Sight { head, body, time, id: verifier.shape.delivery_id.as_ref(), public_url: verifier.public_url.as_deref() };
        let (tags, time) = match (tags, time) {
            (Ok(tags), Ok(time)) => (tags, time),
            (tags, time) => {
                let content = scheme.content.feed(Span::All, &sight(b""), &mut |_| ());
                return Err(first([tags.err(), time.err(), content.err()]));
            }
        };
        if verifier.shape.could_be_token(body) {
            return Err(NotAuthentic::SignatureMalformed);
        }
        let text = time.as_ref().map(|(text, _)| &**text).unwrap_or_default();
        let streamed = self.macs.take().filter(|_| self.fed == body.len() && self.request == head.request_id);
        let (mut macs, span) = match streamed {
            Some(macs) => (macs, Span::AfterBody),
            None => (self.found.candidates().iter().filter_map(Candidate::mac).collect(), Span::All),
        };
        scheme.content.feed(span, &sight(text), &mut |bytes| macs.iter_mut().for_each(|mac| mac.update(bytes)))?;
        let compare = |mac: Mac| {
            let tag = mac.finish();
            let hit = tags.iter().fold(Choice::from(0), |hit, presented| hit | presented.same(&tag));
            (tag, hit)
        };
        let compared: Vec<(Tag, Choice)> = macs.into_iter().map(compare).collect();
        let (any, place) = self.matched(compared.iter().map(|(_, hit)| *hit), now);
        let signed_at = time.map(|(_, at)| at);
        // judged before it is known whether anything matched: who holds a stale request must not learn by the time whether it was authentic
        let age = scheme.time.as_ref().zip(signed_at).map_or(Ok(()), |(rule, at)| rule.judge(at, now));
        let verdict = if bool::from(any) { age } else { Err(NotAuthentic::SignatureMismatch) };
        verdict?;
        let tag = compared.get(place).map(|(tag, _)| tag.first32()).filter(|_| scheme.content.body_alone());
        Ok(Proof { secret: self.name_of(place)?, signed_at, tag })
    }

    fn text(&self, presented: &[[u8; 32]], now: SystemTime) -> Result<Proof, NotAuthentic> {
        self.single_key()?;
        let compared = self
            .found
            .candidates()
            .iter()
            .map(|candidate| presented.iter().fold(Choice::from(0), |hit, digest| hit | candidate.is_text(digest)));
        let (any, place) = self.matched(compared, now);
        if !bool::from(any) {
            return Err(NotAuthentic::SignatureMismatch);
        }
        Ok(Proof { secret: self.name_of(place)?, signed_at: None, tag: None })
    }

    fn single_key(&self) -> Result<(), NotAuthentic> {
        if matches!(self.found, Found::Repeated) { Err(NotAuthentic::SignatureMalformed) } else { Ok(()) }
    }

    /// Whether an active candidate matches, and the place of the first that does. All are compared before any is looked at.
    fn matched(&self, hits: impl Iterator<Item = Choice>, now: SystemTime) -> (Choice, usize) {
        let known = Choice::from(u8::from(self.found.known()));
        let mut any = Choice::from(0);
        let mut place = 0_u32;
        for ((index, candidate), hit) in (0_u32..).zip(self.found.candidates()).zip(hits) {
            let counts = hit & known & Choice::from(u8::from(candidate.active(now)));
            place.conditional_assign(&index, counts & !any);
            any |= counts;
        }
        (any, usize::try_from(place).unwrap_or(usize::MAX))
    }

    fn name_of(&self, place: usize) -> Result<Arc<str>, NotAuthentic> {
        self.found.candidates().get(place).map(|candidate| Arc::clone(candidate.name())).ok_or(NotAuthentic::SignatureMismatch)
    }
}

/// The MACs with what precedes the body; `None` if that is not there as it should be, which [`Check::finish`] then says.
fn start(verifier: &Verifier, hmac: &HmacScheme, head: &RequestHead, candidates: &[Candidate]) -> Option<Vec<Mac>> {
    let time = hmac.time.as_ref().filter(|time| !time.in_body());
    let time = time.map(|time| time.read(&hmac.source, head, b"")).transpose().ok()?;
    let sight = Sight {
        head,
        body: b"",
        time: time.as_ref().map(|(text, _)| &**text).unwrap_or_default(),
        id: verifier.shape.delivery_id.as_ref(),
        public_url: verifier.public_url.as_deref(),
    };
    let mut macs: Vec<Mac> = candidates.iter().filter_map(Candidate::mac).collect();
    hmac.content.feed(Span::BeforeBody, &sight, &mut |bytes| macs.iter_mut().for_each(|mac| mac.update(bytes))).ok()?;
    Some(macs)
}

/// What is missing is said before what is malformed, the signature before the time.
fn first(found: [Option<NotAuthentic>; 3]) -> NotAuthentic {
    let rank = |why: &NotAuthentic| match why {
        NotAuthentic::SignatureMissing => 0,
        NotAuthentic::TimestampMissing => 1,
        NotAuthentic::SignatureMalformed => 2,
        NotAuthentic::TimestampMalformed => 3,
        NotAuthentic::SignatureMismatch | NotAuthentic::TimestampStale | NotAuthentic::TimestampFuture => 4,
    };
    found.into_iter().flatten().min_by_key(rank).unwrap_or(NotAuthentic::SignatureMismatch)
}

//! The scheme `hmac`: a keyed hash over signed content.
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use subtle::Choice;

use crate::clock::Dates;
use crate::request::{Received, RequestHead};
use crate::verify::check::{Check, Judged, Proof};
use crate::verify::content::{Piece, Sight, Span, Template};
use crate::verify::covers::Covers;
use crate::verify::hmac::{Algorithm, Mac, TagEncoding};
use crate::verify::locator::{HeaderNames, Locator, Unclear};
use crate::verify::secret::Candidate;
use crate::verify::sign::{CannotSign, Signed, place};
use crate::verify::source::Source;
use crate::verify::timestamp::{self, Format};
use crate::verify::{NotAuthentic, Verifier, json};

/// A keyed hash over signed content.
#[derive(Clone, Debug)]
pub struct HmacScheme {
    /// Which hash.
    pub algorithm: Algorithm,
    /// How a tag is written.
    pub encoding: TagEncoding,
    /// Where the signatures stand.
    pub source: Source,
    /// What is signed.
    pub content: Template,
    /// Where the signed time stands. Dropped by [`Shape::new`] if the signature does not cover it: then it proves nothing.
    pub time: Option<SignedTime>,
}

/// The signed time.
#[derive(Clone, Debug)]
pub struct SignedTime {
    /// Where it stands.
    pub at: TimeAt,
    /// How it is written.
    pub format: Format,
    /// How far it may be from now, either way, both ends included.
    pub tolerance: Duration,
}

/// Where the signed time stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeAt {
    /// In a header of its own.
    Header(HeaderNames),
    /// Under a key among the pairs of the signature header.
    Pair(Box<str>),
    /// In the list of the signature header; the list says where.
    Item,
    /// In the body, by JSON pointer.
    Json(Box<str>),
}

impl SignedTime {
    /// The text of the time, and what it says.
    pub(in crate::verify) fn read<'r>(
        &self,
        source: &Source,
        head: &'r RequestHead,
        body: &'r [u8],
    ) -> Result<(Cow<'r, [u8]>, SystemTime), NotAuthentic> {
        let text = match &self.at {
            TimeAt::Header(names) => {
                let value = names.read(head).map_err(|why| match why {
                    Unclear::Repeated => NotAuthentic::TimestampMalformed,
                    Unclear::Contradicted => NotAuthentic::SignatureMalformed,
                })?;
                Cow::Borrowed(value.ok_or(NotAuthentic::TimestampMissing)?.as_bytes())
            }
            TimeAt::Pair(pair) => Cow::Borrowed(source.time(head, Some(pair))?),
            TimeAt::Item => Cow::Borrowed(source.time(head, None)?),
            TimeAt::Json(pointer) => {
                let found = json::find(body, pointer)
                    .map_err(|_| NotAuthentic::TimestampMalformed)?
                    .ok_or(NotAuthentic::TimestampMissing)?;
                Cow::Owned(found.into_owned().into_bytes())
            }
        };
        let time = self
            .format
            .read(&text)
            .ok_or(NotAuthentic::TimestampMalformed)?;
        Ok((text, time))
    }

    /// Whether it takes the body to find it.
    pub(in crate::verify) fn in_body(&self) -> bool {
        matches!(self.at, TimeAt::Json(_))
    }

    pub(in crate::verify) fn judge(
        &self,
        signed: SystemTime,
        now: SystemTime,
    ) -> Result<(), NotAuthentic> {
        timestamp::judge(signed, now, self.tolerance)
    }
}

impl HmacScheme {
    pub(in crate::verify) fn covers(&self, delivery_id: Option<&Locator>) -> Covers {
        let has = |wanted: &Piece| self.content.pieces().contains(wanted);
        let body = has(&Piece::Body);
        let json = |pointer: &str| body || has(&Piece::Json(pointer.into()));
        let header = |names: &HeaderNames| {
            names
                .names()
                .iter()
                .all(|name| has(&Piece::Header(name.clone())))
        };
        let timestamp = self.time.as_ref().is_some_and(|time| {
            has(&Piece::Timestamp)
                || match &time.at {
                    TimeAt::Header(names) => header(names),
                    TimeAt::Json(pointer) => json(pointer),
                    TimeAt::Pair(_) | TimeAt::Item => false,
                }
        });
        let url = has(&Piece::Url);
        let id = delivery_id.is_some_and(|id| {
            has(&Piece::Id)
                || match id {
                    Locator::Header(names) => header(names),
                    Locator::Json(pointer) => json(pointer),
                    Locator::Query(_) => url || has(&Piece::Query),
                }
        });
        Covers {
            body,
            timestamp,
            id,
            method: has(&Piece::Method),
            url,
            path: has(&Piece::Path),
            query: has(&Piece::Query),
            headers: self
                .content
                .pieces()
                .iter()
                .any(|piece| matches!(piece, Piece::Header(_))),
            fields: self
                .content
                .pieces()
                .iter()
                .any(|piece| matches!(piece, Piece::Json(_))),
        }
    }
}

impl Check<'_> {
    pub(in crate::verify) fn hmac(
        &mut self,
        scheme: &HmacScheme,
        received: &Received,
        now: SystemTime,
        dates: &Dates,
    ) -> Result<Judged, NotAuthentic> {
        let (head, body) = (&received.head, received.body.bytes().as_ref());
        let verifier = self.verifier;
        let time = scheme
            .time
            .as_ref()
            .map(|time| time.read(&scheme.source, head, body))
            .transpose();
        let tags = self
            .single_key()
            .and_then(|()| scheme.source.tags(head, body, scheme.encoding));
        let sight = |time| Sight {
            head,
            body,
            time,
            id: verifier.shape.delivery_id.as_ref(),
            public_url: verifier.public_url.as_deref(),
        };
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
        let streamed = self
            .macs
            .take()
            .filter(|_| self.fed == body.len() && self.request == head.request_id);
        let (mut macs, span) = match streamed {
            Some(macs) => (macs, Span::AfterBody),
            None => (
                self.found
                    .candidates()
                    .iter()
                    .filter_map(Candidate::mac)
                    .collect(),
                Span::All,
            ),
        };
        scheme.content.feed(span, &sight(text), &mut |bytes| {
            macs.iter_mut().for_each(|mac| mac.update(bytes))
        })?;
        let compare = |mac: Mac| {
            let tag = mac.finish();
            tags.iter()
                .fold(Choice::from(0), |hit, presented| hit | presented.same(&tag))
        };
        let compared: Vec<Choice> = macs.into_iter().map(compare).collect();
        let (any, place) = self.matched(compared.into_iter(), dates);
        let signed_at = time.map(|(_, at)| at);
        // judged before it is known whether anything matched: who holds a stale request must not learn by the time whether it was authentic
        let age = scheme
            .time
            .as_ref()
            .zip(signed_at)
            .map_or(Ok(()), |(rule, at)| rule.judge(at, now));
        let proof = if bool::from(any) {
            Some(Proof {
                secret: self.name_of(place)?,
                signed_at,
            })
        } else {
            None
        };
        match (age, signed_at, proof) {
            (Err(NotAuthentic::TimestampStale), Some(signed_at), proof) => {
                Ok(Judged::Stale { proof, signed_at })
            }
            (_, _, None) => Err(NotAuthentic::SignatureMismatch),
            (age, _, Some(proof)) => age.map(|()| Judged::Fresh(proof)),
        }
    }
}

impl Verifier {
    pub(in crate::verify) fn sign_hmac(
        &self,
        hmac: &HmacScheme,
        head: &RequestHead,
        body: &[u8],
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        let mut head = head.clone();
        let mut added = Vec::new();
        let mut time = String::new();
        if let Some(rule) = &hmac.time {
            time = rule.format.write(now);
            match &rule.at {
                TimeAt::Header(names) => {
                    let name = written_name(names, &head)?;
                    let value = HeaderValue::from_str(&time).map_err(|_| CannotSign::Unwritable)?;
                    head.headers.insert(name.clone(), value.clone());
                    added.push((name.clone(), value));
                }
                TimeAt::Json(_) => {
                    let (text, _) = rule
                        .read(&hmac.source, &head, body)
                        .map_err(CannotSign::Content)?;
                    time = String::from_utf8_lossy(&text).into_owned();
                }
                TimeAt::Pair(_) | TimeAt::Item => {}
            }
        }
        if let Some(Locator::Header(names)) = &self.shape.delivery_id
            && self.shape.covers().id
            && !names
                .names()
                .iter()
                .any(|name| head.headers.contains_key(name))
        {
            let name = written_name(names, &head)?;
            let value = HeaderValue::from_str(head.request_id.as_str())
                .map_err(|_| CannotSign::Unwritable)?;
            head.headers.insert(name.clone(), value.clone());
            added.push((name.clone(), value));
        }
        let sight = Sight {
            head: &head,
            body,
            time: time.as_bytes(),
            id: self.shape.delivery_id.as_ref(),
            public_url: self.public_url.as_deref(),
        };
        let mut mac = candidate.mac().ok_or(CannotSign::NoSecret)?;
        hmac.content
            .feed(Span::All, &sight, &mut |bytes| mac.update(bytes))
            .map_err(CannotSign::Content)?;
        let in_header = match hmac.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Pair(pair)) => Some((Some(&**pair), time.as_str())),
            Some(TimeAt::Item) => Some((None, time.as_str())),
            Some(TimeAt::Header(_) | TimeAt::Json(_)) | None => None,
        };
        let text = hmac.encoding.encode(&mac.finish());
        let mut signed = place(&hmac.source, hmac.source.write(text.as_bytes(), in_header))?;
        signed.headers.splice(..0, added);
        Ok(signed)
    }

    /// Whether the signature that the request came with was made with this secret.
    pub(in crate::verify) fn is_of(
        &self,
        hmac: &HmacScheme,
        head: &RequestHead,
        body: &[u8],
        candidate: &Candidate,
    ) -> bool {
        let time = hmac
            .time
            .as_ref()
            .map(|time| time.read(&hmac.source, head, body))
            .transpose();
        let (Ok(tags), Ok(time), Some(mut mac)) = (
            hmac.source.tags(head, body, hmac.encoding),
            time,
            candidate.mac(),
        ) else {
            return false;
        };
        let time = time.as_ref().map(|(text, _)| &**text).unwrap_or_default();
        let sight = Sight {
            head,
            body,
            time,
            id: self.shape.delivery_id.as_ref(),
            public_url: self.public_url.as_deref(),
        };
        if hmac
            .content
            .feed(Span::All, &sight, &mut |bytes| mac.update(bytes))
            .is_err()
        {
            return false;
        }
        let tag = mac.finish();
        tags.iter().any(|presented| presented.same(&tag).into())
    }
}

/// The name that the request uses already, else the preferred one.
fn written_name<'n>(
    names: &'n HeaderNames,
    head: &RequestHead,
) -> Result<&'n HeaderName, CannotSign> {
    let used = names
        .names()
        .iter()
        .find(|name| head.headers.contains_key(*name));
    used.or_else(|| names.names().first())
        .ok_or(CannotSign::Unwritable)
}

/// The MACs with what precedes the body; `None` if that is not there as it should be, which [`Check::finish`] then says.
pub(in crate::verify) fn start(
    verifier: &Verifier,
    hmac: &HmacScheme,
    head: &RequestHead,
    candidates: &[Candidate],
) -> Option<Vec<Mac>> {
    let time = hmac.time.as_ref().filter(|time| !time.in_body());
    let time = time
        .map(|time| time.read(&hmac.source, head, b""))
        .transpose()
        .ok()?;
    let sight = Sight {
        head,
        body: b"",
        time: time.as_ref().map(|(text, _)| &**text).unwrap_or_default(),
        id: verifier.shape.delivery_id.as_ref(),
        public_url: verifier.public_url.as_deref(),
    };
    let mut macs: Vec<Mac> = candidates.iter().filter_map(Candidate::mac).collect();
    hmac.content
        .feed(Span::BeforeBody, &sight, &mut |bytes| {
            macs.iter_mut().for_each(|mac| mac.update(bytes))
        })
        .ok()?;
    Some(macs)
}

/// What is missing is said before what is malformed, the signature before the time.
fn first(found: [Option<NotAuthentic>; 3]) -> NotAuthentic {
    let rank = |why: &NotAuthentic| match why {
        NotAuthentic::SignatureMissing => 0,
        NotAuthentic::TimestampMissing => 1,
        NotAuthentic::SignatureMalformed => 2,
        NotAuthentic::TimestampMalformed => 3,
        NotAuthentic::SignatureMismatch
        | NotAuthentic::TimestampStale
        | NotAuthentic::TimestampFuture => 4,
    };
    found
        .into_iter()
        .flatten()
        .min_by_key(rank)
        .unwrap_or(NotAuthentic::SignatureMismatch)
}

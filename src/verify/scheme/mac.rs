//! The scheme `hmac`: a keyed hash over signed content.
use std::time::SystemTime;

use http::{HeaderName, HeaderValue};
use subtle::Choice;

use super::progress::{Inputs, Progress};
use super::signed_time::{PresentedTime, SignedTime, TimeAt};
use crate::request::RequestHead;
use crate::verify::authentic::NotAuthentic;
use crate::verify::comparison::{Comparison, MatchedSecret};
use crate::verify::content::{RequestView, Span, Template};
use crate::verify::hmac::{Algorithm, Mac, Tag, TagEncoding};
use crate::verify::locator::{HeaderNames, Locator};
use crate::verify::secret::{Candidate, Candidates};
use crate::verify::signed::{CannotSign, NotResignable, Signed, set_header, set_parameter};
use crate::verify::source::{Source, SourcePlace};

mod facts;

/// A keyed hash over signed content.
#[derive(Clone, Debug)]
pub struct HmacScheme {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The text form of a tag.
    pub encoding: TagEncoding,
    /// The place of the signatures.
    pub source: Source,
    /// The signed content.
    pub content: Template,
    /// The signed time. [`Shape::new`] drops it if the signature does not cover it, because it proves nothing then.
    ///
    /// [`Shape::new`]: crate::verify::Shape::new
    pub time: Option<SignedTime>,
}

/// The signatures and the signed time of a request.
struct Presented<'r> {
    tags: Vec<Tag>,
    time: Option<PresentedTime<'r>>,
}

/// Checking.
impl HmacScheme {
    /// Feeds the MACs with the content before the body. Defers everything if the content cannot stream, or if the head lacks a part
    /// of it: then [`Self::finish`] reports that.
    pub(super) fn begin(&self, request: &RequestView<'_>, candidates: &[Candidate]) -> Progress {
        if !self.content.streams() {
            return Progress::Deferred;
        }
        let time = self.time.as_ref().filter(|time| !time.in_body());
        let Ok(time) = time
            .map(|time| time.read(&self.source, request.head, b""))
            .transpose()
        else {
            return Progress::Deferred;
        };
        let view = with_time(*request, time.as_ref());
        let mut macs: Vec<Mac> = candidates.iter().filter_map(Candidate::mac).collect();
        match self.feed(Span::BeforeBody, &view, &mut macs) {
            Ok(()) => Progress::Macs(macs),
            Err(_) => Progress::Deferred,
        }
    }

    /// Compares all presented signatures with all candidates, and judges the signed time.
    ///
    /// The time is judged before it is known whether a signature matches, and a stale request is compared like any other: a person
    /// who holds a stale request must not learn by the time whether it was authentic.
    pub(super) fn finish(
        &self,
        inputs: &Inputs<'_>,
        progress: Progress,
    ) -> Result<Comparison, NotAuthentic> {
        let Presented { tags, time } = self.presented(inputs.candidates, &inputs.request)?;
        if inputs.could_be_token {
            return Err(NotAuthentic::SignatureMalformed);
        }
        let view = with_time(inputs.request, time.as_ref());
        let (mut macs, span) = match progress {
            Progress::Macs(macs) => (macs, Span::AfterBody),
            Progress::Deferred => {
                let all = inputs.candidates.list();
                (all.iter().filter_map(Candidate::mac).collect(), Span::All)
            }
        };
        self.feed(span, &view, &mut macs)?;
        let compare = |mac: Mac| {
            let tag = mac.finish();
            tags.iter()
                .fold(Choice::from(0), |hit, presented| hit | presented.same(&tag))
        };
        let compared: Vec<Choice> = macs.into_iter().map(compare).collect();
        let (any, index) = inputs
            .candidates
            .first_match(compared.into_iter(), inputs.dates);
        let signed_at = time.map(|time| time.at);
        let age = self
            .time
            .as_ref()
            .zip(signed_at)
            .map_or(Ok(()), |(rule, at)| rule.judge(at, inputs.now));
        let matched = if bool::from(any) {
            Some(MatchedSecret {
                name: inputs.candidates.name_of(index)?,
                signed_at,
            })
        } else {
            None
        };
        match (age, signed_at, matched) {
            (Err(NotAuthentic::TimestampStale), Some(signed_at), matched) => {
                Ok(Comparison::Stale { matched, signed_at })
            }
            (_, _, None) => Err(NotAuthentic::SignatureMismatch),
            (age, _, Some(matched)) => age.map(|()| Comparison::Fresh(matched)),
        }
    }

    /// Reads the signatures and the signed time that the request presents.
    fn presented<'r>(
        &self,
        candidates: &Candidates<'_>,
        request: &RequestView<'r>,
    ) -> Result<Presented<'r>, NotAuthentic> {
        let RequestView { head, body, .. } = *request;
        let time = self
            .time
            .as_ref()
            .map(|time| time.read(&self.source, head, body))
            .transpose();
        let tags = candidates
            .require_one_key()
            .and_then(|()| self.source.tags(head, body, self.encoding));
        match (tags, time) {
            (Ok(tags), Ok(time)) => Ok(Presented { tags, time }),
            (tags, time) => {
                let content = self.content.feed(Span::All, request, &mut |_| ());
                Err(first_reason([tags.err(), time.err(), content.err()]))
            }
        }
    }

    /// Feeds the signed content of a request to all MACs.
    fn feed(
        &self,
        span: Span,
        view: &RequestView<'_>,
        macs: &mut [Mac],
    ) -> Result<(), NotAuthentic> {
        self.content.feed(span, view, &mut |bytes| {
            macs.iter_mut().for_each(|mac| mac.update(bytes));
        })
    }
}

/// Signing.
impl HmacScheme {
    /// Signs a request as of `now`.
    ///
    /// Adds the header of the signed time, and the header of the delivery ID if the signature covers it and the request lacks it. A
    /// time or an ID in the body stays as it is.
    pub(super) fn sign(
        &self,
        request: &RequestView<'_>,
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        let mut head = request.head.clone();
        let mut added = Vec::new();
        let mut time = None;
        if let Some(rule) = &self.time {
            let mut text = rule.format.write(now);
            match &rule.at {
                TimeAt::Header(names) => added.push(insert(&mut head, names, &text)?),
                TimeAt::Json(_) => {
                    let presented = rule
                        .read(&self.source, &head, request.body)
                        .map_err(CannotSign::Content)?;
                    text = String::from_utf8_lossy(&presented.text).into_owned();
                }
                TimeAt::Pair(_) | TimeAt::Item => {}
            }
            time = Some(text);
        }
        let has = |names: &HeaderNames| {
            let mut names = names.names().iter();
            names.any(|name| head.headers.contains(name))
        };
        if let Some(Locator::Header(names)) = request.id
            && self.covers(request.id).id
            && !has(names)
        {
            let id = head.request_id;
            added.push(insert(&mut head, names, id.as_str())?);
        }
        let text = time.as_deref().unwrap_or_default();
        let view = RequestView {
            head: &head,
            time: text.as_bytes(),
            ..*request
        };
        let mut macs = [candidate.mac().ok_or(CannotSign::NoSecret)?];
        self.feed(Span::All, &view, &mut macs)
            .map_err(CannotSign::Content)?;
        let [mac] = macs;
        let in_header = match self.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Pair(pair)) => Some((Some(&**pair), text)),
            Some(TimeAt::Item) => Some((None, text)),
            Some(TimeAt::Header(_) | TimeAt::Json(_)) | None => None,
        };
        let tag = self.encoding.encode(&mac.finish());
        let value = self.source.write(tag.as_bytes(), in_header);
        let mut signed = Signed::at(&self.source, value)?;
        signed.headers.splice(..0, added);
        Ok(signed)
    }

    /// Checks that neither the signature nor its time is in the body.
    pub(super) fn resignable(&self) -> Result<(), NotResignable> {
        if matches!(self.source.place, SourcePlace::Json(_)) {
            Err(NotResignable::SignatureInBody)
        } else if self.time.as_ref().is_some_and(SignedTime::in_body) {
            Err(NotResignable::TimeInBody)
        } else {
            Ok(())
        }
    }

    /// Returns whether a signature of the request was made with `candidate`.
    pub(super) fn is_signed_with(&self, request: &RequestView<'_>, candidate: &Candidate) -> bool {
        let RequestView { head, body, .. } = *request;
        let time = self
            .time
            .as_ref()
            .map(|time| time.read(&self.source, head, body))
            .transpose();
        let (Ok(tags), Ok(time), Some(mac)) = (
            self.source.tags(head, body, self.encoding),
            time,
            candidate.mac(),
        ) else {
            return false;
        };
        let view = with_time(*request, time.as_ref());
        let mut macs = [mac];
        if self.feed(Span::All, &view, &mut macs).is_err() {
            return false;
        }
        let [mac] = macs;
        let tag = mac.finish();
        tags.iter().any(|presented| presented.same(&tag).into())
    }

    /// Returns the head with a signature of `now` in place of its own.
    pub(super) fn resign(
        &self,
        request: &RequestView<'_>,
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<RequestHead, CannotSign> {
        let mut fresh = request.head.clone();
        if let Some(rule) = &self.time
            && let names @ [_, ..] = rule.header_names()
        {
            let time = HeaderValue::from_str(&rule.format.write(now))
                .map_err(|_| CannotSign::Unwritable)?;
            set_header(&mut fresh, names, &time);
        }
        let with_time = RequestView {
            head: &fresh,
            ..*request
        };
        let Signed { headers, query } = self.sign(&with_time, candidate, now)?;
        let signatures = self.source.headers();
        for (name, value) in headers {
            if signatures.contains(&name) {
                set_header(&mut fresh, signatures, &value);
            } else {
                set_header(&mut fresh, std::slice::from_ref(&name), &value);
            }
        }
        for (name, value) in query {
            set_parameter(&mut fresh, &name, &value);
        }
        Ok(fresh)
    }
}

/// Returns the request with the signed time that it presents.
fn with_time<'r>(request: RequestView<'r>, time: Option<&'r PresentedTime<'_>>) -> RequestView<'r> {
    RequestView {
        time: time.map(|time| &*time.text).unwrap_or_default(),
        ..request
    }
}

/// Inserts a header under the name that the request already uses, else under the preferred one. Returns it.
fn insert(
    head: &mut RequestHead,
    names: &HeaderNames,
    value: &str,
) -> Result<(HeaderName, HeaderValue), CannotSign> {
    let value = HeaderValue::from_str(value).map_err(|_| CannotSign::Unwritable)?;
    let names = names.names();
    let used = names.iter().find(|name| head.headers.contains(name));
    let name = used.or(names.first()).ok_or(CannotSign::Unwritable)?;
    head.headers.insert(name, &value);
    Ok((name.clone(), value))
}

/// Returns the reason to report first: what is missing before what is malformed, the signature before the time.
fn first_reason(reasons: [Option<NotAuthentic>; 3]) -> NotAuthentic {
    let rank = |reason: &NotAuthentic| match reason {
        NotAuthentic::SignatureMissing => 0,
        NotAuthentic::TimestampMissing => 1,
        NotAuthentic::SignatureMalformed => 2,
        NotAuthentic::TimestampMalformed => 3,
        NotAuthentic::SignatureMismatch
        | NotAuthentic::TimestampStale
        | NotAuthentic::TimestampFuture => 4,
    };
    reasons
        .into_iter()
        .flatten()
        .min_by_key(rank)
        .unwrap_or(NotAuthentic::SignatureMismatch)
}

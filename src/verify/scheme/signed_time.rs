//! The signed time: its place in a request, and its tolerance.
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::HeaderName;

use crate::request::RequestHead;
use crate::verify::authentic::NotAuthentic;
use crate::verify::json;
use crate::verify::locator::{HeaderConflict, HeaderNames};
use crate::verify::source::Source;
use crate::verify::timestamp::{self, Format};

/// The signed time.
#[derive(Clone, Debug)]
pub struct SignedTime {
    /// Its place in the request.
    pub at: TimeAt,
    /// Its format.
    pub format: Format,
    /// The greatest allowed distance from now, before or after, both ends included.
    pub tolerance: Duration,
}

/// The place of the signed time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeAt {
    /// A header of its own.
    Header(HeaderNames),
    /// The value under a key among the pairs of the signature header.
    Pair(Box<str>),
    /// An item in the list of the signature header; the list has its index.
    Item,
    /// A field of the body, by JSON pointer.
    Json(Box<str>),
}

/// A signed time as the request presents it.
pub(in crate::verify) struct PresentedTime<'r> {
    /// The text that is part of the signed content.
    pub(in crate::verify) text: Cow<'r, [u8]>,
    /// The time that the text means.
    pub(in crate::verify) at: SystemTime,
}

impl SignedTime {
    /// Reads the signed time of a request.
    pub(in crate::verify) fn read<'r>(
        &self,
        source: &Source,
        head: &'r RequestHead,
        body: &'r [u8],
    ) -> Result<PresentedTime<'r>, NotAuthentic> {
        let text = match &self.at {
            TimeAt::Header(names) => {
                let value = names.read(head).map_err(|conflict| match conflict {
                    HeaderConflict::Repeated => NotAuthentic::TimestampMalformed,
                    HeaderConflict::Contradicted => NotAuthentic::SignatureMalformed,
                })?;
                Cow::Borrowed(value.ok_or(NotAuthentic::TimestampMissing)?)
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
        let at = self
            .format
            .read(&text)
            .ok_or(NotAuthentic::TimestampMalformed)?;
        Ok(PresentedTime { text, at })
    }

    /// Returns whether the time is in the body.
    pub(in crate::verify) fn in_body(&self) -> bool {
        matches!(self.at, TimeAt::Json(_))
    }

    /// Returns the names of the header of its own; none if it has no such header.
    pub(super) fn header_names(&self) -> &[HeaderName] {
        match &self.at {
            TimeAt::Header(names) => names.names(),
            TimeAt::Pair(_) | TimeAt::Item | TimeAt::Json(_) => &[],
        }
    }

    /// Checks that a signed time is within the tolerance of `now`.
    pub(in crate::verify) fn judge(
        &self,
        signed: SystemTime,
        now: SystemTime,
    ) -> Result<(), NotAuthentic> {
        timestamp::judge(signed, now, self.tolerance)
    }
}

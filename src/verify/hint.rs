//! Says in a few words why a request is refused, for log, status and the list of refusals. The sender never sees it.
//!
//! A hint is a cheap look at the request after the verdict: it computes no MAC, reads a bounded part of the body, and shows no value of
//! the request. `hookgate explain` searches for causes; it takes much longer and needs the whole request.
use std::sync::Arc;
use std::time::SystemTime;

use super::authentic::{NotAuthentic, Refused};
use super::verifier::Verifier;
use crate::clock::Dates;
use crate::request::Params;
use question::Question;

mod content;
mod mismatch;
mod missing;
mod question;
mod signature;
mod time;
mod words;

#[cfg(test)]
mod tests;

impl Verifier {
    /// Says in a few words why it refused a request that arrived at `now`. `dates` are those of the verdict.
    ///
    /// A mismatch and a signed time that is too old or in the future cost the same, whichever the verdict is: a person who holds a stale
    /// request must not learn by the time whether it was authentic.
    pub fn hint(
        &self,
        refused: &Refused,
        params: &Params,
        now: SystemTime,
        dates: &Dates,
    ) -> Arc<str> {
        let head = &refused.received.head;
        let candidates = self.secrets().find(head, params);
        let question = Question {
            shape: self.shape(),
            head,
            body: refused.received.body.bytes(),
            candidates: &candidates,
            keyed_by: self.secrets().keyed_by(),
            public_url: self.public_url(),
            now,
            dates,
        };
        let found = match refused.why {
            NotAuthentic::SignatureMissing => missing::signature(&question),
            NotAuthentic::SignatureMalformed => signature::malformed(&question),
            NotAuthentic::TimestampMissing => time::missing(&question),
            NotAuthentic::TimestampMalformed => time::malformed(&question),
            NotAuthentic::SignatureMismatch => {
                let [mismatch, _] = [
                    Some(mismatch::mismatch(&question)),
                    time::distance(&question),
                ];
                mismatch
            }
            NotAuthentic::TimestampStale | NotAuthentic::TimestampFuture => {
                let [_, distance] = [
                    Some(mismatch::mismatch(&question)),
                    time::distance(&question),
                ];
                distance
            }
        };
        match found {
            Some(text) => text.into(),
            None => refused.why.to_string().into(),
        }
    }
}

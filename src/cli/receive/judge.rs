//! The verdict on a delivery, with the reason in words for the person who writes or rehearses a receiver.
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use crate::cli::message::{Fault, Message};
use crate::cli::receive::data::{self, DataVerdict};
use crate::cli::receive::events::EventKey;
use crate::cli::term;
use crate::clock::{Dates, Now};
use crate::event::catalogue::Catalogue;
use crate::refusal::Refusal;
use crate::request::{Body, Params, Received, RequestHead};
use crate::verify::{Authentic, NotAuthentic, Refused, Verdict as Checked, Verifier};

/// The largest number of characters that are kept of an ID or a type.
const MAX_TEXT: usize = 256;

/// The findings about a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// The ID of the event, as sent.
    pub(super) id: Option<String>,
    /// The type of the event, as sent.
    pub(super) event_type: Option<String>,
    /// The size of the body, in bytes.
    pub(super) body_bytes: usize,
    /// The verdict on the data of an authentic event, if there is a catalogue.
    pub(super) data: Option<DataVerdict>,
}

/// The verdict on a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Authentic {
        /// The name of the secret that matched.
        secret: String,
        signed_at: Option<SystemTime>,
        key: EventKey,
    },
    NotAuthentic {
        code: &'static str,
        message: String,
    },
    /// It is no request that can be judged.
    Unreadable {
        message: &'static str,
        /// The status that it is answered with.
        status: StatusCode,
    },
}

impl Judged {
    /// Returns what is known of a request that could not be read.
    pub(super) fn unreadable(message: &'static str, status: StatusCode) -> Self {
        Self {
            verdict: Verdict::Unreadable { message, status },
            id: None,
            event_type: None,
            body_bytes: 0,
            data: None,
        }
    }
}

/// Judges a delivery. `has_verified` says whether an earlier one was authentic, which makes a wrong secret unlikely.
pub(super) fn judge(
    verifier: &Verifier,
    catalogue: Option<&Catalogue>,
    bytes: &[u8],
    has_verified: bool,
    now: Now,
) -> Judged {
    let read = Message::parse(bytes).and_then(|message| {
        let mut head = message.head(None, now)?;
        head.tls = false;
        Ok((head, message.body))
    });
    let (head, body) = match read {
        Ok(read) => read,
        Err(Fault::Unreadable(message) | Fault::Malformed(message)) => {
            return Judged::unreadable(message, StatusCode::BAD_REQUEST);
        }
    };
    let check = Attempt {
        verifier,
        head: &head,
        body: &body,
        now,
    };
    let (verdict, received) = match check.verdict(&body) {
        Checked::Authentic(authentic) => {
            let key = EventKey::new(authentic.delivery_id(), &body);
            (
                Verdict::authentic(&authentic, key),
                authentic.into_received(),
            )
        }
        Checked::Stale(stale) => {
            let signed_at = stale.signed_at();
            let Refused { why, received } = stale.refuse();
            let message = check.words(why, Some(signed_at), has_verified);
            (Verdict::not_authentic(why, message), received)
        }
        Checked::Refused(Refused { why, received }) => {
            let message = check.words(why, None, has_verified);
            (Verdict::not_authentic(why, message), received)
        }
    };
    let id = verifier.shape().delivery_id();
    let event_type = verifier.event_type(&received);
    let data = catalogue
        .filter(|_| verdict.code().is_none())
        .map(|catalogue| data::check(catalogue, &body, event_type.as_deref()));
    Judged {
        verdict,
        id: id.and_then(|at| at.find(&received)).map(bounded),
        event_type: event_type.map(bounded),
        body_bytes: body.len(),
        data,
    }
}

/// Cuts a text of the sender that is longer than it can be shown.
fn bounded(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text,
    }
}

impl Verdict {
    fn authentic(authentic: &Authentic, key: EventKey) -> Self {
        Self::Authentic {
            secret: authentic.secret().to_string(),
            signed_at: authentic.signed_at(),
            key,
        }
    }

    fn not_authentic(why: NotAuthentic, message: String) -> Self {
        Self::NotAuthentic {
            code: why.code(),
            message,
        }
    }

    /// Returns the stable code of the reason; `None` if it is authentic.
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Authentic { .. } => None,
            Self::NotAuthentic { code, .. } => Some(code),
            Self::Unreadable { .. } => Some(Refusal::Malformed.code()),
        }
    }
}

/// A request that is judged, perhaps with more than one body.
struct Attempt<'a> {
    verifier: &'a Verifier,
    head: &'a RequestHead,
    body: &'a Bytes,
    now: Now,
}

impl<'a> Attempt<'a> {
    /// Returns the verdict on the request with this body.
    fn verdict(&self, body: &Bytes) -> Checked<'a> {
        let received = Received {
            head: self.head.clone(),
            body: Body::from(body.clone()),
        };
        let mut check = self.verifier.begin(self.head, &Params::default());
        check.update(body);
        check.judge(received, self.now, &Dates::at(self.now.wall))
    }

    /// Says why the request is not authentic, and what to look at.
    fn words(
        &self,
        why: NotAuthentic,
        signed_at: Option<SystemTime>,
        has_verified: bool,
    ) -> String {
        match why {
            NotAuthentic::SignatureMissing
            | NotAuthentic::SignatureMalformed
            | NotAuthentic::TimestampMissing
            | NotAuthentic::TimestampMalformed => {
                missing(&self.absent()).unwrap_or_else(|| why.to_string())
            }
            NotAuthentic::SignatureMismatch => {
                let hint = if let Some(change) = self.change() {
                    change
                } else if has_verified {
                    "was the body changed?"
                } else {
                    "is it the secret of another endpoint, or was the body changed?"
                };
                format!("the signature matches no secret: {hint}")
            }
            NotAuthentic::TimestampStale => {
                self.too_old(signed_at).unwrap_or_else(|| why.to_string())
            }
            NotAuthentic::TimestampFuture => format!("{why}: is a clock wrong?"),
        }
    }

    /// Returns the headers of the scheme that the request lacks.
    fn absent(&self) -> Vec<&'a HeaderName> {
        let all = self.verifier.shape().headers().iter();
        all.filter(|name| !self.head.headers.contains(name))
            .collect()
    }

    fn too_old(&self, signed_at: Option<SystemTime>) -> Option<String> {
        let age = self.now.wall.duration_since(signed_at?).ok()?;
        let tolerance = self.verifier.tolerance()?;
        Some(format!(
            "it was signed {} ago, and more than {} is too old",
            term::wait(age),
            term::wait(tolerance)
        ))
    }

    /// Finds out how the body was changed, if the signature matches it without a change that is often made on the way.
    fn change(&self) -> Option<&'static str> {
        let matches = |body: Vec<u8>| {
            body != **self.body
                && match self.verdict(&Bytes::from(body)) {
                    Checked::Authentic(_) => true,
                    Checked::Stale(stale) => stale.refuse().why == NotAuthentic::TimestampStale,
                    Checked::Refused(_) => false,
                }
        };
        if matches(self.body.trim_ascii_end().to_vec()) {
            return Some("white space was added at the end of the body");
        }
        if matches([self.body, &b"\n"[..]].concat()) {
            return Some("the line feed at the end of the body was lost");
        }
        matches(compact(self.body))
            .then_some("white space was added to the JSON: the body must stay as it was sent")
    }
}

/// Says which headers are missing; `None` if there are none.
fn missing(absent: &[&HeaderName]) -> Option<String> {
    let (last, before) = absent.split_last()?;
    if before.is_empty() {
        return Some(format!("the header {last} is missing"));
    }
    let before: Vec<&str> = before.iter().map(|name| name.as_str()).collect();
    Some(format!(
        "the headers {} and {last} are missing",
        before.join(", ")
    ))
}

/// Returns JSON without white space between its tokens.
pub(super) fn compact(json: &[u8]) -> Vec<u8> {
    let (mut in_string, mut is_escaped) = (false, false);
    let mut text = Vec::with_capacity(json.len());
    for byte in json {
        if !in_string && byte.is_ascii_whitespace() {
            continue;
        }
        text.push(*byte);
        if in_string && is_escaped {
            is_escaped = false;
        } else if in_string && *byte == b'\\' {
            is_escaped = true;
        } else if *byte == b'"' {
            in_string = !in_string;
        }
    }
    text
}

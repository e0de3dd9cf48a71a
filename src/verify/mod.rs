//! Decides whether a request is authentic: bytes, compiled policy and `now` in, a verdict out. No socket, clock or store.
//!
//! Two doors, one path: the gate feeds a body as it arrives ([`Verifier::begin`], [`Check::update`], [`Check::finish`]);
//! vectors, commands and benches have it whole ([`Verifier::verify`]).
mod check;
mod content;
mod covers;
mod encoding;
pub mod handshake;
mod hmac;
mod json;
mod locator;
mod resign;
mod scheme;
pub mod secret;
mod secret_locations;
mod shape;
mod sign;
mod source;
pub mod standard;
pub mod stored;
mod timestamp;
mod url;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::clock::{Dates, Now};
use crate::request::{Params, Received, RequestHead};

pub use crate::verify::stored::KeptProof;
pub use check::{Check, Stale, Verdict};
pub use content::{BadTemplate, PLACEHOLDERS, Piece, Template};
pub use covers::Covers;
pub use encoding::Encoding;
pub use handshake::{Handshakes, Tokens};
pub use hmac::{Algorithm, TagEncoding};
pub use locator::{HeaderNames, Locator};
pub use resign::NotResignable;
pub use scheme::Scheme;
pub use scheme::mac::{HmacScheme, SignedTime, TimeAt};
pub use secret::{
    BadSecret, Candidate, KeyedBy, SecretKind, SecretSet, SecretTable, SecretText, TableMap, is_key,
};
pub use secret_locations::SecretLocations;
pub use shape::Shape;
pub use sign::{CannotSign, Signed};
pub use source::{Layout, Source, SourcePlace};
pub use standard::SigningKey;
pub use timestamp::Format;

/// Whether `text` is a JSON pointer that can be searched.
///
/// # Errors
/// What to write instead.
pub fn check_pointer(text: &str) -> Result<(), &'static str> {
    json::check_pointer(text)
}

/// Why a request is not authentic: a closed set. None of it tells anything of a secret, and the sender sees none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthentic {
    /// The signature, token or credentials are absent.
    #[error("the signature is missing")]
    SignatureMissing,
    /// They are there, and are not written as the scheme says; or something else the signature covers is not.
    #[error("the signature is malformed")]
    SignatureMalformed,
    /// No candidate secret gives this signature.
    #[error("the signature matches no candidate secret")]
    SignatureMismatch,
    /// The signed time is absent.
    #[error("the signed timestamp is missing")]
    TimestampMissing,
    /// The signed time is not written as the scheme says.
    #[error("the signed timestamp is malformed")]
    TimestampMalformed,
    /// The signed time is older than the tolerance.
    #[error("the signed timestamp is too old")]
    TimestampStale,
    /// The signed time is further ahead than the tolerance.
    #[error("the signed timestamp is in the future")]
    TimestampFuture,
}

impl NotAuthentic {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::SignatureMissing => "signature_missing",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureMismatch => "signature_mismatch",
            Self::TimestampMissing => "timestamp_missing",
            Self::TimestampMalformed => "timestamp_malformed",
            Self::TimestampStale => "timestamp_stale",
            Self::TimestampFuture => "timestamp_future",
        }
    }
}

/// A compiled `verify` block with its secrets.
#[derive(Debug)]
pub struct Verifier {
    shape: Shape,
    secrets: SecretSet,
    public_url: Option<Box<str>>,
}

impl Verifier {
    /// Begins a check with what the head alone tells. The body follows by [`Check::update`].
    /// Verdicts wait for [`Check::finish`], so that a refusal costs and looks the same wherever it was decided.
    pub fn begin<'a>(&'a self, head: &RequestHead, params: &Params) -> Check<'a> {
        Check::new(self, head, self.secrets.find(head, params))
    }

    /// Checks a request that is wholly here, as of `now`; for whatever is no running gateway.
    ///
    /// # Errors
    /// Why it is not authentic, with the request given back.
    #[expect(
        clippy::result_large_err,
        reason = "the request is moved back to its owner; boxing it would cost an allocation a refusal"
    )]
    pub fn verify(
        &self,
        received: Received,
        params: &Params,
        now: Now,
    ) -> Result<Authentic, Refused> {
        let mut check = self.begin(&received.head, params);
        check.update(received.body.bytes());
        check.finish(received, now, &Dates::at(now.wall))
    }

    /// Whether the signature covers the delivery ID, so that it alone can be the key of the ledger.
    pub fn covers_id(&self) -> bool {
        self.covers().id
    }

    /// What the signature covers.
    pub fn covers(&self) -> Covers {
        self.shape.covers()
    }

    /// Returns whether only who signs can choose the path that is asked for.
    pub fn covers_path(&self) -> bool {
        self.shape.covers_path(self.public_url.is_some())
    }

    /// Returns whether two readers could read a header differently that the scheme reads as single, or the header with the account.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        let account = self.secrets.keyed_by().and_then(KeyedBy::header);
        account.is_some_and(|name| head.single(name).is_err()) || self.shape.is_ambiguous(head)
    }

    /// How old a signed time may be; none where the signature covers no time.
    pub fn tolerance(&self) -> Option<Duration> {
        self.shape.tolerance().filter(|_| self.covers().timestamp)
    }

    /// The event type of a request, for logs. It is covered only if the body or header it stands in is.
    pub fn event_type(&self, received: &Received) -> Option<String> {
        self.shape
            .event_type
            .as_ref()
            .and_then(|at| at.find(received))
    }

    /// Takes no body for authentic that could be a token: the gate hands out MACs of tokens.
    #[must_use]
    pub fn apart_from(mut self, tokens: Tokens) -> Self {
        self.shape = self.shape.apart_from(tokens);
        self
    }

    /// The block it was made from.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its secrets.
    pub fn secrets(&self) -> &SecretSet {
        &self.secrets
    }
}

/// A request whose sender proved who it is. Only a [`Check`] makes one.
#[derive(Debug)]
pub struct Authentic {
    received: Received,
    secret: Arc<str>,
    account: Option<Box<str>>,
    signed_at: Option<SystemTime>,
    delivery_id: Option<Box<str>>,
    covers: Covers,
}

impl Authentic {
    /// The request as it came.
    pub fn received(&self) -> &Received {
        &self.received
    }
    /// The request, without its proof.
    pub fn into_received(self) -> Received {
        self.received
    }
    /// The name of the secret that matched.
    pub fn secret(&self) -> &Arc<str> {
        &self.secret
    }
    /// The account: the key by which the secret was found, where the route finds its secrets by key.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
    /// The signed time, where the signature covers one.
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.signed_at
    }
    /// The provider's ID of this delivery, if the request has one.
    pub fn delivery_id(&self) -> Option<&str> {
        self.delivery_id.as_deref()
    }
    /// Whether the signature covers the delivery ID.
    pub fn id_covered(&self) -> bool {
        self.covers.id
    }
    /// What the signature covers.
    pub fn covers(&self) -> Covers {
        self.covers
    }
}

/// A request that is not authentic: why, and the request given back.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: NotAuthentic,
    /// The request.
    pub received: Received,
}

/// What may go on to the app.
#[derive(Debug)]
pub enum Cleared {
    /// With a proof.
    Authentic(Authentic),
    /// Without one, because the route says `verify: none` or `mode: observe`. Never claims; has no secret that could count as a match.
    Unverified(Unverified),
}

/// A request that goes on unproved: of a route that verifies nothing, or of one that observes.
#[derive(Debug)]
pub struct Unverified {
    received: Received,
    /// The account that was proved on a route that observes: its values are kept apart from those of others there, too.
    account: Option<Box<str>>,
}

impl Unverified {
    /// For a route that says `verify: none`, and for no other.
    pub fn by_config(received: Received) -> Self {
        Self {
            received,
            account: None,
        }
    }

    /// For a route that observes: what it would refuse goes on.
    pub fn refused(refused: Refused) -> Self {
        Self {
            received: refused.received,
            account: None,
        }
    }
}

impl Cleared {
    /// For a route that observes: the proof, if there is one, is not told to the app and claims nothing.
    #[must_use]
    pub fn without_proof(self) -> Self {
        match self {
            Self::Authentic(Authentic {
                received, account, ..
            }) => Self::Unverified(Unverified { received, account }),
            Self::Unverified(unverified) => Self::Unverified(unverified),
        }
    }

    /// The request as it came.
    pub fn received(&self) -> &Received {
        match self {
            Self::Authentic(authentic) => authentic.received(),
            Self::Unverified(unverified) => &unverified.received,
        }
    }

    /// The account that sent it, where the route finds its secrets by key and one of that key's matched.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Authentic(authentic) => authentic.account(),
            Self::Unverified(unverified) => unverified.account.as_deref(),
        }
    }
}

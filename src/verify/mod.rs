//! Decides whether a request is authentic: bytes, a compiled policy and `now` in, a verdict out. No socket, clock or store.
//!
//! The gateway feeds a body while it arrives: [`Verifier::begin`], [`Check::update`], [`Check::finish`]. Everything else has the
//! complete request, and calls [`Verifier::verify_http`] or [`Verifier::verify`], which take the same path.
//!
//! All candidate secrets are compared in constant time, and none is looked at before all are compared.
mod check;
mod content;
mod covers;
mod encoding;
pub mod handshake;
mod hmac;
mod json;
mod locator;
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

use bytes::Bytes;

use crate::clock::{Clock as _, Dates, FrozenClock, Now};
use crate::request::{Params, Received, RequestHead};

pub use check::{Check, Stale, Verdict};
pub use content::{BadTemplate, PLACEHOLDERS, Part, Template};
pub use covers::Covers;
pub use encoding::Encoding;
pub use handshake::{Handshakes, TokenGrammar};
pub use hmac::{Algorithm, TagEncoding};
pub use json::{BadPointer, check_pointer};
pub use locator::{HeaderNames, Locator};
pub use scheme::mac::HmacScheme;
pub use scheme::signed_time::{SignedTime, TimeAt};
pub use scheme::{Scheme, SecretKind};
pub use secret::{
    BadSecret, Candidate, KeyedBy, SecretError, SecretSet, SecretTable, SecretText, TableMap,
    is_key,
};
pub use secret_locations::SecretLocations;
pub use shape::Shape;
pub use sign::{CannotSign, NotResignable, Signed};
pub use source::{Layout, Source, SourcePlace};
pub use standard::SigningKey;
pub use stored::StoredProof;
pub use timestamp::Format;

/// The reason why a request is not authentic: a closed set. It reveals nothing of a secret, and the sender never sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAuthentic {
    /// The signature, token or credentials are missing.
    #[error("the signature is missing")]
    SignatureMissing,
    /// The signature, or another part of the signed content, does not follow the grammar of the scheme.
    #[error("the signature is malformed")]
    SignatureMalformed,
    /// No active candidate secret gives this signature.
    #[error("the signature matches no candidate secret")]
    SignatureMismatch,
    /// The signed time is missing.
    #[error("the signed timestamp is missing")]
    TimestampMissing,
    /// The signed time is not in the format of the scheme.
    #[error("the signed timestamp is malformed")]
    TimestampMalformed,
    /// The signed time is older than the tolerance.
    #[error("the signed timestamp is too old")]
    TimestampStale,
    /// The signed time is further in the future than the tolerance.
    #[error("the signed timestamp is in the future")]
    TimestampFuture,
}

impl NotAuthentic {
    /// Returns the stable code.
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

/// A compiled `verify` block with its secrets: decides whether requests are authentic.
///
/// `Verifier::from_preset` makes one of a preset, [`Shape::with_secrets`] of a compiled block.
#[derive(Debug)]
pub struct Verifier {
    shape: Shape,
    secrets: SecretSet,
    public_url: Option<Box<str>>,
}

impl Verifier {
    /// Begins a check with the head. The body follows by [`Check::update`].
    ///
    /// There is no verdict before [`Check::finish`], so that a refusal costs and looks the same wherever it was decided.
    pub fn begin<'a>(&'a self, head: &RequestHead, params: &Params) -> Check<'a> {
        Check::new(self, head, self.secrets.find(head, params))
    }

    /// Verifies a complete request as of `now`, for programs that are not a running gateway.
    ///
    /// The body is verified as it is, so it must be the bytes that were received. The sender is unknown, and the request has no path
    /// parameters. It came over TLS unless its URI says `http`.
    ///
    /// # Errors
    /// The reason why the request is not authentic.
    pub fn verify_http<B: Into<Bytes>>(
        &self,
        request: http::Request<B>,
        now: SystemTime,
    ) -> Result<Authentic, NotAuthentic> {
        let now = FrozenClock(now).now();
        self.verify(Received::from_http(request, now), &Params::default(), now)
            .map_err(|refused| refused.why)
    }

    /// Verifies a complete request with its path parameters as of `now`, for programs that are not a running gateway.
    ///
    /// # Errors
    /// The reason why it is not authentic, with the request given back.
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

    /// Returns whether the signature covers the delivery ID, so that the ID alone can be the key of the ledger.
    pub fn covers_id(&self) -> bool {
        self.covers().id
    }

    /// Returns the facts that the signature covers.
    pub fn covers(&self) -> Covers {
        self.shape.covers()
    }

    /// Returns whether only the signer can choose the path of the request.
    pub fn covers_path(&self) -> bool {
        self.shape.covers_path(self.public_url.is_some())
    }

    /// Returns whether two readers could read a header of the scheme, or the header with the account, differently.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        let account = self.secrets.keyed_by().and_then(KeyedBy::header);
        account.is_some_and(|name| head.single(name).is_err()) || self.shape.is_ambiguous(head)
    }

    /// Returns the greatest age of a signed time; `None` if the signature covers no time.
    pub fn tolerance(&self) -> Option<Duration> {
        self.shape.tolerance().filter(|_| self.covers().timestamp)
    }

    /// Returns the event type of a request, for logs. It is covered only if its header or body is.
    pub fn event_type(&self, received: &Received) -> Option<String> {
        self.shape
            .event_type
            .as_ref()
            .and_then(|at| at.find(received))
    }

    /// Refuses bodies that could be such a token: the gateway gives away MACs of tokens.
    #[must_use]
    pub fn apart_from(mut self, tokens: TokenGrammar) -> Self {
        self.shape = self.shape.apart_from(tokens);
        self
    }

    /// Returns the compiled block that it was made from.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns its secrets.
    pub fn secrets(&self) -> &SecretSet {
        &self.secrets
    }
}

/// A request whose sender proved its identity. Only a [`Check`] makes one.
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
    /// Returns the request as received.
    pub fn received(&self) -> &Received {
        &self.received
    }
    /// Returns the request without its proof.
    pub fn into_received(self) -> Received {
        self.received
    }
    /// Returns the name of the secret that matched.
    pub fn secret(&self) -> &Arc<str> {
        &self.secret
    }
    /// Returns the account: the key by which the secret was found, if the route finds its secrets by key.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
    /// Returns the signed time, if the signature covers one.
    pub fn signed_at(&self) -> Option<SystemTime> {
        self.signed_at
    }
    /// Returns the provider's ID of this delivery, if the request has one.
    pub fn delivery_id(&self) -> Option<&str> {
        self.delivery_id.as_deref()
    }
    /// Returns whether the signature covers the delivery ID.
    pub fn id_covered(&self) -> bool {
        self.covers.id
    }
    /// Returns the facts that the signature covers.
    pub fn covers(&self) -> Covers {
        self.covers
    }
}

/// A request that is not authentic.
#[derive(Debug)]
pub struct Refused {
    /// The reason.
    pub why: NotAuthentic,
    /// The request, given back.
    pub received: Received,
}

/// A request that may be forwarded.
#[derive(Debug)]
pub enum Cleared {
    /// One with a proof.
    Authentic(Authentic),
    /// One without a proof, because the route says `verify: none` or `mode: observe`. It never claims a delivery ID, and no secret matched.
    Unverified(Unverified),
}

/// A request without a proof, of a route with `verify: none` or `mode: observe`.
#[derive(Debug)]
pub struct Unverified {
    received: Received,
    /// The account that was proved on a route with `mode: observe`. Its values are separate from those of other accounts there, too.
    account: Option<Box<str>>,
}

impl Unverified {
    /// Clears a request of a route with `verify: none`, and of no other.
    pub fn by_config(received: Received) -> Self {
        Self {
            received,
            account: None,
        }
    }

    /// Clears a request that a route with `mode: observe` would refuse.
    pub fn refused(refused: Refused) -> Self {
        Self {
            received: refused.received,
            account: None,
        }
    }
}

impl Cleared {
    /// Drops the proof, for a route with `mode: observe`: it is not forwarded and claims nothing.
    #[must_use]
    pub fn without_proof(self) -> Self {
        match self {
            Self::Authentic(Authentic {
                received, account, ..
            }) => Self::Unverified(Unverified { received, account }),
            Self::Unverified(unverified) => Self::Unverified(unverified),
        }
    }

    /// Returns the request as received.
    pub fn received(&self) -> &Received {
        match self {
            Self::Authentic(authentic) => authentic.received(),
            Self::Unverified(unverified) => &unverified.received,
        }
    }

    /// Returns the account that sent it, if the route finds its secrets by key and one of that key matched.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Authentic(authentic) => authentic.account(),
            Self::Unverified(unverified) => unverified.account.as_deref(),
        }
    }
}

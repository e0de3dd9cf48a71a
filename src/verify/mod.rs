//! Decides whether a request is authentic: bytes, compiled policy and `now` in, a verdict out. No socket, clock or store.
//!
//! Two doors, one path: the gate feeds a body as it arrives ([`Verifier::begin`], [`Check::update`], [`Check::finish`]);
//! vectors, commands and benches have it whole ([`Verifier::verify`]).
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;

use crate::clock::Now;
use crate::request::{Body, Params, Received, RequestHead};

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

/// Where a fact of the request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locator {
    /// In a header that occurs once.
    Header(HeaderName),
    /// In the body, by JSON pointer.
    Json(String),
    /// In the query, percent-decoded.
    Query(String),
}

impl Locator {
    /// The value there, as text; numbers and booleans of JSON as they are written. `None` if it is absent, repeated, empty, or no such value.
    pub fn find(&self, _received: &Received) -> Option<String> {
        todo!()
    }
}

/// A compiled `verify` block.
pub struct Verifier {}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl Verifier {
    /// Begins a check with what the head alone tells. The body follows by [`Check::update`].
    /// Verdicts wait for [`Check::finish`], so that a refusal costs and looks the same wherever it was decided.
    pub fn begin<'a>(&'a self, _head: &RequestHead, _params: &Params) -> Check<'a> {
        todo!()
    }

    /// Checks a request that is wholly here, as of `now`.
    ///
    /// # Errors
    /// Why it is not authentic, with the request given back.
    pub fn verify(&self, received: Received, params: &Params, now: Now) -> Result<Authentic, Refused> {
        let mut check = self.begin(&received.head, params);
        check.update(received.body.bytes());
        check.finish(received, now)
    }

    /// Whether the signature covers the delivery ID, so that it alone can be the key of the ledger.
    pub fn covers_id(&self) -> bool {
        todo!()
    }
}

/// A check under way.
pub struct Check<'a> {
    _verifier: &'a Verifier,
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").finish_non_exhaustive()
    }
}

impl Check<'_> {
    /// Feeds the next bytes of the body.
    pub fn update(&mut self, _chunk: &[u8]) {
        todo!()
    }

    /// The verdict on `received`, whose body must be the bytes that were fed, as of `now`.
    ///
    /// # Errors
    /// Why it is not authentic, with the request given back.
    pub fn finish(self, _received: Received, _now: Now) -> Result<Authentic, Refused> {
        todo!()
    }
}

/// A request whose sender proved who it is. Only [`Check::finish`] makes one.
#[derive(Debug)]
pub struct Authentic {
    received: Received,
    secret: Arc<str>,
    signed_at: Option<SystemTime>,
    delivery_id: Option<Box<str>>,
    id_covered: bool,
    /// SHA-256 of the body, or a MAC over it: what stands for the signed content in a ledger key.
    digest: [u8; 32],
}

impl Authentic {
    /// The request as it came.
    pub fn received(&self) -> &Received {
        &self.received
    }
    /// The name of the secret that matched.
    pub fn secret(&self) -> &Arc<str> {
        &self.secret
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
        self.id_covered
    }
    /// Stands for the body in a ledger key.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
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
    /// Without one, because the route says `verify: none`. Never claims, never counts as a secret match.
    Unverified(Unverified),
}

/// A request of a route that verifies nothing.
#[derive(Debug)]
pub struct Unverified(Received);

impl Unverified {
    /// For a route that says `verify: none`, and for no other.
    pub fn by_config(received: Received) -> Self {
        Self(received)
    }
}

impl Cleared {
    /// The request as it came.
    pub fn received(&self) -> &Received {
        match self {
            Self::Authentic(authentic) => authentic.received(),
            Self::Unverified(Unverified(received)) => received,
        }
    }
}

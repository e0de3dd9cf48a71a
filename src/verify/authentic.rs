//! The result of a verification: an authentic request, or the reason why it is none; and the requests that may be forwarded.
use std::sync::Arc;
use std::time::SystemTime;

use super::covers::Covers;
use crate::request::Received;

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

/// A request whose sender proved its identity. Only a [`Check`](super::Check) makes one.
#[derive(Debug)]
pub struct Authentic {
    pub(super) received: Received,
    pub(super) secret: Arc<str>,
    pub(super) account: Option<Box<str>>,
    pub(super) signed_at: Option<SystemTime>,
    pub(super) delivery_id: Option<Box<str>>,
    pub(super) covers: Covers,
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

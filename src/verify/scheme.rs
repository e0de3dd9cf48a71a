//! The schemes, one file each: how a request is checked, signed and signed again.
//!
//! A new scheme is a file beside these, a variant of [`Scheme`], and its arm in each `match` below.
use std::time::{Duration, SystemTime};

use http::HeaderName;

use super::check::Comparison;
use super::content::Template;
use super::covers::Covers;
use super::hmac::{Algorithm, Mac};
use super::locator::{HeaderNames, Locator};
use super::secret::{Candidate, Candidates, Material, SecretError};
use super::secret_locations::SecretLocations;
use super::sign::{CannotSign, NotResignable, Signed};
use super::source::Source;
use super::{NotAuthentic, Verifier};
use crate::clock::Dates;
use crate::request::{Received, RequestHead};
use mac::HmacScheme;

mod basic;
pub(super) mod mac;
pub(super) mod signed_time;
mod token;

/// A family of authentication.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// A keyed hash over signed content.
    Hmac(HmacScheme),
    /// A token that is itself the secret, at this place.
    Token(Source),
    /// `Authorization: Basic`.
    Basic,
}

/// The form in which a scheme compares a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// A key schedule.
    Hmac(Algorithm),
    /// A text that is presented unchanged.
    Token,
    /// `user:password`.
    Basic,
}

/// The state of a check between its beginning and its end.
pub(super) enum Progress {
    /// One MAC for each candidate, fed up to here.
    Macs(Vec<Mac>),
    /// Nothing yet: the scheme computes everything from the complete request.
    Deferred,
}

/// The values that a check is finished with.
pub(super) struct Inputs<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) candidates: &'a Candidates<'a>,
    pub(super) received: &'a Received,
    /// The time by which signed times are judged.
    pub(super) now: SystemTime,
    /// The dates by which secrets are judged.
    pub(super) dates: &'a Dates,
}

/// A header that a scheme reads or covers.
pub(super) struct ReadHeader {
    pub(super) names: HeaderNames,
    /// Whether it must occur once.
    pub(super) is_single: bool,
}

impl ReadHeader {
    /// Describes a header that must occur once.
    pub(super) fn single(names: impl Into<HeaderNames>) -> Self {
        Self {
            names: names.into(),
            is_single: true,
        }
    }
}

impl Progress {
    /// Feeds the next bytes of the body.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        match self {
            Self::Macs(macs) => macs.iter_mut().for_each(|mac| mac.update(chunk)),
            Self::Deferred => {}
        }
    }
}

impl SecretKind {
    /// Prepares the bytes of a secret for comparison.
    pub(super) fn material(self, key: &[u8]) -> Result<Material, SecretError> {
        match self {
            Self::Hmac(algorithm) => Material::key(algorithm, key),
            Self::Token => Ok(Material::text(key)),
            Self::Basic => basic::material(key),
        }
    }
}

/// Checking.
impl Scheme {
    /// Begins a check with the head. Whatever is wrong with the head is reported by [`Self::finish`].
    pub(super) fn begin(
        &self,
        verifier: &Verifier,
        head: &RequestHead,
        candidates: &[Candidate],
    ) -> Progress {
        match self {
            Self::Hmac(scheme) => scheme.begin(verifier, head, candidates),
            Self::Token(_) | Self::Basic => Progress::Deferred,
        }
    }

    /// Compares what the request presents with all candidates.
    pub(super) fn finish(
        &self,
        inputs: &Inputs<'_>,
        progress: Progress,
    ) -> Result<Comparison, NotAuthentic> {
        match self {
            Self::Hmac(scheme) => scheme.finish(inputs, progress),
            Self::Token(source) => token::finish(source, inputs),
            Self::Basic => basic::finish(inputs),
        }
    }
}

/// Signing.
impl Scheme {
    /// Signs a request with `candidate` as of `now`.
    pub(super) fn sign(
        &self,
        verifier: &Verifier,
        head: &RequestHead,
        body: &[u8],
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        match self {
            Self::Hmac(scheme) => scheme.sign(verifier, head, body, candidate, now),
            Self::Token(source) => token::sign(source, candidate),
            Self::Basic => basic::sign(candidate),
        }
    }

    /// Returns whether a request can be signed again without a change of its body.
    pub(super) fn resignable(&self) -> Result<(), NotResignable> {
        match self {
            Self::Hmac(scheme) => scheme.resignable(),
            Self::Token(_) | Self::Basic => Err(NotResignable::SignsNothing),
        }
    }

    /// Returns whether the request was signed with `candidate`.
    pub(super) fn is_signed_with(
        &self,
        verifier: &Verifier,
        received: &Received,
        candidate: &Candidate,
    ) -> bool {
        match self {
            Self::Hmac(scheme) => scheme.is_signed_with(verifier, received, candidate),
            Self::Token(_) | Self::Basic => false,
        }
    }

    /// Returns the head with a signature of `now` in place of its own.
    pub(super) fn resign(
        &self,
        verifier: &Verifier,
        received: &Received,
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<RequestHead, CannotSign> {
        match self {
            Self::Hmac(scheme) => scheme.resign(verifier, received, candidate, now),
            Self::Token(_) | Self::Basic => Err(CannotSign::Unwritable),
        }
    }
}

/// Facts that the config, the gateway and the store ask for.
impl Scheme {
    /// Prepares the scheme for requests with this delivery ID, and returns what its signature covers.
    pub(super) fn settle(&mut self, delivery_id: Option<&Locator>) -> Covers {
        match self {
            Self::Hmac(scheme) => scheme.settle(delivery_id),
            Self::Token(_) | Self::Basic => Covers::default(),
        }
    }

    /// Returns the form in which secrets are compared.
    pub(super) fn secret_kind(&self) -> SecretKind {
        match self {
            Self::Hmac(scheme) => SecretKind::Hmac(scheme.algorithm),
            Self::Token(_) => SecretKind::Token,
            Self::Basic => SecretKind::Basic,
        }
    }

    /// Returns the signed content, if the scheme signs any.
    pub(super) fn content(&self) -> Option<&Template> {
        match self {
            Self::Hmac(scheme) => Some(&scheme.content),
            Self::Token(_) | Self::Basic => None,
        }
    }

    /// Returns the greatest allowed distance between the signed time and now; `None` if no time is enforced.
    pub(super) fn tolerance(&self) -> Option<Duration> {
        match self {
            Self::Hmac(scheme) => scheme.time.as_ref().map(|time| time.tolerance),
            Self::Token(_) | Self::Basic => None,
        }
    }

    /// Returns whether the path is signed and no byte can move between it and its neighbours.
    pub(super) fn covers_path(&self, has_public_url: bool) -> bool {
        match self {
            Self::Hmac(scheme) => scheme.covers_path(has_public_url),
            Self::Token(_) | Self::Basic => false,
        }
    }

    /// Returns whether the signature is in the query.
    pub(super) fn signs_in_query(&self) -> bool {
        match self {
            Self::Hmac(scheme) => scheme.source.query().is_some(),
            Self::Token(_) | Self::Basic => false,
        }
    }

    /// Returns the headers that hold the signature and its time.
    pub(super) fn signed_headers(&self) -> Vec<HeaderName> {
        match self {
            Self::Hmac(scheme) => scheme.signed_headers(),
            Self::Token(_) | Self::Basic => Vec::new(),
        }
    }

    /// Returns all headers that the scheme reads or covers.
    pub(super) fn headers(&self) -> Vec<ReadHeader> {
        match self {
            Self::Hmac(scheme) => scheme.headers(),
            Self::Token(source) => source.read_headers(),
            Self::Basic => basic::headers(),
        }
    }

    /// Returns the parts of a request that hold a secret or a signature.
    pub(super) fn secret_locations(&self) -> SecretLocations {
        match self {
            Self::Hmac(scheme) => scheme.secret_locations(),
            Self::Token(source) => token::secret_locations(source),
            Self::Basic => basic::secret_locations(),
        }
    }
}

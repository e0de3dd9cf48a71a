//! The schemes, one file each: how a request is checked, signed and signed again.
//!
//! A new scheme is a file beside these, a variant of [`Scheme`], its name, and its arm in each `match` below.
use std::time::{Duration, SystemTime};

use http::HeaderName;

use super::authentic::NotAuthentic;
use super::comparison::Comparison;
use super::content::{RequestView, Template};
use super::covers::Covers;
use super::locator::{Locator, ReadHeader};
use super::secret::{Candidate, SecretKind};
use super::secret_locations::SecretLocations;
use super::signed::{CannotSign, NotResignable, Signed};
use super::source::Source;
use crate::request::RequestHead;
use mac::HmacScheme;

mod basic;
pub(super) mod mac;
mod progress;
pub(super) mod signed_time;
mod token;

pub(super) use progress::{Inputs, Progress};

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

impl Scheme {
    /// The names in the config.
    pub const NAMES: [&'static str; 3] = ["hmac", "token", "basic"];
}

/// Checking.
impl Scheme {
    /// Begins a check with the head. Whatever is wrong with the head is reported by [`Self::finish`].
    pub(super) fn begin(&self, request: &RequestView<'_>, candidates: &[Candidate]) -> Progress {
        match self {
            Self::Hmac(scheme) => scheme.begin(request, candidates),
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
        request: &RequestView<'_>,
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        match self {
            Self::Hmac(scheme) => scheme.sign(request, candidate, now),
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
    pub(super) fn is_signed_with(&self, request: &RequestView<'_>, candidate: &Candidate) -> bool {
        match self {
            Self::Hmac(scheme) => scheme.is_signed_with(request, candidate),
            Self::Token(_) | Self::Basic => false,
        }
    }

    /// Returns the head with a signature of `now` in place of its own.
    pub(super) fn resign(
        &self,
        request: &RequestView<'_>,
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<RequestHead, CannotSign> {
        match self {
            Self::Hmac(scheme) => scheme.resign(request, candidate, now),
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

//! A compiled `verify` block with its secrets: decides whether requests are authentic, and signs requests so that it accepts them.
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::authentic::{Authentic, NotAuthentic, Refused};
use super::check::Check;
use super::covers::Covers;
use super::handshake::TokenGrammar;
use super::secret::{Candidate, KeyedBy, SecretSet};
use super::shape::Shape;
use super::signed::{CannotSign, Signed};
use crate::clock::{Clock as _, Dates, FrozenClock, Now};
use crate::request::{Params, Received, RequestHead};

/// A compiled `verify` block with its secrets: decides whether requests are authentic.
///
/// `Verifier::from_preset` makes one of a preset, [`Shape::with_secrets`] of a compiled block.
#[derive(Debug)]
pub struct Verifier {
    shape: Shape,
    secrets: SecretSet,
    public_url: Option<Box<str>>,
}

impl Shape {
    /// Returns a verifier with these secrets. `public_url` is the URL that senders use, without query.
    pub fn with_secrets(self, secrets: SecretSet, public_url: Option<String>) -> Verifier {
        Verifier {
            shape: self,
            secrets,
            public_url: public_url.map(Into::into),
        }
    }
}

/// Checking.
impl Verifier {
    /// Begins a check with the head. The body follows by [`Check::update`].
    ///
    /// There is no verdict before [`Check::finish`], so that a refusal costs and looks the same wherever it was decided.
    pub fn begin<'a>(&'a self, head: &RequestHead, params: &Params) -> Check<'a> {
        Check::new(
            &self.shape,
            self.public_url.as_deref(),
            head,
            self.secrets.find(head, params),
        )
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
        account.is_some_and(|name| head.headers.single(name).is_err())
            || self.shape.is_ambiguous(head)
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

    /// Returns the secrets that a request is compared with; `None` if the account that it names has none.
    pub fn candidates(&self, head: &RequestHead, params: &Params) -> Option<Vec<Candidate>> {
        let candidates = self.secrets.find(head, params);
        candidates.known().then(|| candidates.list().to_vec())
    }

    /// Returns the URL that senders use, without query, if the config has it.
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
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

/// Signing: for `hookgate sign`, for tests, and again for a queued delivery whose signed time has passed.
impl Verifier {
    /// Signs a request as of `now` with the secret at `secret`, counted from 0.
    ///
    /// If the signature covers a header with the delivery ID and `head` lacks it, the request's own ID is used. A time or an ID in
    /// the body stays as it is.
    ///
    /// # Errors
    /// The reason why the request cannot be signed.
    pub fn sign(
        &self,
        head: &RequestHead,
        params: &Params,
        body: &[u8],
        secret: usize,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        let candidates = self.secrets.find(head, params);
        let candidate = candidates
            .list()
            .get(secret)
            .filter(|_| candidates.known())
            .ok_or(CannotSign::NoSecret)?;
        let request = self.shape.view(head, body, self.public_url.as_deref());
        self.shape.scheme.sign(&request, candidate, now)
    }

    /// Returns the head of an authentic request with a signature of `now` in place of its own. The body stays as it is.
    ///
    /// The request is signed with the secret of its own signature while that is active, else with the newest active one.
    ///
    /// # Errors
    /// The reason why the request cannot be signed.
    pub fn resign(
        &self,
        authentic: &Authentic,
        params: &Params,
        now: SystemTime,
        dates: &Dates,
    ) -> Result<RequestHead, CannotSign> {
        let Received { head, body } = authentic.received();
        let request = self
            .shape
            .view(head, body.bytes(), self.public_url.as_deref());
        let scheme = &self.shape.scheme;
        scheme.resignable().map_err(|_| CannotSign::Unwritable)?;
        let candidates = self.secrets.find(head, params);
        if !candidates.known() {
            return Err(CannotSign::NoSecret);
        }
        let active = || {
            let all = candidates.list().iter();
            all.filter(|candidate| candidate.active(dates))
        };
        let own = active().find(|candidate| scheme.is_signed_with(&request, candidate));
        let candidate = own
            .or_else(|| active().next())
            .ok_or(CannotSign::NoSecret)?;
        scheme.resign(&request, candidate, now)
    }
}

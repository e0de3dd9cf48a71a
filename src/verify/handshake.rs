//! Handshakes: requests by which a provider tests an endpoint. The gateway answers them; they claim nothing and never reach the upstream.
//!
//! Anybody gets an answer to an unsigned handshake. So it may only echo a token of a strict grammar, or give the MAC of a token that no
//! signed content of the scheme can equal: else the answer would be the signature of a delivery that nobody sent ([`TokenGrammar::apart`]).
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};

use super::authentic::{Cleared, NotAuthentic};
use super::hmac::TagEncoding;
use super::locator::Locator;
use super::secret::{Candidate, SecretError, SecretKind, SecretText};
use super::secret_locations::SecretLocations;
use super::verifier::Verifier;
use crate::clock::Dates;
use crate::request::{Params, Received, RequestHead};

mod response;
mod token;

pub use response::{BadTextTemplate, HandshakeResponse, ResponseBody, TextTemplate};
pub use token::{ForbiddenCharacter, Separation, TokenGrammar};

/// The largest body that is searched for a token, in bytes: a handshake is short, and an unsigned one is parsed for anybody.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// A second secret that the request must carry.
#[derive(Clone, Debug)]
pub struct VerifyToken {
    at: Locator,
    secret: Candidate,
}

impl VerifyToken {
    /// Requires `secret` at a place.
    ///
    /// # Errors
    /// The fault of the secret.
    pub fn new(at: Locator, secret: &SecretText) -> Result<Self, SecretError> {
        let made = Candidate::make(SecretKind::Token, &[], None, secret)?;
        made.into_iter()
            .next()
            .map(|secret| Self { at, secret })
            .ok_or(SecretError::Empty)
    }

    /// Returns whether the request carries the secret, compared in constant time.
    fn admits(&self, head: &RequestHead, body: &[u8], dates: &Dates) -> bool {
        let presented: [u8; 32] =
            Sha256::digest(self.at.look(head, body).unwrap_or_default()).into();
        bool::from(self.secret.is_text(&presented)) && self.secret.active(dates)
    }
}

/// A value that makes a request a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its place.
    pub at: Locator,
    /// The exact value.
    pub is: Box<str>,
}

/// A request by which a provider tests an endpoint.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The method of the request.
    pub method: Method,
    /// Whether the request is signed like a delivery. Then it is answered after verification.
    pub signed: bool,
    /// The other values that distinguish it from a delivery.
    pub when: Vec<Condition>,
    /// The place and grammar of its token.
    pub token: Option<(Locator, TokenGrammar)>,
    /// A second secret that it must carry.
    pub verify_token: Option<VerifyToken>,
    /// The body of the response.
    pub body: ResponseBody,
    /// Headers of the response. They hold nothing of the request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The text form of `{mac}`.
    pub mac: TagEncoding,
}

impl Handshake {
    /// Returns whether the body is needed to recognize it.
    pub fn reads_body(&self) -> bool {
        self.locators().any(Locator::in_body)
    }

    fn locators(&self) -> impl Iterator<Item = &Locator> {
        let token = self.token.iter().map(|(at, _)| at);
        self.when.iter().map(|when| &when.at).chain(token).chain(
            self.verify_token
                .iter()
                .map(|verify_token| &verify_token.at),
        )
    }

    /// Returns whether the response holds a MAC.
    pub fn has_mac(&self) -> bool {
        self.body.texts().any(TextTemplate::has_mac)
    }

    /// Returns whether a request is this handshake.
    fn matches(&self, head: &RequestHead, body: &[u8]) -> bool {
        self.method == head.method
            && (body.len() <= MAX_BODY_BYTES || !self.reads_body())
            && self
                .when
                .iter()
                .all(|when| when.at.look(head, body).as_deref() == Some(&*when.is))
            && self
                .token
                .as_ref()
                .is_none_or(|(at, _)| at.look(head, body).is_some())
            && self
                .verify_token
                .as_ref()
                .is_none_or(|verify_token| verify_token.at.look(head, body).is_some())
    }

    /// Returns the token, empty if the handshake has none; `None` if it breaks the grammar.
    fn token(&self, head: &RequestHead, body: &[u8]) -> Option<String> {
        match &self.token {
            None => Some(String::new()),
            Some((at, tokens)) => at.look(head, body).filter(|token| tokens.is_token(token)),
        }
    }

    /// Makes the response. Returns `None` if it needs a MAC and there is none.
    fn respond(
        &self,
        token: &str,
        mac: impl FnOnce(TagEncoding) -> Option<String>,
    ) -> Option<HandshakeResponse> {
        let mac = if self.has_mac() {
            mac(self.mac)?
        } else {
            String::new()
        };
        let (content_type, body) = self.body.fill(token, &mac);
        Some(HandshakeResponse {
            content_type,
            headers: self.headers.clone(),
            body: body.into(),
        })
    }
}

/// The handshakes of a route.
#[derive(Clone, Debug, Default)]
pub struct Handshakes(pub Vec<Handshake>);

impl Handshakes {
    /// Returns whether two readers could read a header of a handshake differently.
    pub fn is_ambiguous(&self, head: &RequestHead) -> bool {
        self.0
            .iter()
            .flat_map(Handshake::locators)
            .any(|at| at.is_ambiguous(head))
    }

    /// Adds the places of the second secrets.
    pub fn and_secrets(&self, locations: SecretLocations) -> SecretLocations {
        self.0
            .iter()
            .filter_map(|one| one.verify_token.as_ref())
            .fold(locations, |locations, verify_token| {
                locations.and(&verify_token.at)
            })
    }

    /// Returns the verifier so that it refuses bodies whose MAC a handshake gives away.
    pub fn keep_apart(&self, verifier: Verifier) -> Verifier {
        let given_away = self
            .0
            .iter()
            .filter(|one| one.has_mac())
            .filter_map(|one| one.token.as_ref());
        given_away.fold(verifier, |verifier, (_, tokens)| {
            verifier.apart_from(tokens.clone())
        })
    }

    /// Returns the second secrets that the handshakes require.
    pub fn secrets(&self) -> impl Iterator<Item = &Candidate> {
        self.0
            .iter()
            .filter_map(|one| one.verify_token.as_ref())
            .map(|verify_token| &verify_token.secret)
    }

    /// Returns whether a request whose method the route does not take is a handshake by its head alone. [`Self::unsigned`] answers or
    /// refuses such a request; it is never verified.
    pub fn admits(&self, head: &RequestHead) -> bool {
        let by_head =
            |one: &Handshake| one.method != Method::POST && !one.signed && !one.reads_body();
        self.0
            .iter()
            .any(|one| by_head(one) && one.matches(head, b""))
    }

    /// Returns the response to an unsigned handshake; `None` if the request is not one.
    ///
    /// # Errors
    /// The token of the handshake breaks its grammar, or the second secret is missing.
    pub fn unsigned(
        &self,
        verifier: Option<&Verifier>,
        received: &Received,
        params: &Params,
        dates: &Dates,
    ) -> Result<Option<HandshakeResponse>, NotAuthentic> {
        let (head, body) = (&received.head, received.body.bytes());
        let Some(handshake) = self
            .0
            .iter()
            .find(|one| !one.signed && one.matches(head, body))
        else {
            return Ok(None);
        };
        if handshake
            .verify_token
            .as_ref()
            .is_some_and(|verify_token| !verify_token.admits(head, body, dates))
        {
            return Err(NotAuthentic::SignatureMismatch);
        }
        let Some(token) = handshake.token(head, body) else {
            // a delivery may look like this by chance, and then its signature decides
            return if handshake.method == Method::POST {
                Ok(None)
            } else {
                Err(NotAuthentic::SignatureMalformed)
            };
        };
        let mac = |encoding| {
            verifier
                .and_then(|verifier| verifier.mac_of(&token, encoding, head, params, None, dates))
        };
        handshake
            .respond(&token, mac)
            .map(Some)
            .ok_or(NotAuthentic::SignatureMismatch)
    }

    /// Says why [`Self::unsigned`] refused a handshake, for operators.
    pub const fn hint(why: NotAuthentic) -> &'static str {
        match why {
            NotAuthentic::SignatureMismatch => {
                "the verify token of the handshake is not that of the route, or no secret is active"
            }
            NotAuthentic::SignatureMissing
            | NotAuthentic::SignatureMalformed
            | NotAuthentic::TimestampMissing
            | NotAuthentic::TimestampMalformed
            | NotAuthentic::TimestampStale
            | NotAuthentic::TimestampFuture => {
                "the token of the handshake has other characters than the provider's tokens"
            }
        }
    }

    /// Returns the response to a signed handshake; `None` if the request is not one, or is not authentic.
    pub fn signed(
        &self,
        verifier: Option<&Verifier>,
        cleared: &Cleared,
        params: &Params,
        dates: &Dates,
    ) -> Option<HandshakeResponse> {
        let (Some(verifier), Cleared::Authentic(authentic)) = (verifier, cleared) else {
            return None;
        };
        let (head, body) = (
            &authentic.received().head,
            authentic.received().body.bytes(),
        );
        let handshake = self
            .0
            .iter()
            .find(|one| one.signed && one.matches(head, body))?;
        let token = handshake.token(head, body)?;
        handshake.respond(&token, |encoding| {
            verifier.mac_of(
                &token,
                encoding,
                head,
                params,
                Some(authentic.secret()),
                dates,
            )
        })
    }
}

impl Verifier {
    /// Returns the MAC of a token with the secret of that name, or with the first active one.
    fn mac_of(
        &self,
        token: &str,
        encoding: TagEncoding,
        head: &RequestHead,
        params: &Params,
        secret: Option<&Arc<str>>,
        dates: &Dates,
    ) -> Option<String> {
        let candidates = self.secrets().find(head, params);
        let mut known = candidates.list().iter().filter(|_| candidates.known());
        let candidate =
            known.find(|one| one.active(dates) && secret.is_none_or(|name| one.name() == name))?;
        let mut mac = candidate.mac()?;
        mac.update(token.as_bytes());
        Some(encoding.encode(&mac.finish()))
    }
}

#[cfg(test)]
mod tests;

//! A compiled `verify` block without its secrets: what config makes, and what a [`Verifier`] is made from.
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::Verifier;
use super::content::Piece;
use super::covers::Covers;
use super::encoding::Encoding;
use super::handshake::{Apart, Tokens};
use super::locator::{HeaderNames, Locator};
use super::scheme::Scheme;
use super::scheme::mac::{SignedTime, TimeAt};
use super::secret::{SecretKind, SecretSet};
use super::secret_locations::SecretLocations;
use super::source::Source;
use super::timestamp::Format;
use crate::request::RequestHead;

/// A compiled `verify` block without its secrets.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) scheme: Scheme,
    pub(super) delivery_id: Option<Locator>,
    pub(super) event_type: Option<Locator>,
    encodings: Vec<Encoding>,
    suffix: Option<Box<str>>,
    covers: Covers,
    /// The headers that the scheme reads or covers.
    headers: Box<[HeaderName]>,
    /// Those that are read as single, each under all of its names.
    singles: Box<[HeaderNames]>,
    /// Grammars of tokens whose MAC the gate hands out.
    apart: Vec<Tokens>,
}

impl Shape {
    /// Puts a scheme together with the facts of its requests and the way its secrets are read.
    pub fn new(
        mut scheme: Scheme,
        delivery_id: Option<Locator>,
        event_type: Option<Locator>,
        encodings: Vec<Encoding>,
        suffix: Option<Box<str>>,
    ) -> Self {
        let mut covers = Covers::default();
        if let Scheme::Hmac(hmac) = &mut scheme {
            covers = hmac.covers(delivery_id.as_ref());
            if !covers.timestamp {
                hmac.time = None;
            }
            let time_in_body = hmac.time.as_ref().is_some_and(SignedTime::in_body);
            hmac.content.settle(
                time_in_body,
                delivery_id.as_ref().is_some_and(Locator::in_body),
            );
        }
        let all = headers_of(&scheme, [delivery_id.as_ref(), event_type.as_ref()]);
        let headers = all
            .iter()
            .flat_map(|(names, _)| names.names().iter().cloned())
            .collect();
        let singles = all
            .into_iter()
            .filter(|(_, is_single)| *is_single)
            .map(|(names, _)| names)
            .collect();
        Self {
            scheme,
            delivery_id,
            event_type,
            encodings,
            suffix,
            covers,
            headers,
            singles,
            apart: Vec::new(),
        }
    }

    /// The verifier with these secrets. `public_url` is the URL that senders use, without query.
    pub fn with_secrets(self, secrets: SecretSet, public_url: Option<String>) -> Verifier {
        Verifier {
            shape: self,
            secrets,
            public_url: public_url.map(Into::into),
        }
    }

    /// Takes no body for authentic that could be such a token, where nothing else tells the two apart: the gate hands out their MACs.
    #[must_use]
    pub fn apart_from(mut self, tokens: Tokens) -> Self {
        let by_body = matches!(&self.scheme, Scheme::Hmac(hmac) if tokens.apart(&hmac.content) == Some(Apart::ByBody));
        if by_body && !self.apart.contains(&tokens) {
            self.apart.push(tokens);
        }
        self
    }

    /// Whether a body could be a token whose MAC the gate hands out.
    pub(super) fn could_be_token(&self, body: &[u8]) -> bool {
        self.apart.iter().any(|tokens| tokens.could_be(body))
    }

    /// The scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// What secrets are made into.
    pub fn secret_kind(&self) -> SecretKind {
        match &self.scheme {
            Scheme::Hmac(hmac) => SecretKind::Hmac(hmac.algorithm),
            Scheme::Token(_) => SecretKind::Token,
            Scheme::Basic => SecretKind::Basic,
        }
    }

    /// How the text of a secret becomes key bytes unless it says so itself; empty means as it is.
    pub fn secret_encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// What the provider appends to the secret.
    pub fn secret_suffix(&self) -> Option<&str> {
        self.suffix.as_deref()
    }

    /// What the signature covers.
    pub fn covers(&self) -> Covers {
        self.covers
    }

    /// Returns whether only who signs can choose the path: it is signed, and no byte can be moved between it and its neighbours.
    /// A public URL is the same for every path, so it says nothing of the path.
    pub fn covers_path(&self, has_public_url: bool) -> bool {
        let Scheme::Hmac(hmac) = &self.scheme else {
            return false;
        };
        let says_path =
            |piece: &Piece| *piece == Piece::Path || *piece == Piece::Url && !has_public_url;
        hmac.content.fixes(
            hmac.time.as_ref().map_or(Format::Unix, |time| time.format),
            says_path,
        )
    }

    /// Whether the signature covers the whole URL, so that the gate must know it as senders see it.
    pub fn uses_url(&self) -> bool {
        self.covers.url
    }

    /// How far the signed time may be from now; `None` if no time is enforced.
    pub fn tolerance(&self) -> Option<Duration> {
        match &self.scheme {
            Scheme::Hmac(hmac) => hmac.time.as_ref().map(|time| time.tolerance),
            Scheme::Token(_) | Scheme::Basic => None,
        }
    }

    /// Returns the headers that the scheme reads or covers: they reach the upstream whatever they are called.
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns whether two readers could read a header of the scheme differently.
    pub(super) fn is_ambiguous(&self, head: &RequestHead) -> bool {
        self.singles.iter().any(|names| names.is_ambiguous(head))
    }

    /// Where the delivery ID stands.
    pub fn delivery_id(&self) -> Option<&Locator> {
        self.delivery_id.as_ref()
    }

    /// Where the event type stands.
    pub fn event_type(&self) -> Option<&Locator> {
        self.event_type.as_ref()
    }

    /// Returns where the request holds the secret itself, so that it is neither forwarded, stored nor shown, and where it holds a signature.
    pub fn secret_locations(&self) -> SecretLocations {
        let none = SecretLocations::default;
        match &self.scheme {
            Scheme::Hmac(hmac) => SecretLocations {
                signatures: hmac.source.headers().to_vec(),
                ..none()
            },
            Scheme::Token(source) => SecretLocations {
                headers: source.headers().to_vec(),
                query: source.query().map(Box::from).into_iter().collect(),
                ..none()
            },
            Scheme::Basic => SecretLocations {
                headers: vec![AUTHORIZATION],
                ..none()
            },
        }
    }
}

/// The headers that a scheme reads or covers: each group by its names. Whether each is read as single is said beside it.
fn headers_of(scheme: &Scheme, facts: [Option<&Locator>; 2]) -> Vec<(HeaderNames, bool)> {
    let mut headers: Vec<(HeaderNames, bool)> = Vec::new();
    let source = |source: &Source| -> Vec<(HeaderNames, bool)> {
        let signatures = source
            .headers()
            .iter()
            .map(|name| (HeaderNames::from(name.clone()), !source.repeated));
        signatures
            .chain(
                source
                    .expect
                    .iter()
                    .map(|(name, _)| (HeaderNames::from(name.clone()), true)),
            )
            .collect()
    };
    match scheme {
        Scheme::Hmac(hmac) => {
            headers.extend(source(&hmac.source));
            for piece in hmac.content.pieces() {
                if let Piece::Header(name) = piece {
                    headers.push((HeaderNames::from(name.clone()), true));
                }
            }
            if let Some(TimeAt::Header(names)) = hmac.time.as_ref().map(|time| &time.at) {
                headers.push((names.clone(), true));
            }
        }
        Scheme::Token(token) => headers.extend(source(token)),
        Scheme::Basic => headers.push((HeaderNames::from(AUTHORIZATION), true)),
    }
    for fact in facts.into_iter().flatten() {
        if let Locator::Header(names) = fact {
            headers.push((names.clone(), true));
        }
    }
    headers
}

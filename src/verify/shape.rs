//! A compiled `verify` block without its secrets: the config makes it, and a [`Verifier`](super::Verifier) is made from it.
use std::time::Duration;

use http::HeaderName;

use super::content::RequestView;
use super::covers::Covers;
use super::handshake::{Separation, TokenGrammar};
use super::locator::{HeaderNames, Locator, ReadHeader};
use super::scheme::Scheme;
use super::secret::{Encoding, SecretKind};
use super::secret_locations::SecretLocations;
use super::signed::NotResignable;
use crate::request::{FoldedNames, RequestHead};

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
    headers: FoldedNames,
    /// The headers that must occur once, each under all of its names.
    singles: Box<[HeaderNames]>,
    /// The grammars of tokens whose MAC the gateway gives away.
    token_grammars: Vec<TokenGrammar>,
}

impl Shape {
    /// Combines a scheme with the facts of its requests and the encodings of its secrets.
    pub fn new(
        mut scheme: Scheme,
        delivery_id: Option<Locator>,
        event_type: Option<Locator>,
        encodings: Vec<Encoding>,
        suffix: Option<Box<str>>,
    ) -> Self {
        let covers = scheme.settle(delivery_id.as_ref());
        let mut all = scheme.headers();
        for fact in delivery_id.iter().chain(&event_type) {
            if let Locator::Header(names) = fact {
                all.push(ReadHeader::single(names.clone()));
            }
        }
        let headers = all
            .iter()
            .flat_map(|header| header.names.names().iter().cloned())
            .collect();
        let singles = all
            .into_iter()
            .filter(|header| header.is_single)
            .map(|header| header.names)
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
            token_grammars: Vec::new(),
        }
    }

    /// Refuses bodies that could be such a token, unless a literal of the signed content tells the two apart: the gateway gives away
    /// their MACs.
    #[must_use]
    pub fn apart_from(mut self, tokens: TokenGrammar) -> Self {
        let content = self.scheme.content();
        let by_body = content.is_some_and(|it| tokens.apart(it) == Some(Separation::ByBody));
        if by_body && !self.token_grammars.contains(&tokens) {
            self.token_grammars.push(tokens);
        }
        self
    }

    /// Returns whether a body could be a token whose MAC the gateway gives away.
    pub(super) fn could_be_token(&self, body: &[u8]) -> bool {
        self.token_grammars
            .iter()
            .any(|tokens| tokens.could_be(body))
    }

    /// Returns the values of a request that signed content is read from. The scheme adds the time.
    pub(super) fn view<'r>(
        &'r self,
        head: &'r RequestHead,
        body: &'r [u8],
        public_url: Option<&'r str>,
    ) -> RequestView<'r> {
        RequestView {
            head,
            body,
            time: b"",
            id: self.delivery_id.as_ref(),
            public_url,
        }
    }

    /// Returns the scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Returns the form in which secrets are compared.
    pub fn secret_kind(&self) -> SecretKind {
        self.scheme.secret_kind()
    }

    /// Returns the encodings of a secret that names none itself. Empty means plain text.
    pub fn secret_encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// Returns the text that the provider appends to the secret.
    pub fn secret_suffix(&self) -> Option<&str> {
        self.suffix.as_deref()
    }

    /// Returns the set of facts that the signature covers.
    pub fn covers(&self) -> Covers {
        self.covers
    }

    /// Returns whether only the signer can choose the path: it is signed, and no byte can move between it and its neighbours.
    /// A public URL is the same for every path, so it does not cover the path.
    pub fn covers_path(&self, has_public_url: bool) -> bool {
        self.scheme.covers_path(has_public_url)
    }

    /// Returns whether the signature covers the whole URL, so that the gateway must know it as senders see it.
    pub fn uses_url(&self) -> bool {
        self.covers.url
    }

    /// Returns the greatest allowed distance between the signed time and now; `None` if no time is enforced.
    pub fn tolerance(&self) -> Option<Duration> {
        self.scheme.tolerance()
    }

    /// Returns the headers that the scheme reads or covers: they reach the upstream under any name.
    pub fn headers(&self) -> &FoldedNames {
        &self.headers
    }

    /// Returns whether two readers could read a header of the scheme differently.
    pub(super) fn is_ambiguous(&self, head: &RequestHead) -> bool {
        self.singles.iter().any(|names| names.is_ambiguous(head))
    }

    /// Returns the place of the delivery ID.
    pub fn delivery_id(&self) -> Option<&Locator> {
        self.delivery_id.as_ref()
    }

    /// Returns the place of the event type.
    pub fn event_type(&self) -> Option<&Locator> {
        self.event_type.as_ref()
    }

    /// Returns the parts of a request that hold the secret itself, which is neither forwarded, stored nor shown, or a signature.
    pub fn secret_locations(&self) -> SecretLocations {
        self.scheme.secret_locations()
    }

    /// Returns whether a request of this scheme can be signed again without a change of its body.
    ///
    /// # Errors
    /// The reason why it cannot.
    pub fn resignable(&self) -> Result<(), NotResignable> {
        self.scheme.resignable()
    }

    /// Returns whether the signature is in the query.
    pub fn signs_in_query(&self) -> bool {
        self.scheme.signs_in_query()
    }

    /// Returns the headers that hold the signature and its time.
    pub fn signed_headers(&self) -> Vec<HeaderName> {
        self.scheme.signed_headers()
    }
}

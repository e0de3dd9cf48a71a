//! Handshakes: requests by which a provider tests an endpoint, answered by the gate. They claim nothing and never reach the app.
//!
//! An unsigned one is answered to anybody. So it may only echo a token of a strict grammar, or give the MAC of a token that no signed
//! content of the scheme can equal: else the answer would be the signature of a delivery that nobody sent ([`Tokens::apart`]).
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};

use super::content::{Piece, Template};
use super::locator::Locator;
use super::secret::{Candidate, SecretKind, SecretText};
use super::{Cleared, NotAuthentic, SecretLocations, TagEncoding, Verifier};
use crate::clock::Dates;
use crate::request::{Params, Received, RequestHead};

/// How large a body may be that is searched for a token, in bytes: a handshake is short, and an unsigned one is parsed for anybody.
const MAX_BODY: usize = 16 * 1024;
/// How long a token may be.
const MAX_TOKEN: usize = 128;
/// What no token may hold, whatever a preset says: it could make an answer, or signed JSON, out of a token.
const NEVER: &[u8] = b"<>&\"'`\\{}[]";

/// The grammar of a token: `[A-Za-z0-9_-]{1,128}`, and what a preset adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Box<[u8]>);

impl Tokens {
    /// The grammar with these characters more.
    ///
    /// # Errors
    /// What may not stand in a token.
    pub fn and(more: &str) -> Result<Self, &'static str> {
        let fits = more
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !NEVER.contains(&byte));
        if fits {
            Ok(Self(more.as_bytes().into()))
        } else {
            Err(
                "a token holds visible ASCII and blanks, but no < > & quotes, backslashes, braces or brackets",
            )
        }
    }

    /// Whether `text` is a token.
    pub fn takes(&self, text: &str) -> bool {
        (1..=MAX_TOKEN).contains(&text.len()) && self.could_be(text.as_bytes())
    }

    /// Whether `bytes` hold nothing that no token holds.
    pub(super) fn could_be(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || self.0.contains(byte)
        })
    }

    /// What keeps tokens apart from content of this template; `None` if a token could be the signed content of a request.
    pub fn apart(&self, content: &Template) -> Option<Apart> {
        let by_literal =
            |piece: &Piece| matches!(piece, Piece::Literal(text) if !self.could_be(text));
        if content.pieces().iter().any(by_literal) {
            Some(Apart::ByLiteral)
        } else if content.pieces().contains(&Piece::Body) {
            Some(Apart::ByBody)
        } else {
            None
        }
    }
}

/// What keeps the tokens of a handshake apart from signed content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// All signed content holds a literal that no token holds.
    ByLiteral,
    /// A body that holds nothing but what tokens hold is not authentic ([`Verifier::apart_from`]).
    ByBody,
}

/// Text of an answer, with `{token}` and `{mac}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<Word>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Literal(Box<str>),
    Token,
    Mac,
}

impl Words {
    /// Reads them.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("close the brace")?;
            if literal.contains('}') {
                return Err("there are `{token}` and `{mac}`");
            }
            if !literal.is_empty() {
                words.push(Word::Literal(literal.into()));
            }
            words.push(match name {
                "token" => Word::Token,
                "mac" => Word::Mac,
                _ => return Err("there are `{token}` and `{mac}`"),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err("there are `{token}` and `{mac}`");
        }
        if !rest.is_empty() {
            words.push(Word::Literal(rest.into()));
        }
        Ok(Self(words))
    }

    /// Whether the token itself is in it.
    pub fn has_token(&self) -> bool {
        self.0.contains(&Word::Token)
    }

    /// Whether a MAC of the token is in it.
    pub fn has_mac(&self) -> bool {
        self.0.contains(&Word::Mac)
    }

    fn fill(&self, token: &str, mac: &str) -> String {
        let word = |word: &Word| match word {
            Word::Literal(text) => text.to_string(),
            Word::Token => token.to_owned(),
            Word::Mac => mac.to_owned(),
        };
        self.0.iter().map(word).collect()
    }
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// None.
    Empty,
    /// Plain text.
    Text(Words),
    /// A JSON object of texts.
    Json(Vec<(Box<str>, Words)>),
}

impl Form {
    /// Its texts.
    pub fn words(&self) -> impl Iterator<Item = &Words> {
        let (text, fields) = match self {
            Self::Empty => (None, [].as_slice()),
            Self::Text(words) => (Some(words), [].as_slice()),
            Self::Json(fields) => (None, fields.as_slice()),
        };
        text.into_iter()
            .chain(fields.iter().map(|(_, words)| words))
    }
}

/// A second secret that the request must carry.
#[derive(Clone, Debug)]
pub struct Guard {
    at: Locator,
    secret: Candidate,
}

impl Guard {
    /// The guard that wants `secret` at a place.
    ///
    /// # Errors
    /// What is wrong with the secret.
    pub fn new(at: Locator, secret: &SecretText) -> Result<Self, &'static str> {
        let made = Candidate::make(SecretKind::Token, &[], None, secret)?;
        made.into_iter()
            .next()
            .map(|secret| Self { at, secret })
            .ok_or("the secret is empty")
    }

    fn admits(&self, head: &RequestHead, body: &[u8], dates: &Dates) -> bool {
        let presented: [u8; 32] =
            Sha256::digest(self.at.look(head, body).unwrap_or_default()).into();
        bool::from(self.secret.is_text(&presented)) && self.secret.active(dates)
    }
}

/// What must stand in a request for it to be a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Where.
    pub at: Locator,
    /// What, to the letter.
    pub is: Box<str>,
}

/// One way in which a provider tests an endpoint.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The method of the request.
    pub method: Method,
    /// Whether the request is signed like a delivery: then it is answered after the proof.
    pub signed: bool,
    /// What else tells it from a delivery.
    pub when: Vec<Condition>,
    /// Where its token stands, and how it is written.
    pub token: Option<(Locator, Tokens)>,
    /// A second secret that it must carry.
    pub guard: Option<Guard>,
    /// The body of the answer.
    pub form: Form,
    /// Headers of the answer; nothing of the request is in them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How `{mac}` is written.
    pub mac: TagEncoding,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// The type of its body, if it has one. Goes with `nosniff`.
    pub content_type: Option<&'static str>,
    /// More headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl Handshake {
    /// Whether it takes the body to know one.
    pub fn reads_body(&self) -> bool {
        self.locators().any(Locator::in_body)
    }

    fn locators(&self) -> impl Iterator<Item = &Locator> {
        let token = self.token.iter().map(|(at, _)| at);
        self.when
            .iter()
            .map(|when| &when.at)
            .chain(token)
            .chain(self.guard.iter().map(|guard| &guard.at))
    }

    /// Whether the answer holds a MAC.
    pub fn has_mac(&self) -> bool {
        self.form.words().any(Words::has_mac)
    }

    fn is_asked(&self, head: &RequestHead, body: &[u8]) -> bool {
        self.method == head.method
            && (body.len() <= MAX_BODY || !self.reads_body())
            && self
                .when
                .iter()
                .all(|when| when.at.look(head, body).as_deref() == Some(&*when.is))
            && self
                .token
                .as_ref()
                .is_none_or(|(at, _)| at.look(head, body).is_some())
            && self
                .guard
                .as_ref()
                .is_none_or(|guard| guard.at.look(head, body).is_some())
    }

    /// The token, empty if the handshake has none; `None` if it breaks the grammar.
    fn token(&self, head: &RequestHead, body: &[u8]) -> Option<String> {
        match &self.token {
            None => Some(String::new()),
            Some((at, tokens)) => at.look(head, body).filter(|token| tokens.takes(token)),
        }
    }

    fn answer(&self, token: &str, mac: impl FnOnce(TagEncoding) -> Option<String>) -> Option<Full> {
        let mac = if self.has_mac() {
            mac(self.mac)?
        } else {
            String::new()
        };
        let (content_type, body) = match &self.form {
            Form::Empty => (None, String::new()),
            Form::Text(words) => (Some("text/plain; charset=utf-8"), words.fill(token, &mac)),
            Form::Json(fields) => {
                let object = fields
                    .iter()
                    .map(|(key, words)| (key.to_string(), words.fill(token, &mac).into()));
                (
                    Some("application/json"),
                    serde_json::Value::Object(object.collect()).to_string(),
                )
            }
        };
        Some(Full {
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
            .filter_map(|one| one.guard.as_ref())
            .fold(locations, |locations, guard| locations.and(&guard.at))
    }

    /// The verifier that takes no body for authentic whose MAC a handshake hands out.
    pub fn keep_apart(&self, verifier: Verifier) -> Verifier {
        let handed_out = self
            .0
            .iter()
            .filter(|one| one.has_mac())
            .filter_map(|one| one.token.as_ref());
        handed_out.fold(verifier, |verifier, (_, tokens)| {
            verifier.apart_from(tokens.clone())
        })
    }

    /// The second secrets that the handshakes want.
    pub fn secrets(&self) -> impl Iterator<Item = &Candidate> {
        self.0
            .iter()
            .filter_map(|one| one.guard.as_ref())
            .map(|guard| &guard.secret)
    }

    /// Whether a request that is no delivery is let in for the sake of a handshake. Such a request is answered or refused by
    /// [`Self::unsigned`], never verified: its head alone says what it is.
    pub fn let_in(&self, head: &RequestHead) -> bool {
        let by_head =
            |one: &Handshake| one.method != Method::POST && !one.signed && !one.reads_body();
        self.0
            .iter()
            .any(|one| by_head(one) && one.is_asked(head, b""))
    }

    /// The answer to an unsigned handshake; `None` if the request is none.
    ///
    /// # Errors
    /// A handshake whose token is not written as it should be, or that does not carry the second secret.
    pub fn unsigned(
        &self,
        verifier: Option<&Verifier>,
        received: &Received,
        params: &Params,
        dates: &Dates,
    ) -> Result<Option<Full>, NotAuthentic> {
        let (head, body) = (&received.head, received.body.bytes());
        let Some(asked) = self
            .0
            .iter()
            .find(|one| !one.signed && one.is_asked(head, body))
        else {
            return Ok(None);
        };
        if asked
            .guard
            .as_ref()
            .is_some_and(|guard| !guard.admits(head, body, dates))
        {
            return Err(NotAuthentic::SignatureMismatch);
        }
        let Some(token) = asked.token(head, body) else {
            // a delivery may look like this by chance, and then its signature decides
            return if asked.method == Method::POST {
                Ok(None)
            } else {
                Err(NotAuthentic::SignatureMalformed)
            };
        };
        let mac = |encoding| {
            verifier
                .and_then(|verifier| verifier.mac_of(&token, encoding, head, params, None, dates))
        };
        asked
            .answer(&token, mac)
            .map(Some)
            .ok_or(NotAuthentic::SignatureMismatch)
    }

    /// The answer to a signed handshake; `None` if the request is none, or is not authentic.
    pub fn signed(
        &self,
        verifier: Option<&Verifier>,
        cleared: &Cleared,
        params: &Params,
        dates: &Dates,
    ) -> Option<Full> {
        let (Some(verifier), Cleared::Authentic(authentic)) = (verifier, cleared) else {
            return None;
        };
        let (head, body) = (
            &authentic.received().head,
            authentic.received().body.bytes(),
        );
        let asked = self
            .0
            .iter()
            .find(|one| one.signed && one.is_asked(head, body))?;
        let token = asked.token(head, body)?;
        asked.answer(&token, |encoding| {
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
    /// The MAC of a token with the secret of that name, or with the first now accepted.
    fn mac_of(
        &self,
        token: &str,
        encoding: TagEncoding,
        head: &RequestHead,
        params: &Params,
        secret: Option<&Arc<str>>,
        dates: &Dates,
    ) -> Option<String> {
        let found = self.secrets.find(head, params);
        let mut candidates = found.candidates().iter().filter(|_| found.known());
        let candidate = candidates
            .find(|one| one.active(dates) && secret.is_none_or(|name| one.name() == name))?;
        let mut mac = candidate.mac()?;
        mac.update(token.as_bytes());
        Some(encoding.encode(&mac.finish()))
    }
}

#[cfg(test)]
mod tests;

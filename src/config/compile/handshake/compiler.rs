//! Compiles a single handshake, and checks that it is safe.
use http::{HeaderName, HeaderValue, Method};

use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::file::{self, OneOrMany};
use crate::verify::handshake::{
    Condition, Handshake, ResponseBody, TextTemplate, TokenGrammar, VerifyToken,
};
use crate::verify::{
    HeaderNames, Locator, Scheme, SecretText, TagEncoding, Verifier, check_pointer,
};

/// Compiles handshakes, and reports errors at `place`.
pub(super) struct Compiler<'a> {
    pub(super) place: &'a Place,
    pub(super) problems: &'a mut Diagnostics,
}

impl Compiler<'_> {
    /// Compiles one handshake. `secret` is the verify token.
    pub(super) fn handshake(
        &mut self,
        written: &file::Handshake,
        secret: Option<&SecretText>,
        verifier: Option<&Verifier>,
    ) -> Option<Handshake> {
        let method = self.method(written.method.as_deref())?;
        if written.verify_token.is_some() {
            return self.wrong(
                "verify_token",
                "a preset must not contain a secret",
                "write it into the route: `handshake: { verify_token: … }`",
            );
        }
        let when = self.conditions(written.when.as_ref())?;
        let tokens =
            match TokenGrammar::with_extra(written.token_also.as_deref().unwrap_or_default()) {
                Ok(tokens) => tokens,
                Err(error) => {
                    return self.wrong(
                        "token_also",
                        "a token cannot contain these characters",
                        &error.to_string(),
                    );
                }
            };
        let token = match &written.token {
            None => None,
            Some(token) => Some((self.locator(token, "token")?, tokens.clone())),
        };
        let verify_token = match (&written.guard, secret) {
            (Some(at), Some(secret)) => {
                match VerifyToken::new(self.locator(at, "guard")?, secret) {
                    Ok(verify_token) => Some(verify_token),
                    Err(why) => {
                        return self.wrong(
                            "verify_token",
                            &why.to_string(),
                            "write it as it was entered at the provider",
                        );
                    }
                }
            }
            (None | Some(_), _) => None,
        };
        let answer = written.answer.clone().unwrap_or_default();
        let body = self.body(&answer)?;
        let headers = self.headers(&answer)?;
        let Some(mac) = TagEncoding::parse(answer.mac.as_deref().unwrap_or("hex")) else {
            return self.wrong(
                "answer",
                "unknown encoding",
                "write `hex`, `base64` or `base64url`",
            );
        };
        let made = Handshake {
            method,
            signed: written.signed.unwrap_or(false),
            when,
            token,
            verify_token,
            body,
            headers,
            mac,
        };
        self.sound(&made, &tokens, verifier).then_some(made)
    }

    /// Parses the method.
    fn method(&mut self, written: Option<&str>) -> Option<Method> {
        match written {
            None | Some("POST") => Some(Method::POST),
            Some("GET") => Some(Method::GET),
            Some("HEAD") => Some(Method::HEAD),
            Some("OPTIONS") => Some(Method::OPTIONS),
            Some(_) => self.wrong(
                "method",
                "a handshake cannot use this method",
                "write `GET`, `HEAD`, `OPTIONS` or `POST`",
            ),
        }
    }

    /// Compiles `when`.
    fn conditions(
        &mut self,
        written: Option<&OneOrMany<file::Condition>>,
    ) -> Option<Vec<Condition>> {
        let mut when = Vec::new();
        for one in written.map(OneOrMany::all).unwrap_or_default() {
            let file::Condition {
                header,
                json,
                query,
                is,
            } = one;
            let at = file::Locator {
                header: header.clone().map(OneOrMany::One),
                json: json.clone(),
                query: query.clone(),
            };
            let Some(is) = is.as_deref().filter(|is| !is.is_empty()) else {
                return self.wrong("when", "a condition has no value", "add `is: VALUE`");
            };
            when.push(Condition {
                at: self.locator(&at, "when")?,
                is: is.into(),
            });
        }
        Some(when)
    }

    /// Checks that a handshake neither matches deliveries nor signs one.
    fn sound(
        &mut self,
        made: &Handshake,
        tokens: &TokenGrammar,
        verifier: Option<&Verifier>,
    ) -> bool {
        let is_post = made.method == Method::POST;
        if !is_post && (made.signed || made.reads_body()) {
            return self.unsound(
                "method",
                "a handshake that is signed or read from the body must use POST",
                "remove `method`",
            );
        }
        let distinct = made.token.is_some() || made.verify_token.is_some() || !made.when.is_empty();
        if !distinct && (is_post || made.method == Method::GET) {
            return self.unsound(
                "method",
                "this handshake cannot be distinguished from a delivery",
                "add `token` or `when`",
            );
        }
        if made
            .body
            .texts()
            .any(|text| text.has_token() || text.has_mac())
            && made.token.is_none()
        {
            return self.unsound(
                "answer",
                "the answer uses the token, but `token` is missing",
                "add `token: { query: NAME }`",
            );
        }
        if made.signed && verifier.is_none() {
            return self.unsound(
                "signed",
                "`signed` has no effect: this route does not verify requests",
                "leave it out",
            );
        }
        if made.has_mac() {
            let Some(Scheme::Hmac(scheme)) = verifier.map(|verifier| verifier.shape().scheme())
            else {
                return self.unsound(
                    "answer",
                    "`{mac}` needs the scheme `hmac`",
                    "answer with `{token}`",
                );
            };
            if tokens.apart(&scheme.content).is_none() {
                let help = "the gateway would sign forged deliveries; write `handshake: none` and let your app answer";
                return self.unsound(
                    "answer",
                    "a token could equal the signed content of a delivery",
                    help,
                );
            }
        }
        true
    }

    /// Compiles the body of the answer.
    fn body(&mut self, answer: &file::Answer) -> Option<ResponseBody> {
        match (&answer.text, &answer.json) {
            (None, None) => Some(ResponseBody::Empty),
            (Some(text), None) => self.text(text).map(ResponseBody::Text),
            (None, Some(json)) => {
                let fields = json
                    .iter()
                    .map(|(key, text)| Some((key.as_str().into(), self.text(text)?)));
                fields.collect::<Option<Vec<_>>>().map(ResponseBody::Json)
            }
            (Some(_), Some(_)) => self.wrong(
                "answer",
                "an answer has only one body",
                "write `text` or `json`",
            ),
        }
    }

    /// Parses a template.
    fn text(&mut self, text: &str) -> Option<TextTemplate> {
        match TextTemplate::parse(text) {
            Ok(text) => Some(text),
            Err(error) => self.wrong("answer", "this template is not valid", &error.to_string()),
        }
    }

    /// Parses the headers of the answer.
    fn headers(&mut self, answer: &file::Answer) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let pairs = answer.headers.iter().flatten();
        let pairs: Option<Vec<_>> = pairs
            .map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?)))
            .collect();
        if pairs.is_none() {
            return self.wrong(
                "answer",
                "this is not a valid header",
                "write `headers: { X-NAME: text }`",
            );
        }
        pairs
    }

    /// Parses a location.
    fn locator(&mut self, written: &file::Locator, key: &str) -> Option<Locator> {
        let file::Locator {
            header,
            json,
            query,
        } = written;
        let found = match (header, json, query) {
            (Some(names), None, None) => {
                let names: Option<Vec<HeaderName>> =
                    names.all().iter().map(|name| name.parse().ok()).collect();
                names
                    .filter(|names| !names.is_empty())
                    .map(|names| Locator::Header(HeaderNames::new(names)))
            }
            (None, Some(pointer), None) => check_pointer(pointer)
                .is_ok()
                .then(|| Locator::Json(pointer.clone())),
            (None, None, Some(name)) if !name.is_empty() => Some(Locator::Query(name.clone())),
            _ => None,
        };
        match found {
            Some(found) => Some(found),
            None => self.wrong(
                key,
                "the location of the value is missing or ambiguous",
                "use exactly one of `header`, `json`, `query`",
            ),
        }
    }

    /// Reports an error at a key.
    fn wrong<T>(&mut self, key: &str, message: &str, help: &str) -> Option<T> {
        self.problems
            .error_at_key(&self.place.key(key), message.to_owned(), help.to_owned());
        None
    }

    /// Reports an error at a key of a handshake that is not safe.
    fn unsound(&mut self, key: &str, message: &str, help: &str) -> bool {
        self.wrong::<()>(key, message, help).is_some()
    }
}

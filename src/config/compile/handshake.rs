//! Which tests of the endpoint the gate answers: the preset's, or the route's own.
use http::{HeaderName, HeaderValue, Method};

use crate::config::compile::Context;
use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::file::{self, HandshakeOrNone, OneOrMany};
use crate::config::presets::Preset;
use crate::verify::handshake::{
    Condition, Handshake, Handshakes, ResponseBody, TextTemplate, TokenGrammar, VerifyToken,
};
use crate::verify::{HeaderNames, Locator, Scheme, TagEncoding, Verifier, check_pointer};

/// The grammars of tokens whose MAC is handed out by a preset. What is wrong with them is told where the handshake is compiled.
pub(super) fn handed_out(preset: Option<&file::Provider>) -> Vec<TokenGrammar> {
    let written = preset
        .and_then(|preset| preset.handshake.as_ref())
        .map(OneOrMany::all)
        .unwrap_or_default();
    written
        .iter()
        .filter(|one| has_mac(one))
        .filter_map(|one| {
            TokenGrammar::with_extra(one.token_also.as_deref().unwrap_or_default()).ok()
        })
        .collect()
}

fn has_mac(written: &file::Handshake) -> bool {
    written
        .answer
        .as_ref()
        .and_then(|answer| answer.json.as_ref())
        .is_some_and(|json| json.values().any(|text| text.contains("{mac}")))
}

/// The kind of a handshake in one word, for people.
pub fn kind(written: &file::Handshake) -> &'static str {
    let Some(token) = &written.token else {
        return "probe";
    };
    match (
        has_mac(written),
        token.query.is_some(),
        token.header.is_some(),
    ) {
        (false, true, _) => "echo_query",
        (false, false, true) => "echo_header",
        (false, false, false) => "echo_json",
        (true, true, _) => "mac_query",
        (true, false, true) => "mac_header",
        (true, false, false) => "mac_json",
    }
}

/// The handshakes of a route.
pub(super) fn handshakes(
    written: Option<HandshakeOrNone>,
    preset: Option<&Preset>,
    verifier: Option<&Verifier>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Handshakes {
    let of_preset = preset
        .and_then(|preset| preset.provider.handshake.as_ref())
        .map(OneOrMany::all)
        .unwrap_or_default();
    let here = place.key("handshake");
    let (own, secret) = match written {
        Some(HandshakeOrNone::None) => return Handshakes::default(),
        Some(HandshakeOrNone::Block(block)) => {
            let file::Handshake { verify_token, .. } = &*block;
            (
                Some(file::Handshake {
                    verify_token: None,
                    ..(*block).clone()
                }),
                verify_token.clone(),
            )
        }
        None => (None, None),
    };
    let secret_place = here.key("verify_token");
    let is_own = own.as_ref().is_some_and(says_something);
    let all = if is_own { own.as_slice() } else { of_preset };
    let has_guard = all.iter().any(|one| one.guard.is_some());
    if own.is_some() && all.is_empty() && secret.is_none() {
        cx.problems.error_at_key(
            &here,
            "this says nothing",
            "write `handshake: none`, or what the request looks like".to_owned(),
        );
    }
    if secret.is_some() && !has_guard {
        cx.problems.error_at_key(
            &secret_place,
            "no handshake of this route carries a second secret",
            "take it out".to_owned(),
        );
    }
    let label = "verify_token";
    let secret = secret.and_then(|secret| {
        cx.loader
            .one(&secret, label, label, &secret_place, &mut cx.problems)
    });
    if has_guard && secret.is_none() && !cx.problems.is_spoiled(&secret_place) {
        let help =
            "add `handshake: { verify_token: { file: … } }`, or say `handshake: none`".to_owned();
        let who = preset.map_or("the sender", Preset::title);
        cx.problems.warning(
            place,
            format!("{who} tests the endpoint with a second secret, and the route has none"),
            help,
        );
    }
    let mut made = Vec::with_capacity(all.len());
    for one in all
        .iter()
        .filter(|one| one.guard.is_none() || secret.is_some())
    {
        let mut compiler = Compiler {
            place: if is_own { &here } else { place },
            problems: &mut cx.problems,
        };
        made.extend(compiler.handshake(one, secret.as_ref(), verifier));
    }
    Handshakes(made)
}

fn says_something(written: &file::Handshake) -> bool {
    // No `..`: a new field must be dealt with here.
    let file::Handshake {
        method,
        signed,
        when,
        token,
        token_also,
        guard,
        answer,
        verify_token: _,
    } = written;
    method.is_some()
        || signed.is_some()
        || when.is_some()
        || token.is_some()
        || token_also.is_some()
        || guard.is_some()
        || answer.is_some()
}

struct Compiler<'a> {
    place: &'a Place,
    problems: &'a mut Diagnostics,
}

impl Compiler<'_> {
    fn handshake(
        &mut self,
        written: &file::Handshake,
        secret: Option<&crate::verify::SecretText>,
        verifier: Option<&Verifier>,
    ) -> Option<Handshake> {
        let method = match written.method.as_deref() {
            None | Some("POST") => Method::POST,
            Some("GET") => Method::GET,
            Some("HEAD") => Method::HEAD,
            Some("OPTIONS") => Method::OPTIONS,
            Some(_) => {
                return self.wrong(
                    "method",
                    "no handshake has this method",
                    "write `GET`, `HEAD`, `OPTIONS` or `POST`",
                );
            }
        };
        if written.verify_token.is_some() {
            return self.wrong(
                "verify_token",
                "a preset holds no secret",
                "write it into the route: `handshake: { verify_token: … }`",
            );
        }
        let signed = written.signed.unwrap_or(false);
        let mut when = Vec::new();
        for one in written
            .when
            .as_ref()
            .map(OneOrMany::all)
            .unwrap_or_default()
        {
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
                return self.wrong(
                    "when",
                    "a condition says not what must stand there",
                    "add `is: VALUE`",
                );
            };
            when.push(Condition {
                at: self.locator(&at, "when")?,
                is: is.into(),
            });
        }
        let tokens =
            match TokenGrammar::with_extra(written.token_also.as_deref().unwrap_or_default()) {
                Ok(tokens) => tokens,
                Err(error) => {
                    return self.wrong("token_also", "no token may hold this", &error.to_string());
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
        let mac = answer.mac.as_deref().unwrap_or("hex");
        let Some(mac) = TagEncoding::parse(mac) else {
            return self.wrong(
                "answer",
                "no encoding is called so",
                "write `hex`, `base64` or `base64url`",
            );
        };
        let made = Handshake {
            method,
            signed,
            when,
            token,
            verify_token,
            body,
            headers,
            mac,
        };
        self.sound(&made, &tokens, verifier).then_some(made)
    }

    /// What must hold so that a handshake neither swallows deliveries nor signs one.
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
                "a handshake that is signed or stands in the body comes as POST",
                "take `method` out",
            );
        }
        let distinct = made.token.is_some() || made.verify_token.is_some() || !made.when.is_empty();
        if !distinct && (is_post || made.method == Method::GET) {
            return self.unsound(
                "method",
                "nothing tells this from a delivery",
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
                "there is no token to answer with",
                "add `token: { query: NAME }`",
            );
        }
        if made.signed && verifier.is_none() {
            return self.unsound("signed", "this route verifies nothing", "take it out");
        }
        if made.has_mac() {
            let Some(Scheme::Hmac(scheme)) = verifier.map(|verifier| verifier.shape().scheme())
            else {
                return self.unsound(
                    "answer",
                    "only the scheme hmac has a MAC",
                    "answer with `{token}`",
                );
            };
            if tokens.apart(&scheme.content).is_none() {
                let help = "the gate would sign what senders sign; say `handshake: none`, and let the app answer";
                return self.unsound(
                    "answer",
                    "a token could be the signed content of a delivery",
                    help,
                );
            }
        }
        true
    }

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
            (Some(_), Some(_)) => {
                self.wrong("answer", "there is one body", "write `text` or `json`")
            }
        }
    }

    fn text(&mut self, text: &str) -> Option<TextTemplate> {
        match TextTemplate::parse(text) {
            Ok(text) => Some(text),
            Err(error) => self.wrong("answer", "this cannot be filled in", &error.to_string()),
        }
    }

    fn headers(&mut self, answer: &file::Answer) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let pairs = answer.headers.iter().flatten();
        let pairs: Option<Vec<_>> = pairs
            .map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?)))
            .collect();
        if pairs.is_none() {
            return self.wrong(
                "answer",
                "this is not a header",
                "write `headers: { X-NAME: text }`",
            );
        }
        pairs
    }

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
                "say in one way where it stands",
                "write exactly one of `header`, `json`, `query`",
            ),
        }
    }

    fn wrong<T>(&mut self, key: &str, message: &str, help: &str) -> Option<T> {
        self.problems
            .error_at_key(&self.place.key(key), message.to_owned(), help.to_owned());
        None
    }

    fn unsound(&mut self, key: &str, message: &str, help: &str) -> bool {
        self.wrong::<()>(key, message, help).is_some()
    }
}

#[cfg(test)]
mod tests;

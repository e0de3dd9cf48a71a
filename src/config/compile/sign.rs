//! What a route signs of what it hands on: in the name of its provider, or in the gate's own.
use std::sync::Arc;

use http::HeaderName;

use crate::config::compile::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::secret::WEAK_BELOW;
use crate::verify::{NotResignable, Shape, SigningKey, standard};

/// What the rest of the route says.
pub(super) struct Given<'a> {
    pub(super) route: &'a str,
    /// Whether it says `verify: none`.
    pub(super) unverified: bool,
    /// How its senders sign, if that is in order.
    pub(super) shape: Option<&'a Shape>,
    /// Whether the app gets the query.
    pub(super) keep_query: bool,
}

/// Whether deliveries are signed anew as their provider does.
pub(super) fn resign(
    written: Option<bool>,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> bool {
    if written != Some(true) {
        return false;
    }
    if given.unverified {
        let help = "leave it out: only what is authentic is signed".to_owned();
        cx.problems.error_at_key(
            place,
            "the route verifies nothing, so there is nothing that could be signed anew",
            help,
        );
    }
    let Some(shape) = given.shape else {
        return true;
    };
    if let Err(why) = shape.resignable() {
        let (message, help) = match why {
            NotResignable::SignsNothing => (
                "the scheme signs nothing that could be signed anew",
                "leave it out: what it presents never goes stale",
            ),
            NotResignable::SignatureInBody => (
                "the signature stands in the body, which is handed on as it came",
                "leave it out",
            ),
            NotResignable::TimeInBody => (
                "the signed time stands in the body, which is handed on as it came",
                "leave it out",
            ),
        };
        cx.problems.error_at_key(place, message, help.to_owned());
    } else if shape.signs_in_query() && !given.keep_query {
        let help = "write `query: keep` beside it".to_owned();
        cx.problems.error_at_key(
            place,
            "the signature stands in the query, which the app does not get",
            help,
        );
    }
    true
}

/// What the gate signs with in its own name.
pub(super) fn sign(
    written: Option<file::Sign>,
    resigns: bool,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<SigningKey>> {
    let file::Sign { secret } = written?;
    if given.unverified {
        let help =
            "leave it out: the app would take for authentic what nobody has verified".to_owned();
        cx.problems.error_at_key(
            place,
            "the route verifies nothing, so there is nothing to sign for",
            help,
        );
    }
    let is_theirs = |name: &HeaderName| {
        given
            .shape
            .is_some_and(|shape| shape.signed_headers().contains(name))
    };
    if resigns && standard::NAMES.iter().any(is_theirs) {
        let help = "keep one: both write the same headers".to_owned();
        cx.problems
            .error_at_key(place, "`sign` takes the place of what `resign` signs", help);
    }
    let Some(secret) = secret else {
        let help = "add `secret: { file: /run/secrets/NAME }`".to_owned();
        cx.problems
            .missing(place, "secret", "`sign` has no secret", help);
        return None;
    };
    let called = format!("the secret that route {} signs with", given.route);
    key(
        &secret,
        (given.route, "sign"),
        &called,
        &place.key("secret"),
        cx,
    )
    .map(Arc::new)
}

/// The key of a secret that the gate signs with: `owner/name` in logs, unless it has a name of its own, and `called` so in a warning.
pub(super) fn key(
    secret: &file::Secret,
    (owner, name): (&str, &str),
    called: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SigningKey> {
    for (key, _) in [
        ("not_before", &secret.not_before),
        ("expires", &secret.expires),
    ]
    .iter()
    .filter(|(_, written)| written.is_some())
    {
        let help = "leave it out: the gate signs with the secret as long as it is here".to_owned();
        cx.problems.error_at_key(
            &place.key(key),
            format!("`{key}` means nothing for a secret that signs"),
            help,
        );
    }
    let name = secret.name.as_deref().unwrap_or(name);
    let text = cx.loader.one(
        secret,
        name,
        &format!("{owner}/{name}"),
        place,
        &mut cx.problems,
    )?;
    if text.text.len() < WEAK_BELOW {
        let help = "take `echo whsec_$(openssl rand -base64 32)`".to_owned();
        cx.problems.warning_at_key(
            place,
            format!("{called} is shorter than {WEAK_BELOW} bytes"),
            help,
        );
    }
    let made = SigningKey::new(&text);
    if let Err(why) = &made {
        cx.problems.error_at_key(
            place,
            why.to_string(),
            "write `whsec_` and base64, or say its `encoding`".to_owned(),
        );
    }
    made.ok()
}

//! Compiles `resign` and `sign`: signatures in the provider's scheme, and the gateway's own.
use std::sync::Arc;

use http::HeaderName;

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file::{self, OneOrMany};
use crate::config::secret::WEAK_BELOW;
use crate::verify::{NotResignable, Shape, SigningKey, standard};

/// The most secrets that sign one message.
const MAX_KEYS: usize = 4;

/// The other keys of the route that matter here.
pub(super) struct Given<'a> {
    pub(super) route: &'a str,
    /// Whether it has `verify: none`.
    pub(super) unverified: bool,
    /// The scheme of its senders, if it has no error.
    pub(super) shape: Option<&'a Shape>,
    /// Whether the upstream gets the query.
    pub(super) keep_query: bool,
}

/// Compiles `resign`.
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
        let help = "leave it out: only verified deliveries are signed".to_owned();
        cx.problems.error_at_key(
            place,
            "`resign` has no effect: this route does not verify requests",
            help,
        );
    }
    let Some(shape) = given.shape else {
        return true;
    };
    if let Err(why) = shape.resignable() {
        let (message, help) = match why {
            NotResignable::SignsNothing => (
                "`resign` needs a scheme with a signature",
                "leave it out: a token does not expire",
            ),
            NotResignable::SignatureInBody => (
                "`resign` cannot replace a signature in the body",
                "leave it out",
            ),
            NotResignable::TimeInBody => (
                "`resign` cannot replace a signed time in the body",
                "leave it out",
            ),
        };
        cx.problems.error_at_key(place, message, help.to_owned());
    } else if shape.signs_in_query() && !given.keep_query {
        let help = "add `query: keep`".to_owned();
        cx.problems.error_at_key(
            place,
            "`resign` has no effect: the signature is in the query, which is dropped",
            help,
        );
    }
    true
}

/// Compiles `sign`.
pub(super) fn sign(
    written: Option<file::Sign>,
    resigns: bool,
    given: &Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<[SigningKey]>> {
    let file::Sign { secret } = written?;
    if given.unverified {
        let help =
            "leave it out: your app would trust requests that were never verified".to_owned();
        cx.problems.error_at_key(
            place,
            "`sign` cannot be used on a route that does not verify requests",
            help,
        );
    }
    let is_theirs = |name: &HeaderName| {
        given
            .shape
            .is_some_and(|shape| shape.signed_headers().contains(name))
    };
    if resigns && standard::NAMES.iter().any(is_theirs) {
        let help = "keep one of the two".to_owned();
        cx.problems
            .error_at_key(place, "`sign` and `resign` write the same headers", help);
    }
    let Some(secret) = secret else {
        let help = "add `secret: { file: /run/secrets/NAME }`".to_owned();
        cx.problems
            .missing(place, "secret", "`sign` has no secret", help);
        return None;
    };
    let called = format!("the signing secret of route {}", given.route);
    keys(
        &secret,
        (given.route, "sign"),
        &called,
        &place.key("secret"),
        cx,
    )
    .map(Arc::from)
}

/// Loads the signing keys of one secret, or of a list of them. Returns `None` if one of them cannot be used.
pub(super) fn keys(
    secrets: &OneOrMany<file::Secret>,
    (owner, name): (&str, &str),
    called: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Box<[SigningKey]>> {
    let list = match secrets {
        OneOrMany::One(secret) => {
            return Some(Box::new([key(secret, (owner, name), called, place, cx)?]));
        }
        OneOrMany::Many(list) => list,
    };
    if !(1..=MAX_KEYS).contains(&list.len()) {
        let help = format!("write 1 to {MAX_KEYS}: the old one and the new one during a rotation");
        let message = format!("{called} is a list of {} secrets", list.len());
        cx.problems.error_at_key(place, message, help);
        return None;
    }
    let keys: Vec<SigningKey> = list
        .iter()
        .enumerate()
        .filter_map(|(index, secret)| {
            let name = format!("{name}-{}", index + 1);
            key(secret, (owner, &name), called, &place.index(index), cx)
        })
        .collect();
    (keys.len() == list.len()).then(|| keys.into())
}

/// Loads one signing key. Its name in logs is `owner/name`, unless the secret has a name, and `called` in a warning.
fn key(
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
        let help = "leave it out: the gateway always signs with this secret".to_owned();
        cx.problems.error_at_key(
            &place.key(key),
            format!("`{key}` has no effect on a signing secret"),
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
        let help = "create one with `echo whsec_$(openssl rand -base64 32)`".to_owned();
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
            "write `whsec_` followed by base64, or set its `encoding`".to_owned(),
        );
    }
    made.ok()
}

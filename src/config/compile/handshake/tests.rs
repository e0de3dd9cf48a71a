use std::path::Path;

use super::*;
use crate::clock::{Clock as _, Dates, FrozenClock};
use crate::config::compile::verify;
use crate::config::diagnostic::Diagnostics;
use crate::config::presets::Catalogue;
use crate::config::secret::Loader;
use crate::verify::Locator;
use crate::verify::{Encoding, SecretSet, SecretText};

/// Compiles a `handshake` block; returns the errors and warnings as `message`.
fn compiled(written: &str, provider: &str) -> (Handshakes, Vec<String>) {
    let preset = Catalogue::built_in().get(provider);
    let mut problems = Diagnostics::default();
    let block = file::Verify {
        provider: Some(provider.to_owned()),
        ..file::Verify::default()
    };
    let shape = preset.as_ref().map(|preset| {
        verify::compile(
            &block,
            Some(&preset.provider),
            &Place::root(0),
            &mut problems,
        )
        .unwrap()
    });
    let text = SecretText {
        name: "a".into(),
        text: b"user:secret".to_vec().into(),
        encodings: Some(vec![Encoding::Utf8]),
        not_before: None,
        expires: None,
    };
    let verifier = shape.map(|shape| {
        let set = SecretSet::list(
            shape.secret_kind(),
            shape.secret_encodings(),
            shape.secret_suffix(),
            &[text],
        )
        .unwrap();
        shape.with_secrets(set, None)
    });
    let now = FrozenClock::at_unix(1_767_225_600).now();
    let mut cx = Context {
        problems,
        loader: Loader::new(Path::new("."), &|_| None, None, now, Dates::at(now.wall)),
        catalogue: Catalogue::built_in(),
        certificates: Vec::new(),
        findings: Vec::new(),
        asks_for_certificates: false,
        has_store: false,
        on_store_down: None,
        is_shared: false,
        mounts: &[],
    };
    let written = (!written.is_empty()).then(|| serde_yaml::from_str(written).unwrap());
    let made = handshakes(
        written,
        preset.as_deref(),
        verifier.as_ref(),
        &Place::root(0),
        &mut cx,
    );
    (
        made,
        cx.problems
            .list
            .into_iter()
            .map(|one| one.message)
            .collect(),
    )
}

#[track_caller]
fn wrong(written: &str, provider: &str, message: &str) {
    let (_, messages) = compiled(written, provider);
    assert!(messages.iter().any(|one| one == message), "{messages:?}");
}

#[test]
fn route_overrides_the_handshake_of_the_preset() {
    assert_eq!(compiled("", "dropbox").0.0.len(), 1);
    assert_eq!(compiled("", "azure-event-grid-is-no-such").0.0.len(), 0);
    assert_eq!(compiled("none", "dropbox").0.0.len(), 0);
    let (own, messages) = compiled(
        "{ method: GET, token: { query: other }, answer: { json: { c: \"{token}\" } } }",
        "dropbox",
    );
    assert_eq!(
        own.0
            .iter()
            .map(|one| one.token.clone().unwrap().0)
            .collect::<Vec<_>>(),
        [Locator::Query("other".to_owned())]
    );
    assert_eq!(messages, [""; 0]);
}

#[test]
fn verify_token_is_required_where_it_is_used() {
    let (made, messages) = compiled("", "meta");
    assert_eq!((made.0.len(), messages.len()), (0, 1));
    assert!(
        messages[0].contains("with a verify token, and the route has none"),
        "{messages:?}"
    );
    assert_eq!(compiled("none", "meta").1, [""; 0]);
    let (made, messages) = compiled("{ verify_token: { insecure_inline: a-token } }", "meta");
    assert_eq!((made.0.len(), messages), (1, Vec::new()));
    wrong(
        "{ verify_token: { insecure_inline: a-token } }",
        "dropbox",
        "no handshake of this route uses a verify token",
    );
    wrong("{}", "github", "`handshake` is empty");
}

#[test]
fn unsafe_handshakes_are_refused() {
    let token = "token: { query: t }";
    for (written, message) in [
        (
            "{ method: PUT, token: { query: t } }",
            "a handshake cannot use this method",
        ),
        (
            "{ signed: true, method: GET, token: { query: t } }",
            "a handshake that is signed or read from the body must use POST",
        ),
        (
            "{ method: GET, token: { json: /t } }",
            "a handshake that is signed or read from the body must use POST",
        ),
        (
            "{ method: GET, answer: { text: ok } }",
            "this handshake cannot be distinguished from a delivery",
        ),
        (
            "{ answer: { text: ok } }",
            "this handshake cannot be distinguished from a delivery",
        ),
        (
            "{ method: HEAD, answer: { text: \"{token}\" } }",
            "the answer uses the token, but `token` is missing",
        ),
        (
            "{ token: { query: t, header: X-T } }",
            "the location of the value is missing or ambiguous",
        ),
        (
            "{ token: { query: t }, token_also: \"<\" }",
            "a token cannot contain these characters",
        ),
        (
            "{ token: { query: t }, answer: { text: a, json: {} } }",
            "an answer has only one body",
        ),
        (
            "{ token: { query: t }, answer: { text: \"{secret}\" } }",
            "this template is not valid",
        ),
        (
            "{ token: { query: t }, answer: { headers: { a b: c } } }",
            "this is not a valid header",
        ),
        ("{ when: { query: a } }", "a condition has no value"),
    ] {
        wrong(written, "github", message);
    }
    let mac = format!("{{ {token}, answer: {{ json: {{ m: \"{{mac}}\" }} }} }}");
    assert_eq!(compiled(&mac, "github").1, [""; 0]);
    // time and token alone are signed, not the body
    wrong(
        &mac,
        "mailgun",
        "a token could equal the signed content of a delivery",
    );
    wrong(&mac, "brevo", "`{mac}` needs the scheme `hmac`");
    wrong(
        "{ signed: true, token: { json: /t } }",
        "no-such",
        "`signed` has no effect: this route does not verify requests",
    );
}

#[test]
fn handshake_of_every_preset_compiles() {
    let mut kinds = Vec::new();
    for preset in Catalogue::built_in()
        .presets()
        .filter(|preset| preset.provider.handshake.is_some() && &*preset.name != "azure-event-grid")
    {
        let written = preset.provider.handshake.as_ref().unwrap().all();
        let guarded = written.iter().any(|one| one.guard.is_some());
        let (made, messages) = compiled(
            if guarded {
                "{ verify_token: { insecure_inline: a-token } }"
            } else {
                ""
            },
            &preset.name,
        );
        assert_eq!(
            (made.0.len(), messages),
            (written.len(), Vec::new()),
            "{}",
            preset.name
        );
        kinds.extend(written.iter().map(kind));
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "echo_header",
            "echo_json",
            "echo_query",
            "mac_json",
            "mac_query",
            "probe"
        ]
    );
}

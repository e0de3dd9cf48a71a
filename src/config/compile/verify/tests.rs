use std::time::Duration;

use super::*;
use crate::config::file::Provider;
use crate::verify::{Layout, TimeAt};

fn block(yaml: &str) -> file::Verify {
    serde_yaml::from_str(yaml).unwrap()
}

fn preset(yaml: &str) -> Provider {
    Provider {
        verify: block(yaml),
        ..Provider::default()
    }
}

/// The errors as `path: message | help`.
fn messages(written: &str, preset: Option<&Provider>) -> Vec<String> {
    let mut problems = Diagnostics::default();
    let shape = compile(&block(written), preset, &Place::root(0), &mut problems);
    assert_eq!(shape.is_none(), problems.has_errors(), "{written}");
    let line = |one: &crate::config::diagnostic::Diagnostic| {
        let path: Vec<String> = one
            .place
            .path
            .iter()
            .map(|step| format!("{step:?}"))
            .collect();
        let path = path.join(".").replace("Key(\"", "").replace("\")", "");
        format!(
            "{path}: {} | {}",
            one.message,
            one.help.as_deref().unwrap_or_default()
        )
    };
    problems.list.iter().map(line).collect()
}

fn shape(written: &str, preset: Option<&Provider>) -> Shape {
    let mut problems = Diagnostics::default();
    compile(&block(written), preset, &Place::root(0), &mut problems)
        .unwrap_or_else(|| panic!("{written}: {:?}", problems.list))
}

const ACME: &str =
    "{ scheme: hmac, algorithm: sha256, signature: { header: X-Sig, encoding: hex }, ";

const STRIPE: &str = r#"
scheme: hmac
algorithm: sha256
signature: { header: Stripe-Signature, separator: ",", pair: v1, encoding: hex }
signed_content: "{timestamp}.{body}"
timestamp: { pair: t, format: unix, tolerance: 5m }
delivery_id: { json: /id }
"#;

#[test]
fn a_preset_is_overridden_key_by_key() {
    let stripe = preset(STRIPE);
    let plain = shape("{ provider: stripe }", Some(&stripe));
    assert_eq!(plain.tolerance(), Some(Duration::from_secs(300)));
    assert_eq!(plain.covers().to_string(), "timestamp, body, ID");
    assert_eq!(
        shape("{ provider: stripe, tolerance: 10m }", Some(&stripe)).tolerance(),
        Some(Duration::from_secs(600))
    );
    assert_eq!(
        shape(
            "{ provider: stripe, timestamp: { tolerance: 1m } }",
            Some(&stripe)
        )
        .tolerance(),
        Some(Duration::from_secs(60))
    );
    let renamed = shape(
        "{ provider: stripe, signature: { header: X-Proxy-Stripe } }",
        Some(&stripe),
    );
    let Scheme::Hmac(hmac) = renamed.scheme() else {
        panic!("{renamed:?}")
    };
    assert_eq!(hmac.source.headers(), ["x-proxy-stripe"]);
    assert!(matches!(&hmac.source.layout, Layout::Pairs { key, .. } if **key == *"v1"));
    let moved = shape(
        "{ provider: stripe, timestamp: { header: X-Time } }",
        Some(&stripe),
    );
    assert!(
        matches!(moved.scheme(), Scheme::Hmac(hmac) if matches!(hmac.time.as_ref().unwrap().at, TimeAt::Header(_)))
    );
    let token = shape(
        "{ provider: stripe, scheme: token, signature: { header: X-Token } }",
        Some(&stripe),
    );
    assert_eq!(token.secret_locations().headers, ["x-token"]);
    assert_eq!(token.delivery_id(), Some(&Locator::Json("/id".to_owned())));
    let other = messages(
        r#"{ provider: stripe, signed_content: "{timestamp}{body}" }"#,
        Some(&preset(&format!("{STRIPE}concatenated: why\n"))),
    );
    assert_eq!(
        other.len(),
        1,
        "the preset's reason is for the preset's content: {other:?}"
    );
}

#[test]
fn errors_say_what_to_write() {
    for (written, wants) in [
        ("{}".to_owned(), vec![": `verify` names neither a provider nor a scheme | write `provider: NAME`"]),
        ("{ scheme: hmca }".to_owned(), vec!["scheme: unknown scheme `hmca` | did you mean `hmac`?"]),
        (
            "{ scheme: hmac }".to_owned(),
            vec!["algorithm: `algorithm` is missing", "signature.encoding: `signature.encoding` is missing", "signature: the location of the signature is missing or ambiguous"],
        ),
        (
            format!("{ACME} signed_content: \"{{boddy}}\" }}"),
            vec!["signed_content: unknown placeholder `{boddy}` | did you mean `body`?"],
        ),
        (
            format!("{ACME} signed_content: \"{{timestamp}}.{{body}}\" }}"),
            vec!["signed_content: `{timestamp}` is signed, but `timestamp` is missing"],
        ),
        (format!("{ACME} signed_content: \"{{id}} {{body}}\" }}"), vec!["signed_content: `{id}` is signed, but `delivery_id` is missing"]),
        (
            format!("{ACME} signed_content: \"{{id}}.{{body}}\", delivery_id: {{ header: X-Id }} }}"),
            vec!["signed_content: the border between `{id}` and `{body}` is ambiguous | put a literal"],
        ),
        (format!("{ACME} signed_content: \"{{body}}{{path}}\", concatenated: \" \" }}"), vec!["concatenated: `concatenated` is empty"]),
        (format!("{ACME} signed_content: \"{{header:X-Sig}}\" }}"), vec!["signed_content: the signature would cover itself"]),
        (format!("{ACME} tolerance: 5m }}"), vec!["tolerance: `tolerance` has no effect: the signature does not cover the time"]),
        (format!("{ACME} timestamp: {{ header: X-T, json: /t }} }}"), vec!["timestamp: the location of the time is missing or ambiguous"]),
        (format!("{ACME} timestamp: {{ pair: t }} }}"), vec!["timestamp: the signature header cannot contain the time there"]),
        (
            format!("{ACME} timestamp: {{ header: X-T, format: unixms }} }}"),
            vec!["timestamp.format: unknown format `unixms` | did you mean `unix_ms`?"],
        ),
        (
            format!("{ACME} delivery_id: {{ json: id }} }}"),
            vec!["delivery_id.json: `id` is not a JSON pointer | a JSON pointer begins with `/`"],
        ),
        (format!("{ACME} secret_encoding: [utf8, b64] }}"), vec!["secret_encoding: unknown secret_encoding `b64`"]),
        (
            "{ scheme: hmac, algorithm: sha256, signature: { header: X-Sig, encoding: hex, prefix: \"v1,\", separator: \",\" } }"
                .to_owned(),
            vec!["signature.prefix: the prefix contains the separator"],
        ),
        (
            "{ scheme: hmac, algorithm: sha256, signature: { header: \"X-{9..1}\", encoding: hex } }".to_owned(),
            vec!["signature.header: `X-{9..1}` is not a valid range of headers | write `X-Name-{1..9}`", "signature.header: there must be between 1 and"],
        ),
        (
            "{ scheme: token, algorithm: sha256, signature: { query: token, encoding: hex } }".to_owned(),
            vec!["algorithm: `algorithm` works with the scheme `hmac` only", "signature.encoding: `encoding` works with the scheme `hmac` only"],
        ),
        (
            "{ scheme: basic, signature: { header: X } }".to_owned(),
            vec!["signature: `signature` works with the scheme `hmac` only | leave it out: `basic` always reads"],
        ),
    ] {
        let messages = messages(&written, None);
        assert_eq!(messages.len(), wants.len(), "{written}\n{messages:#?}");
        for (line, want) in messages.iter().zip(wants) {
            assert!(line.starts_with(want), "{written}\n{line}\n{want}");
        }
    }
}

#[test]
fn numbered_header_names_are_expanded() {
    let many = shape(
        "{ scheme: hmac, algorithm: sha256, signature: { header: [\"X-Sig-{1..3}\", X-Old], encoding: base64 } }",
        None,
    );
    let Scheme::Hmac(hmac) = many.scheme() else {
        panic!("{many:?}")
    };
    assert_eq!(
        hmac.source.headers(),
        ["x-sig-1", "x-sig-2", "x-sig-3", "x-old"]
    );
    assert_eq!(many.covers().header_value(), "body");
    let twice = messages(
        "{ scheme: hmac, algorithm: sha256, signature: { header: [X-A, x-a], encoding: hex } }",
        None,
    );
    assert_eq!(
        twice,
        ["signature.header: a header is listed twice | list each header once"]
    );
}

#[test]
fn header_names_repeats_and_expectations_compile() {
    let many = shape(
        "{ scheme: hmac, algorithm: sha256, signature: { header: [A-Sig, B-Sig], encoding: hex, repeated: true, expect: { X-Version: \"1\" } }, signed_content: \"{id}\\n{timestamp}.{body}\", timestamp: { header: [A-Time, B-Time] }, delivery_id: { header: [A-Id, B-Id] } }",
        None,
    );
    let Scheme::Hmac(hmac) = many.scheme() else {
        panic!("{many:?}")
    };
    assert!(hmac.source.repeated);
    assert_eq!(
        hmac.source
            .expect
            .first()
            .map(|(name, value)| (name.as_str(), &**value)),
        Some(("x-version", "1"))
    );
    assert!(
        matches!(&hmac.time.as_ref().unwrap().at, TimeAt::Header(names) if names.names() == ["a-time", "b-time"])
    );
    assert!(
        matches!(many.delivery_id(), Some(Locator::Header(names)) if names.names() == ["a-id", "b-id"])
    );
    let body = "{ scheme: hmac, algorithm: sha256, signature: { json: /s/sig, encoding: hex }, signed_content: ";
    assert_eq!(
        shape(&format!("{body}\"{{json:/s/token}}\" }}"), None)
            .covers()
            .to_string(),
        "fields of the body"
    );
    for (written, want) in [
        (format!("{body}\"{{body}}\" }}"), "signed_content: the signature would cover itself"),
        (format!("{body}\"{{json:/s/sig}}\" }}"), "signed_content: the signature would cover itself"),
        ("{ scheme: token, signature: { json: /token } }".to_owned(), "signature.json: `json` works with the scheme `hmac` only"),
        (
            "{ scheme: token, signature: { header: X, repeated: true } }".to_owned(),
            "signature.repeated: `repeated` works with the scheme `hmac` only",
        ),
        (format!("{ACME} delivery_id: {{ header: [X-Id, Authorization] }} }}"), "delivery_id: the Authorization header must stay secret"),
        (format!("{ACME} delivery_id: {{ header: [] }} }}"), "delivery_id.header: there must be between 1 and 100 headers"),
        ("{ scheme: token, signature: { header: X, expect: { x: a } } }".to_owned(), "signature.expect.x: this header is listed twice"),
        (
            "{ scheme: token, signature: { header: X, expect: { Y: \" 1\" } } }".to_owned(),
            "signature.expect.Y: a header cannot have this value",
        ),
        (
            "{ scheme: hmac, algorithm: sha256, signature: { query: s, encoding: hex, repeated: true } }".to_owned(),
            "signature.repeated: only a header can be repeated",
        ),
    ] {
        let messages = messages(&written, None);
        assert!(matches!(messages.as_slice(), [one] if one.starts_with(want)), "{written}\n{messages:#?}");
    }
    let stripe = preset(STRIPE);
    let repeated = messages(
        "{ provider: stripe, signature: { repeated: true } }",
        Some(&stripe),
    );
    assert!(
        matches!(repeated.as_slice(), [one] if one.starts_with("timestamp: the signature header cannot contain the time there")),
        "{repeated:#?}"
    );
}

#[test]
fn predicates_describe_what_a_route_needs() {
    let url = shape(&format!("{ACME} signed_content: \"{{url}}\" }}"), None);
    assert!(
        url.uses_url() && url.covers_path(false) && !url.covers_path(true) && !url.covers().body
    );
    let basic = shape("{ scheme: basic }", None);
    assert_eq!(basic.secret_locations().headers, ["authorization"]);
    assert!(basic.covers().nothing() && basic.tolerance().is_none());
    let query = shape("{ scheme: token, signature: { query: key } }", None);
    assert_eq!(query.secret_locations().query, ["key".into()]);
}

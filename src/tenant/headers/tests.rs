use proptest::prelude::*;
use serde_json::json;

use super::*;

const SIGNED: [HeaderName; 1] = [HeaderName::from_static("x-acme-signature")];

fn read(fields: &Value) -> Result<OwnHeaders, Invalid> {
    OwnHeaders::read(fields, "/headers", &SIGNED)
}

#[test]
fn headers_survive_the_store() {
    let fields = json!({ "Authorization": "Bearer hunter2", "X-Api-Key": "", "x_trace": "a  b" });
    let headers = read(&fields).unwrap();
    let again = OwnHeaders::from_bytes(&headers.to_bytes()).unwrap();
    assert_eq!(again, headers);
    let mut names: Vec<&str> = again.names().collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "x-api-key", "x_trace"]);
    let shown = format!("{headers:?} {:?}", headers.iter().collect::<Vec<_>>());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(OwnHeaders::from_bytes(b"[]").is_err() && OwnHeaders::from_bytes(b"x").is_err());
    assert!(read(&json!({})).unwrap().is_empty());
}

#[test]
fn names_of_the_gateway_are_refused_in_any_spelling() {
    for name in [
        "Host",
        "HOST",
        "h_o_s_t",
        "HTTP_HOST",
        "webhook-id",
        "Webhook_Signature",
        "WebhookAnything",
        "http-webhook-id",
        "Hookgate-Verified",
        "hookgate",
        "Content-Type",
        "content_length",
        "ContentEncoding",
        "Connection",
        "keep_alive",
        "TE",
        "T-E",
        "Trailer",
        "Transfer_Encoding",
        "Upgrade",
        "HTTP2-Settings",
        "Proxy",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Expect",
        "X-Forwarded-For",
        "X_Forwarded_Host",
        "Forwarded",
        "Via",
        "CDN-Loop",
        "Date",
        "User-Agent",
        "X-Acme-Signature",
        "X_ACME_SIGNATURE",
        "http",
        "_",
        "",
        "a b",
        "a:b",
        "a\r\nb",
        "é",
        "x12345678901234567890123456789012345678901234567890123456789012345",
    ] {
        let fields = json!({ name: "x" });
        let fault = read(&fields).unwrap_err();
        assert_eq!(fault.at, format!("/headers/{name}"));
    }
    for name in [
        "X-Api-Key",
        "Authorization",
        "Cookie",
        "X-Host",
        "Accept",
        "X-Webhook-Token",
        "Tenant",
    ] {
        assert!(read(&json!({ name: "x" })).is_ok(), "{name}");
    }
}

#[test]
fn values_and_sizes_are_bounded() {
    for (value, is_right) in [
        (json!("a b"), true),
        (json!("x".repeat(2_048)), true),
        (json!("x".repeat(2_049)), false),
        (json!(" a"), false),
        (json!("a "), false),
        (json!("a\r\nb: c"), false),
        (json!("a\tb"), false),
        (json!("é"), false),
        (json!(1), false),
        (json!(null), false),
    ] {
        assert_eq!(read(&json!({ "x-a": value })).is_ok(), is_right, "{value}");
    }
    let many = |count: usize, length: usize| {
        let fields: Map<String, Value> = (0..count)
            .map(|n| (format!("x-{n:02}"), "v".repeat(length).into()))
            .collect();
        read(&Value::Object(fields))
    };
    assert!(many(20, 10).is_ok());
    assert_eq!(many(21, 1).unwrap_err().at, "/headers");
    assert!(many(4, 2_044).is_ok());
    assert_eq!(many(5, 2_044).unwrap_err().at, "/headers");
    assert_eq!(
        read(&json!({ "x-a": "1", "X_A": "2" })).unwrap_err().help,
        "write it once"
    );
    assert!(read(&json!([])).is_err());
}

#[test]
fn change_of_scheme_is_a_conflict() {
    let headers = OwnHeaders::read(&json!({ "X-Acme_Signature": "x" }), "", &[]).unwrap();
    assert!(headers.conflicts(&SIGNED) && !headers.conflicts(&[]));
}

proptest! {
    /// Whatever is taken is none of the headers that the gateway writes, as CGI would name them.
    #[test]
    fn taken_names_are_told_apart(name in "[a-zA-Z_.-]{0,4}(host|HOST|[wW]ebhook|hookgate|content|te|x-forwarded|expect|Via)[a-z_-]{0,4}") {
        if read(&json!({ &*name: "x" })).is_ok() {
            let cgi: String = name.to_ascii_uppercase().replace(['-', '.'], "_");
            for own in ["HOST", "TE", "EXPECT", "VIA", "CONTENT_TYPE", "WEBHOOK_ID"] {
                prop_assert_ne!(&*cgi, own);
                prop_assert_ne!(cgi.clone(), format!("HTTP_{own}"));
            }
        }
    }
}

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::*;
use crate::clock::{Clock, Dates, FrozenClock};
use crate::request::{Client, HeaderLines, RequestId};
use crate::verify::Template;

fn received(method: Method, target: &str, body: &'static str) -> Received {
    let now = FrozenClock::at_unix(1_767_225_600).now();
    let head = RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(7),
        method,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: "hooks.example.com".to_owned(),
        tls: true,
        headers: HeaderLines::default(),
        declared_size: None,
        client: Client {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            own: true,
            behind_trusted_proxy: false,
        },
        received: now,
    };
    Received {
        head,
        body: Bytes::from_static(body.as_bytes()).into(),
    }
}

fn echo(method: Method, at: Locator) -> Handshake {
    Handshake {
        method,
        signed: false,
        when: Vec::new(),
        token: Some((at, TokenGrammar::default())),
        verify_token: None,
        body: ResponseBody::Text(TextTemplate::parse("{token}").unwrap()),
        headers: Vec::new(),
        mac: TagEncoding::Hex,
    }
}

fn answered(handshakes: &Handshakes, received: &Received) -> Result<Option<Bytes>, NotAuthentic> {
    let full = handshakes.unsigned(
        None,
        received,
        &Params::default(),
        &Dates::at(received.head.received.wall),
    )?;
    Ok(full.map(|full| full.body))
}

#[test]
fn token_follows_its_grammar() {
    let plain = TokenGrammar::default();
    for token in ["a", "A-z_09", &"x".repeat(128)] {
        assert!(plain.is_token(token), "{token}");
    }
    for token in [
        "",
        "a b",
        "a.b",
        "a=",
        "{}",
        "\"a\"",
        "<b>",
        "a\n",
        "é",
        &"x".repeat(129),
    ] {
        assert!(!plain.is_token(token), "{token}");
    }
    let more = TokenGrammar::with_extra(" .:=").unwrap();
    assert!(more.is_token("Validation: id.1=") && !more.is_token("a+b"));
    for bad in ["<", ">", "&", "\"", "'", "{", "[", "\\", "\n", "\0", "é"] {
        assert!(TokenGrammar::with_extra(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn tokens_differ_from_content_by_literal_or_by_body() {
    let apart =
        |tokens: &TokenGrammar, content: &str| tokens.apart(&Template::parse(content).unwrap());
    let plain = TokenGrammar::default();
    assert_eq!(apart(&plain, "{body}"), Some(Separation::ByBody));
    assert_eq!(
        apart(&plain, "v0:{timestamp}:{body}"),
        Some(Separation::ByLiteral)
    );
    assert_eq!(
        apart(&plain, "v0{timestamp}x{body}"),
        Some(Separation::ByBody)
    );
    assert_eq!(apart(&plain, "{timestamp}-{id}"), None);
    assert_eq!(
        apart(&TokenGrammar::with_extra(":").unwrap(), "{timestamp}:{id}"),
        None
    );
    assert_eq!(
        apart(&plain, "{timestamp}:{id}"),
        Some(Separation::ByLiteral)
    );
}

#[test]
fn text_template_knows_token_and_mac() {
    assert_eq!(
        TextTemplate::parse("a{token}b{mac}")
            .unwrap()
            .fill("T", "M"),
        "aTbM"
    );
    for bad in ["{", "{tokens}", "}", "{token", "a}{token}"] {
        assert!(TextTemplate::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_get_is_answered_or_refused_and_never_verified() {
    let all = Handshakes(vec![echo(Method::GET, Locator::Query("c".to_owned()))]);
    let asked = received(Method::GET, "/x?c=abc", "");
    assert!(all.admits(&asked.head));
    assert_eq!(answered(&all, &asked), Ok(Some("abc".into())));
    let bad = received(Method::GET, "/x?c=a%3Cb", "");
    assert!(all.admits(&bad.head));
    assert_eq!(answered(&all, &bad), Err(NotAuthentic::SignatureMalformed));
    for target in ["/x", "/x?c=", "/x?d=abc", "/x?c=a&c=b", "/x?c=%ff"] {
        let other = received(Method::GET, target, "");
        assert!(!all.admits(&other.head), "{target}");
        assert_eq!(answered(&all, &other), Ok(None), "{target}");
    }
    assert!(!all.admits(&received(Method::PUT, "/x?c=abc", "").head));
}

#[test]
fn post_without_handshake_is_verified() {
    let all = Handshakes(vec![echo(
        Method::POST,
        Locator::Json("/challenge".to_owned()),
    )]);
    assert_eq!(
        answered(&all, &received(Method::POST, "/", r#"{"challenge":"abc"}"#)),
        Ok(Some("abc".into()))
    );
    for body in [
        "",
        "abc",
        r#"{"challenge":"<b>"}"#,
        r#"{"challenge":"a","challenge":"b"}"#,
        r#"{"challenge":["a"]}"#,
    ] {
        assert_eq!(
            answered(&all, &received(Method::POST, "/", body)),
            Ok(None),
            "{body}"
        );
    }
    assert!(
        !all.admits(&received(Method::POST, "/", r#"{"challenge":"abc"}"#).head),
        "POST is never admitted beside the methods of a route"
    );
    let long: &'static str = format!(
        r#"{{"challenge":"abc","pad":"{}"}}"#,
        "x".repeat(MAX_BODY_BYTES)
    )
    .leak();
    assert_eq!(
        answered(&all, &received(Method::POST, "/", long)),
        Ok(None),
        "a long body is not parsed"
    );
}

#[test]
fn verify_token_is_required_while_it_is_active() {
    let at = |seconds| FrozenClock::at_unix(seconds).0;
    let text = SecretText {
        name: "verify_token".into(),
        text: Zeroizing::new(b"s3cret".to_vec()),
        encodings: None,
        not_before: None,
        expires: Some(at(1_767_225_601)),
    };
    let verify_token = VerifyToken::new(Locator::Query("v".to_owned()), &text).unwrap();
    assert!(!format!("{verify_token:?}").contains("s3cret"));
    let all = Handshakes(vec![Handshake {
        verify_token: Some(verify_token),
        ..echo(Method::GET, Locator::Query("c".to_owned()))
    }]);
    assert_eq!(
        answered(&all, &received(Method::GET, "/?c=abc&v=s3cret", "")),
        Ok(Some("abc".into()))
    );
    for wrong in ["/?c=abc&v=s3cre", "/?c=abc&v=s3cret1", "/?c=%3C&v=x"] {
        assert_eq!(
            answered(&all, &received(Method::GET, wrong, "")),
            Err(NotAuthentic::SignatureMismatch),
            "{wrong}"
        );
    }
    let mut late = received(Method::GET, "/?c=abc&v=s3cret", "");
    late.head.received = FrozenClock::at_unix(1_767_225_601).now();
    assert_eq!(answered(&all, &late), Err(NotAuthentic::SignatureMismatch));
}

//! Requests made of text.
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use hookgate::clock::{Clock as _, FrozenClock, Now};
use hookgate::request::{Client, Params, RequestHead, RequestId};
use hookgate::verify::{Algorithm, SecretKind, SecretSet, SecretText};
use http::{HeaderName, HeaderValue, Method};
use zeroize::Zeroizing;

/// Every target stands at this second.
pub const NOW: u64 = 1_767_225_600;
/// The secret of every verifier.
pub const KEY: &str = "a-long-enough-secret";

pub fn now() -> Now {
    FrozenClock::at_unix(NOW).now()
}

pub fn params() -> Params {
    Params(vec![("account".into(), "acme".into())])
}

pub fn secrets() -> SecretSet {
    let text = |name: &str, text: &str| SecretText {
        name: name.into(),
        text: Zeroizing::new(text.as_bytes().to_vec()),
        encodings: None,
        not_before: None,
        expires: None,
    };
    SecretSet::list(
        SecretKind::Hmac(Algorithm::Sha256),
        &[],
        None,
        &[text("other", "another-long-secret"), text("right", KEY)],
    )
    .unwrap()
}

pub fn head(method: &str, target: &str, headers: Vec<(HeaderName, HeaderValue)>) -> RequestHead {
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(7),
        method: Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST),
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: "hooks.example.com".to_owned(),
        tls: true,
        headers: headers.into_iter().collect(),
        declared_size: None,
        client: Client {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            own: true,
            behind_trusted_proxy: false,
        },
        received: now(),
    }
}

/// The next line of an input, without its end.
pub fn line<'b>(rest: &mut &'b [u8]) -> &'b [u8] {
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    line
}

/// The lines up to an empty one, as headers; what cannot be one is left out.
pub fn headers(rest: &mut &[u8]) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let line = line(rest);
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.push((name, value));
        }
    }
    headers
}

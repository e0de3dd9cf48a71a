//! Signed content: what a template says is what is signed, and what is signed is what verifies, however the body arrives.
//!
//! The input: a template, a request line without version, header lines, an empty line, a body.
use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookgate::clock::Dates;
use hookgate::request::{Received, RequestHead};
use hookgate::verify::{
    Algorithm, Format, HeaderNames, HmacScheme, Layout, Locator, NotAuthentic, Part, Scheme, Shape,
    SignedTime, Source, SourcePlace, TagEncoding, Template, TimeAt, Verifier,
};
use http::HeaderName;
use sha2::Sha256;

use super::request;

const SIGNATURE: HeaderName = HeaderName::from_static("x-sig");
const TIME: HeaderName = HeaderName::from_static("x-time");
const ID: HeaderName = HeaderName::from_static("x-id");

pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    let (Ok(template), Ok(request)) = (
        std::str::from_utf8(request::line(&mut rest)),
        std::str::from_utf8(request::line(&mut rest)),
    ) else {
        return;
    };
    let Ok(content) = Template::parse(template) else {
        return;
    };
    written_again(&content);
    let (method, target) = request.split_once(' ').unwrap_or(("POST", request));
    let mut headers = request::headers(&mut rest);
    headers.retain(|(name, _)| *name != SIGNATURE);
    let head = request::head(
        method,
        if target.starts_with('/') { target } else { "/" },
        headers,
    );
    let verifier = verifier(content.clone());
    let signed = verifier.sign(&head, &request::params(), rest, 1, request::now().wall);
    let mut with = head;
    let Ok(signed) = signed else {
        // what cannot be signed is not verified either
        with.headers
            .append(&SIGNATURE, &hex::encode(mac(rest)).parse().unwrap());
        assert!(verdict(&verifier, &with, rest).is_err());
        return;
    };
    for (name, value) in signed.headers {
        with.headers.insert(&name, &value);
    }
    if let Some(plain) = concatenated(&content, &with, rest) {
        assert_eq!(
            with.headers.get(&SIGNATURE),
            Some(hex::encode(mac(&plain)).as_bytes()),
            "the signed content is another"
        );
    }
    assert_eq!(verdict(&verifier, &with, rest), Ok(()));
    tampered(&verifier, &with, rest);
}

fn verifier(content: Template) -> Verifier {
    let source = Source {
        place: SourcePlace::Headers([SIGNATURE].into()),
        prefix: "".into(),
        layout: Layout::Whole,
        repeated: false,
        expect: Box::default(),
    };
    let time = SignedTime {
        at: TimeAt::Header(HeaderNames::from(TIME)),
        format: Format::Unix,
        tolerance: Duration::from_secs(300),
    };
    let scheme = HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: TagEncoding::Hex,
        source,
        content,
        time: Some(time),
    };
    let id = Locator::Header(HeaderNames::from(ID));
    Shape::new(Scheme::Hmac(scheme), Some(id), None, Vec::new(), None)
        .with_secrets(request::secrets(), None)
}

/// The verdict, the same by every door: in one call, in pieces cut anywhere, and with nothing streamed.
fn verdict(verifier: &Verifier, head: &RequestHead, body: &[u8]) -> Result<(), NotAuthentic> {
    let received = || Received {
        head: head.clone(),
        body: Bytes::copy_from_slice(body).into(),
    };
    let params = request::params();
    let whole = verifier
        .verify(received(), &params, request::now())
        .map(drop)
        .map_err(|refused| refused.why);
    let cut = body
        .first()
        .map_or(0, |byte| usize::from(*byte) % (body.len() + 1));
    let mut pieces = verifier.begin(head, &params);
    pieces.update(&body[..cut]);
    pieces.update(b"");
    body[cut..].chunks(7).for_each(|part| pieces.update(part));
    assert_eq!(
        pieces
            .finish(received(), request::now(), &Dates::at(request::now().wall))
            .map(drop)
            .map_err(|refused| refused.why),
        whole
    );
    let mut misfed = verifier.begin(head, &params);
    misfed.update(&[0; 3][..if body.len() == 3 { 2 } else { 3 }]);
    assert_eq!(
        misfed
            .finish(received(), request::now(), &Dates::at(request::now().wall))
            .map(drop)
            .map_err(|refused| refused.why),
        whole
    );
    whole
}

/// No other body, time or ID goes by the same signature, where it is covered.
fn tampered(verifier: &Verifier, head: &RequestHead, body: &[u8]) {
    let covers = verifier.covers();
    if covers.body {
        let longer = [body, b" "].concat();
        assert!(verdict(verifier, head, &longer).is_err());
        if let Some((last, before)) = body.split_last() {
            assert!(verdict(verifier, head, &[before, &[last ^ 1]].concat()).is_err());
            assert!(verdict(verifier, head, before).is_err());
        }
    }
    for (covered, name, value) in [
        (covers.timestamp, TIME, (request::NOW + 1).to_string()),
        (covers.id, ID, "another".to_owned()),
    ] {
        let mut other = head.clone();
        let is_same = other.headers.get(&name) == Some(value.as_bytes());
        other.headers.insert(&name, &value.parse().unwrap());
        if covered && !is_same {
            assert!(verdict(verifier, &other, body).is_err());
        }
    }
}

/// A template written out from its pieces is the same template.
fn written_again(content: &Template) {
    let literal = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace('\\', "\\\\")
            .replace('{', "{{")
            .replace('}', "}}")
            .replace('\n', "\\n")
    };
    let part = |part: &Part| {
        if let Part::Literal(bytes) = part {
            literal(bytes)
        } else {
            part.to_string()
        }
    };
    let text: String = content.parts().iter().map(part).collect();
    assert_eq!(
        Template::parse(&text).unwrap().parts(),
        content.parts(),
        "{text}"
    );
    assert!(
        content
            .parts()
            .iter()
            .any(|part| !matches!(part, Part::Literal(_)))
    );
    // neither may fail on any template
    content.ambiguous_border(Format::Unix);
    content.ambiguous_border(Format::Rfc3339);
}

/// The signed content put together by other code; `None` where that code does not say how a number is written.
fn concatenated(content: &Template, head: &RequestHead, body: &[u8]) -> Option<Vec<u8>> {
    let header = |name: &HeaderName| head.headers.get(name).unwrap().to_vec();
    let target = std::str::from_utf8(&head.target).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut whole = Vec::new();
    for part in content.parts() {
        let part: Cow<'_, [u8]> = match part {
            Part::Literal(bytes) => Cow::Borrowed(bytes),
            Part::Body => Cow::Borrowed(body),
            Part::Timestamp => header(&TIME).into(),
            Part::Id => header(&ID).into(),
            Part::Method => head.method.as_str().as_bytes().into(),
            Part::Url => format!("https://hooks.example.com{target}")
                .into_bytes()
                .into(),
            Part::Path => path.as_bytes().into(),
            Part::Query => query.as_bytes().into(),
            Part::Header(name) => header(name).into(),
            Part::Json(pointer) => match serde_json::from_slice::<serde_json::Value>(body)
                .ok()?
                .pointer(pointer)?
            {
                serde_json::Value::String(text) => text.clone().into_bytes().into(),
                serde_json::Value::Bool(value) => value.to_string().into_bytes().into(),
                serde_json::Value::Null
                | serde_json::Value::Number(_)
                | serde_json::Value::Array(_)
                | serde_json::Value::Object(_) => {
                    return None;
                }
            },
        };
        whole.extend_from_slice(&part);
    }
    Some(whole)
}

fn mac(content: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(request::KEY.as_bytes()).unwrap();
    mac.update(content);
    mac.finalize().into_bytes().into()
}

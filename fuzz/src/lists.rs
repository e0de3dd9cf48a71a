//! Header values that are lists: signatures side by side, the addresses of proxies, the names in `Connection`.
//!
//! The input: `pairs SEPARATOR KEY`, `list SEPARATOR [INDEX OF THE TIME]` or `whole`, a prefix, then header lines, an empty line, a body.
//! Each reader is held against a second one that is written for plainness.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hookgate::config::snapshot::TrustedProxies;
use hookgate::headers;
use hookgate::listener::client_address::{Peer, client};
use hookgate::request::{FoldedNames, Received, RequestHead};
use hookgate::verify::{
    Algorithm, Format, HmacScheme, Layout, NotAuthentic, Scheme, SecretLocations, Shape,
    SignedTime, Source, SourcePlace, TagEncoding, Template, TimeAt, Verifier,
};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;

use super::request;

const SIGNATURE: HeaderName = HeaderName::from_static("x-sig");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// In a value of the input: the right signature, which no fuzzer finds by itself.
const RIGHT: &str = "RIGHT";

pub fn run(bytes: &[u8]) {
    let mut rest = bytes;
    let (Ok(layout), Ok(prefix)) = (
        std::str::from_utf8(request::line(&mut rest)),
        std::str::from_utf8(request::line(&mut rest)),
    ) else {
        return;
    };
    let mut words = layout.split(' ');
    let layout = match (words.next(), words.next(), words.next()) {
        (Some("pairs"), Some(separator), Some(key)) => Layout::Pairs {
            separator: separator.into(),
            key: key.into(),
        },
        (Some("list"), Some(separator), time) => Layout::List {
            separator: separator.into(),
            time: time
                .and_then(|time| time.parse().ok())
                .filter(|time| *time <= 32),
        },
        _ => Layout::Whole,
    };
    let headers = request::headers(&mut rest);
    signatures(&layout, prefix, &headers, rest);
    addresses(&headers);
    connection(&request::head("POST", "/", headers));
}

/// The same verdict as a reader that splits, filters and compares.
fn signatures(layout: &Layout, prefix: &str, headers: &[(HeaderName, HeaderValue)], body: &[u8]) {
    let right = hex::encode(mac(body));
    let right_value = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).replace(RIGHT, &right);
        HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| value.clone())
    };
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.clone(), right_value(value)))
        .collect();
    for repeated in [false, true] {
        let values: Vec<&[u8]> = headers
            .iter()
            .filter(|(name, _)| *name == SIGNATURE)
            .map(|(_, value)| value.as_bytes())
            .collect();
        let verifier = verifier("{body}", layout.clone(), prefix, repeated, None);
        let head = request::head("POST", "/", headers.clone());
        assert_eq!(
            verdict(&verifier, &head, body),
            expected(layout, prefix, &values, repeated, right.as_bytes()),
            "{values:?}"
        );
    }
    // what is written is read, with the time in its place
    let at = match layout {
        Layout::Pairs { key, .. } if &**key != "t" && !key.contains('=') => {
            TimeAt::Pair("t".into())
        }
        Layout::List { time: Some(_), .. } => TimeAt::Item,
        Layout::Whole | Layout::Pairs { .. } | Layout::List { .. } => return,
    };
    let separable = match layout {
        Layout::Pairs { separator, key } => {
            !separator.is_empty()
                && !key.contains(&**separator)
                && !"t=0123456789abcdef".contains(&**separator)
        }
        Layout::List { separator, .. } => {
            !separator.is_empty() && !"0123456789abcdef".contains(&**separator)
        }
        Layout::Whole => false,
    };
    let joined = |text: &str, separator: &str| {
        !text.contains(separator) && !format!("{text}{separator}").starts_with(separator)
    };
    let clean = match layout {
        Layout::Pairs { separator, key } => {
            joined(&format!("{key}={prefix}{right}"), separator) && overlaps(separator)
        }
        Layout::List { separator, .. } => {
            joined(&format!("{prefix}{right}"), separator) && overlaps(separator)
        }
        Layout::Whole => false,
    };
    let timed = verifier(
        "{timestamp}.{body}",
        layout.clone(),
        prefix,
        false,
        Some(at),
    );
    let head = request::head("POST", "/", Vec::new());
    if let Ok(signed) = timed.sign(&head, &request::params(), body, 1, request::now().wall)
        && separable
        && clean
    {
        let head = request::head("POST", "/", signed.headers);
        // blanks at the ends of a header are not part of it
        let value = head.headers.get(&SIGNATURE).unwrap_or_default();
        if value.trim_ascii() == value {
            assert_eq!(verdict(&timed, &head, body), Ok(()), "{value:?}");
        }
    }
}

/// Whether a separator cannot begin before where it was written: no end of it is its beginning, and it holds nothing of a signature.
fn overlaps(separator: &str) -> bool {
    separator
        .bytes()
        .all(|byte| !byte.is_ascii_alphanumeric() && byte != b'=')
}

fn verifier(
    content: &str,
    layout: Layout,
    prefix: &str,
    repeated: bool,
    time: Option<TimeAt>,
) -> Verifier {
    let source = Source {
        place: SourcePlace::Headers([SIGNATURE].into()),
        prefix: prefix.into(),
        layout,
        repeated,
        expect: Box::default(),
    };
    let time = time.map(|at| SignedTime {
        at,
        format: Format::Unix,
        tolerance: Duration::from_secs(300),
    });
    let content = Template::parse(content).unwrap();
    let scheme = HmacScheme {
        algorithm: Algorithm::Sha256,
        encoding: TagEncoding::Hex,
        source,
        content,
        time,
    };
    Shape::new(Scheme::Hmac(scheme), None, None, Vec::new(), None)
        .with_secrets(request::secrets(), None)
}

fn verdict(verifier: &Verifier, head: &RequestHead, body: &[u8]) -> Result<(), NotAuthentic> {
    let received = Received {
        head: head.clone(),
        body: Bytes::copy_from_slice(body).into(),
    };
    verifier
        .verify(received, &request::params(), request::now())
        .map(drop)
        .map_err(|refused| refused.why)
}

/// All signatures of all values, as text; then by rule.
fn expected(
    layout: &Layout,
    prefix: &str,
    values: &[&[u8]],
    repeated: bool,
    right: &[u8],
) -> Result<(), NotAuthentic> {
    if values.is_empty() {
        return Err(NotAuthentic::SignatureMissing);
    }
    if values.len() > 1 && !repeated {
        return Err(NotAuthentic::SignatureMalformed);
    }
    let mut found: Vec<Vec<u8>> = Vec::new();
    for value in values {
        let items = match layout {
            Layout::Whole => vec![value.to_vec()],
            Layout::List { separator, time } => {
                let items = split(value, separator.as_bytes()).into_iter().enumerate();
                items
                    .filter(|(index, _)| *time != Some(*index))
                    .map(|(_, item)| item)
                    .collect()
            }
            Layout::Pairs { separator, key } => {
                let key = format!("{key}=");
                let items = split(value, separator.as_bytes()).into_iter();
                items
                    .filter(|item| item.starts_with(key.as_bytes()))
                    .map(|item| item[key.len()..].to_vec())
                    .collect()
            }
        };
        found.extend(
            items
                .into_iter()
                .filter(|item| item.starts_with(prefix.as_bytes()))
                .map(|item| item[prefix.len()..].to_vec()),
        );
    }
    let decoded: Vec<Vec<u8>> = found
        .iter()
        .take(32)
        .filter_map(|text| hex::decode(text).ok())
        .filter(|tag| !tag.is_empty())
        .collect();
    if found.len() > 32 || decoded.is_empty() {
        return Err(NotAuthentic::SignatureMalformed);
    }
    let right = hex::decode(right).unwrap();
    if decoded.contains(&right) {
        Ok(())
    } else {
        Err(NotAuthentic::SignatureMismatch)
    }
}

fn split(value: &[u8], separator: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut at = 0;
    while at < value.len() {
        if !separator.is_empty() && value[at..].starts_with(separator) {
            items.push(Vec::new());
            at += separator.len();
        } else {
            items.last_mut().unwrap().push(value[at]);
            at += 1;
        }
    }
    items
}

/// Checks the client that a list of addresses yields: the rightmost one that is not a trusted proxy.
fn addresses(headers: &[(HeaderName, HeaderValue)]) {
    let trusted = TrustedProxies {
        networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        unix: false,
    };
    let is_trusted = |ip: IpAddr| trusted.networks.iter().any(|network| network.contains(&ip));
    let (map, name) = (
        request::head("POST", "/", headers.to_vec()).headers,
        FORWARDED_FOR,
    );
    let [proxy, stranger]: [IpAddr; 2] = ["10.0.0.1", "198.51.100.7"].map(|ip| ip.parse().unwrap());
    let found = client(Peer::Direct(stranger), &map, &trusted);
    assert_eq!(
        (found.ip, found.behind_trusted_proxy),
        (stranger, false),
        "the headers of an untrusted peer count"
    );
    let found = client(Peer::Direct(proxy), &map, &trusted);
    assert!(found.behind_trusted_proxy && found.ip == found.ip.to_canonical());
    let lines: Vec<&HeaderValue> = headers
        .iter()
        .filter(|(name, _)| *name == FORWARDED_FOR)
        .map(|(_, value)| value)
        .collect();
    let joined = lines
        .iter()
        .map(|line| line.to_str().unwrap_or("no address"))
        .collect::<Vec<_>>()
        .join(",");
    let mut due = proxy;
    for entry in joined.rsplit(',').filter(|_| !lines.is_empty()) {
        let entry = entry.trim();
        let bare = entry
            .strip_prefix('[')
            .and_then(|entry| entry.strip_suffix(']'))
            .and_then(|entry| entry.parse::<IpAddr>().ok());
        let Some(ip) = entry
            .parse::<IpAddr>()
            .ok()
            .or(bare)
            .or_else(|| entry.parse::<SocketAddr>().ok().map(|entry| entry.ip()))
        else {
            break;
        };
        due = ip.to_canonical();
        if !is_trusted(due) {
            break;
        }
    }
    assert_eq!(found.ip, due, "{joined}");
    // what is put before the list on the left changes nothing once a stranger stands in it
    if !is_trusted(due) {
        let longer = std::iter::once(&b"203.0.113.99"[..]).chain(map.get_all(&name));
        let longer = longer.map(|value| (name.as_str(), value)).collect();
        assert_eq!(client(Peer::Direct(proxy), &longer, &trusted).ip, due);
    }
}

/// Nothing that is between two hops, and nothing in the gate's own name, reaches the app; and `Connection` takes nothing of ours off.
fn connection(head: &RequestHead) {
    let dropped = SecretLocations::default();
    let policy = headers::Policy {
        dropped: &dropped,
        scheme: &FoldedNames::NONE,
        keys: &FoldedNames::NONE,
        replaced: &FoldedNames::NONE,
        keeps_override: false,
    };
    let lines = headers::upstream(
        head,
        &HeaderValue::from_static("app"),
        policy,
        &Bytes::from_static(b"x"),
        None,
    );
    let named: Vec<Vec<u8>> = head
        .headers
        .get_all(&http::header::CONNECTION)
        .flat_map(|value| split(value, b","))
        .collect();
    let named: Vec<Vec<u8>> = named
        .iter()
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .collect();
    let of = |name: &str| {
        lines
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("hookgate-verified"), [b"false"]);
    assert_eq!(of("host"), [b"app"]);
    assert_eq!(of("content-length"), [b"1"]);
    let ours = [
        "host",
        "content-length",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "hookgate-verified",
        "hookgate-request-id",
        "cdn-loop",
    ];
    for (name, _) in lines.iter() {
        let name = name.as_str();
        if ours.contains(&name) {
            continue;
        }
        let folded: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_ascii_lowercase();
        assert!(
            !folded.trim_start_matches("http").starts_with("hookgate"),
            "{name} is the gate's to say"
        );
        assert!(
            !named.contains(&name.as_bytes().to_vec()),
            "{name} is named by Connection"
        );
        for hop in [
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "proxy-authorization",
            "proxy-connection",
        ] {
            assert_ne!(name, hop);
        }
    }
}

fn mac(content: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(request::KEY.as_bytes()).unwrap();
    mac.update(content);
    mac.finalize().into_bytes().into()
}

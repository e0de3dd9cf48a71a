//! Other spellings of a URL: what the sender may have signed before a proxy or the config changed it.
use bytes::Bytes;
use http::HeaderName;
use http::header::HOST;

use crate::request::RequestHead;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The part of the path that a proxy cut off.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// The target before a proxy changed it.
const ORIGINAL_TARGETS: [HeaderName; 2] = [
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
];

/// The change that turns the URL that hookgate sees into the one that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChange {
    /// Another scheme: `http` in place of `https`, or the other way round.
    Scheme,
    /// Another host.
    Host,
    /// Another port, or one that is written or left out.
    Port,
    /// A slash at the end of the path.
    TrailingSlash,
    /// A part at the beginning of the path that is missing, or that was added.
    PathPrefix,
    /// Another query, or none.
    Query,
    /// The escapes of the path or of the query.
    Escapes,
}

/// The parts of a URL that change independently.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    tls: bool,
    host: String,
    port: String,
    path: String,
    query: Option<String>,
}

impl Parts {
    /// Returns the parts of the URL that the signature is checked with now.
    fn of(head: &RequestHead, public_url: Option<&str>) -> Self {
        let query = head
            .query()
            .map(|query| String::from_utf8_lossy(query).into_owned());
        let own_path = String::from_utf8_lossy(head.path()).into_owned();
        let Some((scheme, rest)) = public_url.and_then(|url| url.split_once("://")) else {
            let (host, port) = host_and_port(&head.authority);
            return Self {
                tls: head.tls,
                host,
                port,
                path: own_path,
                query,
            };
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(slash).unwrap_or((rest, ""));
        let (host, port) = host_and_port(authority);
        Self {
            tls: scheme == "https",
            host,
            port,
            path: path.to_owned(),
            query,
        }
    }

    /// Returns the URL as a request without a public URL has it.
    fn head(&self, like: &RequestHead) -> RequestHead {
        let mut head = like.clone();
        head.tls = self.tls;
        // the headers of a trusted proxy would be read in place of these parts
        head.client.behind_trusted_proxy = false;
        head.authority = format!("{}{}", self.host, self.port);
        let query = self.query.as_deref().map(|query| format!("?{query}"));
        head.target = Bytes::from(format!("{}{}", self.path, query.unwrap_or_default()));
        head
    }
}

/// Splits host and port. The port keeps its colon.
fn host_and_port(authority: &str) -> (String, String) {
    let is_port = |text: &str| text.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    let colon = authority.rfind(':').unwrap_or(authority.len());
    match authority.split_at_checked(colon) {
        Some((host, port)) if is_port(port) => (host.to_owned(), port.to_owned()),
        _ => (authority.to_owned(), String::new()),
    }
}

/// Returns other spellings of the URL of a request, the likeliest first: one change, then one change of scheme or host and another one.
pub(super) fn spellings(
    head: &RequestHead,
    public_url: Option<&str>,
) -> Vec<(AddressChange, RequestHead)> {
    let seen = Parts::of(head, public_url);
    let own = Parts::of(head, None);
    let mut all: Vec<(AddressChange, Parts)> = Vec::new();
    let mut add = |change: AddressChange, parts: Parts| {
        if parts != seen && all.iter().all(|(_, other)| *other != parts) {
            all.push((change, parts));
        }
    };
    // the authority that the request or a proxy names may be what the sender used
    let named = [&HOST, &FORWARDED_HOST].map(|name| head.headers.get(name));
    let mut bases = vec![(None, seen.clone()), (Some(AddressChange::Host), own)];
    for name in named.into_iter().flatten() {
        let (host, port) = host_and_port(&String::from_utf8_lossy(name));
        let base = Parts {
            host,
            port,
            ..seen.clone()
        };
        bases.push((Some(AddressChange::Host), base));
    }
    bases.extend(before_the_proxy(head, &seen).map(|base| (Some(AddressChange::PathPrefix), base)));
    for (change, base) in bases {
        if let Some(change) = change {
            add(change, base.clone());
        }
        for (one, parts) in changes(&base) {
            add(change.unwrap_or(one), parts.clone());
            if matches!(one, AddressChange::Scheme | AddressChange::Port) {
                for (other, parts) in changes(&parts) {
                    add(change.unwrap_or(other), parts);
                }
            }
        }
    }
    all.into_iter()
        .map(|(change, parts)| (change, parts.head(head)))
        .collect()
}

/// Returns the parts as headers of a proxy tell that they were before it.
fn before_the_proxy<'a>(
    head: &'a RequestHead,
    seen: &'a Parts,
) -> impl Iterator<Item = Parts> + 'a {
    let text = |name: &HeaderName| {
        let value = head.headers.get(name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let prefixed = text(&FORWARDED_PREFIX).map(|prefix| Parts {
        path: format!("{}{}", prefix.trim_end_matches('/'), seen.path),
        ..seen.clone()
    });
    let original = ORIGINAL_TARGETS.into_iter().filter_map(move |name| {
        let target = text(&name).filter(|target| target.starts_with('/'))?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target, None),
        };
        Some(Parts {
            path,
            query,
            ..seen.clone()
        })
    });
    prefixed.into_iter().chain(original)
}

/// Returns the parts with one change each.
fn changes(base: &Parts) -> Vec<(AddressChange, Parts)> {
    let with_port = |port: &str| Parts {
        port: port.to_owned(),
        ..base.clone()
    };
    let with_path = |path: String| Parts {
        path,
        ..base.clone()
    };
    let path = base.path.as_str();
    let turned = match path.strip_suffix('/') {
        Some(without) => without.to_owned(),
        None => format!("{path}/"),
    };
    let scheme = Parts {
        tls: !base.tls,
        ..base.clone()
    };
    let ports = ["", ":443", ":80", ":8080"].map(|port| (AddressChange::Port, with_port(port)));
    // a proxy may have added the first parts of the path
    let slashes = path.match_indices('/').map(|(at, _)| at).skip(1).take(3);
    let cut = slashes.map(|at| path.get(at..).unwrap_or_default().to_owned());
    let queries = queries(base.query.as_deref())
        .into_iter()
        .map(|query| Parts {
            query,
            ..base.clone()
        });
    let escapes = [path.to_lowercase(), path.replace(' ', "%20")];
    std::iter::once((AddressChange::Scheme, scheme))
        .chain(ports)
        .chain([(AddressChange::TrailingSlash, with_path(turned))])
        .chain(cut.map(|path| (AddressChange::PathPrefix, with_path(path))))
        .chain(queries.map(|parts| (AddressChange::Query, parts)))
        .chain(escapes.map(|path| (AddressChange::Escapes, with_path(path))))
        .collect()
}

/// Returns other spellings of a query.
fn queries(query: Option<&str>) -> Vec<Option<String>> {
    let Some(query) = query else {
        return Vec::new();
    };
    let mut sorted: Vec<&str> = query.split('&').collect();
    sorted.sort_unstable();
    let plus = query.replace('+', "%20");
    let blank = query.replace("%20", "+");
    vec![None, Some(sorted.join("&")), Some(plus), Some(blank)]
}

//! The access rules of the admin listeners.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::answer::Denied;
use super::token::{Offered, Right};

/// A function that finds the owner of an offered token in constant time.
pub type TokenMatcher = Arc<dyn Fn(&[u8]) -> Offered + Send + Sync>;

/// The access rules of an admin listener. Requests that change something need a token everywhere, even on loopback, which the app shares.
#[derive(Clone)]
pub struct Guard {
    token: TokenMatcher,
    /// The listener's address. `None` for a unix socket.
    address: Option<SocketAddr>,
}

impl Guard {
    /// Guards a TCP listener that is bound to `address`.
    pub fn tcp(address: SocketAddr, token: TokenMatcher) -> Self {
        Self {
            token,
            address: Some(address),
        }
    }

    /// Guards a unix socket. Its file mode decides who can read.
    pub fn unix(token: TokenMatcher) -> Self {
        Self {
            token,
            address: None,
        }
    }

    /// Checks the head of a request. Returns the token that it offers.
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Offered, Denied> {
        // a whole URL as the target is for proxies, and could name another host than `Host`
        if uri.authority().is_some() || !self.knows_host(headers) {
            let help = "use the listener's address or `localhost` as the host; other names are refused, so that no web page can send requests through a browser";
            return Err(Denied::new(
                StatusCode::FORBIDDEN,
                "the `Host` header does not name this listener",
                help,
            ));
        }
        if is_cross_site(headers) {
            let help = "use curl or `hookgate`; requests from pages of other sites are refused";
            return Err(Denied::new(
                StatusCode::FORBIDDEN,
                "the request comes from a page of another site",
                help,
            ));
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let offered =
            bearer(headers).map_or_else(|| (self.token)(&[]), |token| (self.token)(token));
        if !reads {
            offered.may(Right::Act)?;
        } else if !self.is_local() {
            offered.may(Right::Read)?;
        }
        if !reads && !is_json(headers) {
            let help = "send `Content-Type: application/json`; the body may be empty";
            return Err(Denied::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the content type is not `application/json`",
                help,
            ));
        }
        Ok(offered)
    }

    fn is_local(&self) -> bool {
        self.address
            .is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Returns whether the `Host` header names this listener. A web page whose name resolves to this machine sends its own name.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let Some(address) = self.address else {
            return true;
        };
        let Some(host) = single(headers, &HOST).and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let (name, port) = split_port(host);
        if name.eq_ignore_ascii_case("localhost") {
            return port.is_none_or(is_port);
        }
        let bare = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        let Ok(ip) = bare.parse::<IpAddr>() else {
            return false;
        };
        if ip.is_loopback() {
            return port.is_none_or(is_port);
        }
        // a listener on every address is reached by any of them; an address is not a name that could be made to resolve to it
        (address.ip().is_unspecified() || ip == address.ip())
            && port.is_none_or(|port| port.parse() == Ok(address.port()))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Returns whether a browser sent the request for a page of another site, by its fetch metadata (<https://www.w3.org/TR/fetch-metadata/>) or
/// `Origin`.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let sites = headers.get_all("sec-fetch-site").iter();
    let other_site = sites
        .map(HeaderValue::as_bytes)
        .any(|site| !matches!(site, b"same-origin" | b"none"));
    let host = single(headers, &HOST)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let is_own = |origin: &HeaderValue| {
        let origin = origin.as_bytes();
        let name = origin
            .strip_prefix(b"http://")
            .or_else(|| origin.strip_prefix(b"https://"));
        name.is_some_and(|name| !name.is_empty() && name.eq_ignore_ascii_case(host))
    };
    other_site || !headers.get_all(ORIGIN).iter().all(is_own)
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = single(headers, &AUTHORIZATION)?
        .as_bytes()
        .split_at_checked("bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// Returns whether the content type is JSON, with or without parameters. No form of a web page can send it.
fn is_json(headers: &HeaderMap) -> bool {
    let essence =
        single(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> TokenMatcher {
        Arc::new(|_| Offered::NoTokens)
    }

    #[track_caller]
    fn check(listener: &str, host: &str, known: bool) {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())]);
        assert_eq!(
            Guard::tcp(listener.parse().unwrap(), nobody()).knows_host(&headers),
            known,
            "{host} at {listener}"
        );
    }

    #[test]
    fn host_header_must_name_the_listener() {
        for host in [
            "localhost",
            "LOCALHOST:99",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
        ] {
            check("127.0.0.1:9000", host, true);
            check("10.0.0.1:9000", host, true);
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "localhost:x",
            "10.0.0.2",
            "127.0.0.1.nip.io",
            "a@localhost",
            "::1:x",
        ] {
            check("127.0.0.1:9000", host, false);
            check("10.0.0.1:9000", host, false);
        }
        check("10.0.0.1:9000", "10.0.0.1:9000", true);
        check("10.0.0.1:9000", "10.0.0.1", true);
        check("10.0.0.1:9000", "10.0.0.1:9001", false);
        check("[fd00::1]:9000", "[fd00::1]:9000", true);
        check("0.0.0.0:9000", "10.0.0.7:9000", true);
        check("0.0.0.0:9000", "evil.example:9000", false);
    }

    #[test]
    fn two_host_lines_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost"));
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(!Guard::tcp("127.0.0.1:1".parse().unwrap(), nobody()).knows_host(&headers));
        assert!(Guard::unix(nobody()).knows_host(&headers));
    }

    #[test]
    fn cross_site_requests_are_recognised() {
        #[track_caller]
        fn check(lines: &[(&'static str, &'static str)], cross: bool) {
            let mut headers =
                HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost:9090"))]);
            for (name, value) in lines {
                headers.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            assert_eq!(is_cross_site(&headers), cross, "{lines:?}");
        }
        check(&[], false);
        check(&[("sec-fetch-site", "none")], false);
        check(
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://localhost:9090"),
            ],
            false,
        );
        check(&[("origin", "http://LOCALHOST:9090")], false);
        for site in ["cross-site", "same-site", "", "None", "same-origin, none"] {
            check(&[("sec-fetch-site", site)], true);
        }
        check(
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            true,
        );
        for origin in [
            "null",
            "",
            "http://",
            "http://evil.example",
            "http://localhost",
            "http://localhost:9091",
            "localhost:9090",
            "file://localhost:9090",
        ] {
            check(&[("origin", origin)], true);
        }
        check(
            &[
                ("origin", "http://localhost:9090"),
                ("origin", "http://evil.example"),
            ],
            true,
        );
    }
}

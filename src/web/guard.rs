//! The guard in front of an API: which requests reach its handlers, and whose they are.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};

use super::connection::Connection;
use super::safety::safe;

/// The requests whose `Host` header must name the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCheck {
    /// All requests.
    Always,
    /// Requests without a bearer token.
    ///
    /// The check is against DNS rebinding: a page of `evil.example` makes that name resolve to this machine, and its requests then count as
    /// of the page's own site. A browser adds cookies and passwords that it remembers to a request, but never a bearer token, and such a page
    /// knows none. So a request with a right token does not come from such a page, whatever its `Host`, and one with a wrong token is
    /// refused for that. An app in another container reaches the listener by the name of a service, which the gateway does not know.
    WithoutToken,
}

/// The requests that must have the content type `application/json`, which no form of a web page can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonCheck {
    /// All requests that change something, even without a body.
    Changes,
    /// Requests with a body.
    Bodies,
}

/// The head of a request, as far as its access depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h> {
    /// The method.
    pub method: &'h Method,
    /// The path.
    pub path: &'h str,
    /// Whether the listener is on loopback or a unix socket.
    pub is_local: bool,
}

impl Head<'_> {
    /// Returns whether the request only reads.
    pub fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}

/// The tokens of an API, and what they allow.
pub trait Rights: Send + Sync + 'static {
    /// The requests whose `Host` header is checked.
    const HOST: HostCheck;
    /// The requests whose content type is checked.
    const JSON: JsonCheck;

    /// The owner of a token, or that there is none. Handlers find it in the extensions of their request.
    type Caller: Clone + Send + Sync + 'static;
    /// An error response of the API.
    type Denied: From<Blocked> + IntoResponse;

    /// Finds the owner of a token in constant time.
    fn caller(&self, token: Option<&[u8]>) -> Self::Caller;

    /// Checks whether the caller may make such a request at all. Handlers check the right that their call needs.
    ///
    /// # Errors
    /// If it may not.
    fn admit(&self, caller: &Self::Caller, head: Head<'_>) -> Result<(), Self::Denied>;
}

/// A reason why a request does not reach a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The `Host` header, or the target, names another host.
    Host,
    /// A browser sent the request for a page of another site.
    CrossSite,
    /// The content type is not JSON.
    ContentType,
}

impl Blocked {
    /// Returns the status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// Returns the description of the error.
    pub fn error(self) -> &'static str {
        match self {
            Self::Host => "the `Host` header does not name this listener",
            Self::CrossSite => "the request comes from a page of another site",
            Self::ContentType => "the content type is not `application/json`",
        }
    }

    /// Returns a hint what to do.
    pub fn help(self) -> &'static str {
        match self {
            Self::Host => {
                "use the listener's address or `localhost` as the host; other names are refused, so that no web page can send requests through a browser"
            }
            Self::CrossSite => {
                "use curl or `hookgate`; requests from pages of other sites are refused"
            }
            Self::ContentType => "send `Content-Type: application/json`; the body may be empty",
        }
    }
}

/// The access rules of a listener.
#[derive(Clone)]
pub struct Guard<R> {
    rights: R,
    /// The listener's address. `None` for a unix socket.
    address: Option<SocketAddr>,
}

impl<R: Rights> Guard<R> {
    /// Guards a TCP listener that is bound to `address`.
    pub fn tcp(address: SocketAddr, rights: R) -> Self {
        Self {
            rights,
            address: Some(address),
        }
    }

    /// Guards a unix socket. Its file mode decides who can connect.
    pub fn unix(rights: R) -> Self {
        Self {
            rights,
            address: None,
        }
    }

    /// Puts a router behind this guard, and adds the headers that keep browsers from misusing a response.
    pub fn protect<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router
            .layer(from_fn_with_state(Arc::new(self), guarded::<R>))
            .layer(map_response(safe))
    }

    /// Checks the head of a request. Returns its caller.
    fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<R::Caller, R::Denied> {
        let token = bearer(headers);
        let checks_host = match R::HOST {
            HostCheck::Always => true,
            HostCheck::WithoutToken => token.is_none(),
        };
        // a whole URL as the target is for proxies, and could name another host than `Host`
        if uri.authority().is_some() || checks_host && !self.knows_host(headers) {
            return Err(Blocked::Host.into());
        }
        if is_cross_site(headers) {
            return Err(Blocked::CrossSite.into());
        }
        let caller = self.rights.caller(token);
        let head = Head {
            method,
            path: uri.path(),
            is_local: self.is_local(),
        };
        self.rights.admit(&caller, head)?;
        let checks_json = match R::JSON {
            JsonCheck::Changes => !head.reads(),
            JsonCheck::Bodies => has_body(headers),
        };
        if checks_json && !is_json(headers) {
            return Err(Blocked::ContentType.into());
        }
        Ok(caller)
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

impl<R> fmt::Debug for Guard<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn guarded<R: Rights>(
    State(guard): State<Arc<Guard<R>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match guard.check(request.method(), request.uri(), request.headers()) {
        Ok(caller) => caller,
        Err(denied) => return denied.into_response(),
    };
    if let Some(ConnectInfo(connection)) = request.extensions().get::<ConnectInfo<Connection>>() {
        connection.admit();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
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

/// Returns whether the request has a body. A length that is not a number counts as one.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| length.as_bytes() != b"0")
}

/// Returns whether the content type is JSON, with or without parameters. No form of a web page can send it.
fn is_json(headers: &HeaderMap) -> bool {
    let essence =
        single(headers, &CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests;

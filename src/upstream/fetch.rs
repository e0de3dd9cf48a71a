//! One request to a URL or a unix socket, for commands: `status`, `health`, `sign --send`.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{HeaderMap, Method, StatusCode};

use super::answer_head::MAX_HEAD;
use super::client::{Unusable, send};
use super::exchange::Bounds;
use super::wire::Wire;
use super::{Lines, Outgoing};
use crate::clock::{Clock, SystemClock};
use crate::config::snapshot::{UpstreamAddress, UpstreamTls};
use crate::delivery::{Answer, Fault, Outcome};

/// The target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Url {
    /// A TCP address.
    Tcp {
        /// Whether it is TLS, verified against the system's certificates.
        tls: bool,
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// `Host` as written.
        authority: String,
        /// Path and query.
        target: Bytes,
    },
    /// A unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
        /// Path and query.
        target: Bytes,
    },
}

/// The reason for which there is no response.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No `http`, `https` or `unix` URL.
    #[error("this URL cannot be requested")]
    Url,
    /// The certificates of the system.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// No connection was made.
    #[error("cannot connect: {}", .0.message("the server"))]
    Unreached(Fault),
    /// The request was sent.
    #[error("no response: {}", .0.message("the server"))]
    Unanswered(Fault),
}

impl Url {
    /// Parses `http://host:port/path?query` or `https://…`.
    ///
    /// # Errors
    /// [`FetchError::Url`].
    pub fn parse(text: &str) -> Result<Self, FetchError> {
        let uri: Uri = text.parse().map_err(|_| FetchError::Url)?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(FetchError::Url),
        };
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        if host.is_empty() || authority.contains('@') {
            return Err(FetchError::Url);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        Ok(Self::Tcp {
            tls,
            host,
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority,
            target: target.into(),
        })
    }

    /// Returns the URL of `target` (path and query) at a unix socket.
    pub fn unix(path: impl Into<PathBuf>, target: &str) -> Self {
        Self::Unix {
            path: path.into(),
            target: Bytes::copy_from_slice(target.as_bytes()),
        }
    }
}

/// Sends one request over a connection of its own and reads the whole answer, all within `timeout`. Redirects are not followed.
///
/// # Errors
/// Why there is no complete answer.
pub async fn fetch(
    url: &Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
) -> Result<(StatusCode, HeaderMap, Bytes), FetchError> {
    let mut answer = open(url, method, headers, body, timeout).await?;
    let mut whole = BytesMut::new();
    while let Some(piece) = answer.body.next().await.map_err(FetchError::Unanswered)? {
        whole.extend_from_slice(&piece);
    }
    Ok((answer.status, answer.headers, whole.freeze()))
}

/// Sends one request over a connection of its own; the answer's body is read by the caller, within the same `timeout`.
///
/// # Errors
/// Why there is no head of an answer.
pub async fn open(
    url: &Url,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
) -> Result<Answer, FetchError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let deadline = clock.mono() + timeout;
    let (address, authority, target) = match url {
        Url::Tcp {
            tls,
            host,
            port,
            authority,
            target,
        } => {
            let tls = tls.then(UpstreamTls::default);
            (
                UpstreamAddress::Tcp {
                    host: host.clone(),
                    port: *port,
                    tls,
                },
                authority.as_str(),
                target,
            )
        }
        Url::Unix { path, target } => (UpstreamAddress::Unix(path.clone()), "localhost", target),
    };
    let wire = Wire::new(&address, clock)?;
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    let host = headers.remove(header::HOST).map_or_else(
        || HeaderValue::from_str(authority).map_err(|_| FetchError::Url),
        Ok,
    )?;
    let mut lines = Lines::default();
    lines.push(&header::HOST, &host);
    lines.push(&header::CONTENT_LENGTH, &HeaderValue::from(body.len()));
    for (name, value) in &headers {
        lines.push(name, value);
    }
    let outgoing = Outgoing {
        method,
        target: target.clone(),
        headers: lines,
        body,
    };
    let sent = send(
        &wire,
        &outgoing,
        Bounds {
            connect: timeout,
            deadline,
            idle: Duration::ZERO,
            max_head: MAX_HEAD,
        },
    )
    .await;
    sent.answer.ok_or(match sent.outcome {
        Outcome::Unreached(fault) => FetchError::Unreached(fault),
        Outcome::Ambiguous(fault) => FetchError::Unanswered(fault),
        Outcome::Answered(_) => FetchError::Unanswered(Fault::Malformed),
    })
}

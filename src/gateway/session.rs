//! Reads the head and the body of a request from pingora's session, and gives a streamed one its header lines.
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version, request};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::gateway::Gate;
use crate::gateway::active_config::{ActiveConfig, ActivePass};
use crate::gateway::body::{BodyFault, BodySource};
use crate::gateway::head::{self, HeadParts, Origin};
use crate::headers;
use crate::listener::peer::ConnectionInfo;
use crate::refusal::Refusal;
use crate::request::{HeaderLines, RequestHead};
use crate::telemetry::Facts;
use crate::upstream::render;

/// Receives the head of a request: returns the facts for its record, and the head or its refusal. It takes the header lines out of the
/// session.
pub(super) fn receive(
    gate: &Gate,
    active: &ActiveConfig,
    session: &mut Session,
) -> (Facts, Result<RequestHead, Refusal>) {
    let headers = HeaderLines::from(&take_headers(session));
    let header = session.req_header();
    let is_h2 = header.version == Version::HTTP_2;
    let parts = HeadParts {
        method: header.method.clone(),
        version: header.version,
        target: Bytes::copy_from_slice(header.raw_path()),
        authority: header
            .uri
            .authority()
            .filter(|_| is_h2)
            .map(|authority| authority.as_str().to_owned()),
        headers,
    };
    let connection = ConnectionInfo::of(session.digest());
    let origin = Origin {
        connection,
        tls: session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some()),
        violation: connection.and_then(|connection| connection.state.as_ref()?.violation()),
    };
    head::receive(gate, active, parts, origin)
}

/// Moves the header lines out of a session, since a copy would cost two references a line.
fn take_headers(session: &mut Session) -> HeaderMap {
    // makes pingora read the framing of the body, for which it needs the lines
    session.as_downstream_mut().is_body_done();
    let empty = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(std::mem::replace(session.req_header_mut(), empty));
    let headers = std::mem::take(&mut parts.headers);
    *session.req_header_mut() = RequestHeader::from(parts);
    headers
}

/// Gives the session of a request the header lines that its upstream gets, and returns the host that the upstream is addressed by.
///
/// # Errors
/// `Malformed` if pingora would send another target than the one that was judged.
pub(super) fn prepare_stream(
    session: &mut Session,
    route: &ActivePass,
    head: &RequestHead,
) -> Result<HeaderValue, Refusal> {
    let host = render::host(head, route.upstream.policy());
    let mut lines = HeaderMap::with_capacity(head.headers.len() + 8);
    let keeps_override = route.guards.list.is_empty() && route.pass.methods.is_none();
    for (name, value) in headers::passed(head, &host, keeps_override).iter() {
        lines.append(name, value);
    }
    set_headers(session, lines);
    session.set_write_timeout(Some(route.pass.idle_timeout));
    if session.req_header().raw_path() == head.target {
        Ok(host)
    } else {
        Err(Refusal::Malformed)
    }
}

/// Replaces the header lines of a session.
fn set_headers(session: &mut Session, lines: HeaderMap) {
    let empty = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(std::mem::replace(session.req_header_mut(), empty));
    parts.headers = lines;
    *session.req_header_mut() = RequestHeader::from(parts);
}

/// The sender's side of a pingora session, as the source of the body.
pub(super) struct Downstream<'a>(pub(super) &'a mut Session);

impl BodySource for Downstream<'_> {
    async fn invite_body(&mut self) {
        if self.0.req_header().version == Version::HTTP_10 {
            // HTTP/1.0 has no interim responses: the sender would take this one for the final one
            return;
        }
        // otherwise pingora switches keep-alive off after a 1xx, as after a response that comes before the body
        self.0.set_close_on_response_before_downstream_finish(false);
        if self
            .0
            .as_downstream_mut()
            .write_continue_response()
            .await
            .is_err()
        {
            self.0.set_keepalive(None);
        }
        self.0.set_close_on_response_before_downstream_finish(true);
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, BodyFault> {
        loop {
            match self.0.as_downstream_mut().read_request_body().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(chunk) => return Ok(chunk),
                Err(_) => {
                    // the rest of the body must not be read as a request
                    self.0.set_keepalive(None);
                    return Err(BodyFault::Broken);
                }
            }
        }
    }
}

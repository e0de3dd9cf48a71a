//! What a request needs while it streams through pingora's own leg: where to, by when, and what became of it.
//!
//! The spine has let it through; `edge` calls in here from pingora's hooks. All of it is kept in pingora's context of the request, so
//! whatever ends the request also ends what it holds: its place among those in flight, the open record.
//!
//! Streams have no part in the circuit breakers of webhooks: anybody could open one, or hold up its probe.
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result as PingoraResult};

use crate::activity::{Activity, InFlight};
use crate::delivery::Fault;
use crate::gateway::active_config::LivePass;
use crate::gateway::budget::{Account, Owner};
use crate::gateway::forward::refusal_of;
use crate::gateway::{Gate, InStream};
use crate::headers;
use crate::headers::{OWN_REQUEST_ID, REQUEST_ID};
use crate::listener::accept::{CONN, network_of, violation};
use crate::listener::framing::Violation;
use crate::refusal::Refusal;
use crate::request::{RequestHead, RequestId};
use crate::telemetry::{Cut, Ended, Record};
use crate::upstream::client::{announces_content, has_no_content, shortage_of};
use crate::upstream::render;
use crate::upstream::switch::{self, Deadline};

/// The bytes of an answer that pingora holds for a sender that does not read, at most: ten pieces of 64 KiB. Four are in its pipe, one is
/// before it, and five were taken out of it to be written together.
const PIPE: usize = 10 * 64 * 1024;
/// How long a stream of HTTP/2 may leave a piece unread that has no room in memory.
const CROWDED: Duration = Duration::from_secs(1);

/// One request that is streamed through.
pub(super) struct Passing {
    gate: Arc<Gate>,
    route: Arc<LivePass>,
    record: Record,
    /// Ends before the next field: what is under way shall never seem less than it is.
    _stream: InStream,
    _in_flight: InFlight<Arc<Activity>>,
    host: HeaderValue,
    /// Where to, in the order to try; `None`: not looked up yet.
    peers: Option<Vec<HttpPeer>>,
    /// When the upstream was first turned to.
    begun: Option<Instant>,
    /// Bytes of the body that went on so far.
    body_bytes: u64,
    /// All of the request has gone on.
    sent: bool,
    /// pingora's handle on the connection to the upstream.
    connection: RawFd,
    /// For the head of the answer, once all of the request has gone on.
    deadline: Option<Deadline>,
    /// What of the answer may be held because the sender does not read.
    buffers: Account,
    /// How much that can be.
    pipe: usize,
    /// Whether the connection must not be used again: a head without content announced some, and it may still come.
    uncertain: bool,
    /// The status of the answer, once its head is here.
    answered: Option<StatusCode>,
    /// Why there is no answer of the upstream's, decided here.
    refused: Option<Refusal>,
    ended: Option<Ended>,
}

impl Passing {
    /// Takes over a request that [`prepare`] made ready.
    pub(super) fn begin(
        gate: &Arc<Gate>,
        route: Arc<LivePass>,
        host: HeaderValue,
        record: Record,
    ) -> Self {
        let client = record.facts().client;
        let owner = Owner {
            client: client.own.then(|| network_of(client.ip)),
            route: Arc::clone(&route.pass.name),
            one_body: PIPE,
        };
        Self {
            buffers: gate.answers.open(owner),
            pipe: PIPE,
            gate: Arc::clone(gate),
            _in_flight: InFlight::begin(Arc::clone(&gate.lifecycle.activity)),
            _stream: InStream::begin(Arc::clone(gate)),
            route,
            record,
            host,
            peers: None,
            begun: None,
            body_bytes: 0,
            sent: false,
            connection: -1,
            deadline: None,
            uncertain: false,
            answered: None,
            refused: None,
            ended: None,
        }
    }

    /// The ID of the request.
    pub(super) fn request_id(&self) -> RequestId {
        self.record.facts().request_id
    }

    /// Where the next try goes.
    pub(super) async fn peer(&mut self) -> PingoraResult<Box<HttpPeer>> {
        self.begun.get_or_insert_with(|| self.gate.clock.mono());
        if self.peers.is_none() {
            match self.route.upstream.peers().await {
                Ok(peers) => self.peers = Some(peers),
                Err(fault) => {
                    self.settle();
                    return self.refuse(refusal_of(fault));
                }
            }
        }
        self.record.facts_mut().attempts += 1;
        let peers = self.peers.as_deref().unwrap_or_default();
        let Some(mut peer) = peers.first().cloned() else {
            return self.refuse(Refusal::UpstreamUnreachable);
        };
        let others = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        let policy = self.route.upstream.policy();
        peer.options.total_connection_timeout = Some(policy.connect_timeout / others.max(1));
        peer.options.idle_timeout = Some(policy.idle_timeout);
        // Each piece that comes from either side begins these anew: pingora waits for both at once.
        peer.options.read_timeout = Some(self.route.pass.idle_timeout);
        peer.options.write_timeout = Some(self.route.pass.idle_timeout);
        Ok(Box::new(peer))
    }

    /// No connection to the peer that was tried last: the next one, if there is one.
    pub(super) fn not_connected(&mut self, mut error: Box<Error>) -> Box<Error> {
        let peers = self.peers.as_mut();
        let more = peers.is_some_and(|peers| {
            if !peers.is_empty() {
                peers.remove(0);
            }
            !peers.is_empty()
        });
        if !more {
            self.route.upstream.note_fault();
        }
        error.set_retry(more);
        error
    }

    /// A connection is there.
    pub(super) fn connected(&mut self, connection: RawFd) {
        self.connection = connection;
    }

    /// Whether a request that failed with `error` may be sent once more; `reused` says that the connection had been used before.
    pub(super) fn judge_retry(&self, error: &mut Error, session: &Session, reused: bool) {
        let harmless = session.req_header().method.is_idempotent()
            && !session.as_downstream().retry_buffer_truncated();
        let hopeless = self.refused.is_some() || self.answered.is_some() || self.is_late();
        if harmless && !hopeless {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
    }

    /// Whether the time for the head of the answer is up.
    fn is_late(&self) -> bool {
        self.deadline.as_ref().is_some_and(Deadline::has_passed)
    }

    /// Finishes the head that goes to the upstream. pingora has taken off what only two neighbours say to each other.
    pub(super) fn request(&self, request: &mut RequestHeader) -> PingoraResult<()> {
        request.insert_header(HOST, self.host.clone())
    }

    /// Sees a piece of the body on its way to the upstream.
    pub(super) fn request_body(
        &mut self,
        body: &mut Option<Bytes>,
        end: bool,
    ) -> PingoraResult<()> {
        // a last, empty piece of HTTP/2 would be sent as a second end of the chunks, and be read as the begin of the next answer
        body.take_if(|piece| end && piece.is_empty());
        let more = body.as_ref().map_or(0, Bytes::len);
        self.body_bytes = self
            .body_bytes
            .saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if self.answered != Some(StatusCode::SWITCHING_PROTOCOLS)
            && self
                .route
                .pass
                .max_body
                .is_some_and(|max| self.body_bytes > max)
        {
            return self.refuse(Refusal::BodyTooLarge);
        }
        if end {
            self.sent = true;
            // a WebSocket ends like that, too
            self.deadline = self
                .answered
                .is_none()
                .then(|| Deadline::within(self.route.pass.timeout, self.connection));
        }
        Ok(())
    }

    /// Sees the head of an answer before the sender does.
    pub(super) fn answer(
        &mut self,
        session: &mut Session,
        answer: &mut ResponseHeader,
    ) -> PingoraResult<()> {
        let status = answer.status;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        // a switch that nobody asked for would leave the two sides with different ideas of what follows
        if status.as_u16() > 599 || switches && !session.req_header().headers.contains_key(UPGRADE)
        {
            return self.refuse(Refusal::UpstreamMalformed);
        }
        self.judge_end(session, answer);
        if switches {
            // over HTTP/2 nothing switches, and a stream finds no connection
            CONN.try_with(|conn| conn.switch()).unwrap_or_default();
        }
        if switches || !status.is_informational() {
            let length = answer
                .headers
                .get(CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok());
            self.pipe = length.map_or(PIPE, |length: usize| length.min(PIPE));
            self.answered = Some(status);
            self.deadline = None;
            self.settle();
        }
        for name in headers::between_hops(&answer.headers) {
            let kept =
                switches && (name == CONNECTION || name == UPGRADE) || name == TRANSFER_ENCODING;
            if !kept {
                answer.remove_header(&name);
            }
        }
        if session.req_header().version == Version::HTTP_10
            && answer.remove_header(&TRANSFER_ENCODING).is_some()
        {
            // it knows no chunks: the end of the connection is the end of the body
            session.set_keepalive(None);
        }
        if !status.is_informational() || switches {
            if !answer.headers.contains_key(REQUEST_ID) {
                answer.insert_header(REQUEST_ID, self.request_id().as_str())?;
            }
            answer.insert_header(OWN_REQUEST_ID, self.request_id().as_str())?;
        }
        Ok(())
    }

    /// Sees a piece of the body of the answer, before it is written to the sender. As long as a stream of HTTP/2 does not take it, pingora holds
    /// more of the answer. That counts; where it has no room, the sender is not waited for.
    pub(super) fn answer_body(&mut self, session: &mut Session) {
        if session.is_http2() {
            let has_room = self.buffers.grow_to(self.pipe).is_ok();
            let patience = self.route.pass.idle_timeout;
            session.set_write_timeout(Some(if has_room {
                patience
            } else {
                patience.min(CROWDED)
            }));
        }
    }

    /// Notes whether the end of the exchange is certain, and ends the connection where nothing more of the answer comes. pingora would use
    /// it again, and read what comes late as the answer to the next request.
    fn judge_end(&mut self, session: &Session, answer: &ResponseHeader) {
        let status = answer.status;
        let is_final = !status.is_informational();
        let bodiless =
            has_no_content(status) || session.req_header().method == Method::HEAD && is_final;
        let announces = announces_content(&answer.headers);
        self.uncertain |= bodiless && announces;
        let is_empty = !announces && answer.headers.contains_key(CONTENT_LENGTH);
        if is_final && (bodiless || is_empty) {
            self.answer_ends();
        }
    }

    /// The answer is whole.
    pub(super) fn answer_ends(&self) {
        if self.uncertain {
            switch::retire(self.connection);
        }
    }

    /// What to answer a request that failed with `error`; `None`: there is nobody to answer, or the answer has begun.
    pub(super) fn fail(&mut self, error: &Error) -> Option<Refusal> {
        if let Some(status) = self.answered {
            self.ended = Some(Ended::Cut(status, cut(error)));
            return None;
        }
        let violation = violation();
        self.record.facts_mut().why = violation.map(Violation::words);
        // a head was judged before: this is of a body or its trailer
        let refusal = violation
            .map(|_| Refusal::Malformed)
            .or(self.refused)
            .or_else(|| self.judge(error));
        self.ended = Some(refusal.map_or(Ended::Abandoned, |refusal| Ended::Refused {
            code: refusal.code(),
            status: refusal.status(),
        }));
        refusal
    }

    /// Judges an error that came before the head of an answer.
    fn judge(&mut self, error: &Error) -> Option<Refusal> {
        let timed_out = matches!(
            error.etype(),
            ErrorType::ReadTimedout | ErrorType::WriteTimedout
        );
        match error.esource() {
            ErrorSource::Upstream if timed_out && !self.sent => Some(Refusal::BodyTimeout),
            ErrorSource::Upstream => {
                self.settle();
                Some(refusal_of(if self.is_late() {
                    Fault::Timeout
                } else {
                    fault(error)
                }))
            }
            ErrorSource::Downstream if is_gone(error.etype()) => None,
            ErrorSource::Downstream => Some(Refusal::Malformed),
            ErrorSource::Internal | ErrorSource::Unset => Some(Refusal::Internal),
        }
    }

    /// Closes the record.
    pub(super) fn close(mut self, session: &Session) {
        let facts = self.record.facts_mut();
        facts.body_bytes = self.body_bytes;
        if self.answered.is_some() {
            facts.answer_bytes = Some(u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX));
        }
        let ended = self
            .ended
            .or(self.answered.map(Ended::Passed))
            .unwrap_or(Ended::Abandoned);
        self.record.close(ended);
    }

    /// Notes how long the upstream took.
    fn settle(&mut self) {
        let (now, facts) = (self.gate.clock.mono(), self.record.facts_mut());
        facts.upstream = Some(Arc::clone(&self.route.pass.upstream.name));
        facts.upstream_time = self.begun.map(|begun| now.saturating_duration_since(begun));
    }

    fn refuse<T>(&mut self, refusal: Refusal) -> PingoraResult<T> {
        self.refused = Some(refusal);
        Error::e_explain(ErrorType::InternalError, "refused")
    }
}

/// Gives the session of a request that the spine let through the header lines that go on. What the upstream is addressed by.
///
/// # Errors
/// `Malformed` if pingora would send another target than the one that was judged.
pub(super) fn prepare(
    session: &mut Session,
    route: &LivePass,
    head: &RequestHead,
) -> Result<HeaderValue, Refusal> {
    let host = render::host(head, route.upstream.policy());
    let mut lines = HeaderMap::with_capacity(head.headers.len() + 8);
    let keeps_override = route.guards.list.is_empty() && route.pass.methods.is_none();
    for (name, value) in headers::passed(head, host.clone(), keeps_override) {
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

/// Gives a session other header lines.
fn set_headers(session: &mut Session, lines: HeaderMap) {
    let empty = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(std::mem::replace(session.req_header_mut(), empty));
    parts.headers = lines;
    *session.req_header_mut() = RequestHeader::from(parts);
}

/// What ended a stream after the head of the answer.
fn cut(error: &Error) -> Cut {
    match (error.esource(), error.etype()) {
        (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Cut::Idle,
        (ErrorSource::Downstream, _) => Cut::SenderLeft,
        (ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => Cut::BrokenOff,
    }
}

/// Whether nobody is there to be answered.
fn is_gone(error: &ErrorType) -> bool {
    let broken = matches!(
        error,
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed
    );
    broken
        || matches!(
            error,
            ErrorType::H2Error | ErrorType::ReadTimedout | ErrorType::WriteTimedout
        )
}

/// Returns the fault that an error of the upstream's side tells of.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds of errors are pingora's, and what is not named here is a broken answer"
)]
fn fault(error: &Error) -> Fault {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Fault::ConnectTimeout,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => shortage_of(error).map_or(Fault::Connect, Fault::Local),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Fault::Timeout,
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => Fault::Reset,
        _ => Fault::Malformed,
    }
}

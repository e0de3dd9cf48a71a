//! The state of a request that pingora's own loop streams to its upstream: its target, its deadlines and its outcome.
//!
//! The spine has let it through; `edge` calls in here from pingora's hooks. The state is in pingora's context of the request, so that
//! whatever ends the request also ends what it holds: its count among those in flight, and its open record.
//!
//! Streams do not count for the circuit breakers of webhooks: anybody could open one, or hold up its probe.
mod failure;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result as PingoraResult};

use crate::activity::{Activity, InFlight};
use crate::delivery::Fault;
use crate::gateway::Gate;
use crate::gateway::active_config::ActivePass;
use crate::gateway::budget::{Account, Owner};
use crate::gateway::forward::refusal_of;
use crate::gateway::lifecycle::StreamInFlight;
use crate::headers::{self, OWN_REQUEST_ID, REQUEST_ID};
use crate::listener::client_address::network_of;
use crate::listener::connection_state::ConnectionState;
use crate::listener::framing::Violation;
use crate::listener::peer::{ConnectionInfo, ServedStream};
use crate::refusal::Refusal;
use crate::request::RequestId;
use crate::telemetry::{Ended, Record};
use crate::upstream::client::{announces_content, has_no_content};
use crate::upstream::switch::Deadline;

/// The most bytes of a response that pingora holds for a sender that does not read: ten chunks of 64 KiB. Four are in its pipe, one is
/// before it, and five were taken out of it to be written together.
const MAX_HELD_ANSWER: usize = 10 * 64 * 1024;
/// The time that an HTTP/2 sender has to read a chunk for which the memory budget has no room.
const CROWDED_TIMEOUT: Duration = Duration::from_secs(1);

/// A request that is streamed to its upstream.
pub(super) struct Passing {
    gate: Arc<Gate>,
    route: Arc<ActivePass>,
    record: Record,
    /// Dropped before the next field, so that the number of deliveries in flight is never too low.
    _stream: StreamInFlight,
    _in_flight: InFlight<Arc<Activity>>,
    /// Keeps an HTTP/2 connection from being idle.
    _served: Option<ServedStream>,
    host: HeaderValue,
    /// The addresses that are left, in the order of attempts; `None` before the look-up.
    peers: Option<Vec<HttpPeer>>,
    /// The time of the first attempt.
    begun: Option<Instant>,
    /// The bytes of the body that were sent so far.
    body_bytes: u64,
    /// Whether all of the request was sent.
    sent: bool,
    /// The file descriptor of the connection to the upstream.
    connection: RawFd,
    /// The deadline of the response's head, once all of the request was sent.
    deadline: Option<Deadline>,
    /// The memory of the response that is held because the sender does not read.
    buffers: Account,
    /// The most bytes that it can be.
    pipe: usize,
    /// Whether the connection must not be reused, because a head without content announced some, which may still arrive.
    uncertain: bool,
    /// The status of the response, once its head has arrived.
    answered: Option<StatusCode>,
    /// The refusal that was decided here.
    refused: Option<Refusal>,
    /// The end of the request, where it is not the end of the response.
    ended: Option<Ended>,
}

impl Passing {
    /// Takes over a request that [`prepare_stream`](super::session::prepare_stream) made ready.
    pub(super) fn begin(
        gate: &Arc<Gate>,
        route: Arc<ActivePass>,
        host: HeaderValue,
        record: Record,
        served: Option<ServedStream>,
    ) -> Self {
        let client = record.facts().client;
        let owner = Owner {
            client: client.own.then(|| network_of(client.ip)),
            route: Arc::clone(&route.pass.name),
            one_body: MAX_HELD_ANSWER,
        };
        Self {
            buffers: gate.answers.open(owner),
            pipe: MAX_HELD_ANSWER,
            gate: Arc::clone(gate),
            _in_flight: InFlight::begin(Arc::clone(&gate.lifecycle.activity)),
            _stream: StreamInFlight::begin(&gate.lifecycle),
            _served: served,
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

    /// Returns the ID of the request.
    pub(super) fn request_id(&self) -> RequestId {
        self.record.facts().request_id
    }

    /// Returns the address of the next attempt.
    pub(super) async fn peer(&mut self) -> PingoraResult<Box<HttpPeer>> {
        self.begun.get_or_insert_with(|| self.gate.clock.mono());
        if self.peers.is_none() {
            match self.route.upstream.peers().await {
                Ok(peers) => self.peers = Some(peers),
                Err(fault) => {
                    self.settle();
                    self.record.facts_mut().fault = Some(fault);
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
        // a chunk from either side restarts both timeouts, since pingora waits for both sides at once
        peer.options.read_timeout = Some(self.route.pass.idle_timeout);
        peer.options.write_timeout = Some(self.route.pass.idle_timeout);
        Ok(Box::new(peer))
    }

    /// Marks the last address as unreachable, and allows a retry if there is another one.
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

    /// Notes the connection that was made.
    pub(super) fn connected(&mut self, connection: RawFd) {
        self.connection = connection;
    }

    /// Decides whether a request that failed with `error` may be sent again. `reused` says whether the connection came from the pool.
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

    /// Returns whether the deadline of the response's head has passed.
    fn is_late(&self) -> bool {
        self.deadline.as_ref().is_some_and(Deadline::has_passed)
    }

    /// Completes the head that is sent to the upstream. pingora has removed the hop-by-hop headers.
    pub(super) fn request(&self, request: &mut RequestHeader) -> PingoraResult<()> {
        request.insert_header(HOST, self.host.clone())
    }

    /// Checks a chunk of the body on its way to the upstream.
    pub(super) fn request_body(
        &mut self,
        body: &mut Option<Bytes>,
        end: bool,
    ) -> PingoraResult<()> {
        // the empty last chunk of an HTTP/2 body would be sent as a second end of the chunked body
        body.take_if(|chunk| end && chunk.is_empty());
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
            // a WebSocket also ends like this
            self.deadline = self.answered.is_none().then(|| {
                self.route
                    .upstream
                    .switches()
                    .deadline(self.route.pass.timeout, self.connection)
            });
        }
        Ok(())
    }

    /// Checks and completes the head of a response before the sender gets it.
    pub(super) fn answer(
        &mut self,
        session: &mut Session,
        answer: &mut ResponseHeader,
    ) -> PingoraResult<()> {
        let status = answer.status;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        // after a switch that was not requested, both sides would read what follows in different ways
        if status.as_u16() > 599 || switches && !session.req_header().headers.contains_key(UPGRADE)
        {
            return self.refuse(Refusal::UpstreamMalformed);
        }
        self.judge_end(session, answer);
        // HTTP/2 has no switch of protocols
        if switches && let Some(state) = ConnectionInfo::state_of(session.digest()) {
            state.switch();
        }
        if switches || !status.is_informational() {
            let length = answer
                .headers
                .get(CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok());
            self.pipe = length.map_or(MAX_HELD_ANSWER, |length: usize| length.min(MAX_HELD_ANSWER));
            self.answered = Some(status);
            self.deadline = None;
            self.settle();
        }
        for name in headers::between_hops(&answer.headers) {
            let is_kept =
                switches && (name == CONNECTION || name == UPGRADE) || name == TRANSFER_ENCODING;
            if !is_kept {
                answer.remove_header(&name);
            }
        }
        if session.req_header().version == Version::HTTP_10
            && answer.remove_header(&TRANSFER_ENCODING).is_some()
        {
            // HTTP/1.0 has no chunked bodies: the end of the connection is the end of the body
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

    /// Charges the memory of the response before a chunk of it is written. While an HTTP/2 sender does not read, pingora holds more of the
    /// response; if the budget has no room for that, the sender gets little time.
    pub(super) fn answer_body(&mut self, session: &mut Session) {
        if session.is_http2() {
            let has_room = self.buffers.grow_to(self.pipe).is_ok();
            let patience = self.route.pass.idle_timeout;
            session.set_write_timeout(Some(if has_room {
                patience
            } else {
                patience.min(CROWDED_TIMEOUT)
            }));
        }
    }

    /// Notes whether the end of the response is certain, and ends the response here if it has no body. pingora would reuse the connection
    /// and read late bytes as the response to the next request.
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

    /// Ends the response, and keeps an uncertain connection from being reused.
    pub(super) fn answer_ends(&self) {
        if self.uncertain {
            self.route.upstream.switches().retire(self.connection);
        }
    }

    /// Returns the refusal of a request that failed with `error`; `None` if the sender has left, or the response has begun.
    pub(super) fn fail(&mut self, session: &Session, error: &Error) -> Option<Refusal> {
        if let Some(status) = self.answered {
            self.ended = Some(Ended::Cut(status, failure::cut(error)));
            return None;
        }
        let violation =
            ConnectionInfo::state_of(session.digest()).and_then(ConnectionState::violation);
        self.record.facts_mut().why = violation.map(Violation::words).map(Into::into);
        // the head was judged before, so the violation is in the body or its trailer
        let refusal = violation
            .map(|_| Refusal::Malformed)
            .or(self.refused)
            .or_else(|| self.judge(error));
        self.ended = Some(refusal.map_or(Ended::Abandoned, |refusal| Ended::Refused {
            refusal,
            status: refusal.status(),
        }));
        refusal
    }

    /// Returns the refusal for an error before the head of a response; `None` if the sender has left.
    fn judge(&mut self, error: &Error) -> Option<Refusal> {
        let timed_out = matches!(
            error.etype(),
            ErrorType::ReadTimedout | ErrorType::WriteTimedout
        );
        match error.esource() {
            ErrorSource::Upstream if timed_out && !self.sent => Some(Refusal::BodyTimeout),
            ErrorSource::Upstream => {
                self.settle();
                let fault = if self.is_late() {
                    Fault::Timeout
                } else {
                    failure::fault(error)
                };
                self.record.facts_mut().fault = Some(fault);
                Some(refusal_of(fault))
            }
            ErrorSource::Downstream if failure::is_gone(error.etype()) => None,
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

    /// Notes the time that the upstream took.
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

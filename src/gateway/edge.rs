//! The adapter between pingora and the spine: heads and bodies in, responses out. No decision is made here.
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::UPGRADE;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result as PingoraResult};

use crate::activity::InFlight;
use crate::clock::within;
use crate::gateway::pass::Passing;
use crate::gateway::reply::{self, RefusalResponse, Reply};
use crate::gateway::response::Response;
use crate::gateway::session::{Downstream, prepare_stream, receive};
use crate::gateway::{Gate, answer, body, head, pipeline};
use crate::listener::connection_state::ConnectionState;
use crate::listener::framing::Violation;
use crate::listener::peer::{ConnectionInfo, JudgedRequest, ServedStream};
use crate::refusal::Refusal;
use crate::request::RequestHead;

/// The time that a sender has to read a response.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The time that a sender has to read a refusal, which has some hundred bytes. An HTTP/2 stream without memory has none.
pub(super) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The gateway as pingora's HTTP proxy.
#[derive(Debug)]
pub(super) struct Edge(pub(super) Arc<Gate>);

#[async_trait]
impl ProxyHttp for Edge {
    /// The state of a stream. A request for a webhook route ends within `request_filter`.
    type CTX = Option<Box<Passing>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// Adds no modules: the default would add compression to every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> PingoraResult<()> {
        if let Some(state) = ConnectionInfo::state_of(session.digest()) {
            state.begin_request();
        }
        if self.0.lifecycle.is_draining() {
            session.set_keepalive(None);
        }
        // Each phase has its own deadline: the head and the pause between two requests in the accept loop, the body, the response, the drain.
        // Timers for every read and write would bound nothing more.
        session.set_read_timeout(None);
        session.set_write_timeout(None);
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<bool> {
        let gate = &self.0;
        let _in_flight = InFlight::begin(&*gate.lifecycle.activity);
        let stream = ServedStream::begin(session.digest(), &gate.clock);
        let active = gate.active.load();
        let (mut facts, head) = receive(gate, &active, session);
        let head = agreed(session, head);
        if head.as_ref().is_err_and(|why| *why == Refusal::Internal) {
            session.set_keepalive(None);
            facts.why = Some("the head was read in two ways".into());
        }
        let request_id = facts.request_id;
        let mut record = gate.telemetry.begin(facts);
        // the memory of a connection is bounded, that of its HTTP/2 streams is not
        let memory = head
            .as_ref()
            .ok()
            .filter(|_| session.is_http2())
            .map(|head| body::hold_stream(&gate.budget, head));
        let has_memory = !session.is_http2() || matches!(memory, Some(Ok(_)));
        let decided = match (head, &memory) {
            (Ok(_), Some(Err(refusal))) => Err((*refusal).into()),
            (Err(refusal), _) => Err(refusal.into()),
            (Ok(head), _) => {
                let request = (active.find(&head), head);
                let source = &mut Downstream(session);
                pipeline::run(gate, &active, request, source, record.facts_mut()).await
            }
        };
        let decided = match end_overrun(session, decided) {
            Ok(Reply::Pass(route, head)) => match prepare_stream(session, &route, &head) {
                Ok(host) => {
                    *ctx = Some(Box::new(Passing::begin(
                        &self.0, route, host, record, stream,
                    )));
                    return Ok(false);
                }
                Err(refusal) => Err(refusal.into()),
            },
            decided => decided,
        };
        let violation = ConnectionInfo::state_of(session.digest())
            .and_then(ConnectionState::violation)
            .map(Violation::words);
        if let Some(part) = head::violated_part(&decided, violation) {
            record.facts_mut().why = Some(part.into());
        }
        let ended = reply::ended(&decided);
        let timeout = match decided {
            Ok(_) => ANSWER_TIMEOUT,
            Err(_) if has_memory => REFUSAL_TIMEOUT,
            Err(_) => Duration::ZERO,
        };
        let answer = answer::write(session, Response::of(decided, request_id));
        // the request is settled: a sender that has left, or does not read, changes nothing any more
        let answered = within(gate.clock.mono() + timeout, answer).await;
        record.close(ended);
        if !matches!(answered, Ok(Ok(()))) {
            // As an error, so that pingora aborts the connection. Ending the response normally would make a truncated body look complete.
            return Error::e_explain(ErrorType::WriteError, "the response was cut off");
        }
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<Box<HttpPeer>> {
        passing(ctx)?.peer().await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Self::CTX,
        error: Box<Error>,
    ) -> Box<Error> {
        match ctx {
            Some(passing) => passing.not_connected(error),
            None => error,
        }
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        match ctx {
            Some(passing) => passing.judge_retry(&mut error, session, client_reused),
            None => error.set_retry(false),
        }
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        fd: RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<()> {
        passing(ctx)?.connected(fd);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream_request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<()> {
        passing(ctx)?.request(upstream_request)
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<()> {
        passing(ctx)?.request_body(body, end_of_stream)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<()> {
        passing(ctx)?.answer(session, answer)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Self::CTX,
    ) -> PingoraResult<Option<Duration>> {
        let passing = passing(ctx)?;
        passing.answer_body(session);
        if end_of_stream {
            passing.answer_ends();
        }
        Ok(None)
    }

    /// Answers a stream that failed before its response began, if the sender is still there. Otherwise the connection, or the HTTP/2 stream,
    /// is dropped.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let refusal = ctx
            .as_mut()
            .and_then(|passing| Some((passing.fail(session, error)?, passing.request_id())));
        let Some((refusal, request_id)) = refusal else {
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        };
        session.set_keepalive(None);
        let answer = answer::write(session, Response::refusal(refusal.into(), request_id));
        let answered = within(self.0.clock.mono() + ANSWER_TIMEOUT, answer).await;
        // Keep-alive is off, so the connection is not used again. It is closed in good order, since the sender may still be sending.
        let can_reuse_downstream = matches!(answered, Ok(Ok(())));
        FailToProxy {
            error_code: refusal.status().as_u16(),
            can_reuse_downstream,
        }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Self::CTX) {
        if let Some(passing) = ctx.take() {
            passing.close(session);
        }
        if let Some(state) = ConnectionInfo::state_of(session.digest()) {
            state.end_request(self.0.clock.mono());
        }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Self::CTX,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    /// Returns the path alone, since a query may hold a token.
    fn request_summary(&self, session: &Session, _ctx: &Self::CTX) -> String {
        session.req_header().uri.path().escape_debug().to_string()
    }
}

/// Returns the stream of a request. It has one wherever `request_filter` did not answer.
fn passing(ctx: &mut Option<Box<Passing>>) -> PingoraResult<&mut Passing> {
    ctx.as_deref_mut()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "the request is not streamed"))
}

/// Checks that pingora read the same request from the bytes of a head as the gateway did before it.
fn agreed(session: &Session, head: Result<RequestHead, Refusal>) -> Result<RequestHead, Refusal> {
    let head = head?;
    let judged = ConnectionInfo::of(session.digest()).and_then(|info| info.judged.as_deref());
    if session.is_http2() || judged == Some(&JudgedRequest::of(&head)) {
        Ok(head)
    } else {
        Err(Refusal::Internal)
    }
}

/// Ends the connection after this response if bytes came together with the request and behind it. They are never read as a request; in
/// front of an upgrade their meaning depends on the upstream, so the request is refused.
fn end_overrun(
    session: &mut Session,
    decided: Result<Reply, RefusalResponse>,
) -> Result<Reply, RefusalResponse> {
    let is_overrun =
        ConnectionInfo::state_of(session.digest()).is_some_and(ConnectionState::is_overrun);
    if !is_overrun {
        return decided;
    }
    session.set_keepalive(None);
    match decided {
        Ok(Reply::Pass(_, head)) if head.headers.contains(&UPGRADE) => {
            Err(Refusal::Malformed.into())
        }
        decided => decided,
    }
}

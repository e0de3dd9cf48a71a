//! pingora on one side, the spine on the other: heads and bodies in, answers out. No decision is made here.
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderMap, Version, request};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result as PingoraResult};

use crate::activity::InFlight;
use crate::clock::{Now, within};
use crate::gateway::active_config::Live;
use crate::gateway::answer::{
    Refused, write_acknowledgement, write_answer, write_full, write_refusal,
};
use crate::gateway::body::{self, BodyFault, Sender};
use crate::gateway::enqueue::Receipt;
use crate::gateway::pass::{self, Passing};
use crate::gateway::pipeline::{self, Reply};
use crate::gateway::{Gate, head};
use crate::listener::accept::{CONN, violation};
use crate::listener::client_address;
use crate::listener::client_address::Peer;
use crate::listener::peer::Other;
use crate::refusal::Refusal;
use crate::request::{RequestHead, RequestId};
use crate::telemetry::{Ended, Facts};

/// For a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// For an answer of some hundred bytes that says no: whoever has no room for it is not waited for. A stream that has no place in memory
/// is not waited for at all.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The gate as pingora sees it.
#[derive(Debug)]
pub(super) struct Edge(pub(super) Arc<Gate>);

#[async_trait]
impl ProxyHttp for Edge {
    /// What a stream needs; webhooks are over when the filter is.
    type CTX = Option<Box<Passing>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// None: the default would add a compression module to every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> PingoraResult<()> {
        // HTTP/2 streams run in tasks of their own and have no connection to note
        CONN.try_with(|conn| conn.begin_request())
            .unwrap_or_default();
        if self.0.is_draining() {
            session.set_keepalive(None);
        }
        // Phases have deadlines of their own: the head and what is between two requests in the accept loop, the body, the answer, the drain.
        // A timer for every read and write beside them would bound nothing more.
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
        let live = gate.live.load();
        let (facts, head) = receive(gate, &live, session);
        let request_id = facts.request_id;
        let mut record = gate.telemetry.begin(facts);
        // a connection's share of memory is fixed, a stream's is not
        let place = head
            .as_ref()
            .ok()
            .filter(|_| session.is_http2())
            .map(|head| body::hold_stream(&gate.budget, head));
        let has_place = !session.is_http2() || matches!(place, Some(Ok(_)));
        let decided = match (head, &place) {
            (Ok(_), Some(Err(refusal))) => Err(*refusal),
            (Err(refusal), _) => Err(refusal),
            (Ok(head), _) => {
                pipeline::run(
                    gate,
                    &live,
                    head,
                    &mut Downstream(session),
                    record.facts_mut(),
                )
                .await
            }
        };
        let is_overrun = CONN.try_with(|conn| conn.is_overrun()).unwrap_or(false);
        if is_overrun {
            // the connection ends here, and the answer says so
            session.set_keepalive(None);
        }
        let decided = match decided {
            // what it is that came with it depends on whether the app switches
            Ok(Reply::Pass(_, head)) if is_overrun && head.headers.contains_key(UPGRADE) => {
                Err(Refusal::Malformed)
            }
            Ok(Reply::Pass(route, head)) => match pass::prepare(session, &route, &head) {
                Ok(host) => {
                    *ctx = Some(Box::new(Passing::begin(&self.0, route, host, record)));
                    return Ok(false);
                }
                Err(refusal) => Err(refusal),
            },
            decided => decided,
        };
        if matches!(
            decided,
            Err(Refusal::Malformed | Refusal::HeadTooLarge | Refusal::TargetTooLong)
        ) && let Some(violation) = violation()
        {
            record.facts_mut().why = Some(violation.words());
        }
        let route = record.facts().route.as_deref();
        let decided = decided.map_err(|refusal| {
            let mut refused = Refused::of(refusal, route.and_then(|route| live.refused_of(route)));
            refused.allow = route.and_then(|route| live.allow_of(route));
            refused
        });
        let ended = ended(&decided);
        let patience = match decided {
            Ok(_) => ANSWER_TIMEOUT,
            Err(_) if has_place => REFUSAL_TIMEOUT,
            Err(_) => Duration::ZERO,
        };
        let answer = async {
            match decided {
                Ok(Reply::Forwarded(answer)) => write_answer(session, answer, request_id).await,
                Ok(Reply::Taken(Receipt { answer, taken })) => {
                    write_acknowledgement(session, answer, taken.code(), request_id).await
                }
                Ok(Reply::Duplicate(answer)) => {
                    write_acknowledgement(session, answer, "duplicate", request_id).await
                }
                Ok(Reply::Full(full)) => write_full(session, full, request_id).await,
                Ok(Reply::Pass(..)) => {
                    write_refusal(session, Refused::of(Refusal::Internal, None), request_id).await
                }
                Err(refused) => write_refusal(session, refused, request_id).await,
            }
        };
        // The request is settled. A sender that went away, or does not read, changes nothing any more.
        let answered = within(gate.clock.mono() + patience, answer).await;
        record.close(ended);
        if !matches!(answered, Ok(Ok(()))) {
            // told so, pingora would end the answer in good order, and half of one would look whole: as an error it is cut off
            return Error::e_explain(ErrorType::WriteError, "the answer broke off");
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

    /// Answers a stream that failed, if there is somebody to answer. Says nothing more to a sender whose answer broke off: the connection,
    /// or the stream, is dropped.
    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let refusal = ctx
            .as_mut()
            .and_then(|passing| Some((passing.fail(error)?, passing.request_id())));
        let Some((refusal, request_id)) = refusal else {
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        };
        session.set_keepalive(None);
        let answer = write_refusal(session, Refused::of(refusal, None), request_id);
        let answered = within(self.0.clock.mono() + ANSWER_TIMEOUT, answer).await;
        // not to be used again, keep-alive is off, but to be closed in good order: the sender may still be sending
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
        CONN.try_with(|conn| conn.end_request(self.0.clock.mono()))
            .unwrap_or_default();
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

    /// The path alone: a query may hold a token.
    fn request_summary(&self, session: &Session, _ctx: &Self::CTX) -> String {
        session.req_header().uri.path().escape_debug().to_string()
    }
}

/// The stream that pingora asks about: it has one wherever the filter did not answer.
fn passing(ctx: &mut Option<Box<Passing>>) -> PingoraResult<&mut Passing> {
    ctx.as_deref_mut()
        .ok_or_else(|| Error::explain(ErrorType::InternalError, "no request goes this way"))
}

/// The facts of a request, and its head or why it has none. The session's own header is without lines afterwards.
fn receive(
    gate: &Gate,
    live: &Live,
    session: &mut Session,
) -> (Facts, Result<RequestHead, Refusal>) {
    let now = gate.clock.now();
    let request_id = RequestId::from_u128(uuid::Uuid::now_v7().as_u128());
    let header = session.req_header();
    let other = Other::of(session.digest());
    let peer = other.map_or(Peer::UNKNOWN, |other| other.peer);
    let certificate = other.and_then(|other| other.certificate.clone());
    let client = client_address::client(peer, &header.headers, &live.snapshot.trusted_proxies);
    let mut facts = Facts::new(
        request_id,
        &header.method,
        header.raw_path(),
        &header.headers,
        client,
        now,
    );
    facts.certificate.clone_from(&certificate);
    let framing = violation().map_or_else(
        || head::framing(header, live.snapshot.limits.header_bytes),
        |violation| Err(violation.refusal()),
    );
    let method = header.method.clone();
    let tls = session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some());
    let headers = take_headers(session);
    let head = framing.map(|framing| RequestHead {
        request_id,
        method,
        target: framing.target,
        authority: framing.authority,
        tls,
        headers,
        declared_size: framing.declared_size,
        client,
        certificate,
        received: Now {
            wall: now.wall,
            mono: now.mono,
        },
    });
    (facts, head)
}

/// Moves the header lines out of a session: a copy would cost two references a line.
fn take_headers(session: &mut Session) -> HeaderMap {
    // has pingora read the body's framing, the last thing it wants of them
    session.as_downstream_mut().is_body_done();
    let empty = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = request::Parts::from(std::mem::replace(session.req_header_mut(), empty));
    let headers = std::mem::take(&mut parts.headers);
    *session.req_header_mut() = RequestHeader::from(parts);
    headers
}

fn ended(decided: &Result<Reply, Refused>) -> Ended {
    match decided {
        Ok(Reply::Forwarded(answer)) => Ended::Forwarded(answer.status),
        Ok(Reply::Taken(receipt)) => Ended::Taken(receipt.answer.status, receipt.taken),
        Ok(Reply::Duplicate(answer)) => Ended::Duplicate(answer.status),
        Ok(Reply::Full(_)) => Ended::Handshake,
        Ok(Reply::Pass(..)) => Ended::Abandoned,
        Err(refused) => Ended::Refused {
            code: refused.code(),
            status: refused.status,
        },
    }
}

/// The sender's side of a pingora session.
struct Downstream<'a>(&'a mut Session);

impl Sender for Downstream<'_> {
    async fn invite_body(&mut self) {
        if self.0.req_header().version == Version::HTTP_10 {
            // it knows no interim answers and would take this one for the final one
            return;
        }
        // pingora would switch keep-alive off after a 1xx, as after an answer that comes before the body
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
                    // what follows must not be read as a request
                    self.0.set_keepalive(None);
                    return Err(BodyFault::Broken);
                }
            }
        }
    }
}

//! pingora on one side, the spine on the other: heads and bodies in, answers out. No decision is made here.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, request};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result as PingoraResult};

use crate::clock::{Now, within};
use crate::delivery::Answer;
use crate::gateway::body::{BodyFault, Sender};
use crate::gateway::client::Peer;
use crate::gateway::listener::CONN;
use crate::gateway::live::Live;
use crate::gateway::pass::{self, Passing};
use crate::gateway::pipeline::{self, Reply};
use crate::gateway::sender::Other;
use crate::gateway::{Gate, InFlight, client, head};
use crate::refusal::Refusal;
use crate::request::{RequestHead, RequestId};
use crate::telemetry::{Ended, Facts};
use crate::verify::handshake::Full;

/// For a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HOOKGATE_STATUS: HeaderName = HeaderName::from_static("hookgate-status");

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

    async fn early_request_filter(&self, session: &mut Session, _ctx: &mut Self::CTX) -> PingoraResult<()> {
        // HTTP/2 streams run in tasks of their own and have no connection to note
        CONN.try_with(|conn| conn.begin_request()).unwrap_or_default();
        if self.0.is_draining() {
            session.set_keepalive(None);
        }
        // Phases have deadlines of their own: the head and what is between two requests in the accept loop, the body, the answer, the drain.
        // A timer for every read and write beside them would bound nothing more.
        session.set_read_timeout(None);
        session.set_write_timeout(None);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> PingoraResult<bool> {
        let gate = &*self.0;
        let _in_flight = InFlight::begin(gate);
        let live = gate.live.load();
        let (facts, head) = receive(gate, &live, session);
        let request_id = facts.request_id;
        let mut record = gate.telemetry.begin(facts);
        let decided = match head {
            Ok(head) => pipeline::run(gate, &live, head, &mut Downstream(session), record.facts_mut()).await,
            Err(refusal) => Err(refusal),
        };
        if CONN.try_with(|conn| conn.is_overrun()).unwrap_or(false) {
            // the connection ends here, and the answer says so
            session.set_keepalive(None);
        }
        let decided = match decided {
            Ok(Reply::Pass(route, head)) => match pass::prepare(session, &route, &head) {
                Ok(host) => {
                    *ctx = Some(Box::new(Passing::begin(&self.0, route, host, record)));
                    return Ok(false);
                }
                Err(refusal) => Err(refusal),
            },
            decided => decided,
        };
        let ended = ended(&decided);
        let allow = || record.facts().route.as_deref().and_then(|route| live.allow_of(route));
        let answer = async {
            match decided {
                Ok(Reply::Forwarded(answer)) => write_answer(session, answer, request_id).await,
                Ok(Reply::Duplicate(status)) => write_duplicate(session, status, request_id).await,
                Ok(Reply::Full(full)) => write_full(session, full, request_id).await,
                Ok(Reply::Pass(..)) => write_refusal(session, Refusal::Internal, None, request_id).await,
                Err(refusal) => write_refusal(session, refusal, allow(), request_id).await,
            }
        };
        // The request is settled. A sender that went away, or does not read, changes nothing any more.
        let answered = within(gate.clock.mono() + ANSWER_TIMEOUT, answer).await;
        record.close(ended);
        if !matches!(answered, Ok(Ok(()))) {
            // told so, pingora would end the answer in good order, and half of one would look whole: as an error it is cut off
            return Error::e_explain(ErrorType::WriteError, "the answer broke off");
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Self::CTX) -> PingoraResult<Box<HttpPeer>> {
        passing(ctx)?.peer().await
    }

    fn fail_to_connect(&self, _session: &mut Session, _peer: &HttpPeer, ctx: &mut Self::CTX, error: Box<Error>) -> Box<Error> {
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
        _ctx: &mut Self::CTX,
        client_reused: bool,
    ) -> Box<Error> {
        pass::may_try_again(&mut error, session, client_reused);
        error
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

    async fn response_filter(&self, session: &mut Session, answer: &mut ResponseHeader, ctx: &mut Self::CTX) -> PingoraResult<()> {
        passing(ctx)?.answer(session, answer)
    }

    /// Answers a stream that failed, if there is somebody to answer. Says nothing more to a sender whose answer broke off: the connection,
    /// or the stream, is dropped.
    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let refusal = ctx.as_mut().and_then(|passing| Some((passing.fail(error)?, passing.request_id())));
        let Some((refusal, request_id)) = refusal else { return FailToProxy { error_code: 0, can_reuse_downstream: false } };
        session.set_keepalive(None);
        let answer = write_refusal(session, refusal, None, request_id);
        // an answer that does not arrive changes nothing any more
        within(self.0.clock.mono() + ANSWER_TIMEOUT, answer).await.map(Result::unwrap_or_default).unwrap_or_default();
        FailToProxy { error_code: refusal.status().as_u16(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Self::CTX) {
        if let Some(passing) = ctx.take() {
            passing.close(session);
        }
        CONN.try_with(|conn| conn.end_request(self.0.clock.mono())).unwrap_or_default();
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _session: &Session, _ctx: &Self::CTX, _error: &Error, _context: ProxyWarnLogContext) -> bool {
        true
    }

    /// The path alone: a query may hold a token.
    fn request_summary(&self, session: &Session, _ctx: &Self::CTX) -> String {
        session.req_header().uri.path().escape_debug().to_string()
    }
}

/// The stream that pingora asks about: it has one wherever the filter did not answer.
fn passing(ctx: &mut Option<Box<Passing>>) -> PingoraResult<&mut Passing> {
    ctx.as_deref_mut().ok_or_else(|| Error::explain(ErrorType::InternalError, "no request goes this way"))
}

/// The facts of a request, and its head or why it has none. The session's own header is without lines afterwards.
fn receive(gate: &Gate, live: &Live, session: &mut Session) -> (Facts, Result<RequestHead, Refusal>) {
    let now = gate.clock.now();
    let request_id = RequestId::from_u128(uuid::Uuid::now_v7().as_u128());
    let header = session.req_header();
    let other = Other::of(session.digest());
    let peer = other.map_or(Peer::Unix, |other| other.peer);
    let certificate = other.and_then(|other| other.certificate.clone());
    let client = client::client(peer, &header.headers, &live.snapshot.trusted_proxies);
    let mut facts = Facts::new(request_id, &header.method, header.raw_path(), &header.headers, client, now);
    facts.certificate.clone_from(&certificate);
    // HTTP/2 has framing of its own
    let is_broken = CONN.try_with(|conn| conn.violation().is_some()).unwrap_or(false);
    let framing = if is_broken { Err(Refusal::Malformed) } else { head::framing(header) };
    let method = header.method.clone();
    let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
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
        received: Now { wall: now.wall, mono: now.mono },
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

fn ended(decided: &Result<Reply, Refusal>) -> Ended {
    match decided {
        Ok(Reply::Forwarded(answer)) => Ended::Forwarded(answer.status),
        Ok(Reply::Duplicate(status)) => Ended::Duplicate(*status),
        Ok(Reply::Full(_)) => Ended::Handshake,
        Ok(Reply::Pass(..)) => Ended::Abandoned,
        Err(refusal) => Ended::Refused { code: refusal.code(), status: refusal.status() },
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
        if self.0.as_downstream_mut().write_continue_response().await.is_err() {
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

async fn write_answer(session: &mut Session, mut answer: Answer, request_id: RequestId) -> PingoraResult<()> {
    let mut header = ResponseHeader::build_no_case(answer.status, Some(answer.headers.len() + 2))?;
    for (name, value) in &answer.headers {
        header.append_header(name, value)?;
    }
    header.insert_header(X_REQUEST_ID, request_id.as_str())?;
    if is_in_chunks(session, &answer) {
        header.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    session.as_downstream_mut().write_response_header(Box::new(header)).await?;
    loop {
        match answer.body.next().await {
            Ok(Some(chunk)) => {
                let last = answer.body.is_over();
                session.as_downstream_mut().write_response_body(chunk, last).await?;
                if last {
                    return Ok(());
                }
            }
            Ok(None) => return session.as_downstream_mut().write_response_body(Bytes::new(), true).await,
            // the head is gone already; closing tells the sender that the rest is missing
            Err(_) => return Error::e_explain(ErrorType::ReadError, "the answer broke off"),
        }
    }
}

/// Whether the body of an answer goes out in chunks, so that its end can be told from a break, and the connection lives on.
fn is_in_chunks(session: &Session, answer: &Answer) -> bool {
    let request = session.req_header();
    let bodiless = request.method == Method::HEAD || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    request.version == Version::HTTP_11 && !bodiless && !answer.headers.contains_key(CONTENT_LENGTH)
}

async fn write_duplicate(session: &mut Session, status: StatusCode, request_id: RequestId) -> PingoraResult<()> {
    let mut header = ResponseHeader::build_no_case(status, Some(4))?;
    header.insert_header(HOOKGATE_STATUS, "duplicate")?;
    write_whole(session, header, request_id, Bytes::new()).await
}

/// What a provider tests the endpoint with holds text of its own: no browser may take the answer for a page.
async fn write_full(session: &mut Session, full: Full, request_id: RequestId) -> PingoraResult<()> {
    let mut header = ResponseHeader::build_no_case(StatusCode::OK, Some(full.headers.len() + 5))?;
    if let Some(content_type) = full.content_type {
        header.insert_header(CONTENT_TYPE, content_type)?;
    }
    header.insert_header(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    for (name, value) in full.headers {
        header.insert_header(name, value)?;
    }
    write_whole(session, header, request_id, full.body).await
}

/// A short generic body: the status in words and the request ID. Why stands in the log, not here.
async fn write_refusal(session: &mut Session, refusal: Refusal, allow: Option<String>, request_id: RequestId) -> PingoraResult<()> {
    let status = refusal.status();
    let mut header = ResponseHeader::build_no_case(status, Some(7))?;
    // an invitation that was cut short has left this off
    session.set_close_on_response_before_downstream_finish(true);
    if refusal.closes() {
        session.set_keepalive(None);
    }
    if let Some(after) = refusal.retry_after() {
        header.insert_header(RETRY_AFTER, whole_seconds(after))?;
    }
    if let Some(allow) = allow.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
        header.insert_header(ALLOW, allow)?;
    }
    header.insert_header(CONTENT_TYPE, "application/json")?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    let words = status.canonical_reason().unwrap_or("Error");
    write_whole(session, header, request_id, format!("{{\"error\":\"{words}\",\"request_id\":\"{request_id}\"}}\n").into()).await
}

async fn write_whole(session: &mut Session, mut header: ResponseHeader, request_id: RequestId, body: Bytes) -> PingoraResult<()> {
    header.insert_header(X_REQUEST_ID, request_id.as_str())?;
    if header.status != StatusCode::NO_CONTENT {
        header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    }
    header.set_version(Version::HTTP_11);
    session.as_downstream_mut().write_response_header(Box::new(header)).await?;
    session.as_downstream_mut().write_response_body(body, true).await
}

/// Rounded up, at least one.
fn whole_seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1))
}

//! The HTTP server of all listeners. Webhooks over HTTP/1 are served here; pingora serves HTTP/2, and streams the requests of pass routes.
use std::sync::Arc;

use bytes::{BufMut as _, Bytes};
use pingora::apps::{HttpServerApp as _, ServerApp as _};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;

use crate::activity::InFlight;
use crate::clock::within;
use crate::gateway::active_config::Found;
use crate::gateway::body::{BodyFault, BodySource, Next};
use crate::gateway::boxed::boxed;
use crate::gateway::buffer::{Buffer, Room};
use crate::gateway::edge::{ANSWER_TIMEOUT, Edge, REFUSAL_TIMEOUT};
use crate::gateway::h1_head::{self, RequestForm};
use crate::gateway::h1_response;
use crate::gateway::reply;
use crate::gateway::response::Response;
use crate::gateway::{Gate, head, pipeline};
use crate::listener::accept::Serve;
use crate::listener::framing::Violation;
use crate::listener::h1_connection::{ArrivedHead, H1Connection};
use crate::listener::peer::JudgedRequest;
use crate::listener::scanned_stream::ScannedStream;

/// The number of requests that are served on one connection before it is closed.
const REQUESTS_PER_CONNECTION: u32 = 10_000;
/// The most concurrent streams of one HTTP/2 connection.
const H2_STREAMS: u32 = 32;
/// The bytes that a sender may have in flight on one HTTP/2 stream. With 64 KiB, the default, a body of 25 MiB would take 20 s at a round trip
/// of 50 ms.
const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// The bytes that a sender may have in flight on one HTTP/2 connection.
const H2_CONNECTION_WINDOW: u32 = 512 * 1024;
/// The factor by which an HTTP/2 head may be too large and still reach the gateway, which tells a long target from a large head.
const H2_HEAD_FACTOR: usize = 2;
/// The most streams that an HTTP/2 sender may reset before they are accepted. With one more, its connection is closed.
const H2_PENDING_RESETS: usize = 20;
/// The most streams of one HTTP/2 connection that may violate the protocol. With one more, it is closed.
const H2_ERRORS: usize = 256;
/// The bytes of a response that are held for one HTTP/2 stream whose sender does not read.
const H2_SEND_BUFFER: usize = 128 * 1024;

/// The HTTP server of all listeners.
pub(super) struct HttpServer {
    gate: Arc<Gate>,
    proxy: Arc<HttpProxy<Edge>>,
}

/// The next step of a connection after a request.
enum NextStep {
    /// It waits for the next request.
    Wait,
    /// It is closed in good order.
    Close,
    /// It is dropped: its response was cut off, and must not look complete.
    Drop,
    /// pingora serves this request, of which the bytes of the head were read already.
    HandOver(Bytes, JudgedRequest),
}

impl HttpServer {
    /// Returns the server of a gate.
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self {
            proxy: Arc::new(proxy(Arc::clone(&gate))),
            gate,
        }
    }

    /// Closes the connections at pingora that wait for a request.
    pub(super) async fn close_idle(&self) {
        self.proxy.http_cleanup().await;
    }

    /// Lets pingora serve one request. Returns the connection if it may serve another.
    async fn hand_over(
        &self,
        stream: ScannedStream,
        is_last: bool,
        close: &watch::Receiver<bool>,
    ) -> Option<Box<H1Connection>> {
        let mut session = ServerSession::new_http1(Box::new(stream));
        // without a time limit: the accept loop watches the connection
        session.set_keepalive(Some(0));
        session.set_keepalive_reuses_remaining(is_last.then_some(0));
        let reused = self.proxy.process_new_http(session, close).await?;
        let (stream, _) = reused.consume();
        let stream = stream.into_any().downcast::<ScannedStream>().ok()?;
        H1Connection::take_back(*stream).map(Box::new)
    }

    /// Serves one request of a connection.
    async fn request(
        &self,
        connection: &mut H1Connection,
        mut arrived: ArrivedHead,
        is_last: bool,
    ) -> NextStep {
        let gate = &self.gate;
        let active = gate.active.load();
        let (facts, request, form) = h1_head::receive(gate, &active, connection, &mut arrived);
        let request = match request {
            Ok(head) => match active.find(&head) {
                Some(Found::Pass(_)) => {
                    return NextStep::HandOver(arrived.bytes, JudgedRequest::of(&head));
                }
                found => Ok((found, head)),
            },
            Err(refusal) => Err(refusal),
        };
        connection.state().begin_request();
        let _in_flight = InFlight::begin(&*gate.lifecycle.activity);
        let request_id = facts.request_id;
        let mut record = gate.telemetry.begin(facts);
        let decided = match request {
            Ok(request) => {
                let body = &mut H1Body {
                    connection,
                    is_1_0: form.is_1_0,
                };
                pipeline::run(gate, &active, request, body, record.facts_mut()).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        let violation = connection.state().violation();
        if let Some(part) = head::violated_part(&decided, violation.map(Violation::words)) {
            record.facts_mut().why = Some(part.into());
        }
        let ended = reply::ended(&decided);
        let timeout = if decided.is_ok() {
            ANSWER_TIMEOUT
        } else {
            REFUSAL_TIMEOUT
        };
        let response = Response::of(decided, request_id);
        let form = RequestForm {
            closes: is_last
                || response.closes
                || form.closes
                || gate.lifecycle.is_draining()
                || !connection.is_at_boundary(),
            ..form
        };
        let now = gate.clock.now();
        let answer = h1_response::write(connection, response, form, now.wall);
        // the request is settled: a sender that has left, or does not read, changes nothing any more
        let answered = within(now.mono + timeout, answer).await;
        record.close(ended);
        match answered {
            Ok(Ok(true)) => NextStep::Wait,
            Ok(Ok(false)) => NextStep::Close,
            Ok(Err(_)) | Err(_) => NextStep::Drop,
        }
    }
}

impl Serve for HttpServer {
    async fn serve_h1(&self, mut connection: Box<H1Connection>, close: &watch::Receiver<bool>) {
        let mut closing = close.clone();
        for left in (0..REQUESTS_PER_CONNECTION).rev() {
            let head = tokio::select! {
                biased;
                head = connection.head() => head,
                _ = closing.wait_for(|close| *close) => None,
            };
            let Some(head) = head else { break };
            // boxed, so that a connection that waits is small
            let request = boxed(|| self.request(&mut connection, head, left == 0));
            match request.await {
                NextStep::Wait => connection.wait(),
                NextStep::Close => break,
                NextStep::Drop => return,
                NextStep::HandOver(head, judged) => {
                    let stream = connection.into_stream(head, judged);
                    // boxed, so that a connection that waits is small
                    match boxed(|| self.hand_over(stream, left == 0, close)).await {
                        Some(returned) => connection = returned,
                        None => return,
                    }
                }
            }
        }
        connection.close().await;
    }

    async fn serve_h2(&self, stream: ScannedStream, close: &watch::Receiver<bool>) {
        self.proxy.process_new(Box::new(stream), close).await;
    }
}

/// The body of a request, as the gateway's own server reads it.
struct H1Body<'a> {
    connection: &'a mut H1Connection,
    is_1_0: bool,
}

impl BodySource for H1Body<'_> {
    async fn invite_body(&mut self) {
        // HTTP/1.0 has no interim responses: the sender would take this one for the final one
        if !self.is_1_0 {
            // a sender that has left is noticed when its body does not arrive
            self.connection
                .write(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap_or_default();
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, BodyFault> {
        self.connection.chunk().await.map_err(|_| BodyFault::Broken)
    }

    async fn next_into(&mut self, buffer: &mut Buffer, most: usize) -> Result<Next, BodyFault> {
        if !self.connection.can_read_into() {
            let chunk = self.next_chunk().await?;
            return Ok(chunk.map_or(Next::End, Next::Chunk));
        }
        let read = match buffer.room() {
            Room::Heap(bytes) => self.connection.read_into(&mut bytes.limit(most)).await,
            Room::Mapped(room) => {
                let most = room.len().min(most);
                let mut room = room.get_mut(..most).unwrap_or_default();
                let read = self.connection.read_into(&mut room).await;
                if let Ok(read) = read {
                    buffer.advance_mapped(read);
                }
                read
            }
        };
        read.map(Next::Filled).map_err(|_| BodyFault::Broken)
    }
}

/// Returns pingora's HTTP proxy, with the limits of HTTP/2.
fn proxy(gate: Arc<Gate>) -> HttpProxy<Edge> {
    let limits = gate.snapshot().limits.clone();
    let mut proxy = HttpProxy::new(Edge(gate), Arc::new(ServerConf::default()));
    let mut h2 = default_h2_options();
    h2.max_concurrent_streams(H2_STREAMS);
    h2.max_header_list_size(
        u32::try_from(limits.header_bytes.saturating_mul(H2_HEAD_FACTOR)).unwrap_or(u32::MAX),
    );
    h2.max_pending_accept_reset_streams(H2_PENDING_RESETS);
    h2.max_local_error_reset_streams(Some(H2_ERRORS));
    h2.max_send_buffer_size(H2_SEND_BUFFER);
    h2.initial_window_size(H2_STREAM_WINDOW);
    h2.initial_connection_window_size(H2_CONNECTION_WINDOW);
    proxy.h2_options = Some(h2);
    proxy.handle_init_modules();
    proxy
}

impl std::fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer").finish_non_exhaustive()
    }
}

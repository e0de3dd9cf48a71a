//! Makes one exchange over one connection.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Method;

use super::Outgoing;
use super::answer::{Early, Final, Open, Rest, final_head};
use super::answer_head::has_no_content;
use super::dial::Dialed;
use super::pool::{Connection, Pool};
use super::request_bytes::write;
use crate::clock::Clock;
use crate::delivery::{Answer, AnswerBody, BodyPieces as _, Fault, SendFacts};
use crate::headers;

/// The kind of failure of an exchange.
pub(super) enum Failure {
    /// Nothing was sent.
    Unreached(Fault),
    /// It was sent, wholly or in part.
    Ambiguous(Fault),
}

/// The bounds of an exchange.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) connect: Duration,
    pub(super) deadline: Instant,
    /// The time that the connection may be idle afterwards; zero closes it.
    pub(super) idle: Duration,
    /// The largest head of the answer, with those of interim answers before it.
    pub(super) max_head: usize,
}

/// Checks that a request can be written: its target is a path.
pub(super) fn check_target(outgoing: &Outgoing) -> Result<(), Failure> {
    let is_odd = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    if !outgoing.target.starts_with(b"/") || outgoing.target.iter().any(is_odd) {
        return Err(Failure::Unreached(Fault::Malformed));
    }
    Ok(())
}

/// Sends the request once and reads the head of the final answer. The connection returns to `pool` after a complete exchange.
pub(super) async fn exchange(
    dialed: Dialed,
    pool: &Arc<Pool>,
    clock: &dyn Clock,
    outgoing: &Outgoing,
    bounds: Bounds,
    facts: &mut SendFacts,
) -> Result<Answer, Failure> {
    let Dialed {
        mut connection,
        is_reused,
        peer,
    } = dialed;
    let Connection { stream, timer } = &mut connection;
    let began = clock.mono();
    facts.peer = peer._address.as_inet().copied();
    let sent = timer.within(bounds.deadline, write(stream, outgoing)).await;
    let mut bytes = BytesMut::new();
    // an upstream may answer early and close while the gateway still sends: its response counts. Past the deadline one look is enough.
    let head = final_head(stream, &mut bytes, bounds.max_head);
    let Final { head, is_certain } = match timer.within(bounds.deadline, head).await {
        Some(Ok(head)) => head,
        Some(Err(Early::Dead)) if is_reused => {
            // those that have been idle for longer are no better
            pool.close_all_to(&peer);
            return Err(Failure::Ambiguous(Fault::Stale));
        }
        Some(Err(Early::Dead)) => return Err(Failure::Ambiguous(Fault::Reset)),
        Some(Err(Early::Fault(fault))) => return Err(Failure::Ambiguous(fault)),
        None => return Err(Failure::Ambiguous(Fault::Timeout)),
    };
    facts.first_byte = Some(clock.mono().saturating_duration_since(began));
    let framing = head.framing(&outgoing.method);
    let framing = framing.map_err(|why| Failure::Ambiguous(why.into()))?;
    let is_bodiless = outgoing.method == Method::HEAD || has_no_content(head.status);
    let mut rest = Rest {
        open: Some(Open {
            connection,
            bytes,
            framing,
            peer,
            pool: Arc::clone(pool),
            idle: bounds.idle,
            is_reusable: matches!(sent, Some(Ok(())))
                && !bounds.idle.is_zero()
                && outgoing.method != Method::HEAD
                && is_certain
                && head.keeps_alive(),
        }),
        deadline: bounds.deadline,
    };
    // most bodies arrive together with the head; a malformed one is an error when its next piece is read
    let first = rest.arrived().ok().flatten().unwrap_or_default();
    let body = if rest.is_over() {
        AnswerBody::Whole(first)
    } else {
        AnswerBody::Pieces(first, Box::new(rest))
    };
    Ok(Answer {
        status: head.status,
        headers: headers::answer(head.headers, !is_bodiless),
        body,
    })
}

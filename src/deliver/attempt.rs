//! One try: hand on, look at the answer, say what follows, and put that on the disk.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::time::sleep;

use super::target::{Place, Turned};
use crate::clock::Now;
use crate::config::snapshot::WebhookRoute;
use crate::delivery::{Answer, Attempt, Delivery, HandOn as _, Outcome};
use crate::gateway::active_config::LiveHook;
use crate::gateway::{Gate, InFlight};
use crate::headers::shown_id;
use crate::queue::outcome::{self, Before};
use crate::queue::{pause, stored};
use crate::random;
use crate::retry::retry_after;
use crate::store::queue::{self, Cause, Lane, Lease, Leased, Next, Subject};
use crate::store::{Held, record};
use crate::telemetry::{After, AttemptSeen};
use crate::upstream::client::{Made, Onward};
use crate::verify::Cleared;

/// What a lease lasts beyond the longest try: for the way to the disk.
const LEASE_MARGIN: Duration = Duration::from_secs(15);
/// Bytes of an answer's body that are kept.
const BODY_KEPT: usize = 4 << 10;
/// Bytes of an answer's headers that are kept.
const HEAD_KEPT: usize = 8 << 10;
/// Bytes of an answer that are read so that its connection can be used again.
const READ: usize = 64 << 10;
/// The pauses between tries to put on the disk what a try came to. After them the lease lapses, and the delivery is tried again.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];
/// How long a stored delivery waits that cannot be read: for a person, or a newer version.
const UNREADABLE: Duration = Duration::from_secs(3600);

/// How long a unit of a route is leased: longer than any try that began in time.
pub(crate) fn lease_of(hook: &WebhookRoute) -> Duration {
    hook.forward.upstream.connect_timeout + hook.forward.timeout + LEASE_MARGIN
}

/// What a delivery has that is attempted as soon as it is accepted.
pub(crate) struct Begun {
    pub(crate) lease: Lease,
    pub(crate) lane: Option<Lane>,
    pub(crate) place: Place,
}

/// A leased unit on its way. Counts as in flight until it is settled.
pub(crate) struct Task {
    gate: InFlight<Arc<Gate>>,
    route: Arc<LiveHook>,
    delivery: Delivery,
    lease: Lease,
    lane: Option<Lane>,
    before: Before,
    cause: Cause,
    place: Place,
}

impl Task {
    /// A delivery that has just come in, and is tried from memory.
    pub(crate) fn at_birth(
        gate: &Arc<Gate>,
        route: &Arc<LiveHook>,
        delivery: Delivery,
        begun: Begun,
    ) -> Self {
        let Begun { lease, lane, place } = begun;
        // its sender is answered: its bytes are the deliverer's from now on
        delivery.received().body.release_share();
        let before = Before {
            tries: 0,
            age: Duration::ZERO,
            probe: false,
        };
        let gate = InFlight::begin(Arc::clone(gate));
        Self {
            gate,
            route: Arc::clone(route),
            delivery,
            lease,
            lane,
            before,
            cause: Cause::Schedule,
            place,
        }
    }

    /// A delivery from the disk. One that cannot be read is put off, and nothing is lost.
    pub(crate) async fn of_leased(
        gate: &Arc<Gate>,
        route: &Arc<LiveHook>,
        leased: Leased,
        probe: bool,
        place: Place,
    ) -> Option<Self> {
        let Leased {
            lease,
            tries,
            cause,
            age,
            lane,
            bytes: _,
            stored,
        } = leased;
        let now = gate.clock.now();
        match stored::restore(
            Arc::clone(&route.hook.name),
            &stored.record,
            stored.body.clone(),
            now,
        ) {
            Ok(delivery) => Some(Self {
                gate: InFlight::begin(Arc::clone(gate)),
                route: Arc::clone(route),
                delivery,
                lease,
                lane,
                before: Before { tries, age, probe },
                cause: if probe { Cause::Probe } else { cause },
                place,
            }),
            Err(error) => {
                tracing::error!(delivery = %stored.id, route = &*route.hook.name, %error, "a stored delivery waits, it cannot be read");
                settle(gate, lease, None, Next::Later(UNREADABLE)).await;
                None
            }
        }
    }

    /// Makes the try and settles it.
    pub(crate) async fn run(self) {
        let Self {
            gate,
            route,
            delivery,
            lease,
            lane,
            before,
            cause,
            place,
        } = self;
        let gate = &gate.0;
        let (hook, begun) = (&route.hook, gate.clock.now());
        let (number, received_at, dates) = (
            lease.attempt,
            delivery.head().received.wall,
            gate.dates(begun.mono),
        );
        let attempt = Attempt {
            number,
            received_at,
            budget: hook.forward.timeout,
            at: begun.wall,
            dates,
            inline: false,
        };
        let onward = Onward::new(&route.upstream, Arc::clone(hook));
        let (outcome, answer) = onward.hand_on(&delivery, attempt).await;
        let seen = look(answer, begun.wall).await;
        let (made, ended) = (onward.made(), gate.clock.mono());
        let took = ended.saturating_duration_since(begun.mono);
        if let Some(sign) = pause::sign(outcome, made.connect.is_some(), seen.asked) {
            let subject = Subject {
                delivery: lease.unit.delivery,
                lane,
            };
            tell_of_pause(
                &hook.name,
                place.heard(sign, subject, hook.forward.upstream.breaker.open, ended),
            );
        }
        let deliver = &hook.deliver;
        let next = outcome::next(
            &deliver.schedule,
            before,
            outcome,
            seen.asked,
            random::number(),
        );
        let tried =
            outcome::was_tried(outcome).then(|| recorded(cause, begun, took, outcome, made, seen));
        let held = settle(gate, lease, tried, next).await;
        gate.telemetry.attempted(&AttemptSeen {
            route: &hook.name,
            delivery: lease.unit.delivery.0,
            delivery_id: delivery_id(&delivery).as_deref(),
            upstream: &hook.forward.upstream.name,
            number,
            outcome,
            error: outcome::error(outcome),
            took,
            after: match (held, next) {
                (Some(Held::Yes), Next::Delivered) => After::Delivered,
                (Some(Held::Yes), Next::RetryIn(delay) | Next::Later(delay)) => After::Again(delay),
                (Some(Held::Yes), Next::Dead(_) | Next::Cancelled | Next::GiveBack) => After::Dead,
                (Some(Held::Lost), _) => After::Late,
                (None, _) => After::Unsaved,
            },
        });
        drop(place);
    }
}

/// Logs that the queue of a route begins or ceases to pause.
fn tell_of_pause(route: &str, turned: Option<Turned>) {
    match turned {
        Some(Turned::Paused(left)) => {
            tracing::warn!(
                route,
                pause_ms = left.as_millis(),
                "the queue of the route pauses: its app is away or has too much to do"
            );
        }
        Some(Turned::GoesOn) => tracing::info!(
            route,
            "the queue of the route goes on: its app answers again"
        ),
        None => {}
    }
}

/// What is kept of an answer.
#[derive(Default)]
pub(crate) struct Seen {
    /// The wait that it asks for.
    pub(crate) asked: Option<Duration>,
    head: Bytes,
    body: Bytes,
}

/// The wait that an answer asks for.
pub(crate) fn asked(answer: &Answer, now: SystemTime) -> Option<Duration> {
    answer
        .headers
        .get(RETRY_AFTER)
        .and_then(|value| retry_after(value.as_bytes(), now))
}

/// Returns the headers of an answer that are kept.
pub(crate) fn kept_head(headers: &HeaderMap) -> Bytes {
    let mut room = HEAD_KEPT;
    let lines = headers.iter().map_while(|(name, value)| {
        room = room.checked_sub(name.as_str().len() + value.len())?;
        Some((
            Bytes::copy_from_slice(name.as_str().as_bytes()),
            Bytes::copy_from_slice(value.as_bytes()),
        ))
    });
    record::headers(&lines.collect())
}

/// Reads an answer as far as it is kept, and a little further. One that breaks off has its status still.
pub(crate) async fn look(answer: Option<Answer>, now: SystemTime) -> Seen {
    let Some(mut answer) = answer else {
        return Seen::default();
    };
    let asked = asked(&answer, now);
    let head = kept_head(&answer.headers);
    let (mut body, mut read) = (BytesMut::new(), 0);
    while read < READ
        && let Ok(Some(piece)) = answer.body.next().await
    {
        read += piece.len();
        let room = BODY_KEPT.saturating_sub(body.len()).min(piece.len());
        body.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
    Seen {
        asked,
        head,
        body: body.freeze(),
    }
}

/// A try as it is recorded.
pub(crate) fn attempt_row(
    cause: Cause,
    begun: Now,
    took: Duration,
    outcome: Outcome,
    made: Made,
) -> queue::Attempt {
    let status = match outcome {
        Outcome::Answered(status) => Some(status.as_u16()),
        Outcome::Unreached(_) | Outcome::Ambiguous(_) => None,
    };
    queue::Attempt {
        cause,
        started: begun.wall,
        took,
        connect: made.connect,
        first_byte: made.first_byte,
        status,
        error: outcome::error(outcome).map(Arc::from),
        peer: made.peer.map(|peer| peer.to_string().into()),
        head: Bytes::new(),
        body: Bytes::new(),
    }
}

pub(crate) fn recorded(
    cause: Cause,
    begun: Now,
    took: Duration,
    outcome: Outcome,
    made: Made,
    seen: Seen,
) -> queue::Attempt {
    queue::Attempt {
        head: seen.head,
        body: seen.body,
        ..attempt_row(cause, begun, took, outcome, made)
    }
}

/// Puts on the disk what a try came to; none if the disk does not take it: the lease lapses then, and the delivery is tried again.
pub(crate) async fn settle(
    gate: &Gate,
    lease: Lease,
    attempt: Option<queue::Attempt>,
    next: Next,
) -> Option<Held> {
    for pause in PAUSES {
        match gate.store.settle(lease, attempt.clone(), next).await {
            Ok(held) => return Some(held),
            Err(error) => {
                tracing::debug!(%error, delivery = %lease.unit.delivery, "a try is not on the disk yet")
            }
        }
        sleep(pause).await;
    }
    let settled = gate.store.settle(lease, attempt, next).await;
    if let Err(error) = &settled {
        tracing::error!(%error, delivery = %lease.unit.delivery, "what a try came to is not on the disk: it will be made again");
    }
    settled.ok()
}

/// The provider's ID of a delivery, fit for showing; none of one that is not authentic.
pub(crate) fn delivery_id(delivery: &Delivery) -> Option<String> {
    let Cleared::Authentic(authentic) = delivery.cleared() else {
        return None;
    };
    authentic.delivery_id().map(shown_id)
}

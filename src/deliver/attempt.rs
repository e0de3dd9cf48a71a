//! One try: hand on, look at the answer, say what follows, and put that on the disk.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use super::target::{Place, Turned};
use crate::clock::Now;
use crate::delivery::{Answer, AttemptContext, Delivery, Outcome, SendFacts};
use crate::gateway::active_config::LiveHook;
use crate::gateway::{Gate, InFlight};
use crate::queue::attempt::{attempt_row, delivery_id, recorded_headers, retry_after};
use crate::queue::outcome::{self, Before};
use crate::queue::{pause, stored};
use crate::random;
use crate::store::Held;
use crate::store::queue::{self, Cause, Lane, Lease, Leased, Next, Subject};
use crate::telemetry::{After, AttemptSeen};
use crate::upstream::client::Sent;

/// Bytes of an answer's body that are kept.
const BODY_KEPT: usize = 4 << 10;
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
        let attempt = AttemptContext {
            number,
            received_at,
            budget: hook.forward.timeout,
            at: begun.wall,
            dates,
            inline: false,
        };
        let Sent {
            outcome,
            answer,
            facts,
        } = route.upstream.deliver(&delivery, hook, &attempt).await;
        let seen = look(answer, begun.wall).await;
        let ended = gate.clock.mono();
        let took = ended.saturating_duration_since(begun.mono);
        if let Some(sign) = pause::sign(outcome, facts.connect.is_some(), seen.asked) {
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
            outcome::was_tried(outcome).then(|| recorded(cause, begun, took, outcome, facts, seen));
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

/// Reads an answer as far as it is kept, and a little further. One that breaks off has its status still.
pub(crate) async fn look(answer: Option<Answer>, now: SystemTime) -> Seen {
    let Some(mut answer) = answer else {
        return Seen::default();
    };
    let asked = retry_after(&answer.headers, now);
    let head = recorded_headers(&answer.headers);
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

pub(crate) fn recorded(
    cause: Cause,
    begun: Now,
    took: Duration,
    outcome: Outcome,
    facts: SendFacts,
    seen: Seen,
) -> queue::Attempt {
    queue::Attempt {
        head: seen.head,
        body: seen.body,
        ..attempt_row(cause, begun, took, outcome, facts)
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

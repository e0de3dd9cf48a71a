//! One attempt, the same for every destination: send, read the answer, decide the next step, save it, report it.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use super::app::App;
use super::destination::{Destination, EventMessage, Message};
use super::endpoint::ReservedEndpoint;
use super::endpoint_pause::pause_after_answer;
use super::report::AttemptReport;
use super::target::AttemptSlot;
use super::worker::Worker;
use crate::activity::{Activity, InFlight};
use crate::delivery::{Answer, Delivery};
use crate::queue::attempt::{attempt_row, recorded_headers, retry_after};
use crate::queue::outcome::{BeforeAttempt, error_code, next_step, was_attempted};
use crate::random;
use crate::store::queue::{Attempt, Cause, Lane, Lease, Leased, Next, Stored, Subject};
use crate::store::{Answer as StoreAnswer, Ownership, Store};

/// The most bytes of an answer's body that are recorded.
const MAX_RECORDED_BODY: usize = 4 << 10;
/// The most bytes of an answer that are read, so that its connection can be used again.
const MAX_READ: usize = 64 << 10;
/// The pauses between calls that save the result of an attempt. After the last call the lease lapses, and the delivery is attempted again.
const SAVE_PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
];
/// The delay of a stored delivery that cannot be read: a person, or a newer version, may repair it.
const UNREADABLE_DELAY: Duration = Duration::from_secs(3600);

/// The lease and the slot of a delivery that is attempted as soon as it is accepted.
pub(crate) struct ReservedAttempt {
    pub(crate) lease: Lease,
    pub(crate) lane: Option<Lane>,
    pub(crate) slot: AttemptSlot,
}

/// Attempts a delivery that was just accepted, from memory, in a task of its own.
pub(crate) fn attempt_accepted(
    worker: &Arc<Worker>,
    app: &Arc<App>,
    delivery: Delivery,
    reserved: ReservedAttempt,
) {
    let ReservedAttempt { lease, lane, slot } = reserved;
    let slot = slot.spend();
    // its sender is answered: the slot accounts for its bytes from now on
    delivery.received().body.release_share();
    let task = AttemptTask {
        worker: Arc::clone(worker),
        message: Message::Webhook(Arc::clone(app), Box::new(delivery)),
        lease,
        lane,
        before: BeforeAttempt {
            attempts: 0,
            age: Duration::ZERO,
            is_probe: false,
        },
        cause: Cause::Schedule,
        slot,
        _in_flight: InFlight::begin(Arc::clone(&worker.activity)),
    };
    tokio::spawn(task.run());
}

/// Attempts a delivery from the store, in a task of its own. One that cannot be read is put off.
pub(super) fn attempt_leased(
    worker: &Arc<Worker>,
    destination: &Destination,
    leased: Leased,
    is_probe: bool,
    slot: AttemptSlot,
) {
    let in_flight = InFlight::begin(Arc::clone(&worker.activity));
    let (worker, destination) = (Arc::clone(worker), destination.clone());
    let Leased {
        lease,
        attempts,
        cause,
        age,
        waited: _,
        lane,
        bytes: _,
        stored,
    } = leased;
    tokio::spawn(async move {
        let message = match destination.message(&stored, worker.clock.now()) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(delivery = %stored.id, destination = destination.name(), %error, retry_in_s = UNREADABLE_DELAY.as_secs(), "cannot read a stored delivery; it stays in the queue");
                let next = Next::Later(UNREADABLE_DELAY);
                let saving = worker.store.settle(lease, None, next);
                saved(&*worker.store, saving, lease, None, next).await;
                return;
            }
        };
        let task = AttemptTask {
            worker,
            message,
            lease,
            lane,
            before: BeforeAttempt {
                attempts,
                age,
                is_probe,
            },
            cause: if is_probe { Cause::Probe } else { cause },
            slot,
            _in_flight: in_flight,
        };
        task.run().await;
    });
}

/// Attempts an event that was just stored, from memory, in a task of its own.
pub(crate) fn attempt_published(
    worker: &Arc<Worker>,
    reserved: ReservedEndpoint,
    stored: &Arc<Stored>,
    lease: Lease,
) {
    let leased = Leased {
        lease,
        attempts: 0,
        cause: Cause::Schedule,
        age: Duration::ZERO,
        waited: Duration::ZERO,
        lane: None,
        bytes: stored.body.len(),
        stored: Arc::clone(stored),
    };
    attempt_event(worker, reserved, leased, false);
}

/// Attempts a leased event, in a task of its own.
pub(super) fn attempt_event(
    worker: &Arc<Worker>,
    reserved: ReservedEndpoint,
    leased: Leased,
    is_probe: bool,
) {
    let ReservedEndpoint { endpoint, slot } = reserved;
    let slot = slot.spend();
    let now = worker.clock.mono();
    let task = AttemptTask {
        worker: Arc::clone(worker),
        message: Message::Event(Box::new(EventMessage {
            endpoint,
            due: now.checked_sub(leased.waited).unwrap_or(now),
            stored: leased.stored,
            store: Arc::clone(&worker.store),
            outside: Arc::clone(worker.endpoints().outside()),
        })),
        lease: leased.lease,
        lane: leased.lane,
        before: BeforeAttempt {
            attempts: leased.attempts,
            age: leased.age,
            is_probe,
        },
        cause: if is_probe { Cause::Probe } else { leased.cause },
        slot,
        _in_flight: InFlight::begin(Arc::clone(&worker.activity)),
    };
    tokio::spawn(task.run());
}

/// A leased delivery that is being attempted. Counts as in flight until it is settled.
struct AttemptTask {
    worker: Arc<Worker>,
    message: Message,
    lease: Lease,
    lane: Option<Lane>,
    before: BeforeAttempt,
    cause: Cause,
    slot: AttemptSlot,
    _in_flight: InFlight<Arc<Activity>>,
}

impl AttemptTask {
    /// Makes the attempt, settles it and reports it.
    async fn run(self) {
        let Self {
            worker,
            message,
            lease,
            lane,
            before,
            cause,
            slot,
            _in_flight,
        } = self;
        let begun = worker.clock.now();
        let dates = worker.dates(begun.mono);
        let mut sent = message.send(lease.attempt, &slot, begun, dates).await;
        let outcome = sent.outcome;
        let excerpt = read_excerpt(sent.answer.take(), begun.wall).await;
        let ended = worker.clock.mono();
        let took = ended.saturating_duration_since(begun.mono);
        message.learn(outcome, took);
        if let Some(signal) = message.signal(outcome, &sent.facts, excerpt.retry_after) {
            let subject = Subject {
                delivery: lease.unit.delivery,
                lane,
            };
            if let Some(change) = slot.record(signal, subject, message.first_pause(), ended) {
                message.report_pause(change);
            }
        }
        let planned = next_step(
            message.schedule(),
            before,
            outcome,
            excerpt.retry_after,
            random::number(),
        );
        let (next, new_state) = message.follow_up(outcome, planned);
        if let (Some(state), Message::Event(event)) = (new_state, &message) {
            // nothing else is sent to it, although its pause is not saved yet
            worker
                .endpoints()
                .changed(event.endpoint.target().id(), state);
        }
        let row = was_attempted(outcome).then(|| Attempt {
            facts: sent.recorded.clone(),
            head: excerpt.head,
            body: excerpt.body,
            ..attempt_row(cause, begun, took, outcome, sent.facts)
        });
        // queued before the slot is free, so that the store saves it before the next attempt of the slot, or with it
        let saving = worker.store.settle(lease, row.clone(), next);
        let _held = slot.end();
        let ownership = saved(&*worker.store, saving, lease, row, next).await;
        if let (Some(state), Message::Event(event)) = (new_state, &message) {
            let row = event.endpoint.row();
            pause_after_answer(&worker, row.target, &row.url, state).await;
        }
        let report = AttemptReport {
            lease,
            outcome,
            error: error_code(outcome),
            not_called: sent.not_called,
            begun: begun.mono,
            took,
            next,
            ownership,
        };
        message.report(&report, &worker.telemetry);
    }
}

/// The part of an answer that is recorded, and the delay that it asks for.
#[derive(Default)]
pub(super) struct AnswerExcerpt {
    retry_after: Option<Duration>,
    pub(super) head: Bytes,
    pub(super) body: Bytes,
}

/// Reads the start of an answer. If the body breaks off, the status and what was read still count.
pub(super) async fn read_excerpt(answer: Option<Answer>, now: SystemTime) -> AnswerExcerpt {
    let Some(mut answer) = answer else {
        return AnswerExcerpt::default();
    };
    let (mut body, mut read) = (BytesMut::new(), 0);
    while read < MAX_READ
        && let Ok(Some(piece)) = answer.body.next().await
    {
        read += piece.len();
        let room = MAX_RECORDED_BODY
            .saturating_sub(body.len())
            .min(piece.len());
        body.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
    AnswerExcerpt {
        retry_after: retry_after(&answer.headers, now),
        head: recorded_headers(&answer.headers),
        body: body.freeze(),
    }
}

/// Waits until the result of an attempt is saved, and repeats the call that fails. Returns `None` if the store does not take it: the lease lapses
/// then, and the delivery is attempted again.
async fn saved(
    store: &dyn Store,
    first: StoreAnswer<'_, Ownership>,
    lease: Lease,
    attempt: Option<Attempt>,
    next: Next,
) -> Option<Ownership> {
    let mut saving = first;
    for pause in SAVE_PAUSES {
        match saving.await {
            Ok(ownership) => return Some(ownership),
            Err(error) => {
                tracing::debug!(%error, delivery = %lease.unit.delivery, "the result of an attempt is not saved yet");
            }
        }
        sleep(pause).await;
        saving = store.settle(lease, attempt.clone(), next);
    }
    let saved = saving.await;
    if let Err(error) = &saved {
        tracing::error!(%error, delivery = %lease.unit.delivery, "the result of an attempt could not be saved; the delivery will be attempted again");
    }
    saved.ok()
}

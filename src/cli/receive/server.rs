//! The server of the receiver: a request a connection, judged, counted, and answered by the plan.
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;

use super::entry::{Attempt, Entry, Outcome, Summary};
use super::events::Events;
use super::judge::{Judged, Verdict, judge};
use super::plan::{Plan, Reaction, Step};
use super::wire::{self, Incomplete};
use crate::cli::error::Error;
use crate::clock::{Clock as _, Now, SystemClock};
use crate::event::catalogue::Catalogue;
use crate::verify::Verifier;

/// The largest number of connections at once.
const MAX_CONNECTIONS: usize = 256;
/// The largest number of entries that wait to be shown.
const MAX_WAITING: usize = 64;
/// The pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest time for which a connection is kept open without an answer.
const HANG: Duration = Duration::from_secs(3600);

/// The receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    verifier: Verifier,
    catalogue: Option<Catalogue>,
    plan: Plan,
    memory: Mutex<Memory>,
}

/// The memory of the receiver.
#[derive(Debug, Default)]
struct Memory {
    events: Events,
    /// Whether a delivery was authentic.
    has_verified: bool,
}

/// Serves connections until `stop` ends, and shows an entry for each delivery. Returns the numbers.
///
/// # Errors
/// `show` or `stop` failed.
pub(super) async fn serve(
    listener: &TcpListener,
    receiver: &Arc<Receiver>,
    show: &mut (dyn FnMut(&Entry) -> Result<(), Error> + Send),
    stop: impl Future<Output = Result<(), Error>>,
) -> Result<Summary, Error> {
    let (entries, mut finished) = mpsc::channel(MAX_WAITING);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut summary = Summary::default();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            (stream, permit) = accept(listener, &permits) => {
                let (receiver, entries) = (Arc::clone(receiver), entries.clone());
                tokio::spawn(async move {
                    receiver.receive(stream, &entries).await;
                    drop(permit);
                });
            }
            Some(entry) = finished.recv() => {
                summary.add(&entry);
                show(&entry)?;
            }
            stopped = &mut stop => {
                stopped?;
                break;
            }
        }
    }
    while let Ok(entry) = finished.try_recv() {
        summary.add(&entry);
        show(&entry)?;
    }
    Ok(summary)
}

/// Accepts the next connection once fewer than the largest number are open.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl Receiver {
    /// Returns a receiver that has received nothing.
    pub(super) fn new(verifier: Verifier, catalogue: Option<Catalogue>, plan: Plan) -> Self {
        Self {
            verifier,
            catalogue,
            plan,
            memory: Mutex::default(),
        }
    }

    /// Returns the plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Reads the request of a connection, judges it, and reacts to it.
    async fn receive(&self, mut stream: TcpStream, entries: &mpsc::Sender<Entry>) {
        let read = wire::read(&mut stream).await;
        let now = SystemClock.now();
        let judged = match read {
            Ok(bytes) => self.judge(&bytes, now),
            Err(Incomplete::Closed) => return,
            Err(Incomplete::CutOff) => {
                unreadable("the sender closed the connection within the request", 400)
            }
            Err(Incomplete::Slow) => unreadable("the request did not come within 30 s", 408),
            Err(Incomplete::LargeHead) => unreadable("the head is larger than 64 KiB", 431),
            Err(Incomplete::LargeBody) => unreadable("the body is larger than 1 MiB", 413),
        };
        let (step, attempt) = match &judged.verdict {
            Verdict::Authentic { key, .. } => {
                let history = self.memory.lock().events.count(*key);
                let (step, failing) = self.plan.step(history.attempts);
                let attempt = Attempt {
                    number: history.attempts,
                    failing,
                    delivered_before: history.delivered,
                };
                (step, Some(attempt))
            }
            Verdict::NotAuthentic { .. } => (Step::answer(StatusCode::UNAUTHORIZED), None),
            Verdict::Unreadable { status, .. } => (Step::answer(*status), None),
        };
        let outcome = begin(&mut stream, step, now).await;
        self.remember(&judged.verdict, outcome);
        let entry = Entry {
            received_at: now.wall,
            judged,
            attempt,
            outcome,
        };
        if entries.send(entry).await.is_ok() {
            finish(stream, outcome).await;
        }
    }

    fn judge(&self, bytes: &[u8], now: Now) -> Judged {
        let has_verified = self.memory.lock().has_verified;
        judge(
            &self.verifier,
            self.catalogue.as_ref(),
            bytes,
            has_verified,
            now,
        )
    }

    /// Remembers an authentic delivery, and whether it was answered with success.
    fn remember(&self, verdict: &Verdict, outcome: Outcome) {
        let Verdict::Authentic { key, .. } = verdict else {
            return;
        };
        let mut memory = self.memory.lock();
        memory.has_verified = true;
        if matches!(outcome, Outcome::Answered(status) if status.is_success()) {
            memory.events.set_delivered(*key);
        }
    }
}

fn unreadable(message: &'static str, status: u16) -> Judged {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Judged::unreadable(message, status)
}

/// Waits for the delay of a step, and answers if the step says so. A longer end is left to [`finish`], so that its line is not late.
async fn begin(stream: &mut TcpStream, step: Step, received: Now) -> Outcome {
    let gave_up = || Outcome::GaveUp(SystemClock.mono().saturating_duration_since(received.mono));
    if !step.delay.is_zero() && wire::is_closed_within(stream, step.delay).await {
        return gave_up();
    }
    match step.reaction {
        Reaction::Answer(status) => {
            if wire::write(stream, status).await {
                Outcome::Answered(status)
            } else {
                gave_up()
            }
        }
        Reaction::Drip(status) => Outcome::Dripping(status),
        Reaction::Hang => Outcome::Hanging,
        Reaction::Drop => Outcome::Dropped,
    }
}

/// Does the rest of what was begun, and closes the connection.
async fn finish(mut stream: TcpStream, outcome: Outcome) {
    match outcome {
        Outcome::Answered(_) => wire::linger(&mut stream).await,
        Outcome::Dripping(status) => wire::drip(&mut stream, status).await,
        Outcome::Hanging => {
            wire::is_closed_within(&mut stream, HANG).await;
        }
        Outcome::Dropped | Outcome::GaveUp(_) => {}
    }
}

//! The destinations of stored deliveries, and the messages that are sent to them.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alarm_webhook::{self, AlarmReceiver};
use super::app::App;
use super::endpoint::{self, LiveEndpoint};
use super::report::{AttemptReport, SendResult};
use super::target::{AttemptSlot, Target};
use crate::clock::{Dates, Now};
use crate::delivery::{Delivery, Outcome, SendFacts};
use crate::queue::choose::Admission;
use crate::queue::pause::{self, PauseChange, Signal};
use crate::queue::stored::Unreadable;
use crate::retry::Schedule;
use crate::store::Store;
use crate::store::address_book::EndpointState;
use crate::store::queue::{Next, Stored, TargetId};
use crate::telemetry::Telemetry;
use crate::upstream::outside::Outside;

/// The destinations of one config generation.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    pub(super) generation: u64,
    pub(super) apps: Vec<Arc<App>>,
    pub(super) alarms: Option<Arc<AlarmReceiver>>,
    /// The receiver of notifications about endpoints.
    pub(super) notices: Option<Arc<AlarmReceiver>>,
    /// Destinations by the number under which deliveries are stored. A number without one belongs to a route that is gone: its deliveries
    /// are parked.
    pub(super) by_number: HashMap<TargetId, Destination>,
}

impl Destinations {
    pub(super) fn new(
        generation: u64,
        apps: Vec<Arc<App>>,
        alarms: Option<Arc<AlarmReceiver>>,
        notices: Option<Arc<AlarmReceiver>>,
    ) -> Self {
        let of_apps = apps.iter().flat_map(|app| {
            app.numbers()
                .iter()
                .map(|number| (*number, Destination::App(Arc::clone(app))))
        });
        let of_alarms = alarms.iter().chain(&notices).map(|alarms| {
            (
                alarms.target().id(),
                Destination::Alarms(Arc::clone(alarms)),
            )
        });
        let by_number = of_apps.chain(of_alarms).collect();
        Self {
            generation,
            apps,
            alarms,
            notices,
            by_number,
        }
    }
}

/// The receiver of deliveries.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    /// The app of a webhook route.
    App(Arc<App>),
    /// The receiver of the gateway's own alarms, or of its notifications about endpoints.
    Alarms(Arc<AlarmReceiver>),
}

impl Destination {
    /// Returns its target: the slots, the rate and the pause, which all its numbers share.
    pub(super) fn target(&self) -> &Arc<Target> {
        match self {
            Self::App(app) => app.target(),
            Self::Alarms(alarms) => alarms.target(),
        }
    }

    /// Returns the name of the route, `alarms` or `notices`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::App(app) => &app.webhook().name,
            Self::Alarms(alarms) => alarms.name(),
        }
    }

    /// Returns the name of its upstream, which other destinations may share. Alarms have none.
    pub(super) fn upstream_name(&self) -> Arc<str> {
        match self {
            Self::App(app) => Arc::clone(&app.webhook().forward.upstream.name),
            Self::Alarms(_) => Arc::from(""),
        }
    }

    /// Returns what the circuit breakers of its upstream let through.
    pub(super) fn admission(&self, now: Instant) -> Admission {
        match self {
            Self::App(app) => app.upstream().admission(now),
            Self::Alarms(_) => Admission::All,
        }
    }

    /// Returns how long a circuit breaker or its pause lets nothing through.
    pub(super) fn shut_for(&self, now: Instant) -> Duration {
        let breaker = match self {
            Self::App(app) => app.upstream().shut_for(now),
            Self::Alarms(_) => Duration::ZERO,
        };
        breaker.max(self.target().pause().shut_for(now))
    }

    /// Returns how long a delivery is leased.
    pub(super) fn lease(&self) -> Duration {
        match self {
            Self::App(app) => app.lease(),
            Self::Alarms(_) => alarm_webhook::LEASE,
        }
    }

    /// Makes the message of a stored delivery.
    ///
    /// # Errors
    /// The part of the delivery that cannot be read.
    pub(super) fn message(&self, stored: &Arc<Stored>, now: Now) -> Result<Message, Unreadable> {
        Ok(match self {
            Self::App(app) => {
                let delivery = app.restore(stored, now)?;
                Message::Webhook(Arc::clone(app), Box::new(delivery))
            }
            Self::Alarms(alarms) => Message::Alarm(Arc::clone(alarms), Arc::clone(stored)),
        })
    }
}

/// A delivery with its destination, ready to be sent.
pub(super) enum Message {
    /// A webhook for the app of its route.
    Webhook(Arc<App>, Box<Delivery>),
    /// An alarm of the gateway.
    Alarm(Arc<AlarmReceiver>, Arc<Stored>),
    /// An event for an endpoint.
    Event(Box<EventMessage>),
}

/// An event for an endpoint.
pub(super) struct EventMessage {
    pub(super) endpoint: Arc<LiveEndpoint>,
    /// The time at which it was due.
    pub(super) due: Instant,
    pub(super) stored: Arc<Stored>,
    pub(super) store: Arc<dyn Store>,
    pub(super) outside: Arc<Outside>,
}

impl Message {
    /// Returns the retry schedule of its destination.
    pub(super) fn schedule(&self) -> &Schedule {
        match self {
            Self::Webhook(app, _) => &app.webhook().deliver.schedule,
            Self::Alarm(alarms, _) => alarms.schedule(),
            Self::Event(event) => &event.endpoint.rules().outbound.schedule,
        }
    }

    /// Returns the first pause of a destination that becomes unavailable.
    pub(super) fn first_pause(&self) -> Duration {
        match self {
            Self::Webhook(app, _) => app.webhook().forward.upstream.breaker.open,
            Self::Alarm(..) => alarm_webhook::FIRST_PAUSE,
            Self::Event(_) => endpoint::FIRST_PAUSE,
        }
    }

    /// Renders the request and sends it once.
    pub(super) async fn send(
        &self,
        number: u32,
        slot: &AttemptSlot,
        begun: Now,
        dates: Dates,
    ) -> SendResult {
        match self {
            Self::Webhook(app, delivery) => app.send(delivery, number, begun, dates).await,
            Self::Alarm(alarms, stored) => alarms.send(stored, begun).await,
            Self::Event(event) => {
                let EventMessage {
                    endpoint,
                    stored,
                    store,
                    outside,
                    due: _,
                } = &**event;
                endpoint.send(stored, slot, &**store, outside, begun).await
            }
        }
    }

    /// Returns the conclusion from an attempt about its target. Nothing but its pause judges an endpoint, so no answer counts there.
    pub(super) fn signal(
        &self,
        outcome: Outcome,
        facts: &SendFacts,
        retry_after: Option<Duration>,
    ) -> Option<Signal> {
        let signal = pause::signal(outcome, facts.connect.is_some(), retry_after)?;
        Some(match (self, signal) {
            (Self::Event(_), Signal::NoAnswer) => Signal::Unavailable(None),
            (_, signal) => signal,
        })
    }

    /// Lets an endpoint learn how quick it is.
    pub(super) fn learn(&self, outcome: Outcome, took: Duration) {
        match self {
            Self::Webhook(..) | Self::Alarm(..) => {}
            Self::Event(event) => event.endpoint.learn(outcome, took),
        }
    }

    /// Decides what follows after the step that the schedule plans: an endpoint may have to pause, and keeps its event then.
    pub(super) fn follow_up(
        &self,
        outcome: Outcome,
        planned: Next,
    ) -> (Next, Option<EndpointState>) {
        match self {
            Self::Webhook(..) | Self::Alarm(..) => (planned, None),
            Self::Event(event) => match event.endpoint.pauses(outcome, planned) {
                Some(state) => (LiveEndpoint::while_paused(), Some(state)),
                None => (planned, None),
            },
        }
    }

    /// Reports that an attempt has paused its target, or ended the pause.
    pub(super) fn report_pause(&self, change: PauseChange) {
        match self {
            Self::Webhook(app, _) => app.report_pause(change),
            Self::Alarm(..) | Self::Event(_) => {}
        }
    }

    /// Reports an attempt that has ended.
    pub(super) fn report(&self, report: &AttemptReport, telemetry: &Telemetry) {
        match self {
            Self::Webhook(app, delivery) => app.report(delivery, report, telemetry),
            Self::Alarm(..) => alarm_webhook::report(report),
            Self::Event(event) => event.endpoint.report(report, event.due, telemetry),
        }
    }
}

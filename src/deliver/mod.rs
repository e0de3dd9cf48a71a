//! The worker of the queue: finds due deliveries, chooses among them, leases them, makes the attempts and settles them. The rules are in `queue`.
//!
//! A delivery that has just been accepted is attempted from memory if its target has room (`App::reserve`). The loop of [`run`] makes retries,
//! attempts of deliveries that another process left, and of those that arrived faster than their target takes them.
mod alarm_webhook;
mod app;
mod attempt;
mod destination;
mod endpoint;
mod endpoint_health;
mod endpoint_jobs;
mod endpoint_pause;
mod endpoint_round;
mod endpoints;
mod event_facts;
mod job_steps;
mod memory;
mod messages;
mod notice;
mod places;
mod recovery;
mod recovery_job;
mod report;
mod reseal;
mod retention;
mod round;
mod rows;
mod rules;
mod sending;
mod sending_state;
mod signer;
mod spool;
mod target;
mod test_send;
mod worker;

pub(crate) use alarm_webhook::alarm;
pub(crate) use app::App;
pub(crate) use attempt::{ReservedAttempt, attempt_accepted, attempt_published};
pub(crate) use endpoint::{ORDERED, ReservedEndpoint};
pub use endpoint_health::watch_health;
pub use endpoint_jobs::run_jobs;
pub(crate) use event_facts::{DATA_AT, EventFacts, TEST, VERSION, VERSIONS};
pub(crate) use messages::{attempt_message, streak_message};
pub(crate) use recovery::Recovery;
pub use reseal::reseal;
pub use retention::sweep;
pub use round::run;
pub(crate) use rows::{OpenSecrets, open_headers, seal_headers, seal_secret};
pub(crate) use rules::Rules;
pub(crate) use signer::can_sign;
pub use spool::Spool;
pub(crate) use target::Target;
pub(crate) use test_send::{TestFault, send_test};
pub use worker::Worker;

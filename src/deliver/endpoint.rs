//! An endpoint of a customer, as a destination of stored events.
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use tokio::time::sleep;

use super::event_facts::{EventFacts, chosen};
use super::messages::URL;
use super::report::{AttemptReport, SendResult};
use super::rows::{UnusableEndpoint, open_headers};
use super::rules::Rules;
use super::signer::{Signable, Signer, signer, signing};
use super::target::{AttemptSlot, Speed, Target};
use crate::clock::Now;
use crate::config::snapshot::WebAddress;
use crate::delivery::{Fault, Outcome};
use crate::event::{EventType, envelope};
use crate::limit::Quota;
use crate::queue::attempt::lease_of;
use crate::queue::outcome::was_attempted;
use crate::store::Store;
use crate::store::address_book::{Endpoint, EndpointState};
use crate::store::queue::{Lane, Next, OriginId, Stored};
use crate::store::record::{self, Pairs};
use crate::telemetry::{EndpointAttempt, Telemetry};
use crate::tenant::event_id::event_id;
use crate::tenant::headers::OwnHeaders;
use crate::tenant::settings::{EndpointSettings, OnDead, Payload};
use crate::tenant::url::EndpointUrl;
use crate::upstream::outside::Outside;
use crate::upstream::{Lines, Outgoing};

/// The time after which an attempt without an answer makes its endpoint a suspect.
const SLOW: Duration = Duration::from_secs(1);
/// The statuses of an endpoint that is overloaded or unavailable.
const OVERLOADED: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];
/// The wait of an event that cannot be read or signed now.
const UNSIGNED: Duration = Duration::from_secs(60);
/// The first pause of an endpoint that is unavailable or overloaded.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The wait of events for an endpoint that was just paused. It is not leased before it is resumed.
const PAUSED: Duration = Duration::from_secs(60);

/// The lane of endpoints that get their events in order: a target has one.
pub(crate) const ORDERED: Lane = Lane([0; 16]);

/// An endpoint, ready to be sent to.
pub(crate) struct LiveEndpoint {
    row: Endpoint,
    url: EndpointUrl,
    to: WebAddress,
    settings: EndpointSettings,
    headers: OwnHeaders,
    /// The signatures, or none if no secret can sign: nothing is sent then.
    signer: Option<Signer>,
    /// The names of the secrets that sign, for the record.
    secrets: String,
    target: Arc<Target>,
    rules: Arc<Rules>,
    made: Now,
}

/// An endpoint with a slot for an event.
pub(crate) struct ReservedEndpoint {
    pub(super) endpoint: Arc<LiveEndpoint>,
    pub(super) slot: AttemptSlot,
}

impl ReservedEndpoint {
    /// Returns how long the event is leased.
    pub(crate) fn lease(&self) -> Duration {
        self.endpoint.lease()
    }
}

impl std::fmt::Debug for LiveEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveEndpoint")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl LiveEndpoint {
    /// Makes an endpoint of its row.
    ///
    /// # Errors
    /// The part of the row that cannot be read.
    pub(super) fn new(
        row: Endpoint,
        target: Arc<Target>,
        rules: Arc<Rules>,
        now: Now,
    ) -> Result<Self, UnusableEndpoint> {
        let settings =
            EndpointSettings::from_json(&row.settings).map_err(|_| UnusableEndpoint("settings"))?;
        let url = EndpointUrl::restore(&row.url).map_err(|_| UnusableEndpoint("URL"))?;
        let allowed = &rules.outbound.endpoints;
        if !(url.tls() || allowed.http) || !allowed.ports.contains(&url.port()) {
            return Err(UnusableEndpoint("URL"));
        }
        let headers = open_headers(&row, &rules.keys)?;
        let scheme = settings.sign.name();
        let signing = signing(&row, scheme, &rules, now)?;
        let secrets: Vec<&str> = signing.iter().map(|secret| &*secret.name).collect();
        let secrets = secrets.join(", ");
        let signer = signer(&signing, scheme, &url, &rules);
        let to = WebAddress {
            tls: url.tls(),
            host: url.host().to_owned(),
            port: url.port(),
            authority: url.authority().to_owned(),
            target: url.target().clone(),
        };
        Ok(Self {
            row,
            url,
            to,
            settings,
            headers,
            signer,
            secrets,
            target,
            rules,
            made: now,
        })
    }

    /// Lets its target follow its settings from now on.
    pub(super) fn limit_target(&self) {
        let most = self.rules.outbound.endpoints.concurrency;
        let concurrency = self.settings.concurrency.map_or(most, |own| own.min(most));
        let quota = self.settings.rate.map(|rate| Quota {
            rate,
            burst: rate.count,
        });
        self.target.follow_endpoint(concurrency, quota);
    }

    /// Returns its row as it was read.
    pub(crate) fn row(&self) -> &Endpoint {
        &self.row
    }

    /// Returns about how many bytes it has in memory.
    pub(super) fn size(&self) -> usize {
        let Endpoint {
            url,
            settings,
            sealed,
            secrets,
            ..
        } = &self.row;
        let of_secrets: usize = secrets.iter().map(|secret| secret.sealed.len()).sum();
        let of_row = url.len() + settings.len() + sealed.as_ref().map_or(0, Bytes::len);
        // the texts are there once more: parsed, opened, or in the keys of signatures
        size_of::<Self>() + 3 * (of_row + of_secrets)
    }

    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Returns its tenant.
    pub(super) fn tenant(&self) -> OriginId {
        self.row.tenant
    }

    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Returns the time for one attempt.
    fn timeout(&self) -> Duration {
        self.settings
            .timeout
            .map_or(self.rules.outbound.timeout, Duration::from_secs)
    }

    /// Returns how long an event is leased.
    pub(super) fn lease(&self) -> Duration {
        lease_of(Duration::ZERO, self.timeout())
    }

    /// Decides what follows an attempt beside the schedule. An endpoint that answers 410 is paused and its events are kept; so is one whose
    /// event ran out of attempts, if it says so.
    pub(super) fn pauses(&self, outcome: Outcome, next: Next) -> Option<EndpointState> {
        match (outcome, next) {
            (Outcome::Answered(StatusCode::GONE), _) => Some(EndpointState::PausedByGone),
            (_, Next::Dead(_)) if self.settings.on_dead == OnDead::Pause => {
                Some(EndpointState::PausedByFailures)
            }
            _ => None,
        }
    }

    /// Returns the next step of the event of an endpoint that was paused.
    pub(super) fn while_paused() -> Next {
        Next::Later(PAUSED)
    }

    /// Learns how quick the endpoint is, and whether it is failing.
    pub(super) fn learn(&self, outcome: Outcome, took: Duration) {
        let speed = match outcome {
            Outcome::Unreached(Fault::Local(_)) => return,
            Outcome::Unreached(_) | Outcome::Ambiguous(_) => Speed::Suspect,
            Outcome::Answered(_) if took >= SLOW => Speed::Suspect,
            Outcome::Answered(status) if OVERLOADED.contains(&status) => Speed::Overloaded,
            Outcome::Answered(_) => Speed::Quick,
        };
        let is_delivered = outcome.status().is_some_and(|status| status.is_success());
        self.target.learn(speed, is_delivered);
    }

    /// Counts and logs an attempt of an event that was due at `due`. Endpoints are many and their failures are their customers', so this is no
    /// warning.
    pub(super) fn report(&self, report: &AttemptReport, due: Instant, telemetry: &Telemetry) {
        if was_attempted(report.outcome) {
            telemetry.sending().count_attempt(&EndpointAttempt {
                outcome: report.outcome,
                delay: report.begun.saturating_duration_since(due),
                took: report.took,
            });
        }
        let (event, attempt) = (event_id(report.lease.unit.delivery.0), report.lease.attempt);
        let status = report.outcome.status().map(|status| status.as_u16());
        let error = report.error;
        let endpoint = &*self.row.id;
        tracing::debug!(event, endpoint, attempt, status, error, next = ?report.next, "event attempted");
    }

    /// Returns whether a secret has ended or begun to sign since the signatures were made.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.row
            .secrets
            .iter()
            .filter_map(|secret| secret.ends)
            .any(|ends| self.made.wall < ends && ends <= now.wall)
    }

    /// Sends an event once, signed as of now.
    pub(super) async fn send(
        &self,
        stored: &Stored,
        slot: &AttemptSlot,
        store: &dyn Store,
        outside: &Outside,
        begun: Now,
    ) -> SendResult {
        let Some(sending) = self.render(stored, store, begun).await else {
            // nothing is sent without a signature: this says nothing about the endpoint, and counts as no attempt
            return SendResult::unreached(Fault::BreakerOpen(UNSIGNED));
        };
        let Sending { outgoing, facts } = sending;
        let egress = &self.rules.outbound.egress;
        let calling = outside.send(
            &self.to,
            &outgoing,
            egress,
            self.row.tenant.0,
            self.timeout(),
        );
        let mut calling = std::pin::pin!(calling);
        let sent = tokio::select! {
            sent = &mut calling => sent,
            () = sleep(SLOW) => {
                slot.suspect();
                calling.await
            }
        };
        SendResult {
            recorded: facts,
            ..sent.map_or_else(SendResult::from, SendResult::from)
        }
    }

    /// Sends an event once for a person who tests the endpoint: nothing is learned from it. `None` if it cannot be signed.
    pub(super) async fn send_test(
        &self,
        stored: &Stored,
        store: &dyn Store,
        outside: &Outside,
        begun: Now,
    ) -> Option<SendResult> {
        let Sending { outgoing, facts } = self.render(stored, store, begun).await?;
        let (egress, tenant) = (&self.rules.outbound.egress, self.row.tenant.0);
        let sent = outside
            .send(&self.to, &outgoing, egress, tenant, self.timeout())
            .await;
        Some(SendResult {
            recorded: facts,
            ..sent.map_or_else(SendResult::from, SendResult::from)
        })
    }

    /// Renders the request; `None` if the event cannot be read, or no secret can sign it.
    async fn render(&self, stored: &Stored, store: &dyn Store, begun: Now) -> Option<Sending> {
        let facts = EventFacts::of(stored);
        let event_type = stored.event_type.as_deref().unwrap_or_default();
        let pin = EventType::new(event_type)
            .ok()
            .and_then(|event_type| self.settings.versions.get(&event_type).copied());
        let version = chosen(pin, &facts);
        let body = if version == facts.version {
            stored.body.clone()
        } else {
            store.version(stored.id, version).await.ok()??
        };
        let body = match self.settings.payload {
            Payload::Envelope => body,
            Payload::Raw => envelope::data(&body, facts.data_at)?,
        };
        let id = event_id(stored.id.0);
        let signed = self.signer.as_ref()?.sign(&Signable {
            id: &id,
            event_type,
            url: &self.url,
            body: &body,
            now: begun,
        })?;
        let mut headers = Lines::default();
        headers.push(
            &header::HOST,
            &HeaderValue::from_str(&self.to.authority).ok()?,
        );
        headers.push(&header::CONTENT_LENGTH, &HeaderValue::from(body.len()));
        headers.push_text(&header::CONTENT_TYPE, "application/json");
        headers.push_text(&header::ACCEPT_ENCODING, "identity");
        headers.push(&header::USER_AGENT, &self.rules.outbound.user_agent);
        let is_signed = |name: &HeaderName| signed.iter().any(|(other, _)| other == name);
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_signed(name)) {
            headers.push(name, value);
        }
        for (name, value) in &signed {
            headers.push(name, value);
        }
        Some(Sending {
            outgoing: Outgoing {
                method: Method::POST,
                target: self.to.target.clone(),
                headers,
                body,
            },
            facts: self.facts(version),
        })
    }

    /// Returns the record of what is sent where.
    fn facts(&self, version: u16) -> Bytes {
        let fact = |name: &'static str, value: String| {
            (Bytes::from_static(name.as_bytes()), Bytes::from(value))
        };
        let facts: Pairs = vec![
            fact(URL, self.url.text().to_owned()),
            fact("version", version.to_string()),
            fact("payload", word(self.settings.payload).to_owned()),
            fact("secrets", self.secrets.clone()),
        ];
        record::headers(&facts)
    }
}

fn word(payload: Payload) -> &'static str {
    match payload {
        Payload::Envelope => "envelope",
        Payload::Raw => "raw",
    }
}

/// A request, and the record of what is sent where.
struct Sending {
    outgoing: Outgoing,
    facts: Bytes,
}

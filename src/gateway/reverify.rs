//! Judges refused requests that are kept again, by the current config, and releases those that are authentic as their route does it within a
//! request.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::activity::InFlight;
use crate::api::quarantine::{Reverified, ReverifyPlan, ReverifySample};
use crate::clock::{rfc3339, within};
use crate::delivery::{Answer, Delivery};
use crate::gateway::Gate;
use crate::gateway::active_config::{ActiveRoute, Found};
use crate::gateway::late::{self, Note};
use crate::gateway::pipeline;
use crate::gateway::reply::{self, RefusalResponse, Reply};
use crate::quarantine::{Kept, TableError};
use crate::refusal::Refusal;
use crate::request::RequestId;
use crate::telemetry::Facts;
use crate::verify::{Authentic, Cleared, NotAuthentic};

/// The most requests that one call releases or tries to release.
const MAX_RELEASES: usize = 100;
/// The time after which a call begins nothing more, so that its caller gets an answer.
const MAX_DURATION: Duration = Duration::from_secs(20);
/// The IDs of one query.
const IDS_PER_QUERY: u16 = 64;
/// The requests that a plan shows.
const MAX_SAMPLE: usize = 5;
/// The time for the rest of a response, which nobody reads.
const REST_TIMEOUT: Duration = Duration::from_secs(5);
/// The code of a provider's test of the endpoint: nobody waits for its answer any more.
const HANDSHAKE: &str = "handshake";

/// A kept request that is authentic by the current config.
struct Passed {
    delivery: Delivery,
    event_type: Option<String>,
}

/// The result of one kept request.
enum Outcome {
    /// It was forwarded or stored, and is not kept any more.
    Released,
    /// It is a duplicate, and is not kept any more.
    Duplicate,
    /// It is authentic, and was not released, for this reason.
    Failed(String),
    /// It is not authentic.
    Refused(&'static str),
    /// Another call released it meanwhile, or its time is over.
    Gone,
}

/// Judges a request by the current secrets. Its signed time is judged as of its receipt.
///
/// # Errors
/// The code for which it is not released.
fn judge(gate: &Gate, route: &ActiveRoute, kept: Kept) -> Result<Passed, &'static str> {
    admit(gate, route, &kept).map_err(|refusal| refusal.code())?;
    let Kept {
        params,
        received,
        tolerance,
        ..
    } = kept;
    let webhook = &*route.webhook;
    let Some(verifier) = &webhook.verifier else {
        return Err("not_verified");
    };
    let (arrived, dates) = (received.head.received, gate.dates(gate.clock.mono()));
    let mut check = verifier.begin(&received.head, &params);
    check.update(received.body.bytes());
    let authentic = check
        .finish(received, arrived, &dates)
        .map_err(|refused| refused.why.code())?;
    in_time(&authentic, tolerance, arrived.wall).map_err(|why| why.code())?;
    let event_type = verifier.event_type(authentic.received());
    let cleared = Cleared::Authentic(authentic);
    let handshakes = &webhook.handshakes;
    if handshakes
        .signed(Some(verifier), &cleared, &params, &dates)
        .is_some()
    {
        return Err(HANDSHAKE);
    }
    let delivery = Delivery::new(Arc::clone(&webhook.name), params, cleared).from_quarantine();
    Ok(Passed {
        delivery,
        event_type,
    })
}

/// Checks the head and the size of a kept request by the current config, as at its receipt. The certificate of its client is not stored: a client
/// that a certificate may admit was admitted then.
fn admit(gate: &Gate, route: &ActiveRoute, kept: &Kept) -> Result<(), Refusal> {
    let (webhook, head) = (&*route.webhook, &kept.received.head);
    match gate.active.load().find(head) {
        Some(Found::Webhook(found, params))
            if found.webhook.name == webhook.name && params == kept.params => {}
        Some(Found::Webhook(..) | Found::Pass(_)) | None => return Err(Refusal::NoRoute),
    }
    if !webhook.methods.contains(&head.method) {
        return Err(Refusal::MethodNotAllowed);
    }
    let allow = &webhook.allow;
    if allow.subjects.is_empty() && !allow.admits(head.client.ip, None) {
        return Err(Refusal::ClientNotAllowed);
    }
    if kept.received.body.bytes().len() > webhook.max_body {
        return Err(Refusal::BodyTooLarge);
    }
    if webhook.is_ambiguous(head) {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

/// Judges the signed time by the tolerance that the route had when the request arrived: a tolerance that is raised later lets no old request in.
fn in_time(
    authentic: &Authentic,
    tolerance: Option<Duration>,
    arrived: SystemTime,
) -> Result<(), NotAuthentic> {
    let (Some(signed_at), Some(tolerance)) = (authentic.signed_at(), tolerance) else {
        return Ok(());
    };
    match arrived.duration_since(signed_at) {
        Ok(age) if age > tolerance => Err(NotAuthentic::TimestampStale),
        Err(ahead) if ahead.duration() > tolerance => Err(NotAuthentic::TimestampFuture),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Judges the kept requests of a route, and releases none.
///
/// # Errors
/// The file of the quarantine cannot be read.
pub(super) async fn plan(gate: &Gate, route: &ActiveRoute) -> Result<ReverifyPlan, TableError> {
    let ends = gate.clock.mono() + MAX_DURATION;
    let (mut plan, mut after) = (ReverifyPlan::default(), None);
    loop {
        let ids = next_ids(gate, route, after).await?;
        let Some(last) = ids.last() else {
            plan.complete = true;
            return Ok(plan);
        };
        after = Some(*last);
        for id in ids {
            if gate.clock.mono() >= ends {
                return Ok(plan);
            }
            let Some(kept) = gate.quarantine.get(id).await? else {
                continue;
            };
            let received_at = rfc3339(kept.entry.received_at);
            plan.kept += 1;
            match judge(gate, route, kept) {
                Ok(passed) => {
                    plan.passing += 1;
                    if plan.sample.len() < MAX_SAMPLE {
                        plan.sample.push(ReverifySample {
                            id: id.to_string(),
                            received_at,
                            event_type: passed.event_type,
                        });
                    }
                }
                Err(code) => count(&mut plan.refused, code),
            }
        }
    }
}

/// Releases the requests of a route that are authentic now, oldest first, after the one with the ID `after`. The caller lets it come to its end:
/// the app may have got a request by then.
///
/// # Errors
/// The file of the quarantine cannot be read, and nothing was released.
pub(super) async fn release(
    gate: &Arc<Gate>,
    route: &Arc<ActiveRoute>,
    mut after: Option<RequestId>,
) -> Result<Reverified, TableError> {
    let _in_flight = InFlight::begin(gate.activity());
    let ends = gate.clock.mono() + MAX_DURATION;
    let (mut done, mut tried) = (Reverified::default(), 0);
    loop {
        let ids = match next_ids(gate, route, after).await {
            Err(error) if done == Reverified::default() => return Err(error),
            Err(_) => return Ok(broken_off(done, after, gate, route)),
            Ok(ids) if ids.is_empty() => break,
            Ok(ids) => ids,
        };
        for id in ids {
            let is_over = gate.clock.mono() >= ends || gate.lifecycle.activity.is_leaving();
            if tried >= MAX_RELEASES || is_over {
                return Ok(broken_off(done, after, gate, route));
            }
            let outcome = match release_one(gate, &route.webhook.name, id).await {
                Err(error) if done == Reverified::default() => return Err(error),
                Err(_) => return Ok(broken_off(done, after, gate, route)),
                Ok(outcome) => outcome,
            };
            tried += usize::from(!matches!(outcome, Outcome::Refused(_) | Outcome::Gone));
            match outcome {
                Outcome::Released => done.released += 1,
                Outcome::Duplicate => done.duplicates += 1,
                Outcome::Failed(code) => count(&mut done.failed, &code),
                Outcome::Refused(code) => count(&mut done.refused, code),
                Outcome::Gone => {}
            }
            after = Some(id);
        }
    }
    done.left = kept(gate, route);
    Ok(done)
}

/// Returns the result of a call that did not come to the end: the next one goes on after `last`.
fn broken_off(
    mut done: Reverified,
    last: Option<RequestId>,
    gate: &Gate,
    route: &ActiveRoute,
) -> Reverified {
    done.next = last.map(|id| id.to_string());
    done.left = kept(gate, route);
    done
}

/// Judges one request by the config of this moment, and releases it if it is authentic. No other call can do so at the same time.
async fn release_one(gate: &Arc<Gate>, route: &str, id: RequestId) -> Result<Outcome, TableError> {
    let mut released = gate.releasing.lock().await;
    if released.contains(&id) {
        if gate.quarantine.remove(id).await.is_ok() {
            released.remove(&id);
        }
        return Ok(Outcome::Gone);
    }
    let Some(kept) = gate.quarantine.get(id).await? else {
        return Ok(Outcome::Gone);
    };
    if !gate.accepts() {
        return Ok(Outcome::Failed(Refusal::Draining.code().to_owned()));
    }
    let dates = gate.dates(gate.clock.mono());
    let found = gate.active.load().webhook_route(route).cloned();
    let Some(route) = &found.filter(|route| route.webhook.enforces(&dates)) else {
        return Ok(Outcome::Refused(Refusal::NoRoute.code()));
    };
    let passed = match judge(gate, route, kept) {
        Ok(passed) => passed,
        Err(code) => return Ok(Outcome::Refused(code)),
    };
    // boxed, since it holds the whole path of a request
    let outcome = match Box::pin(hand_on(gate, route, passed)).await {
        Ok(Reply::Forwarded(answer)) => {
            let status = answer.status;
            read_rest(gate, answer).await;
            if !status.is_success() {
                return Ok(Outcome::Failed(code_of(status)));
            }
            Outcome::Released
        }
        Ok(Reply::Accepted(_) | Reply::Handshake(_) | Reply::Pass(..)) => Outcome::Released,
        Ok(Reply::Duplicate(_)) => Outcome::Duplicate,
        Err(refusal) => return Ok(Outcome::Failed(refusal.code().to_owned())),
    };
    // the log says why it fails; the request is not released again
    if gate.quarantine.remove(id).await.is_err() {
        released.insert(id);
    }
    Ok(outcome)
}

/// Claims a delivery, and forwards or stores it, with a record like that of a request.
async fn hand_on(
    gate: &Arc<Gate>,
    route: &Arc<ActiveRoute>,
    passed: Passed,
) -> Result<Reply, Refusal> {
    let Passed {
        delivery,
        event_type,
    } = passed;
    let (webhook, head, now) = (&route.webhook, delivery.head(), gate.clock.now());
    let mut facts = Facts::new(
        head.request_id,
        &head.method,
        &head.target,
        &head.headers,
        head.client,
        now,
    );
    facts.from_quarantine = true;
    facts.of_route(&webhook.name, webhook.provider.as_ref());
    facts.hide(&webhook.secret_locations);
    facts.body_bytes = u64::try_from(delivery.body().len()).unwrap_or(u64::MAX);
    facts.of_verdict(event_type, delivery.cleared(), now, now, false);
    let mut record = gate.telemetry.begin(facts);
    // as a request does from the verdict on
    let note = late::note(gate, route, &delivery, None);
    let reply = pipeline::settle(gate, route, delivery, None, record.facts_mut(), now).await;
    if reply.as_ref().is_ok_and(Reply::is_final) {
        note.into_iter().for_each(Note::discard);
    }
    let reply = reply.map_err(|refusal| RefusalResponse::of_webhook(refusal, webhook));
    record.close(reply::ended(&reply));
    reply.map_err(|response| response.refusal)
}

/// Reads the rest of a response, so that its connection can be used again.
async fn read_rest(gate: &Gate, mut answer: Answer) {
    let rest = async { while let Ok(Some(_)) = answer.body.next().await {} };
    within(gate.clock.mono() + REST_TIMEOUT, rest).await.ok();
}

async fn next_ids(
    gate: &Gate,
    route: &ActiveRoute,
    after: Option<RequestId>,
) -> Result<Vec<RequestId>, TableError> {
    let name = Arc::clone(&route.webhook.name);
    gate.quarantine.ids_after(name, after, IDS_PER_QUERY).await
}

/// Returns the number of requests that a route keeps now.
fn kept(gate: &Gate, route: &ActiveRoute) -> u64 {
    let sums = gate.quarantine.sums();
    let own = sums.iter().find(|(name, _)| *name == route.webhook.name);
    own.map_or(0, |(_, sum)| sum.requests)
}

fn count(counts: &mut BTreeMap<String, u64>, code: &str) {
    *counts.entry(code.to_owned()).or_default() += 1;
}

/// Returns the status of an app that did not take a delivery, as text.
fn code_of(status: StatusCode) -> String {
    status.as_str().to_owned()
}

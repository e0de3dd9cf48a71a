//! The spine of a request. Every step yields a value for the next, or a refusal.
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Dates, Now};
use crate::config::snapshot::{Action, Inline, WebhookRoute};
use crate::dedupe::key::{BodyDigest, Scope};
use crate::delivery::Delivery;
use crate::gateway::active_config::{ActiveConfig, ActivePass, ActiveRoute, Found};
use crate::gateway::body::{self, Arrived, BodyBounds, BodySource};
use crate::gateway::boxed::boxed;
use crate::gateway::budget::Share;
use crate::gateway::claim::{self, DeliveryClaim};
use crate::gateway::late::{self, Note};
use crate::gateway::reply::{Receipt, RefusalResponse, Reply};
use crate::gateway::{Gate, admit, enqueue, forward};
use crate::refusal::Refusal;
use crate::request::{Params, Received, RequestHead};
use crate::telemetry::{Acceptance, Facts};
use crate::verify::{Check, Cleared, Handshakes, Unverified};

/// Decides about one request, of which the route was found, and forwards or stores it.
///
/// # Errors
/// The refusal, when the request is not let through or the upstream gave no response; with the response that its route has for it.
pub(super) async fn run(
    gate: &Arc<Gate>,
    active: &ActiveConfig,
    (found, head): (Option<Found<'_>>, RequestHead),
    source: &mut impl BodySource,
    facts: &mut Facts,
) -> Result<Reply, RefusalResponse> {
    match found {
        Some(Found::Webhook(route, params)) => {
            let timeout = active.snapshot.limits.body_timeout;
            webhook(gate, route, (params, head), (source, timeout), facts)
                .await
                .map_err(|refusal| RefusalResponse::of_webhook(refusal, &route.webhook))
        }
        Some(Found::Pass(route)) => pass(gate, route, head, facts)
            .map_err(|refusal| RefusalResponse::of_pass(refusal, &route.pass)),
        None => {
            let charged = gate.limits.charge(head.client, head.received.mono);
            Err(charged.err().unwrap_or(Refusal::NoRoute).into())
        }
    }
}

/// Lets a request through to a pass route, unverified.
fn pass(
    gate: &Gate,
    route: &Arc<ActivePass>,
    head: RequestHead,
    facts: &mut Facts,
) -> Result<Reply, Refusal> {
    facts.of_route(&route.pass.name, None);
    admit::admit_pass(route, &head, &gate.limits)
        .inspect_err(|refusal| facts.of_refused_path(*refusal))?;
    Ok(Reply::Pass(Arc::clone(route), Box::new(head)))
}

/// Decides about one request for a webhook route: admit, read the body, verify, claim the delivery ID, forward or store.
async fn webhook(
    gate: &Arc<Gate>,
    route: &Arc<ActiveRoute>,
    (params, head): (Params, RequestHead),
    (source, timeout): (&mut impl BodySource, Duration),
    facts: &mut Facts,
) -> Result<Reply, Refusal> {
    let webhook = &*route.webhook;
    let verifier = webhook.verifier.as_ref();
    facts.of_route(&webhook.name, webhook.provider.as_ref());
    facts.hide(&webhook.secret_locations);
    if !gate.accepts() {
        return Err(Refusal::Draining);
    }
    let ticket = admit::admit(webhook, &route.limits, &head, &gate.limits)
        .inspect_err(|why| facts.of_refused_head(*why, &head))?;
    let Checked {
        received,
        check,
        digest,
        share,
    } = read_body(gate, webhook, (&params, head), source, timeout).await?;
    facts.body_bytes = u64::try_from(received.body.bytes().len()).unwrap_or(u64::MAX);
    let now = gate.clock.now();
    let dates = gate.dates(now.mono);
    let observes = webhook.observes(&dates);
    let unsigned = webhook
        .handshakes
        .unsigned(verifier, &received, &params, &dates)
        .inspect_err(|why| facts.why = Some(Handshakes::hint(*why).into()))?;
    if let Some(response) = unsigned {
        return Ok(Reply::Handshake(response));
    }
    let checks = (check, &params, digest);
    let cleared = clear(gate, route, received, checks, (&dates, observes), facts).await?;
    let event_type = verifier.and_then(|verifier| verifier.event_type(cleared.received()));
    facts.of_verdict(event_type, &cleared, now, gate.clock.now(), observes);
    ticket.refund(now.mono);
    // the body of an authentic request counts against the whole budget alone
    let _share = share.filter(|_| matches!(cleared, Cleared::Unverified(_)));
    let signed = webhook
        .handshakes
        .signed(verifier, &cleared, &params, &dates);
    if let Some(response) = signed {
        return Ok(Reply::Handshake(response));
    }
    // an observing route forwards authentic requests like all others: only enforcing brings proofs, claims and duplicates
    let cleared = if observes {
        cleared.without_proof()
    } else {
        cleared
    };
    let delivery = Delivery::new(webhook.name.clone(), params, cleared);
    let note = late::note(gate, route, &delivery, digest);
    let reply = settle(gate, route, delivery, digest, facts, now).await;
    if reply.as_ref().is_ok_and(Reply::is_final) {
        note.into_iter().for_each(Note::discard);
    }
    reply
}

/// A request whose body has arrived, with what was computed while it did.
struct Checked<'a> {
    received: Received,
    /// The check of the signature; none on a route that does not verify.
    check: Option<Check<'a>>,
    /// The digest of the body, where the route finds duplicates by it.
    digest: Option<BodyDigest>,
    /// The part of the memory budget that counts until the sender is proved.
    share: Option<Share>,
}

/// Reads the body, and feeds the signature check and the digest with it as it arrives.
async fn read_body<'a>(
    gate: &Gate,
    webhook: &'a WebhookRoute,
    (params, head): (&Params, RequestHead),
    source: &mut impl BodySource,
    timeout: Duration,
) -> Result<Checked<'a>, Refusal> {
    let verifier = webhook.verifier.as_ref();
    let mut check = verifier.map(|verifier| verifier.begin(&head, params));
    let bounds = BodyBounds {
        max: webhook.max_body,
        timeout,
        route: &webhook.name,
        budget: &gate.budget,
        clock: &*gate.clock,
    };
    let (keys_by_body, mut hash) = (webhook.keys_by_body(), None);
    let mut feed = |chunk: &[u8]| {
        check.iter_mut().for_each(|check| check.update(chunk));
        let is_whole = head.declared_size == u64::try_from(chunk.len()).ok();
        // a body that arrives at once is hashed at once, which needs no state; that is large, so it has a box of its own
        if keys_by_body && !(hash.is_none() && is_whole) {
            hash.get_or_insert_with(|| Box::new(gate.ids.bodies.begin()))
                .update(chunk);
        }
    };
    let Arrived { body, share } = body::read(source, &head, bounds, &mut feed).await?;
    let digest = |body: &[u8]| match &hash {
        Some(hash) if hash.has_all_of(body) => hash.finish(),
        Some(_) | None => gate.ids.bodies.digest(body),
    };
    Ok(Checked {
        digest: keys_by_body.then(|| digest(body.bytes())),
        received: Received { head, body },
        check,
        share,
    })
}

/// Verifies a request. A route that does not verify, or that observes, lets it through without a proof.
async fn clear(
    gate: &Gate,
    route: &ActiveRoute,
    received: Received,
    (check, params, digest): (Option<Check<'_>>, &Params, Option<BodyDigest>),
    (dates, observes): (&Dates, bool),
    facts: &mut Facts,
) -> Result<Cleared, Refusal> {
    let Some(check) = check else {
        return Ok(Cleared::Unverified(Unverified::by_config(received)));
    };
    // age is judged as of the arrival of the head, however long the body took
    let arrived = received.head.received;
    let verdict = check.judge(received, arrived, dates);
    let refused = match late::judge(gate, route, verdict, (params, digest), observes, facts).await {
        Ok(authentic) => return Ok(Cleared::Authentic(authentic)),
        Err(refused) => refused,
    };
    let verifier = route.webhook.verifier.as_ref();
    let reason = verifier.map(|verifier| verifier.hint(&refused, params, arrived.wall, dates));
    if observes {
        facts.would_refuse(&refused, reason);
        Ok(Cleared::Unverified(Unverified::refused(refused)))
    } else {
        facts.why = reason;
        Err(gate
            .quarantine
            .offer(&route.webhook, params, refused)
            .into())
    }
}

/// Claims a delivery that was let through, and forwards or stores it.
///
/// # Errors
/// The refusal, if the delivery is a duplicate of one in flight, exceeds a limit, or could be neither forwarded nor stored.
pub(super) async fn settle(
    gate: &Arc<Gate>,
    route: &Arc<ActiveRoute>,
    delivery: Delivery,
    body: Option<BodyDigest>,
    facts: &mut Facts,
    now: Now,
) -> Result<Reply, Refusal> {
    let webhook = &*route.webhook;
    let scope = Scope::of(&route.ledger, &delivery);
    gate.limits
        .take_authentic(&route.limits, scope, &delivery, now.mono)?;
    let claim = claim::claim(gate, route, &delivery, body).await?;
    let acceptance = match (&webhook.action, &claim) {
        (Action::Queue, _) => Acceptance::Queued,
        // the delivery that it duplicates may be dead or cancelled
        (Action::Forward(Inline { spill: Some(_), .. }), DeliveryClaim::Delivered(_)) => {
            Acceptance::Spilled
        }
        (Action::Forward(_), DeliveryClaim::Delivered(_) | DeliveryClaim::KnownHere) => {
            return Ok(Reply::Duplicate(webhook.answer.clone()));
        }
        (
            Action::Forward(_),
            DeliveryClaim::Unclaimed
            | DeliveryClaim::Claimed(_)
            | DeliveryClaim::Unchecked(_)
            | DeliveryClaim::Unasked(_),
        ) => {
            return forward::forward(gate, route, delivery, claim, facts).await;
        }
    };
    let receipt = Receipt {
        answer: webhook.answer.clone(),
        acceptance,
    };
    let event_type = facts.event_type.as_deref();
    // boxed, since a request that is forwarded does not need it
    boxed(|| enqueue::enqueue(gate, route, delivery, claim, receipt, event_type)).await
}

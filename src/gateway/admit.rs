//! The checks of a request by its head, before its body is read.
use http::Method;

use crate::config::snapshot::WebhookRoute;
use crate::gateway::active_config::ActivePass;
use crate::gateway::limits::{Limits, RouteLimit, Ticket};
use crate::headers::hops;
use crate::refusal::Refusal;
use crate::request::RequestHead;
use crate::route::guard::PathVerdict;

/// Checks a request for a webhook route by its head: method, client, rates by client.
///
/// # Errors
/// `Loop`, `MethodNotAllowed`, `ClientNotAllowed`, `RateLimited`; `Malformed` if a header that the route reads has several different values.
pub(super) fn admit<'a>(
    webhook: &WebhookRoute,
    limits: &[RouteLimit],
    head: &RequestHead,
    all: &'a Limits,
) -> Result<Ticket<'a>, Refusal> {
    let now = head.received.mono;
    let ticket = all.charge(head.client, now)?;
    if hops::is_loop(&head.headers) {
        return Err(Refusal::Loop);
    }
    if !webhook.methods.contains(&head.method) && !webhook.handshakes.admits(head) {
        return Err(Refusal::MethodNotAllowed);
    }
    if !webhook
        .allow
        .admits(head.client.ip, head.certificate.as_deref())
    {
        return Err(Refusal::ClientNotAllowed);
    }
    if webhook.is_ambiguous(head) || has_backtick(head) {
        return Err(Refusal::Malformed);
    }
    all.take_by_client(limits, head.client.ip, now)?;
    Ok(ticket)
}

/// Returns whether the target holds a backtick, which no URI may hold. Browsers send it in queries, providers do not.
fn has_backtick(head: &RequestHead) -> bool {
    head.target.contains(&b'`')
}

/// Checks a request for a pass route by its head. Nothing else of it is checked but the size of its body.
///
/// # Errors
/// `Loop`, `PathGuarded`, `Malformed`, `MethodNotAllowed`, `ClientNotAllowed`, `RateLimited`, `BodyTooLarge`.
pub(super) fn admit_pass(
    route: &ActivePass,
    head: &RequestHead,
    all: &Limits,
) -> Result<(), Refusal> {
    let (pass, now) = (&*route.pass, head.received.mono);
    let ticket = all.charge(head.client, now)?;
    if hops::is_loop(&head.headers) {
        return Err(Refusal::Loop);
    }
    match route.guards.judge(head.path()) {
        PathVerdict::Free => {}
        PathVerdict::Guarded(_) => return Err(Refusal::PathGuarded),
        PathVerdict::Malformed => return Err(Refusal::Malformed),
    }
    let takes_method = pass
        .methods
        .as_ref()
        .map_or(head.method != Method::TRACE, |methods| {
            methods.contains(&head.method)
        });
    if !takes_method {
        return Err(Refusal::MethodNotAllowed);
    }
    if !pass
        .allow
        .admits(head.client.ip, head.certificate.as_deref())
    {
        return Err(Refusal::ClientNotAllowed);
    }
    if pass
        .max_body
        .zip(head.declared_size)
        .is_some_and(|(max, declared)| declared > max)
    {
        return Err(Refusal::BodyTooLarge);
    }
    all.take_all_of_pass(&route.limits, head.client.ip, now)?;
    ticket.refund(now);
    Ok(())
}

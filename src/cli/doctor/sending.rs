//! Checks of sending: its listener, and the endpoints of the running gateway.
use super::finding::Finding;
use crate::api::status::OutboundStatus;
use crate::cli::term;
use crate::config::snapshot::{ListenAddress, Snapshot};

/// The delay of due events, in seconds, from which on sending is behind.
const BEHIND_SECONDS: f64 = 60.0;

/// Judges the listener of the app.
pub(super) fn config(snapshot: &Snapshot) -> Vec<Finding> {
    let Some(outbound) = &snapshot.outbound else {
        return Vec::new();
    };
    let listener = &outbound.listener;
    let is_near = match &listener.address {
        ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => true,
    };
    let reached = if is_near || listener.tls.is_some() {
        Finding::good(
            "outbound",
            "your app publishes from this machine, or over TLS",
            "outbound",
        )
    } else {
        Finding::warning(
            "outbound",
            format!(
                "{}: tokens and events cross the network in plain text",
                listener.address
            ),
            "`tls:`, or listen on 127.0.0.1 or unix:",
        )
    };
    vec![reached]
}

/// Judges the endpoints of the running gateway. A gateway without tenants has nothing to send yet.
pub(super) fn running(outbound: &OutboundStatus) -> Vec<Finding> {
    let count = |state: &str| outbound.endpoints.get(state).copied().unwrap_or(0);
    let mut findings = Vec::new();
    if !outbound.sends {
        let message = format!(
            "the config has no `outbound`: {} wait for it",
            term::counted(outbound.waiting, "attempt")
        );
        if outbound.waiting > 0 {
            findings.push(Finding::warning(
                "outbound",
                message,
                "add `outbound` again",
            ));
        }
        return findings;
    }
    let paused = count("paused_failing") + count("paused_gone");
    if paused > 0 {
        let message = format!(
            "{} paused because of failures or an answer of 410: events wait",
            term::counted(paused, "endpoint")
        );
        findings.push(Finding::warning("endpoints", message, "hookgate status"));
    }
    let oldest = outbound.oldest_due_seconds.unwrap_or_default();
    if oldest > BEHIND_SECONDS {
        let message = "events for endpoints that work have been due for more than a minute";
        findings.push(Finding::warning(
            "endpoints",
            message,
            "a higher `outbound.limits.attempts`",
        ));
    }
    if findings.is_empty() {
        let endpoints: u64 = outbound.endpoints.values().sum();
        let message = format!(
            "{}, {}; none is paused because of failures",
            term::counted(outbound.tenants, "tenant"),
            term::counted(endpoints, "endpoint")
        );
        findings.push(Finding::good("endpoints", message, "endpoints"));
    }
    findings
}

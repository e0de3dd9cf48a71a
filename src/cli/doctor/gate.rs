//! Checks of the config and of a running gateway: routes that do not enforce, open listeners, the clock, the limits.
use std::net::SocketAddr;
use std::time::SystemTime;

use super::finding::Finding;
use crate::api::status::ClockStatus;
use crate::cli::clock_skew::{MAX_SKEW_SECONDS, drift};
use crate::cli::policy::quoted;
use crate::cli::term;
use crate::clock::{Dates, rfc3339};
use crate::config::secret::Origins;
use crate::config::snapshot::{AdminAddress, Snapshot, WebhookRoute};

/// Open files beside connections: the store, logs, listeners, the config being read.
const OTHER_FILES: u64 = 64;
/// Open files for each connection: one from the sender, one to the upstream.
const FILES_PER_CONNECTION: u64 = 2;
/// The connections of the app, at most, where the gateway sends.
const APP_CONNECTIONS: u64 = 512;

/// Judges the limit of open files by the settings of the config. `by_gate` is whether it is the limit of the gateway's process.
pub(super) fn open_files(limit: u64, snapshot: &Snapshot, by_gate: bool) -> Finding {
    let (mut needed, mut settings) = (OTHER_FILES, Vec::new());
    if receives(snapshot) {
        let connections = snapshot.limits.connections;
        let files = u64::try_from(connections).unwrap_or(u64::MAX);
        needed = needed.saturating_add(files.saturating_mul(FILES_PER_CONNECTION));
        settings.push(format!("`limits.connections: {connections}`"));
    }
    if let Some(outbound) = &snapshot.outbound {
        let attempts = outbound.limits.attempts;
        needed = needed
            .saturating_add(u64::from(attempts))
            .saturating_add(APP_CONNECTIONS);
        settings.push(format!("`outbound.limits.attempts: {attempts}`"));
    }
    let settings = settings.join(" and ");
    let whose = if by_gate {
        "the gateway"
    } else {
        "this process"
    };
    if limit >= needed {
        let message = format!(
            "{whose} may open {} files, and needs {}",
            term::count(limit),
            term::count(needed)
        );
        return Finding::good(
            "open files",
            message,
            format!("open files {}", term::count(limit)),
        );
    }
    let message = format!(
        "{whose} may open {} files; with {settings} it needs {}",
        term::count(limit),
        term::count(needed)
    );
    Finding::warning(
        "open files",
        message,
        format!("ulimit -n {needed} (systemd: LimitNOFILE={needed})"),
    )
}

/// Returns whether a gateway receives requests. One that only sends has no listener for senders.
pub(super) fn receives(snapshot: &Snapshot) -> bool {
    !snapshot.listeners.is_empty()
}

/// Judges the changes of the config that the gateway has read, and that take effect after a restart.
pub(super) fn restarts(keys: &[String]) -> Vec<Finding> {
    let finding = |key: &String| {
        let message = format!("the change of `{key}` needs a restart: it has no effect yet");
        Finding::warning("restart", message, "restart the gateway")
    };
    keys.iter().map(finding).collect()
}

/// Judges the keys that sealed customers' secrets. `left` is the number of secrets that a former key sealed.
pub(super) fn old_keys(left: u64) -> Finding {
    if left == 0 {
        let message = "all secrets of customers are sealed with `store.key`";
        return Finding::warning("store key", message, "remove `store.old_keys`");
    }
    let message = format!(
        "{} of customers to be sealed with the new `store.key`",
        term::counted(left, "secret")
    );
    let help = "keep `store.old_keys` until none is left; the gateway seals about 100 a second";
    Finding::warning("store key", message, help)
}

/// Judges the clock by the times that providers sign.
pub(super) fn clock(clock: ClockStatus) -> Finding {
    if clock.jumped {
        return Finding::warning(
            "clock",
            "it jumped; nothing expires until it has been steady for 10 m",
            "timedatectl",
        );
    }
    if clock.samples == 0 {
        return Finding::skipped(
            "clock",
            "not checked: no request with a signed time was received yet",
        );
    }
    let message = format!(
        "{}, by {}",
        drift(clock.skew_seconds),
        term::counted(clock.samples, "signed timestamp")
    );
    if clock.skew_seconds.abs() > MAX_SKEW_SECONDS {
        return Finding::warning(
            "clock",
            format!("{message}: authentic requests may be refused"),
            "timedatectl",
        );
    }
    Finding::good("clock", message, "clock")
}

/// Judges the routes that let unverified requests through.
pub(super) fn routes(snapshot: &Snapshot, now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<Finding> = snapshot
        .webhooks
        .iter()
        .filter_map(|webhook| route(webhook, now))
        .collect();
    let enforcing = snapshot
        .webhooks
        .iter()
        .filter(|webhook| webhook.enforces(&Dates::at(now)))
        .count();
    if findings.is_empty() && enforcing > 0 {
        let count = u64::try_from(enforcing).unwrap_or(u64::MAX);
        findings.push(Finding::good(
            "routes",
            format!(
                "{} of {enforcing} enforce",
                term::counted(count, "webhook route")
            ),
            "all routes enforce",
        ));
    }
    findings
}

fn route(webhook: &WebhookRoute, now: SystemTime) -> Option<Finding> {
    let name = &webhook.name;
    if webhook.verifier.is_none() {
        return Some(Finding::warning(
            "routes",
            format!(
                "{name} does not verify requests: anyone who knows its path can send them to the app"
            ),
            "`verify: { provider: … }`",
        ));
    }
    if webhook.observes(&Dates::at(now)) {
        let until = webhook.observe_until.map(rfc3339).unwrap_or_default();
        let help = format!("hookgate report --route {}", quoted(name));
        return Some(Finding::warning(
            "routes",
            format!("{name} observes until {until}: forged requests are forwarded"),
            help,
        ));
    }
    webhook.observe_until.map(|_| {
        Finding::warning(
            "routes",
            format!("{name} enforces: its `until` is over"),
            "remove `mode` and `until`",
        )
    })
}

/// Judges the secrets by their source.
pub(super) fn secrets(origins: &Origins) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(first) = origins.inline.first() {
        let more = if origins.inline.len() > 1 {
            format!(" and {} more", origins.inline.len() - 1)
        } else {
            String::new()
        };
        findings.push(Finding::warning(
            "secrets",
            format!("{first}{more} in the config itself: anyone who reads the config knows it"),
            "`file: /run/secrets/NAME`",
        ));
    }
    if origins.variables > 0 {
        let count = u64::try_from(origins.variables).unwrap_or(u64::MAX);
        let message = format!(
            "{} from the environment: age and readers cannot be checked",
            term::counted(count, "secret")
        );
        findings.push(Finding::skipped("secrets", message));
    }
    findings
}

/// Judges the listeners that other machines reach.
pub(super) fn listeners(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    for listener in &snapshot.listeners {
        let is_open = listener
            .address
            .tcp()
            .is_some_and(|address| !is_near(address))
            && listener.tls.is_none();
        if is_open && snapshot.trusted_proxies.is_empty() {
            let message = format!(
                "{} accepts plain HTTP from everywhere, and no proxy is trusted",
                listener.address
            );
            findings.push(Finding::warning(
                "listen",
                message,
                "`tls:`, or `trusted_proxies:` if a proxy ends TLS",
            ));
        }
    }
    if findings.is_empty() && receives(snapshot) {
        findings.push(Finding::good(
            "listen",
            "every listener is on loopback, uses TLS, or is behind a proxy",
            "listeners",
        ));
    }
    if let Some(health) = snapshot.health.filter(|health| !is_near(*health)) {
        findings.push(Finding::good(
            "health",
            format!("{health} shows the names of routes and secrets to anyone who reaches it, but no secret"),
            "health",
        ));
    }
    findings.push(admin(snapshot));
    findings
}

fn admin(snapshot: &Snapshot) -> Finding {
    let Some(admin) = &snapshot.admin else {
        return Finding::warning(
            "admin",
            "there is no admin listener: `status` and `report` do not work",
            "`admin: { address: 127.0.0.1:9090 }`",
        );
    };
    if let AdminAddress::Tcp(address) = &admin.address
        && !is_near(*address)
    {
        return Finding::warning(
            "admin",
            format!("{address}: the token crosses the network in plain text"),
            "listen on 127.0.0.1 or unix:",
        );
    }
    if admin.token.is_none() && snapshot.store.engine.directory().is_none() {
        return Finding::warning(
            "admin",
            "without a token it allows no changes",
            "`token: { file: … }`, or a `store`",
        );
    }
    Finding::good(
        "admin",
        "it can be reached only from this machine, and changes need the token",
        "admin",
    )
}

fn is_near(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;

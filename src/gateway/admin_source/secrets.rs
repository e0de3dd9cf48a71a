//! The use of secrets: what `/-/secrets`, the status and the metrics say about each.
use std::sync::Arc;
use std::time::SystemTime;

use super::GatewaySource;
use crate::api::secrets::{RouteSecrets, SecretUse, Secrets};
use crate::clock::rfc3339;
use crate::config::snapshot::WebhookRoute;
use crate::gateway::secret_watch::verdict::{Secret, judge};
use crate::telemetry::SecretGauge;
use crate::verify::Candidate;

impl GatewaySource {
    /// Returns the use of the secrets of all routes.
    pub(super) fn all_secrets(&self) -> Secrets {
        let snapshot = self.gate.snapshot();
        let routes = snapshot.webhooks.iter().filter_map(|webhook| {
            let verifier = webhook.verifier.as_ref()?;
            Some(RouteSecrets {
                route: webhook.name.to_string(),
                by_account: verifier.secrets().keyed_by().is_some(),
                secrets: self.secrets_of(webhook),
            })
        });
        Secrets {
            now: rfc3339(self.gate.clock.now().wall),
            stored: self.gate.store.nature().durable,
            started_at: rfc3339(self.started.wall),
            routes: routes.collect(),
        }
    }

    /// Returns the use of the secrets that a route lists.
    pub(super) fn secrets_of(&self, webhook: &WebhookRoute) -> Vec<SecretUse> {
        let now = self.gate.clock.now();
        let dates = self.gate.dates(now.mono);
        let listed = listed(webhook);
        let secrets: Vec<Secret<'_>> = listed
            .iter()
            .map(|secret| Secret {
                name: secret.name(),
                begins: secret.not_before().filter(|from| !dates.has_begun(*from)),
                ends: secret.expires().map(|at| (at, dates.has_ended(at))),
                used: self
                    .gate
                    .secrets
                    .of(&webhook.name, secret.name(), self.gate.of_secrets()),
            })
            .collect();
        let shown = |(index, (secret, facts)): (usize, (&&Candidate, &Secret<'_>))| {
            let verdict = judge(&secrets, index, dates.time())?;
            let last = facts.used.last.and_then(|last| now.wall.checked_sub(last));
            let origin = webhook.secret_origins.get(index);
            Some(SecretUse {
                name: secret.name().to_string(),
                source: origin.map_or("", |origin| origin.name()).to_owned(),
                not_before: secret.not_before().map(rfc3339),
                expires: secret.expires().map(rfc3339),
                matches: facts.used.matches,
                last_match_at: last.map(rfc3339),
                watched_seconds: facts.used.watched.as_secs(),
                state: verdict.state.code().to_owned(),
                verdict: verdict.text,
                needs_attention: verdict.needs_attention,
            })
        };
        let all = listed.iter().zip(&secrets).enumerate();
        all.filter_map(shown).collect()
    }

    /// Returns the last match and the end of each listed secret, for metrics.
    pub(super) fn secret_gauges(&self) -> Vec<SecretGauge> {
        let (snapshot, now) = (self.gate.snapshot(), self.gate.clock.now());
        let gauge = |webhook: &Arc<WebhookRoute>, secret: &Candidate| {
            let sources = self.gate.of_secrets();
            let used = self.gate.secrets.of(&webhook.name, secret.name(), sources);
            let last: Option<SystemTime> = used.last.and_then(|last| now.wall.checked_sub(last));
            SecretGauge {
                route: Arc::clone(&webhook.name),
                secret: Arc::clone(secret.name()),
                last_match: last,
                expires: secret.expires(),
            }
        };
        let of_route = |webhook: &Arc<WebhookRoute>| -> Vec<SecretGauge> {
            let listed = listed(webhook);
            listed.iter().map(|secret| gauge(webhook, secret)).collect()
        };
        snapshot.webhooks.iter().flat_map(of_route).collect()
    }
}

/// Returns the secrets that a route lists, each once: one with several encodings has several candidates.
fn listed(webhook: &WebhookRoute) -> Vec<&Candidate> {
    let mut listed: Vec<&Candidate> = Vec::new();
    let candidates = webhook
        .verifier
        .iter()
        .flat_map(|verifier| verifier.secrets().listed());
    for candidate in candidates {
        if listed.iter().all(|known| known.name() != candidate.name()) {
            listed.push(candidate);
        }
    }
    listed
}

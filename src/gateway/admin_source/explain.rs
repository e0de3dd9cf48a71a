//! Explains a refused request that is kept, for the admin API.
use std::sync::Arc;

use super::GatewaySource;
use super::quarantine::unreadable;
use crate::admin::QuarantineError;
use crate::api::explain::Explanation;
use crate::config::snapshot::{Snapshot, WebhookRoute};
use crate::config::verifier;
use crate::explain::{Question, Subject, explain};
use crate::quarantine::Kept;
use crate::request::RequestId;

impl GatewaySource {
    /// Explains a request that is kept; `None` if it is not.
    pub(super) async fn explain_kept(
        &self,
        id: RequestId,
    ) -> Result<Option<Explanation>, QuarantineError> {
        let Some(kept) = self.gate.quarantine.get(id).await.map_err(unreadable)? else {
            return Ok(None);
        };
        let failed = |error: String| QuarantineError::Unreadable(error);
        // one at a time, and on no thread that serves requests: each may hash some hundred megabytes
        let turn = Arc::clone(&self.explaining).acquire_owned().await;
        let turn = turn.map_err(|error| failed(error.to_string()))?;
        let snapshot = self.gate.snapshot();
        let search = move || {
            let explanation = explanation(&snapshot, &kept);
            drop(turn);
            explanation
        };
        let explained = tokio::task::spawn_blocking(search).await;
        explained
            .map_err(|error| failed(error.to_string()))?
            .map(Some)
    }
}

/// Explains a kept request by the current config, as of its receipt.
fn explanation(snapshot: &Snapshot, kept: &Kept) -> Result<Explanation, QuarantineError> {
    let is_own = |webhook: &&Arc<WebhookRoute>| webhook.name == kept.entry.route;
    let own = snapshot.webhooks.iter().find(is_own);
    let own = own.ok_or(QuarantineError::NoRoute)?;
    let others = snapshot.webhooks.iter().filter(|webhook| !is_own(webhook));
    let others: Vec<_> = others.filter_map(|webhook| subject_of(webhook)).collect();
    let finding = explain(&Question {
        received: &kept.received,
        params: &kept.params,
        route: subject_of(own).ok_or(QuarantineError::NotEnforcing)?,
        others: &others,
        providers: &verifier::shapes(),
        own_provider: own.provider.as_deref(),
        now: kept.received.head.received,
    });
    Ok(Explanation::new(&finding, &own.name))
}

fn subject_of(webhook: &WebhookRoute) -> Option<Subject<'_>> {
    Some(Subject {
        name: &webhook.name,
        verifier: webhook.verifier.as_ref()?,
    })
}

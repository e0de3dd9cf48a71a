//! Seals customers' secrets again after `store.key` was changed.
//!
//! A sealed text is replaced if it is still as it was read, so that a change by a person comes first, and a kill loses nothing: each text is sealed by
//! the former key or by the new one. The text by which the store recognises its key is sealed last. With a former key taken out of the config too
//! early, the gateway does not start.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::worker::Worker;
use crate::random;
use crate::store::StoreError;
use crate::store::address_book::{Resealed, SealedPart, SealedRows};
use crate::tenant::seal::{SealKeys, SealedRow};

/// The endpoints that are read at a time.
const PAGE: u16 = 50;
/// The pause after each text: about a hundred are sealed in a second.
const PAUSE: Duration = Duration::from_millis(10);
/// The wait after an error of the store.
const AGAIN: Duration = Duration::from_secs(5);

/// Seals again what a former key sealed, until nothing is left or the process leaves.
pub async fn reseal(worker: Arc<Worker>) {
    let Some(rules) = worker.endpoints().rules() else {
        return;
    };
    let mut leaving = worker.activity.leaving();
    let resealing = async {
        while let Err(error) = reseal_all(&worker, &rules.keys).await {
            tracing::debug!(%error, "secrets cannot be sealed again now; this is tried again");
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = resealing => {}
        // an error says that the process is gone, too
        _ = leaving.wait_for(|leaving| *leaving) => {}
    }
}

/// Seals again all texts that there are, and then the one by which the store recognises its key.
async fn reseal_all(worker: &Worker, keys: &SealKeys) -> Result<(), StoreError> {
    let (store, endpoints) = (&worker.store, worker.endpoints());
    let prefix = Bytes::from(keys.current_prefix().to_vec());
    let is_checked = match store.seal_check().await? {
        None => true,
        Some(sealed) => match keys.check(&sealed) {
            Ok(is_current) => is_current,
            // these keys belong to another store: the gateway does not start
            Err(_) => return Ok(()),
        },
    };
    let mut left = store.seals_without(prefix.clone()).await?;
    if left > 0 {
        tracing::info!(
            left,
            "secrets of customers are being sealed again with the new `store.key`"
        );
        endpoints.set_old_seals(left);
        walk(worker, keys, left).await?;
        left = store.seals_without(prefix).await?;
    }
    if left > 0 {
        endpoints.set_old_seals(left);
        tracing::error!(
            left,
            "some secrets of customers cannot be read; replace them, and keep `store.old_keys`"
        );
        return Ok(());
    }
    if !is_checked {
        let nonce = random::secret().map_err(|_| unsealed())?;
        let sealed = keys.seal_check(nonce).map_err(|_| unsealed())?;
        store.set_seal_check(sealed.into()).await?;
    }
    endpoints.set_old_seals(0);
    if keys.has_old() {
        tracing::info!("all secrets are sealed with `store.key`; `store.old_keys` can be removed");
    }
    Ok(())
}

/// Seals again all texts that can be opened, of which there are about `left`.
async fn walk(worker: &Worker, keys: &SealKeys, mut left: u64) -> Result<(), StoreError> {
    let (mut after, endpoints) = (None, worker.endpoints());
    loop {
        let page = worker.store.to_reseal(after, PAGE).await?;
        for rows in &page {
            let resealed = resealed(rows, keys)?;
            if resealed.is_empty() {
                continue;
            }
            let done = worker.store.reseal(rows.target, resealed).await?;
            // the text by which the store recognises its key is left in any case
            left = left.saturating_sub(done.into()).max(1);
            endpoints.set_old_seals(left);
            sleep(PAUSE * done.max(1)).await;
        }
        after = page.last().map(|rows| rows.target);
        if page.len() < usize::from(PAGE) {
            return Ok(());
        }
    }
}

/// Seals the texts of an endpoint again that a former key sealed. A text that cannot be opened is left as it is.
fn resealed(rows: &SealedRows, keys: &SealKeys) -> Result<Vec<Resealed>, StoreError> {
    let number = rows.target.0;
    let mut all = Vec::new();
    for (part, before) in &rows.parts {
        if keys.is_current(before) {
            continue;
        }
        let row = match part {
            SealedPart::Headers => SealedRow::headers(number),
            SealedPart::Secret(n) => SealedRow::secret(number, *n),
        };
        let opened = match keys.open(row, before) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::error!(%error, endpoint = number, "a secret of a customer cannot be sealed again");
                continue;
            }
        };
        let nonce = random::secret().map_err(|_| unsealed())?;
        let after = keys.seal(row, nonce, &opened.text);
        all.push(Resealed {
            part: *part,
            before: before.clone(),
            after: after.map_err(|_| unsealed())?.into(),
        });
    }
    Ok(all)
}

fn unsealed() -> StoreError {
    StoreError::Unavailable("a text cannot be sealed".into())
}

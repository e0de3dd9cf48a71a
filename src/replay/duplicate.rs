//! Finds another delivery with the ID of one that is to be replayed: the app would see it twice.
use std::time::Duration;

use crate::queue::stored;
use crate::random;
use crate::replay::access::{DeliveryName, LedgerKeys, Names, StoreAccess};
use crate::replay::selection::is_waiting;
use crate::store::archive::{Filter, Order, Row, Scope, Status, UnitsShown};
use crate::store::{ClaimResult, Key, StoreError, Token};

/// The most deliveries of one ID that are examined.
const MAX_EXAMINED: u16 = 100;
/// The lease of the claim by which the ledger is asked, in case the release fails.
const CLAIM_LEASE: Duration = Duration::from_secs(1);

/// Describes another delivery or request with the ID of `row` that was delivered, or will be; `None` if there is none.
///
/// # Errors
/// The store cannot be read.
pub async fn find_duplicate(
    access: &StoreAccess,
    names: &Names,
    row: &Row,
) -> Result<Option<String>, StoreError> {
    let Some(id) = &row.delivery_id else {
        return Ok(None);
    };
    if row.key.is_some() {
        let filter = Filter {
            delivery_id: Some(id.clone()),
            key: row.key,
            ..Filter::default()
        };
        let page = access
            .store
            .page(
                Scope::of(row.origin),
                &filter,
                Order::Newest,
                None,
                MAX_EXAMINED,
                UnitsShown::All,
            )
            .await?;
        let is_duplicate = |other: &&Row| {
            other.id != row.id
                && other
                    .units
                    .iter()
                    .any(|unit| unit.status == Status::Delivered || is_waiting(unit.status))
        };
        if let Some(other) = page.rows.iter().find(is_duplicate) {
            return Ok(Some(format!(
                "the delivery {}, which is delivered or waiting,",
                other.id
            )));
        }
    }
    if row.owns_key
        || row
            .units
            .iter()
            .any(|unit| unit.status == Status::Delivered)
    {
        // the ledger remembers this delivery itself
        return Ok(None);
    }
    // the delivery is on record only: the ledger alone knows whether a later request of its sender was forwarded
    let Some(key) = ledger_key(access, names, row, id) else {
        return Ok(None);
    };
    let token = Token(random::wide());
    let claimed = access.store.claim(key, token, CLAIM_LEASE).await?;
    Ok(match claimed {
        ClaimResult::Fresh => {
            access.store.release_soon(key, token);
            None
        }
        ClaimResult::InFlight { .. } => Some("a request in flight".to_owned()),
        ClaimResult::Committed => Some("a request that was forwarded".to_owned()),
    })
}

/// Returns the ledger key of `row`: the stored one, else the one that follows from what is on record.
fn ledger_key(access: &StoreAccess, names: &Names, row: &Row, id: &str) -> Option<Key> {
    if row.key.is_some() {
        return row.key;
    }
    let params = stored::parameters(&row.record);
    let named = DeliveryName {
        id,
        params: &params,
        account: stored::fact(&row.record, stored::ACCOUNT),
        secret: stored::fact(&row.record, stored::SECRET),
        body: None,
    };
    let route = &names.origin(row.origin.0).name;
    match access.routes.ledger_keys(route, named) {
        LedgerKeys::Known(keys) => keys.first().copied(),
        LedgerKeys::NeedsBody
        | LedgerKeys::Needs { .. }
        | LedgerKeys::NoDedupe
        | LedgerKeys::NoRoute => None,
    }
}

//! Whether another delivery has the ID of one that is to be replayed: then the app would see it twice.
use std::time::Duration;

use crate::admin::deliveries::act::is_waiting;
use crate::admin::deliveries::desk::{DeliveryName, Desk, Keyed, Names};
use crate::queue::stored;
use crate::random;
use crate::store::archive::{Filter, Order, Row, Scope, Status};
use crate::store::{Claimed, StoreError, Token};

/// Deliveries of one ID that are looked at.
const LOOKED_AT: u16 = 100;
/// The ledger is asked by claiming. For so long, if giving back failed.
const ASKING: Duration = Duration::from_secs(1);

/// What has the ID of `row` and was handed on, or will be.
pub(in crate::admin::deliveries) async fn find_duplicate(
    desk: &dyn Desk,
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
        let page = desk
            .store()
            .page(
                Scope::of(row.origin),
                &filter,
                Order::Newest,
                None,
                LOOKED_AT,
            )
            .await?;
        let goes = |other: &&Row| {
            other.id != row.id
                && other
                    .units
                    .iter()
                    .any(|unit| unit.status == Status::Delivered || is_waiting(unit.status))
        };
        if let Some(other) = page.rows.iter().find(goes) {
            return Ok(Some(format!(
                "the delivery {}, which was handed on or waits,",
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
        // what the ledger remembers is this one
        return Ok(None);
    }
    // it is on record only: whether a later try of its sender was handed on, the ledger alone knows
    let (params, account) = (
        stored::parameters(&row.record),
        stored::fact(&row.record, stored::ACCOUNT),
    );
    let named = DeliveryName {
        id,
        params: &params,
        account,
        secret: stored::fact(&row.record, stored::SECRET),
        body: None,
    };
    let key = match row.key {
        Some(key) => key,
        // recorded by an earlier version, without its key
        None => match desk.keyed(&names.origin(row.origin.0).name, named) {
            Keyed::By(keys) => match keys.first() {
                Some(key) => *key,
                None => return Ok(None),
            },
            Keyed::ByBody | Keyed::Needs { .. } | Keyed::Not | Keyed::NoRoute => return Ok(None),
        },
    };
    let token = Token(random::wide());
    let claimed = desk.store().claim(key, token, ASKING).await?;
    Ok(match claimed {
        Claimed::Fresh => {
            desk.store().release_soon(key, token);
            None
        }
        Claimed::InFlight { .. } => Some("a request in flight".to_owned()),
        Claimed::Committed => Some("a request that was handed on".to_owned()),
    })
}

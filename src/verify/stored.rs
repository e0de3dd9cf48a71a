//! The proof of a delivery as the store holds it, so that a stored delivery is as authentic as it was when it was accepted.
use std::sync::Arc;
use std::time::SystemTime;

use super::authentic::{Authentic, Cleared, Unverified};
use super::covers::Covers;
use crate::request::Received;

/// A proof without its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredProof {
    /// The name of the secret that matched.
    pub secret: Arc<str>,
    /// The account, if the route finds its secrets by key.
    pub account: Option<Box<str>>,
    /// The signed time, if the signature covers one.
    pub signed_at: Option<SystemTime>,
    /// The provider's ID of the delivery.
    pub delivery_id: Option<Box<str>>,
    /// The facts that the signature covers.
    pub covers: Covers,
}

impl Cleared {
    /// Returns the proof to store; `None` for a request without one.
    pub fn stored_proof(&self) -> Option<StoredProof> {
        let Self::Authentic(authentic) = self else {
            return None;
        };
        Some(StoredProof {
            secret: Arc::clone(authentic.secret()),
            account: authentic.account().map(Box::from),
            signed_at: authentic.signed_at(),
            delivery_id: authentic.delivery_id().map(Box::from),
            covers: authentic.covers(),
        })
    }

    /// Restores a request that was cleared before it was stored. Only `queue::stored` may call this: it reads what the gateway itself
    /// wrote, and no sender reaches it.
    pub(crate) fn restored(received: Received, proof: Option<StoredProof>) -> Self {
        let Some(StoredProof {
            secret,
            account,
            signed_at,
            delivery_id,
            covers,
        }) = proof
        else {
            return Self::Unverified(Unverified::by_config(received));
        };
        Self::Authentic(Authentic {
            received,
            secret,
            account,
            signed_at,
            delivery_id,
            covers,
        })
    }
}

//! What the gate's own store keeps of a proof, so that a delivery that comes out of it is still what it was when it went in.
use std::sync::Arc;
use std::time::SystemTime;

use super::{Authentic, Cleared, Covers, Unverified};
use crate::request::Received;

/// A proof without its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptProof {
    /// The name of the secret that matched.
    pub secret: Arc<str>,
    /// The account, where the route finds its secrets by key.
    pub account: Option<Box<str>>,
    /// The signed time, where the signature covers one.
    pub signed_at: Option<SystemTime>,
    /// The provider's ID of the delivery.
    pub delivery_id: Option<Box<str>>,
    /// What the signature covers.
    pub covers: Covers,
}

impl Cleared {
    /// The proof to be kept; none of a request that goes on without one.
    pub fn keep(&self) -> Option<KeptProof> {
        let Self::Authentic(authentic) = self else {
            return None;
        };
        Some(KeptProof {
            secret: Arc::clone(authentic.secret()),
            account: authentic.account().map(Box::from),
            signed_at: authentic.signed_at(),
            delivery_id: authentic.delivery_id().map(Box::from),
            covers: authentic.covers(),
        })
    }

    /// What was cleared before it went into the store. For `queue::stored` alone, which reads what the gate itself wrote there: nobody who
    /// sends reaches this.
    pub(crate) fn restored(received: Received, proof: Option<KeptProof>) -> Self {
        let Some(KeptProof {
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

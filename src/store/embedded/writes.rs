//! The parts of what is written: the claim that becomes a commit, the bytes of a delivery, the recorded part of an attempt.
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use crate::store::queue::{Accept, Accepted, Attempt, Dedupe, Lease, Next, OnDead};
use crate::store::record::{DIGEST, Record};
use crate::store::{Key, StoreError, Token};

/// A claim that becomes a row.
#[derive(Clone, Copy)]
pub(super) struct PendingCommit {
    pub(super) key: Key,
    pub(super) token: Token,
    pub(super) window: Duration,
    pub(super) dead: OnDead,
    /// Whether the claim is the store's own, and given back if nothing comes of it.
    own: bool,
}

impl PendingCommit {
    pub(super) fn of(dedupe: Dedupe, delivery: &Accept) -> Option<Self> {
        match dedupe {
            Dedupe::None | Dedupe::Own { .. } => None,
            Dedupe::Key { key, window, dead } => {
                // a repeated call has the same ID, and so the same token
                let token = Token(delivery.id.0.as_u128());
                Some(Self {
                    key,
                    token,
                    window,
                    dead,
                    own: true,
                })
            }
            Dedupe::Claimed {
                key,
                token,
                window,
                dead,
            } => Some(Self {
                key,
                token,
                window,
                dead,
                own: false,
            }),
        }
    }

    /// Updates memory once it is known whether the row is on the disk.
    pub(super) fn settle(
        self,
        shared: &Shared,
        known: bool,
        outcome: &Result<Accepted, StoreError>,
    ) {
        match outcome {
            Ok(_) if known => {}
            Ok(_) => {
                let _ownership = shared.commit(self.key, self.token, self.window, true);
            }
            Err(_) if self.own && !known => shared.release(self.key, self.token),
            // the holder releases it, or repeats the call
            Err(_) => {}
        }
    }
}

/// Encodes the record of a delivery, with the hash by which a repeated call is recognized.
pub(super) fn encoded(record: &Record, dedupe: Dedupe) -> Bytes {
    match dedupe {
        Dedupe::Own { digest } if record.fact(DIGEST).is_none() => {
            let mut record = record.clone();
            let fact = (Bytes::from_static(DIGEST), Bytes::copy_from_slice(&digest));
            record.facts.push(fact);
            record.encode()
        }
        Dedupe::Own { .. } | Dedupe::None | Dedupe::Key { .. } | Dedupe::Claimed { .. } => {
            record.encode()
        }
    }
}

/// Returns the bytes of all bodies of a delivery.
pub(super) fn bytes_of(delivery: &Accept) -> usize {
    let versions = delivery.versions.iter().map(|(_, body)| body.len());
    versions.fold(delivery.body.len(), usize::saturating_add)
}

/// Returns the part of an attempt that is recorded. On a full disk only the outcome is: an upstream that stays down, or answers at length,
/// would use up the room.
pub(super) fn recorded(attempt: Option<Attempt>, next: Next, is_full: bool) -> Option<Attempt> {
    if !is_full {
        return attempt;
    }
    let attempt = attempt.filter(|_| !matches!(next, Next::Later(_)))?;
    Some(Attempt {
        head: Bytes::new(),
        body: Bytes::new(),
        facts: Bytes::new(),
        ..attempt
    })
}

/// Returns whether the result of an attempt may wait for others: the attempt is over, and neither the next of its lane nor another holder waits for
/// the result.
pub(super) fn may_gather(lease: Lease, next: Next) -> bool {
    !lease.in_lane && next != Next::GiveBack
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Reason;
    use crate::store::queue::{DeliveryRef, TargetId, Unit};

    #[test]
    fn results_that_others_wait_for_are_written_at_once() {
        let lease = |in_lane| Lease {
            unit: Unit {
                delivery: DeliveryRef::draw(),
                target: TargetId(1),
            },
            number: 1,
            attempt: 1,
            in_lane,
        };
        let over = [
            Next::Delivered,
            Next::RetryIn(Duration::ZERO),
            Next::Later(Duration::ZERO),
            Next::Dead(Reason::Attempts),
            Next::Cancelled,
        ];
        for next in over {
            assert!(may_gather(lease(false), next), "{next:?}");
            assert!(!may_gather(lease(true), next), "{next:?}");
        }
        assert!(!may_gather(lease(false), Next::GiveBack));
    }
}

//! The budget of the memory that bodies hold at once, and the shares of clients and routes in it. Pure: no socket, no clock.
//!
//! A request that does not fit is refused at once. A body counts against the budget as long as it is held. Until its sender is proved it also
//! counts against two shares, so that one client or one route cannot use up the budget.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// An error: the bytes do not fit into the budget or a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BudgetExceeded;

/// The client and the route of a body whose sender is not proved yet.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// The network of the client, where its address identifies a single client.
    pub(super) client: Option<IpAddr>,
    /// The name of the route.
    pub(super) route: Arc<str>,
    /// The most bytes that one body may hold, with its overhead. A share is never smaller.
    pub(super) one_body: usize,
}

/// The budget of the bytes that all requests hold at once.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicUsize,
    limit: AtomicUsize,
    unproved: Mutex<Unproved>,
}

/// The bytes of senders that are not proved yet. An entry is removed when it becomes zero.
#[derive(Debug, Default)]
struct Unproved {
    by_client: HashMap<IpAddr, usize>,
    by_route: HashMap<Arc<str>, usize>,
}

impl Budget {
    /// Returns a budget of `limit` bytes, all of them free.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            unproved: Mutex::default(),
        })
    }

    /// Changes the limit. Bytes that are held stay held.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns the bytes that are held now.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Checks whether `bytes` more of `owner` would fit now.
    ///
    /// # Errors
    /// They would not fit.
    pub(super) fn fits(&self, owner: &Owner, bytes: usize) -> Result<(), BudgetExceeded> {
        let limit = self.limit.load(Ordering::Relaxed);
        if self.held().saturating_add(bytes) > limit {
            return Err(BudgetExceeded);
        }
        self.lock().fits(owner, bytes, limit)
    }

    /// Holds `bytes` that have arrived already and are verified at once: they count against the budget alone.
    ///
    /// # Errors
    /// They do not fit.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Result<MemoryPermit, BudgetExceeded> {
        self.charge(bytes)?;
        Ok(MemoryPermit {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// Opens an account for a body of `owner` that is arriving.
    pub(super) fn open(self: &Arc<Self>, owner: Owner) -> Account {
        Account {
            held: MemoryPermit {
                budget: Arc::clone(self),
                bytes: 0,
            },
            share: Share {
                budget: Arc::clone(self),
                owner,
                bytes: 0,
            },
        }
    }

    fn charge(&self, bytes: usize) -> Result<(), BudgetExceeded> {
        let limit = self.limit.load(Ordering::Relaxed);
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= limit);
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map(drop)
            .map_err(|_| BudgetExceeded)
    }

    fn lock(&self) -> MutexGuard<'_, Unproved> {
        self.unproved.lock()
    }
}

impl Unproved {
    /// Checks the shares: a quarter of `limit` for a client, half of it for a route, and at least one body each.
    fn fits(&self, owner: &Owner, bytes: usize, limit: usize) -> Result<(), BudgetExceeded> {
        let within = |held: Option<&usize>, share: usize| {
            held.unwrap_or(&0).saturating_add(bytes) <= share.max(owner.one_body)
        };
        let client = owner
            .client
            .is_none_or(|client| within(self.by_client.get(&client), limit / 4));
        if client && within(self.by_route.get(&owner.route), limit / 2) {
            Ok(())
        } else {
            Err(BudgetExceeded)
        }
    }

    fn add(&mut self, owner: &Owner, bytes: usize) {
        if let Some(client) = owner.client {
            *self.by_client.entry(client).or_default() += bytes;
        }
        *self.by_route.entry(Arc::clone(&owner.route)).or_default() += bytes;
    }

    fn sub(&mut self, owner: &Owner, bytes: usize) {
        if let Some(client) = owner.client {
            sub(&mut self.by_client, client, bytes);
        }
        sub(&mut self.by_route, Arc::clone(&owner.route), bytes);
    }
}

fn sub<K: Eq + Hash>(map: &mut HashMap<K, usize>, key: K, bytes: usize) {
    if let Entry::Occupied(mut entry) = map.entry(key) {
        *entry.get_mut() = entry.get().saturating_sub(bytes);
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

/// The bytes that a body holds while it arrives, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Account {
    held: MemoryPermit,
    share: Share,
}

impl Account {
    /// Grows the account to `bytes` in all, if it has less.
    ///
    /// # Errors
    /// They do not fit, and nothing has changed.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), BudgetExceeded> {
        let more = bytes.saturating_sub(self.held.bytes);
        if more == 0 {
            return Ok(());
        }
        let budget = &self.held.budget;
        {
            let mut unproved = budget.lock();
            unproved.fits(
                &self.share.owner,
                more,
                budget.limit.load(Ordering::Relaxed),
            )?;
            budget.charge(more)?;
            unproved.add(&self.share.owner, more);
        }
        self.held.bytes = bytes;
        self.share.bytes = bytes;
        Ok(())
    }

    /// Splits the account into the bytes that count as long as the body is held, and those that count until its sender is proved.
    pub(super) fn split(self) -> (MemoryPermit, Share) {
        (self.held, self.share)
    }
}

/// Bytes that count against the budget, given back when they are dropped.
#[derive(Debug)]
pub(super) struct MemoryPermit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes that count against the shares of a client and a route, given back when they are dropped: when the sender is proved, or refused.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    owner: Owner,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.lock().sub(&self.owner, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn owner(client: Option<u8>, route: &str, one_body: usize) -> Owner {
        Owner {
            client: client.map(|last| IpAddr::from([192, 0, 2, last])),
            route: route.into(),
            one_body,
        }
    }

    #[test]
    fn client_has_a_quarter_and_route_has_half() {
        let budget = Budget::new(64 * MIB);
        let grow = |client, route, bytes| {
            let mut account = budget.open(owner(client, route, MIB));
            account.grow_to(bytes).map(|()| account)
        };
        let first = grow(Some(1), "a", 16 * MIB).unwrap();
        assert_eq!(
            grow(Some(1), "b", 1).unwrap_err(),
            BudgetExceeded,
            "the client has its quarter"
        );
        let second = grow(Some(2), "a", 16 * MIB).unwrap();
        assert_eq!(
            grow(Some(3), "a", 1).unwrap_err(),
            BudgetExceeded,
            "the route has its half"
        );
        let third = grow(None, "b", 32 * MIB).unwrap();
        assert_eq!(
            grow(Some(3), "c", 1).unwrap_err(),
            BudgetExceeded,
            "nothing is left"
        );
        let (held, share) = first.split();
        drop((second, share));
        assert_eq!(budget.held(), 48 * MIB);
        let more = grow(Some(1), "a", 16 * MIB).unwrap();
        drop((held, third, more));
        assert_eq!(budget.held(), 0);
        assert!(budget.lock().by_client.is_empty() && budget.lock().by_route.is_empty());
    }

    #[test]
    fn share_is_never_smaller_than_one_body() {
        let budget = Budget::new(64 * MIB);
        let mut large = budget.open(owner(Some(1), "a", 40 * MIB));
        large.grow_to(40 * MIB).unwrap();
        assert_eq!(large.grow_to(40 * MIB + 1), Err(BudgetExceeded));
        assert_eq!(
            budget.fits(&owner(Some(1), "b", MIB), 1),
            Err(BudgetExceeded)
        );
        assert_eq!(budget.fits(&owner(Some(2), "b", MIB), 16 * MIB), Ok(()));
    }

    #[test]
    fn body_verified_at_once_needs_no_share() {
        let budget = Budget::new(MIB);
        let mut waiting = budget.open(owner(Some(1), "a", 0));
        waiting.grow_to(MIB / 4).unwrap();
        let held = budget.hold(MIB * 3 / 4).unwrap();
        assert_eq!(budget.hold(1).unwrap_err(), BudgetExceeded);
        drop(held);
        assert_eq!(budget.held(), MIB / 4);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open {
            client: Option<u8>,
            route: u8,
            bytes: usize,
        },
        Grow {
            which: usize,
            bytes: usize,
        },
        Prove(usize),
        End(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (prop::option::of(0..3_u8), 0..3_u8, 0..600_usize).prop_map(
                |(client, route, bytes)| Step::Open {
                    client,
                    route,
                    bytes
                }
            ),
            (0..20_usize, 0..900_usize).prop_map(|(which, bytes)| Step::Grow { which, bytes }),
            (0..20_usize).prop_map(Step::Prove),
            (0..20_usize).prop_map(Step::End),
        ]
    }

    /// Returns the bytes of a share, counted from its holders.
    fn held_by(
        holders: &[(Owner, Option<Account>, Option<MemoryPermit>)],
        is: impl Fn(&Owner) -> bool,
    ) -> usize {
        holders
            .iter()
            .filter(|(owner, ..)| is(owner))
            .filter_map(|(_, account, _)| Some(account.as_ref()?.held.bytes))
            .sum()
    }

    proptest! {
        /// Checks that no share is exceeded, that what fits is not refused, and that all is free in the end.
        #[test]
        fn no_share_is_ever_exceeded(limit in 1000..4000_usize, one_body in 0..1500_usize, steps in prop::collection::vec(step(), 0..80)) {
            let budget = Budget::new(limit);
            let mut holders: Vec<(Owner, Option<Account>, Option<MemoryPermit>)> = Vec::new();
            for step in steps {
                let count = holders.len();
                match step {
                    Step::Open { client, route, bytes } => {
                        let owner = owner(client, &route.to_string(), one_body);
                        let fits = budget.fits(&owner, bytes);
                        let mut account = budget.open(owner.clone());
                        prop_assert_eq!(account.grow_to(bytes), fits);
                        holders.push((owner, Some(account), None));
                    }
                    Step::Grow { which, bytes } if count > 0 => {
                        let total = held_by(&holders, |_| true) + holders.iter().filter_map(|(_, _, held)| Some(held.as_ref()?.bytes)).sum::<usize>();
                        let mine = holders[which % count].0.clone();
                        let of_client = held_by(&holders, |owner| mine.client.is_some() && owner.client == mine.client);
                        let of_route = held_by(&holders, |owner| owner.route == mine.route);
                        if let Some(account) = &mut holders[which % count].1 {
                            let more = bytes.saturating_sub(account.held.bytes);
                            let fits = more == 0
                                || total + more <= limit
                                    && of_route + more <= (limit / 2).max(one_body)
                                    && (mine.client.is_none() || of_client + more <= (limit / 4).max(one_body));
                            prop_assert_eq!(account.grow_to(bytes).is_ok(), fits);
                        }
                    }
                    Step::Prove(which) if count > 0 => {
                        let (_, account, held) = &mut holders[which % count];
                        if let Some(account) = account.take() {
                            *held = Some(account.split().0);
                        }
                    }
                    Step::End(which) if count > 0 => drop(holders.swap_remove(which % count)),
                    Step::Grow { .. } | Step::Prove(_) | Step::End(_) => {}
                }
                prop_assert!(budget.held() <= limit);
                for holder in holders.iter().map(|(owner, ..)| owner) {
                    prop_assert!(held_by(&holders, |owner| owner.route == holder.route) <= (limit / 2).max(one_body));
                    prop_assert!(holder.client.is_none() || held_by(&holders, |owner| owner.client == holder.client) <= (limit / 4).max(one_body));
                }
            }
            drop(holders);
            prop_assert_eq!(budget.held(), 0);
            prop_assert!(budget.lock().by_client.is_empty() && budget.lock().by_route.is_empty());
        }
    }
}

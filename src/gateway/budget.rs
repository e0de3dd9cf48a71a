//! The budget of the memory that bodies hold at once, and the shares of clients and routes in it. Pure: no socket, no clock.
//!
//! The mappings of large bodies that have ended are spare for a moment, since a fresh mapping costs a page fault for each of its pages. They
//! count against the budget, and are given back at once where their bytes are needed.
//!
//! A request that does not fit is refused at once. A body counts against the budget as long as it is held. Until its sender is proved it also
//! counts against two shares, so that one client or one route cannot use up the budget.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::MmapMut;
use parking_lot::{Mutex, MutexGuard};

use crate::gateway::spare::SpareMappings;

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
    spare: SpareMappings,
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
            spare: SpareMappings::default(),
        })
    }

    /// Returns the spare mappings.
    pub(super) fn spare(&self) -> &SpareMappings {
        &self.spare
    }

    /// Makes the mapping of a body that has ended spare, unless there is no room for it.
    pub(super) fn put_spare(&self, map: MmapMut) {
        let free = self
            .limit
            .load(Ordering::Relaxed)
            .saturating_sub(self.held());
        self.spare.put(map, free);
    }

    /// Changes the limit. Bytes that are held stay held.
    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.spare.clear();
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
        let held = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| BudgetExceeded)?
            + bytes;
        if held + self.spare.bytes() > limit {
            self.spare.clear();
        }
        Ok(())
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

    /// Returns the budget.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.held.budget
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
mod tests;

//! The events that the receiver remembers: how often each came, and whether it was answered with success.
use std::collections::{HashMap, VecDeque};

use sha2::{Digest as _, Sha256};

/// The largest number of events that are remembered. The one that came first is forgotten first.
const MAX_EVENTS: usize = 10_000;

/// The key of an event: the digest of its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventKey([u8; 32]);

impl EventKey {
    /// Returns the key of an ID; that of the body if the scheme has none.
    pub(super) fn new(id: Option<&str>, body: &[u8]) -> Self {
        let (kind, bytes) = id.map_or((b'b', body), |id| (b'i', id.as_bytes()));
        let digest = Sha256::new_with_prefix([kind]).chain_update(bytes);
        Self(digest.finalize().into())
    }
}

/// The history of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The number of its attempts.
    pub(super) attempts: u32,
    /// Whether an attempt was answered with 2xx.
    pub(super) delivered: bool,
}

/// The remembered events.
#[derive(Debug)]
pub(super) struct Events {
    histories: HashMap<EventKey, History>,
    order: VecDeque<EventKey>,
    limit: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self::with_limit(MAX_EVENTS)
    }
}

impl Events {
    /// Returns an empty memory of this size.
    pub(super) fn with_limit(limit: usize) -> Self {
        Self {
            histories: HashMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// Counts an attempt. Returns the history with it.
    pub(super) fn count(&mut self, key: EventKey) -> History {
        if !self.histories.contains_key(&key) {
            self.order.push_back(key);
            if self.order.len() > self.limit
                && let Some(oldest) = self.order.pop_front()
            {
                self.histories.remove(&oldest);
            }
        }
        let history = self.histories.entry(key).or_default();
        history.attempts = history.attempts.saturating_add(1);
        *history
    }

    /// Records that an attempt was answered with success.
    pub(super) fn set_delivered(&mut self, key: EventKey) {
        if let Some(history) = self.histories.get_mut(&key) {
            history.delivered = true;
        }
    }
}

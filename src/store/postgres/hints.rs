//! Hints that a key of the ledger may have changed. What this gateway changes is known at once; other gateways' changes are found by asking again,
//! less and less often.
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::reach::jittered;
use crate::clock::{Clock as _, SystemClock};
use crate::store::{Changed, Key, KeyMap};

/// The first wait.
const SHORTEST: Duration = Duration::from_millis(25);
/// The longest wait.
const LONGEST: Duration = Duration::from_millis(200);
/// Keys that are remembered at most. The waits of further keys begin anew each time, and end by time alone.
const MAX_KEYS: usize = 4096;
/// The time after which a key is forgotten that nobody waits for.
const FORGET_AFTER: Duration = Duration::from_secs(2);

/// The keys that are waited for.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<KeyMap<Hint>>);

#[derive(Debug)]
struct Hint {
    since: Instant,
    asked: Instant,
    notify: Arc<Notify>,
}

impl Hints {
    /// Returns a hint that `key` may have changed.
    pub(super) fn wait(&self, key: Key) -> Changed {
        let now = SystemClock.mono();
        let mut keys = self.0.lock();
        if keys.len() >= MAX_KEYS {
            keys.retain(|_, hint| {
                Arc::strong_count(&hint.notify) > 1 || now < hint.asked + FORGET_AFTER
            });
        }
        if keys.len() >= MAX_KEYS && !keys.contains_key(&key) {
            return Box::pin(tokio::time::sleep(jittered(LONGEST)));
        }
        let hint = keys.entry(key).or_insert_with(|| Hint {
            since: now,
            asked: now,
            notify: Arc::default(),
        });
        if now > hint.asked + FORGET_AFTER {
            hint.since = now;
        }
        hint.asked = now;
        let wait = ((now - hint.since) / 2).clamp(SHORTEST, LONGEST);
        // a waiter is woken by what comes after this, not only after its first poll
        let mut notified = Box::pin(Arc::clone(&hint.notify).notified_owned());
        notified.as_mut().enable();
        Box::pin(async move {
            timeout(jittered(wait), notified).await.ok();
        })
    }

    /// Ends all waits for `key`.
    pub(super) fn wake(&self, key: Key) {
        if let Some(hint) = self.0.lock().remove(&key) {
            hint.notify.notify_waiters();
        }
    }
}

/// Keys of which something is on its way to the database that later calls must not overtake.
#[derive(Debug, Default)]
pub(super) struct OnTheWay {
    keys: Mutex<KeyMap<u32>>,
    arrived: Notify,
}

impl OnTheWay {
    /// Counts something of `key`.
    pub(super) fn begin(&self, key: Key) {
        *self.keys.lock().entry(key).or_default() += 1;
    }

    /// Ends what [`Self::begin`] began.
    pub(super) fn end(&self, key: Key) {
        let mut keys = self.keys.lock();
        if let Some(count) = keys.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                keys.remove(&key);
            }
        }
        drop(keys);
        self.arrived.notify_waiters();
    }

    /// Returns whether nothing of `key` is on its way.
    pub(super) fn is_clear(&self, key: Key) -> bool {
        !self.keys.lock().contains_key(&key)
    }

    /// Waits until nothing of `key` is on its way.
    pub(super) async fn clear(&self, key: Key) {
        loop {
            let mut arrived = std::pin::pin!(self.arrived.notified());
            arrived.as_mut().enable();
            if self.is_clear(key) {
                return;
            }
            arrived.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key([byte; 16])
    }

    #[tokio::test(start_paused = true)]
    async fn hint_comes_with_a_change_or_after_a_while() {
        let hints = Hints::default();
        let mut hint = hints.wait(key(1));
        let early = timeout(Duration::from_millis(18), &mut hint).await;
        assert!(early.is_err());
        timeout(Duration::from_millis(14), hint).await.unwrap();
        let hint = hints.wait(key(2));
        hints.wake(key(2));
        timeout(Duration::ZERO, hint).await.unwrap();
    }

    #[tokio::test]
    async fn call_waits_for_what_is_on_its_way() {
        let way = Arc::new(OnTheWay::default());
        way.clear(key(1)).await;
        for _ in 0..2 {
            way.begin(key(1));
        }
        let waiter = tokio::spawn({
            let way = Arc::clone(&way);
            async move { way.clear(key(1)).await }
        });
        tokio::task::yield_now().await;
        way.end(key(1));
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        way.end(key(1));
        waiter.await.unwrap();
    }
}

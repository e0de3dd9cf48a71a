//! Limits the HTTP/2 control frames that cost the reader more than the sender. Pure: bytes and `now` in.
//!
//! h2 answers every `SETTINGS` and every `PING` and bounds neither. Only answers that the sender does not read stop it, a million frames later.
//! The layout of a frame is <https://www.rfc-editor.org/rfc/rfc9113#section-4.1>.
use std::time::{Duration, Instant};

/// The length of the connection preface, which comes before the first frame.
const PREFACE: usize = 24;
/// The length of a frame's header.
const HEAD: usize = 9;
/// The control frames that may arrive at once: far more than a client sends that measures its round trips.
const MAX_BURST: u32 = 1000;
/// The time after which one more control frame may arrive.
const REFILL_INTERVAL: Duration = Duration::from_millis(20);

/// An error: too many control frames arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyFrames;

/// A limit of the control frames of one connection.
#[derive(Debug, Default)]
pub(crate) struct ControlFrameLimit {
    /// The bytes of the preface that have arrived.
    preface: usize,
    /// The header of the frame that is arriving.
    head: [u8; HEAD],
    /// The bytes of it that have arrived.
    known: usize,
    /// The bytes of the payload that have not arrived yet.
    payload: usize,
    /// The control frames that count against the burst.
    counted: u32,
    /// The time as of which they count.
    since: Option<Instant>,
}

impl ControlFrameLimit {
    /// Returns whether the preface has arrived.
    pub(crate) fn has_preface(&self) -> bool {
        self.preface == PREFACE
    }

    /// Counts the control frames in `bytes`; `now` is read only for those.
    ///
    /// # Errors
    /// Too many have arrived.
    pub(crate) fn scan(
        &mut self,
        mut bytes: &[u8],
        now: impl Fn() -> Instant,
    ) -> Result<(), TooManyFrames> {
        self.preface += skip(&mut bytes, PREFACE - self.preface);
        while !bytes.is_empty() {
            self.payload -= skip(&mut bytes, self.payload);
            let (chunk, rest) = bytes.split_at(bytes.len().min(if self.payload > 0 {
                0
            } else {
                HEAD - self.known
            }));
            bytes = rest;
            for (slot, byte) in self.head.iter_mut().skip(self.known).zip(chunk) {
                *slot = *byte;
            }
            self.known += chunk.len();
            if self.known == HEAD {
                self.known = 0;
                let [high, middle, low, kind, ..] = self.head;
                self.payload = usize::try_from(u32::from_be_bytes([0, high, middle, low]))
                    .unwrap_or(usize::MAX);
                if is_counted(kind) {
                    self.count(now())?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, now: Instant) -> Result<(), TooManyFrames> {
        let since = *self.since.get_or_insert(now);
        let refilled = u32::try_from(
            now.saturating_duration_since(since).as_millis() / REFILL_INTERVAL.as_millis(),
        )
        .unwrap_or(u32::MAX);
        if refilled > 0 {
            self.counted = self.counted.saturating_sub(refilled);
            self.since = Some(now);
        }
        self.counted += 1;
        if self.counted > MAX_BURST {
            Err(TooManyFrames)
        } else {
            Ok(())
        }
    }
}

/// Removes at most `most` bytes from the front, and returns how many.
fn skip(bytes: &mut &[u8], most: usize) -> usize {
    let (skipped, rest) = bytes.split_at(bytes.len().min(most));
    *bytes = rest;
    skipped.len()
}

/// Returns whether frames of a kind count: `PRIORITY`, `SETTINGS`, `PING`, and unknown kinds. The others are bounded by h2, or by the
/// memory of a body or a response.
const fn is_counted(kind: u8) -> bool {
    matches!(kind, 2 | 4 | 6 | 10..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let mut frame = u32::try_from(payload).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.extend(vec![6; payload]);
        frame
    }

    fn preface() -> Vec<u8> {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }

    #[test]
    fn flood_is_refused_and_steady_pace_is_not() {
        let begun = SystemClock.mono();
        for kind in [2, 4, 6, 99] {
            let mut limit = ControlFrameLimit::default();
            limit.scan(&preface(), || begun).unwrap();
            assert!(limit.has_preface());
            limit.scan(&frame(kind, 8).repeat(1000), || begun).unwrap();
            assert_eq!(limit.scan(&frame(kind, 8), || begun), Err(TooManyFrames));
            let mut limit = ControlFrameLimit::default();
            limit.scan(&preface(), || begun).unwrap();
            for number in 0..20_000 {
                limit
                    .scan(&frame(kind, 8), || begun + REFILL_INTERVAL * number)
                    .unwrap();
            }
        }
        let mut limit = ControlFrameLimit::default();
        limit.scan(&preface(), || begun).unwrap();
        for kind in [0, 1, 3, 5, 7, 8, 9] {
            limit
                .scan(&frame(kind, 100).repeat(2000), || begun)
                .unwrap();
        }
    }

    proptest! {
        /// Checks that the same frames are counted however the bytes are split.
        #[test]
        fn count_does_not_depend_on_the_split(sizes in prop::collection::vec((0..12_u8, 0..300_usize), 1..40), chunk in 1..50_usize) {
            let begun = SystemClock.mono();
            let mut bytes = preface();
            for (kind, payload) in &sizes {
                bytes.extend(frame(*kind, *payload));
            }
            let mut limit = ControlFrameLimit::default();
            for chunk in bytes.chunks(chunk) {
                limit.scan(chunk, || begun).unwrap();
            }
            let expect = sizes.iter().filter(|(kind, _)| is_counted(*kind)).count();
            prop_assert_eq!((limit.counted as usize, limit.known, limit.payload), (expect, 0, 0));
        }
    }
}

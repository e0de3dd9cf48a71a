//! Counts the frames of HTTP/2 that cost their reader something and their sender nothing. Pure: bytes and `now` in.
//!
//! h2 answers every `SETTINGS` and every `PING` and bounds neither; only answers that nobody reads hold it up, a million frames later.
//! The layout of a frame is <https://www.rfc-editor.org/rfc/rfc9113#section-4.1>.
use std::time::{Duration, Instant};

/// The length of the connection preface, which comes before the first frame.
const PREFACE: usize = 24;
/// The length of what stands before a payload.
const HEAD: usize = 9;
/// Such frames at once: far more than a client that measures its round trips sends.
const BURST: u32 = 1000;
/// A further one may come after each such time.
const EACH: Duration = Duration::from_millis(20);

/// More of them than anybody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// What has arrived on a connection, frame by frame.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes of the preface that were seen.
    preface: usize,
    /// What is known of the frame that begins.
    head: [u8; HEAD],
    /// How much of it.
    known: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
    /// Frames in hand that were counted, and as of when.
    counted: u32,
    since: Option<Instant>,
}

impl Frames {
    /// Whether the preface is here.
    pub(crate) fn is_open(&self) -> bool {
        self.preface == PREFACE
    }

    /// Follows `bytes`; `now` is asked for only where a frame counts.
    ///
    /// # Errors
    /// Too many frames ask for an answer.
    pub(crate) fn scan(
        &mut self,
        mut bytes: &[u8],
        now: impl Fn() -> Instant,
    ) -> Result<(), TooMany> {
        self.preface += skip(&mut bytes, PREFACE - self.preface);
        while !bytes.is_empty() {
            self.payload -= skip(&mut bytes, self.payload);
            let (piece, rest) = bytes.split_at(bytes.len().min(if self.payload > 0 {
                0
            } else {
                HEAD - self.known
            }));
            bytes = rest;
            for (place, byte) in self.head.iter_mut().skip(self.known).zip(piece) {
                *place = *byte;
            }
            self.known += piece.len();
            if self.known == HEAD {
                self.known = 0;
                let [high, middle, low, kind, ..] = self.head;
                self.payload = usize::try_from(u32::from_be_bytes([0, high, middle, low]))
                    .unwrap_or(usize::MAX);
                if counts(kind) {
                    self.count(now())?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, now: Instant) -> Result<(), TooMany> {
        let since = *self.since.get_or_insert(now);
        let forgotten =
            u32::try_from(now.saturating_duration_since(since).as_millis() / EACH.as_millis())
                .unwrap_or(u32::MAX);
        if forgotten > 0 {
            self.counted = self.counted.saturating_sub(forgotten);
            self.since = Some(now);
        }
        self.counted += 1;
        if self.counted > BURST {
            Err(TooMany)
        } else {
            Ok(())
        }
    }
}

/// Takes at most `most` bytes off the front; how many it took.
fn skip(bytes: &mut &[u8], most: usize) -> usize {
    let (skipped, rest) = bytes.split_at(bytes.len().min(most));
    *bytes = rest;
    skipped.len()
}

/// `PRIORITY`, `SETTINGS`, `PING`, and what nobody knows. The others h2 bounds itself, or a body or an answer pays for them.
const fn counts(kind: u8) -> bool {
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

    fn open() -> Vec<u8> {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }

    #[test]
    fn a_flood_is_too_many_and_a_steady_pace_is_not() {
        let begun = SystemClock.mono();
        for kind in [2, 4, 6, 99] {
            let mut frames = Frames::default();
            frames.scan(&open(), || begun).unwrap();
            assert!(frames.is_open());
            frames.scan(&frame(kind, 8).repeat(1000), || begun).unwrap();
            assert_eq!(frames.scan(&frame(kind, 8), || begun), Err(TooMany));
            let mut frames = Frames::default();
            frames.scan(&open(), || begun).unwrap();
            for number in 0..20_000 {
                frames
                    .scan(&frame(kind, 8), || begun + EACH * number)
                    .unwrap();
            }
        }
        let mut frames = Frames::default();
        frames.scan(&open(), || begun).unwrap();
        for kind in [0, 1, 3, 5, 7, 8, 9] {
            frames
                .scan(&frame(kind, 100).repeat(2000), || begun)
                .unwrap();
        }
    }

    proptest! {
        /// However the bytes are cut into pieces, the same frames are counted.
        #[test]
        fn pieces_change_nothing(sizes in prop::collection::vec((0..12_u8, 0..300_usize), 1..40), piece in 1..50_usize) {
            let begun = SystemClock.mono();
            let mut bytes = open();
            for (kind, payload) in &sizes {
                bytes.extend(frame(*kind, *payload));
            }
            let mut frames = Frames::default();
            for piece in bytes.chunks(piece) {
                frames.scan(piece, || begun).unwrap();
            }
            let expect = sizes.iter().filter(|(kind, _)| counts(*kind)).count();
            prop_assert_eq!((frames.counted as usize, frames.known, frames.payload), (expect, 0, 0));
        }
    }
}

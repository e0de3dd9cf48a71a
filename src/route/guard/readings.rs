//! The readings of a path that is matched against a guarded one.
use crate::route::guard::segments::{Kind, Segment, Separator};

/// All readings of the segments so far.
///
/// A reading has matched a number of segments from the beginning of the pattern, and holds a number of other segments on top of them,
/// which only `..` can remove: for each number of matched segments, a bit for each number of others.
pub(super) struct Readings {
    all: Vec<u64>,
    /// The readings in which the last segment is one of the others.
    other: Vec<u64>,
    /// The readings in which a parameter continues that does not count.
    parameter: Vec<u64>,
}

impl Readings {
    /// Begins at the root.
    pub(super) fn at_the_root(segments: usize) -> Self {
        let mut all = vec![0; segments + 1];
        all.iter_mut().take(1).for_each(|first| *first = 1);
        Self {
            all,
            other: vec![0; segments + 1],
            parameter: vec![0; segments + 1],
        }
    }

    /// Returns whether a reading has matched this number of segments, and holds no others.
    pub(super) fn is_at(&self, matched: usize) -> bool {
        self.all.get(matched).is_some_and(|others| others & 1 == 1)
    }

    /// Adds a reading that begins here.
    pub(super) fn restart(&mut self) {
        self.all.iter_mut().take(1).for_each(|first| *first |= 1);
    }

    /// Reads the text after `;`: it does not count, or belongs to the segment before it.
    pub(super) fn begin_parameter(&mut self) {
        for ((all, other), parameter) in self
            .all
            .iter_mut()
            .zip(&self.other)
            .zip(&mut self.parameter)
        {
            *parameter |= *all;
            *all |= other;
        }
    }

    /// Reads the text after `?` or `#`: it belongs to the segment or the parameter before it.
    pub(super) fn continue_text(&mut self) {
        for ((all, other), parameter) in self.all.iter_mut().zip(&self.other).zip(&self.parameter) {
            *all = other | parameter;
        }
    }

    /// Reads a segment after `/`: as the next segment of the pattern if `takes` accepts it, as another segment, and as its kind allows;
    /// and if some readers do not split at that `/`, as the end of the segment or parameter before it. Returns whether some reading
    /// matched it with a segment of the pattern.
    pub(super) fn enter(&mut self, segment: &Segment, takes: impl Fn(usize) -> bool) -> bool {
        let maybe = if segment.separator == Separator::MaybeSlash {
            u64::MAX
        } else {
            0
        };
        let others = self
            .all
            .iter()
            .zip(&self.other)
            .map(|(all, other)| all << 1 | (other & maybe));
        let other: Vec<u64> = others.collect();
        let parameter: Vec<u64> = self
            .parameter
            .iter()
            .map(|parameter| parameter & maybe)
            .collect();
        let mut all: Vec<u64> = other
            .iter()
            .zip(&parameter)
            .map(|(other, parameter)| other | parameter)
            .collect();
        let mut matched = false;
        for (index, others) in self.all.iter().enumerate() {
            let bare = others & 1;
            if bare == 1 && takes(index) {
                add(&mut all, index + 1, 1);
                matched = true;
            }
            if segment.kind != Kind::Name {
                add(&mut all, index, *others);
            }
            if matches!(segment.kind, Kind::Parent | Kind::Dots) {
                add(&mut all, index, others >> 1);
                // at the root there is nothing to remove
                add(&mut all, index.saturating_sub(1), bare);
            }
        }
        *self = Self {
            all,
            other,
            parameter,
        };
        matched
    }
}

/// Adds readings that have matched this number of segments.
fn add(readings: &mut [u64], matched: usize, others: u64) {
    if let Some(known) = readings.get_mut(matched) {
        *known |= others;
    }
}

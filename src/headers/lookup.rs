//! Finds the rule for the name of a header.
use std::sync::LazyLock;

use super::rules::{RULES, Treatment};
use crate::request::Folded;

/// The folded names of the rules. Each is in the bucket of a letter, so that few are compared with a name.
struct Index {
    /// Whole names, by their last letter.
    whole: Buckets,
    /// Beginnings, by the letter that [`first_letter`] returns.
    begins: Buckets,
    /// Ends, by their last letter.
    ends: Buckets,
}

type Buckets = [Vec<(Folded, Treatment)>; 256];

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let empty = || std::array::from_fn(|_| Vec::new());
    let mut index = Index {
        whole: empty(),
        begins: empty(),
        ends: empty(),
    };
    for rule in RULES {
        for name in rule.names {
            let folded = Folded::new(name);
            let last = last_letter(folded.as_bytes());
            let (buckets, letter) = match (name.starts_with('*'), name.ends_with('*')) {
                (true, _) => (&mut index.ends, last),
                (false, true) => (&mut index.begins, first_letter(folded.as_bytes())),
                (false, false) => (&mut index.whole, last),
            };
            if let Some(bucket) = buckets.get_mut(usize::from(letter)) {
                bucket.push((folded, rule.treatment));
            }
        }
    }
    index
});

/// Returns the first letter of a folded name, and of one that begins with `x` the second: most rules begin so.
fn first_letter(folded: &[u8]) -> u8 {
    match folded {
        [b'x', second, ..] => *second,
        [first, ..] => *first,
        [] => 0,
    }
}

fn last_letter(folded: &[u8]) -> u8 {
    folded.last().copied().unwrap_or_default()
}

/// Returns the treatment of a line, by its name alone. `folded` is the folded name.
pub(super) fn treatment(name: &str, folded: &Folded) -> Treatment {
    let (bytes, index) = (folded.as_bytes(), &*INDEX);
    let bucket = |buckets: &'static Buckets, letter: u8| -> &'static [(Folded, Treatment)] {
        buckets.get(usize::from(letter)).map_or(&[], Vec::as_slice)
    };
    // a name may be longer than what is left of it when it is folded
    let end = name
        .bytes()
        .rev()
        .find(u8::is_ascii_alphanumeric)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let whole = bucket(&index.whole, last_letter(bytes))
        .iter()
        .find(|(known, _)| known == folded);
    let begins = || {
        bucket(&index.begins, first_letter(bytes))
            .iter()
            .find(|(prefix, _)| bytes.starts_with(prefix.as_bytes()))
    };
    let ends = || {
        bucket(&index.ends, end)
            .iter()
            .find(|(suffix, _)| Folded::ends_with(name, suffix.as_bytes()))
    };
    whole
        .or_else(|| begins().or_else(ends))
        .map_or(Treatment::Keep, |(_, treatment)| *treatment)
}

//! Whether two schemas mean the same, word for word.
use std::collections::BTreeSet;

use serde_json::Value;

use crate::event::diff::location::{Document, Keywords};
use crate::event::schema::keywords::{Holds, holds, is_annotation};

/// The pairs of schemas that are being compared, by their addresses.
type Pairs = BTreeSet<(usize, usize)>;

/// Returns whether two schemas are the same, apart from annotations. References are followed.
pub(super) fn same(old: (Document<'_>, &Value), new: (Document<'_>, &Value)) -> bool {
    is_same(old, new, &mut Pairs::new())
}

/// Returns whether the keywords of two schemas are the same, as [`same`] does.
pub(super) fn same_keywords(
    old: (Document<'_>, &Keywords),
    new: (Document<'_>, &Keywords),
) -> bool {
    are_same(old, new, &mut Pairs::new())
}

/// Returns whether the two schemas say the same by one keyword; also if neither has it.
pub(super) fn same_keyword(
    keyword: &str,
    old: (Document<'_>, &Keywords),
    new: (Document<'_>, &Keywords),
) -> bool {
    is_same_keyword(keyword, old, new, &mut Pairs::new())
}

fn is_same(
    (old_document, old): (Document<'_>, &Value),
    (new_document, new): (Document<'_>, &Value),
    pairs: &mut Pairs,
) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            are_same((old_document, old), (new_document, new), pairs)
        }
        _ => old == new,
    }
}

fn are_same(
    (old_document, old): (Document<'_>, &Keywords),
    (new_document, new): (Document<'_>, &Keywords),
    pairs: &mut Pairs,
) -> bool {
    let pair = (
        std::ptr::from_ref(old).addr(),
        std::ptr::from_ref(new).addr(),
    );
    if !pairs.insert(pair) {
        return true;
    }
    old.keys()
        .chain(new.keys())
        .filter(|keyword| !is_annotation(keyword))
        .all(|keyword| is_same_keyword(keyword, (old_document, old), (new_document, new), pairs))
}

fn is_same_keyword(
    keyword: &str,
    (old_document, old): (Document<'_>, &Keywords),
    (new_document, new): (Document<'_>, &Keywords),
    pairs: &mut Pairs,
) -> bool {
    let (old, new) = match (old.get(keyword), new.get(keyword)) {
        (Some(old), Some(new)) => (old, new),
        (None, None) => return true,
        (Some(_), None) | (None, Some(_)) => return false,
    };
    if keyword == "$ref" {
        return match (old_document.resolve(old), new_document.resolve(new)) {
            (Some(old), Some(new)) => is_same((old_document, old), (new_document, new), pairs),
            _ => false,
        };
    }
    match (holds(keyword), old, new) {
        (Some(Holds::One), _, _) => is_same((old_document, old), (new_document, new), pairs),
        (Some(Holds::List), Value::Array(old), Value::Array(new)) => {
            old.len() == new.len()
                && old
                    .iter()
                    .zip(new)
                    .all(|(old, new)| is_same((old_document, old), (new_document, new), pairs))
        }
        (Some(Holds::Map), Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old.iter().all(|(key, old)| {
                    new.get(key)
                        .is_some_and(|new| is_same((old_document, old), (new_document, new), pairs))
                })
        }
        (Some(Holds::List | Holds::Map) | None, _, _) => old == new,
    }
}

//! Exact comparison of the numbers of a schema.
use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Below this a whole `f64` is exactly an `i128`.
const MAX_EXACT: f64 = 1e37;

/// Returns a number without a fraction as an integer.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked, and there is no fraction"
)]
pub(super) fn whole(number: &Number) -> Option<i128> {
    if let Some(whole) = number.as_i64() {
        return Some(whole.into());
    }
    if let Some(whole) = number.as_u64() {
        return Some(whole.into());
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() < MAX_EXACT).then_some(float as i128)
}

/// Compares two numbers exactly.
pub(super) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        // one has a fraction, or is larger than every integer here: rounding the other cannot turn the order around
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Returns whether a multiple of `new` is always a multiple of `old`.
pub(super) fn is_multiple(new: &Number, old: &Number) -> bool {
    match (whole(new), whole(old)) {
        (Some(new), Some(old)) if old != 0 => new % old == 0,
        _ => new == old,
    }
}

/// Returns a keyword's value as a number.
pub(super) fn number(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => Some(number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

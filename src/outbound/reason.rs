//! Fields that several calls have beside their own.
use serde_json::{Map, Value};

use super::faults;
use crate::tenant::Invalid;
use crate::web::problem::Problem;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// Takes the reason for the audit log out of a body; empty if there is none.
///
/// # Errors
/// It is no text, or too long.
pub(super) fn take_reason(body: &mut Map<String, Value>) -> Result<String, Problem> {
    match body.remove("reason") {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(reason)) => checked(&reason).map(str::to_owned),
        Some(_) => {
            let invalid = Invalid::new("/reason", "this must be a string", "write `\"…\"`");
            Err(faults::invalid(invalid))
        }
    }
}

/// Checks a reason.
///
/// # Errors
/// It is too long.
pub(super) fn checked(reason: &str) -> Result<&str, Problem> {
    if reason.chars().count() > MAX_REASON {
        let help = format!("write at most {MAX_REASON} characters");
        let invalid = Invalid::new("/reason", "the reason is too long", help);
        return Err(faults::invalid(invalid));
    }
    Ok(reason)
}

/// Takes a flag out of a body; false if there is none.
///
/// # Errors
/// It is neither `true` nor `false`.
pub(super) fn take_flag(body: &mut Map<String, Value>, name: &str) -> Result<bool, Problem> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => {
            let at = format!("/{name}");
            let invalid = Invalid::new(at, "this must be a boolean", "write `true` or `false`");
            Err(faults::invalid(invalid))
        }
    }
}

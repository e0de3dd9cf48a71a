//! Pages of lists.
use schemars::JsonSchema;
use serde::Deserialize;

use crate::web::problem::Problem;

/// The rows of a page, unless the query says another number.
const DEFAULT: u16 = 50;
/// The most rows of a page.
const MAX: u16 = 500;

/// The query of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PageQuery {
    /// The number of rows, 1 to 500 (default 50).
    limit: Option<u16>,
    /// The `next` of the page before.
    after: Option<String>,
}

impl PageQuery {
    /// Returns the number of rows.
    ///
    /// # Errors
    /// It is not between 1 and 500.
    pub(super) fn limit(&self) -> Result<u16, Problem> {
        limit(self.limit)
    }

    /// Returns the end of the page before.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// Checks the number of rows of a page.
///
/// # Errors
/// It is not between 1 and 500.
pub(super) fn limit(written: Option<u16>) -> Result<u16, Problem> {
    let limit = written.unwrap_or(DEFAULT);
    if (1..=MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::bad_request(
        "`limit` is out of range",
        "write 1 to 500",
    ))
}

/// Returns the error of a cursor that no page gave.
pub(super) fn bad_cursor() -> Problem {
    Problem::bad_request(
        "`after` is not the `next` of a page",
        "leave it out to begin with the first page",
    )
}

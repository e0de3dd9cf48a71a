//! The parts of the API's OpenAPI document that are the same for all calls.
use crate::web::call::schema;
use crate::web::document::{Errors, Title};
use crate::web::problem::Error;

/// The parts of the document that are the same for all calls.
pub(super) const TITLE: Title = Title {
    title: "hookgate outbound API",
    description: "Your app publishes events, and manages tenants and their endpoints. Times are RFC 3339 in UTC, durations are in seconds, sizes in bytes. Fields are only ever added.",
    token: "One of `outbound.tokens`.",
    errors: Errors {
        body: schema::<Error>,
        words: &[
            (400, "The request is not valid."),
            (401, "The token is missing or wrong."),
            (403, "The token does not allow this."),
            (
                404,
                "There is no such tenant, endpoint, event, secret or event type.",
            ),
            (
                409,
                "The state does not allow this, or another request came first.",
            ),
            (411, "The request has no `Content-Length`."),
            (413, "The body is too large."),
            (415, "The content type is not `application/json`."),
            (
                422,
                "A field cannot be used, the event does not fit the catalogue, or the key has another event.",
            ),
            (
                503,
                "The gateway cannot do this now. Repeat the request; a publish with the same key.",
            ),
        ],
        always: &[401, 403],
        with_body: &[400, 411, 413, 415],
        retry_after: &[503],
    },
};

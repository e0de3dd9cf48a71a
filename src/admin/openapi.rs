//! The OpenAPI 3.1 document of the admin API.
use serde_json::Value;

use super::answer::Refusal;
use super::table::AdminCall;
use crate::web::call::schema;
use crate::web::document::{self, Errors, Title};

/// The descriptions of error statuses.
const ERRORS: &[(u16, &str)] = &[
    (400, "The request is invalid."),
    (401, "The token is missing or wrong."),
    (
        403,
        "The token does not allow this, no token is configured, or the `Host` header names another host.",
    ),
    (404, "Not found."),
    (
        409,
        "The request conflicts with the present state, or there is no store.",
    ),
    (413, "The body is larger than 64 KiB."),
    (415, "The body is not `application/json`."),
    (422, "The config has errors."),
    (429, "Too many requests of this kind are in progress."),
    (503, "The store is unavailable."),
];

/// The parts of the document that are the same for all calls.
const TITLE: Title = Title {
    title: "hookgate admin API",
    description: "Times are RFC 3339 in UTC, durations are in seconds, sizes in bytes. Fields are only ever added.",
    token: "`admin.token`, one of `admin.tokens`, or the content of the file `admin-token` in the store's directory.",
    errors: Errors {
        body: schema::<Refusal>,
        words: ERRORS,
        always: &[401, 403],
        with_body: &[400, 413, 415],
        retry_after: &[],
    },
};

/// Returns the document of these calls.
pub(super) fn document(calls: &[AdminCall]) -> Value {
    document::document(&TITLE, calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::routes;

    /// Compares `docs/openapi.json` with this document. `HOOKGATE_WRITE_EXPECTED=1` writes it.
    #[test]
    fn committed_openapi_document_is_the_served_one() {
        let document = document(&routes::calls());
        let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write("docs/openapi.json", &text).unwrap();
        }
        let committed = std::fs::read_to_string("docs/openapi.json").unwrap_or_default();
        assert!(
            committed == text,
            "run `HOOKGATE_WRITE_EXPECTED=1 cargo test --lib admin::openapi`"
        );
    }

    /// Checks that every call is in the document once, and nothing else is.
    #[test]
    fn openapi_document_has_every_call() {
        let calls = routes::calls();
        let document = document(&calls);
        let mut documented: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, verbs)| {
                let verbs = verbs.as_object().unwrap();
                verbs.keys().map(move |verb| format!("{verb} {path}"))
            })
            .collect();
        let mut routed: Vec<String> = calls
            .iter()
            .map(|call| format!("{} {}", call.verb.word(), call.path))
            .collect();
        documented.sort();
        routed.sort();
        assert_eq!(documented, routed);
    }
}

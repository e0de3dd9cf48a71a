//! The API by which an app sends: it publishes events, and manages tenants and endpoints (`/v1/…`).
//!
//! Every request has a bearer token of `outbound.tokens`. A tenant is named in the path and looked up first; everything after that is asked of
//! the store within that tenant, so one tenant's IDs mean nothing in another's path.
mod access;
mod attempts;
mod checks;
mod counted_publish;
mod dry_run;
mod endpoint_body;
mod endpoints;
mod event_body;
mod event_check;
mod event_types;
mod events;
mod faults;
mod listing;
mod names;
mod pause;
mod publish;
mod published;
mod reason;
mod recover;
mod secrets;
mod shown;
mod state;
mod table;
mod tenants;
mod test_event;
mod test_limits;
mod title;
mod type_calls;

pub use access::AppTokens;
pub use event_body::Draft;
pub use state::Api;
pub use table::{BOUNDS, document, router};

#[cfg(test)]
mod tests {
    /// Compares `docs/outbound-openapi.json` with the served document. `HOOKGATE_WRITE_EXPECTED=1` writes it.
    #[test]
    fn committed_openapi_document_is_the_served_one() {
        let text = format!(
            "{}\n",
            serde_json::to_string_pretty(&super::document()).unwrap()
        );
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write("docs/outbound-openapi.json", &text).unwrap();
        }
        let committed = std::fs::read_to_string("docs/outbound-openapi.json").unwrap_or_default();
        assert!(
            committed == text,
            "run `HOOKGATE_WRITE_EXPECTED=1 cargo test --lib outbound`"
        );
    }
}

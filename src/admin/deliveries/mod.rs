//! Deliveries: looked at, replayed, cancelled, purged.
pub mod acts;
mod desk;
mod filter;
pub(super) mod read;
mod show;
pub mod types;

pub use desk::{Desk, Keyed, Policy};

use axum::routing::get;

use super::endpoint::{Answers, Endpoint, Needs, schema};

/// What is asked of deliveries.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/-/deliveries",
            "Lists and searches deliveries, a page at a time.",
            Answers::Json(200, schema::<types::Deliveries>),
            get(read::list),
        )
        .asked::<read::Listed>()
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}",
            "One delivery with its request and every try, by its ID here or the provider's: then the newest that has it.",
            Answers::Json(200, schema::<types::Shown>),
            get(read::show),
        )
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}/body",
            "The body exactly as it came.",
            Answers::Bytes(&["text/plain", "application/octet-stream"]),
            get(read::body),
        )
        .asked::<read::Raw>()
        .needs(Needs::Read)
        .refuses(&[400, 404, 409]),
        Endpoint::get(
            "/-/deliveries/{id}/http",
            "The request in HTTP/1.1, without authenticators that are the secret itself: they are not kept.",
            Answers::Bytes(&["application/octet-stream"]),
            get(read::http),
        )
        .needs(Needs::Read)
        .refuses(&[400, 404, 409]),
        Endpoint::get("/-/audit", "The last acts, newest first.", Answers::Json(200, schema::<acts::Audit>), get(read::audit))
            .asked::<read::Audited>()
            .refuses(&[400, 409]),
    ]
}

#[cfg(test)]
mod tests;

//! The result of comparing a request with the candidate secrets.
use std::sync::Arc;
use std::time::SystemTime;

/// The result of comparing what a request presents with the candidates.
pub(super) enum Comparison {
    /// A secret matches, and the time is not too old.
    Fresh(MatchedSecret),
    /// The time is too old, whether or not a secret matches.
    Stale {
        matched: Option<MatchedSecret>,
        signed_at: SystemTime,
    },
}

/// A secret that matched, with the signed time.
#[derive(Debug)]
pub(super) struct MatchedSecret {
    pub(super) name: Arc<str>,
    pub(super) signed_at: Option<SystemTime>,
}

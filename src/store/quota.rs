//! The tokens of rate limits that gateways share.
use std::time::Duration;

use crate::store::Answer;

/// Tokens that a gateway asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The key of the limit, the same at all gateways.
    pub key: u64,
    /// The time in which a token comes back. The store may round it to microseconds.
    pub each: Duration,
    /// The tokens that may be spent at once.
    pub burst: u32,
    /// The tokens to reserve.
    pub tokens: u32,
    /// Tokens that are spent already. They are charged in any case, down to a whole burst below nothing.
    pub spent: u32,
}

/// The answer to a [`TokenRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The tokens that are reserved, at most as many as were asked for.
    pub tokens: u32,
    /// The time until there is one more; zero if there is one now.
    pub wait: Duration,
}

/// The tokens of limits that gateways share.
pub trait SharedTokens: Send + Sync {
    /// Reserves tokens. Requests that are made at once go to the store together. After [`crate::store::StoreError::Unknown`] the tokens may
    /// have been charged, and a repeated call would charge them again.
    fn reserve(&self, request: TokenRequest) -> Answer<'_, TokenGrant>;
}

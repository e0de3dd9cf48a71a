//! The answers of a store, and the reasons for which it gives none.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The future answer of a store.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The reason for which a store does not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was done.
    #[error("the store is not available: {0}")]
    Unavailable(Arc<str>),
    /// Done or not: repeat the call.
    #[error("it is unknown whether the store did it: {0}")]
    Unknown(Arc<str>),
    /// No room.
    #[error("the store is full")]
    Full,
    /// Stop using it.
    #[error("the store is damaged: {0}")]
    Corrupted(Arc<str>),
}

/// The number of times that a call is made whose outcome stays unknown.
const MAX_CALLS: u32 = 3;
/// The pause between such calls.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes a call again while it is not known whether it was done.
pub(crate) async fn repeated<'a, T>(call: impl Fn() -> Answer<'a, T>) -> Result<T, StoreError> {
    let (mut calls, mut unknown) = (1, None);
    loop {
        match (call().await, &unknown) {
            (Err(error @ StoreError::Unknown(_)), _) if calls < MAX_CALLS => {
                calls += 1;
                unknown = Some(error);
            }
            // one of the calls before may have been done
            (Err(StoreError::Unavailable(_)), Some(error)) => return Err(error.clone()),
            (answer, _) => return answer,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

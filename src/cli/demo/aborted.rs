//! A task that ends with its owner.

/// A task that is aborted on drop.
pub(super) struct Aborted<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

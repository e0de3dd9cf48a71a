//! Large futures in boxes of their own.
use std::pin::Pin;

/// Makes a future in a box. `Box::pin` makes it first and then moves all of its bytes, also those that nothing has been written to yet: a future
/// that serves a request has 8 KiB. Here the box is there first, so the compiler writes the future into it.
pub(super) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

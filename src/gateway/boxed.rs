//! Large futures in boxes of their own.
use std::pin::Pin;

/// Makes a future in a box. The box is allocated first, so that an optimised build makes the future in it; `Box::pin` makes it on the stack, and
/// copies all of its bytes.
pub(super) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let allocated = Box::new_uninit();
    Box::into_pin(Box::write(allocated, make()))
}

//! A secret as it was loaded.
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::encoding::Encoding;

/// A secret as it was loaded: text, not yet a key.
#[derive(Clone)]
pub struct SecretText {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The text, wiped on drop.
    pub text: Zeroizing<Vec<u8>>,
    /// The encodings of this secret, instead of the scheme's. Each that decodes the text makes a candidate.
    pub encodings: Option<Vec<Encoding>>,
    /// The time before which it is not active.
    pub not_before: Option<SystemTime>,
    /// The time from which on it is no longer active.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretText")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

//! The faults of a secret's text.

/// The reason why the text of a secret cannot be used. It shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no text.
    #[error("the secret is empty")]
    Empty,
    /// The text is not base64.
    #[error("the secret is not base64")]
    NotBase64,
    /// The text is not hexadecimal.
    #[error("the secret is not hexadecimal")]
    NotHex,
    /// The text is not UTF-8.
    #[error("the secret is not UTF-8")]
    NotUtf8,
    /// The text has a prefix that is no part of the key.
    #[error("the secret begins with whsec_: its encoding is `whsec`")]
    HasPrefix,
    /// The text has no colon, and the key is behind the first one.
    #[error("the secret has no colon; the provider signs with the text after the colon")]
    NoColon,
    /// The text is not a user and a password.
    #[error("write the secret as `user:password`")]
    NotCredentials,
    /// The algorithm takes no key of this length.
    #[error("the secret has a length that the algorithm cannot use")]
    Length,
}

impl From<SecretError> for String {
    fn from(error: SecretError) -> Self {
        error.to_string()
    }
}

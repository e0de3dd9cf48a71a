//! Signs the gateway's own messages by Standard Webhooks:
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};

use super::hmac::{Algorithm, Mac, TagEncoding};
use super::secret::{Encoding, SecretError, SecretText};

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The names of the headers that [`SigningKey::sign`] returns.
pub const NAMES: [HeaderName; 3] = [ID, TIMESTAMP, SIGNATURE];

/// A secret that the gateway shares with the receiver of its own messages.
#[derive(Clone)]
pub struct SigningKey(Mac);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Decodes a secret: base64 after an optional `whsec_`, unless the secret names another encoding.
    ///
    /// # Errors
    /// The fault of the text, without showing it.
    pub fn new(secret: &SecretText) -> Result<Self, SecretError> {
        let encoding = secret
            .encodings
            .as_deref()
            .and_then(|encodings| encodings.first())
            .copied()
            .unwrap_or(Encoding::Whsec);
        let key = encoding.decode(&secret.text, None)?;
        Mac::new(Algorithm::Sha256, &key)
            .map(Self)
            .ok_or(SecretError::Length)
    }

    /// Returns the headers that sign `body` under `id` as of `at`; `None` if a header cannot hold `id`.
    pub fn sign(
        &self,
        id: &str,
        at: SystemTime,
        body: &[u8],
    ) -> Option<[(HeaderName, HeaderValue); 3]> {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        let signature = format!("v1,{}", TagEncoding::Base64.encode(&mac.finish()));
        let [id, signature] = [
            HeaderValue::from_str(id).ok()?,
            HeaderValue::from_str(&signature).ok()?,
        ];
        Some([
            (ID, id),
            (TIMESTAMP, HeaderValue::from(seconds)),
            (SIGNATURE, signature),
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(text: &str, encodings: Option<Vec<Encoding>>) -> Result<SigningKey, SecretError> {
        let text = text.as_bytes().to_vec().into();
        SigningKey::new(&SecretText {
            name: "own".into(),
            text,
            encodings,
            not_before: None,
            expires: None,
        })
    }

    /// Compares with the signatures of `standardwebhooks` 1.1.0 from PyPI.
    #[test]
    fn signature_matches_the_reference_library() {
        let body = br#"{"test": 2432232314}"#;
        let at = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        for text in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            let lines = key(text, None).unwrap().sign(id, at, body).unwrap();
            assert_eq!(lines.clone().map(|(name, _)| name), NAMES);
            assert_eq!(
                lines.map(|(_, value)| value.to_str().unwrap().to_owned()),
                [id, "1614265330", expected]
            );
        }
    }

    #[test]
    fn invalid_key_or_id_is_an_error() {
        assert!(key("whsec_!", None).is_err() && key("", None).is_err());
        let own = key("plain text", Some(vec![Encoding::Utf8])).unwrap();
        assert!(own.sign("a\nb", UNIX_EPOCH, b"").is_none());
        assert_eq!(format!("{own:?}"), "SigningKey(…)");
    }
}

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

/// The names of the headers that [`sign_all`] returns.
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
        sign_all(std::slice::from_ref(self), id, at, body)
    }

    /// Returns the signature of `body` after `start`, which holds the ID and the time.
    fn signature(&self, start: &str, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(start.as_bytes());
        mac.update(body);
        format!("v1,{}", TagEncoding::Base64.encode(&mac.finish()))
    }
}

/// Returns the headers that sign `body` under `id` as of `at` with each of `keys`; `None` if there is no key, or a header cannot hold `id`.
/// A receiver accepts a message if one of the signatures is right, so two secrets overlap while one replaces the other.
pub fn sign_all(
    keys: &[SigningKey],
    id: &str,
    at: SystemTime,
    body: &[u8],
) -> Option<[(HeaderName, HeaderValue); 3]> {
    if keys.is_empty() {
        return None;
    }
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let start = format!("{id}.{seconds}.");
    let signatures: Vec<String> = keys.iter().map(|key| key.signature(&start, body)).collect();
    let [id, signature] = [
        HeaderValue::from_str(id).ok()?,
        HeaderValue::from_str(&signatures.join(" ")).ok()?,
    ];
    Some([
        (ID, id),
        (TIMESTAMP, HeaderValue::from(seconds)),
        (SIGNATURE, signature),
    ])
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
    fn every_secret_has_its_signature() {
        let at = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
        let keys: Vec<SigningKey> = ["old secret", "new secret", "third"]
            .map(|text| key(text, Some(vec![Encoding::Utf8])).unwrap())
            .into();
        for count in 1..=keys.len() {
            let [id, time, (name, value)] = sign_all(&keys[..count], "msg_1", at, b"{}").unwrap();
            let value = value.to_str().unwrap();
            assert_eq!(
                (id.1, time.1, name),
                ("msg_1".parse().unwrap(), 1_614_265_330.into(), SIGNATURE)
            );
            let alone = keys[..count].iter().map(|key| {
                let [.., (_, value)] = key.sign("msg_1", at, b"{}").unwrap();
                value.to_str().unwrap().to_owned()
            });
            assert_eq!(
                value.split(' ').collect::<Vec<_>>(),
                alone.collect::<Vec<_>>()
            );
        }
        assert!(sign_all(&[], "msg_1", at, b"{}").is_none());
        assert!(sign_all(&keys, "a\nb", at, b"{}").is_none());
    }

    #[test]
    fn invalid_key_or_id_is_an_error() {
        assert!(key("whsec_!", None).is_err() && key("", None).is_err());
        let own = key("plain text", Some(vec![Encoding::Utf8])).unwrap();
        assert!(own.sign("a\nb", UNIX_EPOCH, b"").is_none());
        assert_eq!(format!("{own:?}"), "SigningKey(…)");
    }
}

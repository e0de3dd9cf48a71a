//! Signatures made apart from the code under test.
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The hex HMAC-SHA256 of `content`.
pub fn hmac_hex(secret: &str, content: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(content);
    hex::encode(mac.finalize().into_bytes())
}

/// The headers of a GitHub delivery.
pub fn github(secret: &str, id: &str, body: &[u8]) -> Vec<(String, String)> {
    vec![
        ("X-GitHub-Delivery".into(), id.into()),
        ("X-GitHub-Event".into(), "push".into()),
        (
            "X-Hub-Signature-256".into(),
            format!("sha256={}", hmac_hex(secret, body)),
        ),
        ("Content-Type".into(), "application/json".into()),
    ]
}

/// As pairs of borrowed text.
pub fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

//! The scheme `basic`: `Authorization: Basic` with the base64 of `user:password`.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::progress::Inputs;
use crate::request::RequestHead;
use crate::verify::authentic::NotAuthentic;
use crate::verify::comparison::Comparison;
use crate::verify::locator::ReadHeader;
use crate::verify::secret::{Candidate, is_credentials};
use crate::verify::secret_locations::SecretLocations;
use crate::verify::signed::{CannotSign, Signed};

/// Compares the `user:password` that the request presents with all candidates.
pub(super) fn finish(inputs: &Inputs<'_>) -> Result<Comparison, NotAuthentic> {
    let digest = presented(inputs.request.head)?;
    inputs.candidates.compare_texts(&[digest], inputs.dates)
}

/// Returns the digest of the `user:password` that the request presents.
fn presented(head: &RequestHead) -> Result<[u8; 32], NotAuthentic> {
    let value = head
        .headers
        .single(&AUTHORIZATION)
        .map_err(|_| NotAuthentic::SignatureMalformed)?
        .ok_or(NotAuthentic::SignatureMissing)?;
    let (scheme, rest) = value
        .split_at_checked(6)
        .ok_or(NotAuthentic::SignatureMalformed)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return Err(NotAuthentic::SignatureMalformed);
    }
    let decoded = Zeroizing::new(
        STANDARD
            .decode(rest.trim_ascii_start())
            .map_err(|_| NotAuthentic::SignatureMalformed)?,
    );
    if is_credentials(&decoded) {
        Ok(Sha256::digest(decoded.as_slice()).into())
    } else {
        Err(NotAuthentic::SignatureMalformed)
    }
}

/// Writes the header that presents the secret.
pub(super) fn sign(candidate: &Candidate) -> Result<Signed, CannotSign> {
    let credentials = candidate.text().ok_or(CannotSign::NoSecret)?;
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials)));
    let mut value = HeaderValue::from_str(&text).map_err(|_| CannotSign::Unwritable)?;
    value.set_sensitive(true);
    Ok(Signed {
        headers: vec![(AUTHORIZATION, value)],
        query: Vec::new(),
    })
}

/// Returns the one header that the scheme reads.
pub(super) fn headers() -> Vec<ReadHeader> {
    vec![ReadHeader::single(AUTHORIZATION)]
}

/// Returns the header that holds the secret.
pub(super) fn secret_locations() -> SecretLocations {
    SecretLocations {
        headers: vec![AUTHORIZATION],
        ..SecretLocations::default()
    }
}

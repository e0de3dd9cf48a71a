//! `Authorization: Basic`.
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::request::RequestHead;
use crate::verify::NotAuthentic;

/// Whether this is `user:password`, of which at least one is not empty. The first colon ends the user.
pub(in crate::verify) fn well_formed(credentials: &[u8]) -> bool {
    std::str::from_utf8(credentials).is_ok() && credentials.contains(&b':') && credentials != b":"
}

/// The digest of the `user:password` that the request presents.
pub(in crate::verify) fn presented(head: &RequestHead) -> Result<[u8; 32], NotAuthentic> {
    let value = head
        .single(&AUTHORIZATION)
        .map_err(|_| NotAuthentic::SignatureMalformed)?
        .ok_or(NotAuthentic::SignatureMissing)?;
    let (scheme, rest) = value
        .as_bytes()
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
    if well_formed(&decoded) {
        Ok(Sha256::digest(decoded.as_slice()).into())
    } else {
        Err(NotAuthentic::SignatureMalformed)
    }
}

/// The header that presents `credentials`.
pub(in crate::verify) fn header(credentials: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials)))
}

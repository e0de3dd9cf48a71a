//! Tokens that are themselves the secret, in a header or the query.
use sha2::{Digest, Sha256};

use crate::request::RequestHead;
use crate::verify::NotAuthentic;
use crate::verify::source::Source;

/// The digests of the tokens that the request presents, one for each place it may stand in.
/// Digests are compared, so that neither content nor length of a secret shows in the time it takes.
pub(in crate::verify) fn presented(
    source: &Source,
    head: &RequestHead,
) -> Result<Vec<[u8; 32]>, NotAuthentic> {
    let mut digests = Vec::with_capacity(1);
    source.each(head, &[], |token| {
        if !token.is_empty() {
            digests.push(Sha256::digest(token).into());
        }
    })?;
    if digests.is_empty() {
        Err(NotAuthentic::SignatureMalformed)
    } else {
        Ok(digests)
    }
}

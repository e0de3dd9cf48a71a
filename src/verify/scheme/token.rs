//! The scheme `token`: the request presents the secret itself, in a header or the query.
use sha2::{Digest, Sha256};

use super::progress::Inputs;
use crate::verify::authentic::NotAuthentic;
use crate::verify::comparison::Comparison;
use crate::verify::secret::Candidate;
use crate::verify::secret_locations::SecretLocations;
use crate::verify::signed::{CannotSign, Signed};
use crate::verify::source::Source;

/// Compares the tokens that the request presents, one for each place, with all candidates.
///
/// Digests are compared, so that the time reveals neither the content nor the length of a secret.
pub(super) fn finish(source: &Source, inputs: &Inputs<'_>) -> Result<Comparison, NotAuthentic> {
    let mut digests = Vec::with_capacity(1);
    source.each(inputs.request.head, &[], |token| {
        if !token.is_empty() {
            digests.push(Sha256::digest(token).into());
        }
    })?;
    if digests.is_empty() {
        return Err(NotAuthentic::SignatureMalformed);
    }
    inputs.candidates.compare_texts(&digests, inputs.dates)
}

/// Writes the token where the scheme reads it.
pub(super) fn sign(source: &Source, candidate: &Candidate) -> Result<Signed, CannotSign> {
    let token = candidate.text().ok_or(CannotSign::NoSecret)?;
    Signed::at(source, source.write(token, None))
}

/// Returns the header or query parameter that holds the token.
pub(super) fn secret_locations(source: &Source) -> SecretLocations {
    SecretLocations {
        headers: source.headers().to_vec(),
        query: source.query().map(Box::from).into_iter().collect(),
        ..SecretLocations::default()
    }
}

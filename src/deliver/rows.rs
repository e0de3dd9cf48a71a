//! The sealed parts of an endpoint's row: its secrets and its own headers.
use std::sync::Arc;

use bytes::Bytes;

use crate::store::address_book::{Endpoint, SecretRow};
use crate::store::queue::TargetId;
use crate::tenant::headers::OwnHeaders;
use crate::tenant::seal::{SealError, SealKeys, SealNonce, SealedRow};
use crate::tenant::secret::{Secret, SecretEntry};

/// A part of a row that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} of the endpoint cannot be read")]
pub(crate) struct UnusableEndpoint(pub(crate) &'static str);

/// The secrets of an endpoint, opened.
#[derive(Debug)]
pub(crate) struct OpenSecrets {
    /// Their names and dates.
    pub(crate) entries: Vec<SecretEntry>,
    /// The secrets, in the same order.
    pub(crate) secrets: Vec<Secret>,
}

impl OpenSecrets {
    /// Opens the secrets of a row.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub(crate) fn of(row: &Endpoint, keys: &SealKeys) -> Result<Self, UnusableEndpoint> {
        let mut opened = Self {
            entries: Vec::with_capacity(row.secrets.len()),
            secrets: Vec::with_capacity(row.secrets.len()),
        };
        for secret in &row.secrets {
            let sealed = SealedRow::secret(row.target.0, secret.n);
            let text = keys
                .open(sealed, &secret.sealed)
                .map_err(|_| UnusableEndpoint("secrets"))?
                .text;
            let open = Secret::from_bytes(&text).map_err(|_| UnusableEndpoint("secrets"))?;
            opened.secrets.push(open);
            opened.entries.push(SecretEntry {
                n: secret.n,
                name: Arc::clone(&secret.name),
                created: secret.created,
                ends: secret.ends,
            });
        }
        Ok(opened)
    }

    /// Returns the secret with this number.
    pub(crate) fn get(&self, n: u32) -> Option<&Secret> {
        let index = self.entries.iter().position(|entry| entry.n == n)?;
        self.secrets.get(index)
    }
}

/// Seals a secret for its row.
///
/// # Errors
/// The cipher cannot seal it.
pub(crate) fn seal_secret(
    secret: &Secret,
    entry: &SecretEntry,
    target: TargetId,
    keys: &SealKeys,
    nonce: SealNonce,
) -> Result<SecretRow, SealError> {
    let row = SealedRow::secret(target.0, entry.n);
    let sealed = keys.seal(row, nonce, &secret.to_bytes())?;
    Ok(SecretRow {
        n: entry.n,
        name: Arc::clone(&entry.name),
        created: entry.created,
        ends: entry.ends,
        sealed: Bytes::from(sealed),
    })
}

/// Opens the headers of a row.
///
/// # Errors
/// They cannot be opened.
pub(crate) fn open_headers(
    row: &Endpoint,
    keys: &SealKeys,
) -> Result<OwnHeaders, UnusableEndpoint> {
    let Some(sealed) = &row.sealed else {
        return Ok(OwnHeaders::default());
    };
    let opened = keys
        .open(SealedRow::headers(row.target.0), sealed)
        .map_err(|_| UnusableEndpoint("headers"))?;
    OwnHeaders::from_bytes(&opened.text).map_err(|_| UnusableEndpoint("headers"))
}

/// Seals headers for a row; none if there are none.
///
/// # Errors
/// The cipher cannot seal them.
pub(crate) fn seal_headers(
    headers: &OwnHeaders,
    target: TargetId,
    keys: &SealKeys,
    nonce: SealNonce,
) -> Result<Option<Bytes>, SealError> {
    if headers.is_empty() {
        return Ok(None);
    }
    let sealed = keys.seal(SealedRow::headers(target.0), nonce, &headers.to_bytes())?;
    Ok(Some(Bytes::from(sealed)))
}

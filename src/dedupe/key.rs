//! The ledger keys of a request: a keyed 128-bit hash over framed parts.
//!
//! Each part is written as its kind (one byte), its length (eight bytes) and its bytes, so that no two different lists of parts give the
//! same frames. Without the hash key, nobody can search for a collision. The first part is the purpose of the key.
use std::time::SystemTime;

use siphasher::sip128::SipHasher24;

use crate::delivery::Delivery;
use crate::request::Params;
use crate::store::Key;
use crate::store::queue::Lane;
use crate::verify::Stale;

/// The values that are compared with one another: those of one route, one set of path parameters and one account.
/// Every key made of a request is made by its methods, so none is made without the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    route: &'a str,
    params: &'a Params,
    account: Option<&'a str>,
}

/// The parts of a ledger key that make a delivery the same delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The delivery ID, if the request has one.
    pub id: Option<&'a [u8]>,
    /// The signed time, on a route whose provider repeats it: it stands for an ID that the signature does not cover.
    pub signed_at: Option<SystemTime>,
    /// The name of the secret, on a route that distinguishes its senders by it.
    pub secret: Option<&'a str>,
    /// The digest of the body: where the signature does not cover the ID, where there is none, and where the route dedupes by content.
    pub digest: Option<BodyDigest>,
}

/// The key that bodies are hashed with: one a store, derived from the key of its ledger keys.
#[derive(Clone)]
pub struct BodyKey([u8; 32]);

/// A body that is being hashed as it arrives.
#[derive(Clone, Debug)]
pub struct BodyHash(blake3::Hasher);

/// The keyed digest of a body. It depends on the bytes of the body alone, not on the secret that they are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

impl std::fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyKey(…)")
    }
}

impl BodyKey {
    /// Derives the key from the key of the store's ledger keys.
    pub fn of(hash_key: &[u8; 16]) -> Self {
        Self(blake3::derive_key(
            "hookgate ledger body digest v1",
            hash_key,
        ))
    }

    /// Begins a body.
    pub fn begin(&self) -> BodyHash {
        BodyHash(blake3::Hasher::new_keyed(&self.0))
    }

    /// Returns the digest of a whole body.
    pub fn digest(&self, body: &[u8]) -> BodyDigest {
        BodyDigest(blake3::keyed_hash(&self.0, body).into())
    }
}

impl BodyHash {
    /// Feeds the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns whether as many bytes were fed as `body` has.
    pub fn has_all_of(&self, body: &[u8]) -> bool {
        u64::try_from(body.len()).is_ok_and(|bytes| bytes == self.0.count())
    }

    /// Returns the digest of the bytes that were fed.
    pub fn finish(&self) -> BodyDigest {
        BodyDigest(self.0.finalize().into())
    }
}

impl<'a> Scope<'a> {
    /// Returns the scope of a delivery. `route` is the name under which the ledger has the entries of the route.
    pub fn of(route: &'a str, delivery: &'a Delivery) -> Self {
        Self {
            route,
            params: delivery.params(),
            account: delivery.cleared().account(),
        }
    }

    /// Returns the scope of a request that is older than the tolerance.
    pub fn of_stale(route: &'a str, params: &'a Params, stale: &'a Stale<'_>) -> Self {
        Self {
            route,
            params,
            account: stale.account(),
        }
    }

    /// Returns the scope that an operator names, for a look-up.
    pub fn named(route: &'a str, params: &'a Params, account: Option<&'a str>) -> Self {
        Self {
            route,
            params,
            account,
        }
    }

    /// Returns the ledger key of a delivery.
    pub fn ledger_key(self, hash_key: &[u8; 16], identity: Identity<'_>) -> Key {
        let Identity {
            id,
            signed_at,
            secret,
            digest,
        } = identity;
        let time = signed_at.map(nanoseconds);
        let value = [
            (b'K', secret.map(str::as_bytes)),
            (b'I', id),
            (b'T', time.as_ref().map(<[u8; 16]>::as_slice)),
            (b'D', digest.as_ref().map(|digest| digest.0.as_slice())),
        ];
        self.key(hash_key, b'L', &value)
    }

    /// Returns the key under which a request is noted that was not delivered: the same signed parts and the same body give the same key.
    /// `id` is the delivery ID, where the signature covers it.
    pub fn request_key(
        self,
        hash_key: &[u8; 16],
        id: Option<&str>,
        signed_at: SystemTime,
        body: BodyDigest,
    ) -> Key {
        let time = nanoseconds(signed_at);
        self.key(
            hash_key,
            b'Q',
            &[
                (b'I', id.map(str::as_bytes)),
                (b'T', Some(&time)),
                (b'D', Some(&body.0)),
            ],
        )
    }

    /// Returns the FIFO lane of a value.
    pub fn lane(self, hash_key: &[u8; 16], value: &str) -> Lane {
        Lane(
            self.key(hash_key, b'F', &[(b'X', Some(value.as_bytes()))])
                .0,
        )
    }

    /// Returns the key of a rate limit's bucket. Requests without the value share one.
    pub fn bucket(self, hash_key: &[u8; 16], value: Option<&str>) -> u64 {
        let Key(bytes) = self.key(hash_key, b'R', &[(b'X', value.map(str::as_bytes))]);
        bytes
            .first_chunk()
            .map_or(0, |half| u64::from_be_bytes(*half))
    }

    /// Returns the key of the sender as a whole: the account, or the route where accounts do not exist. The path parameters do not count,
    /// since one sender may write many of them.
    pub fn sender(self, hash_key: &[u8; 16]) -> Key {
        Scope {
            params: &Params(Vec::new()),
            ..self
        }
        .key(hash_key, b'S', &[])
    }

    fn key(self, hash_key: &[u8; 16], purpose: u8, value: &[(u8, Option<&[u8]>)]) -> Key {
        // one call of the hash function costs less than one for each part; few keys have more bytes
        let mut frames = Vec::with_capacity(256);
        self.frame(purpose, value, |bytes| frames.extend_from_slice(bytes));
        Key(SipHasher24::new_with_key(hash_key).hash(&frames).as_bytes())
    }

    /// Gives the frames of a key to `feed`, piece by piece.
    fn frame(self, purpose: u8, value: &[(u8, Option<&[u8]>)], mut feed: impl FnMut(&[u8])) {
        let Self {
            route,
            params,
            account,
        } = self;
        let mut part = |kind: u8, bytes: &[u8]| {
            feed(&[kind]);
            feed(&(bytes.len() as u64).to_be_bytes());
            feed(bytes);
        };
        part(purpose, route.as_bytes());
        for (name, value) in &params.0 {
            part(b'N', name.as_bytes());
            part(b'V', value.as_bytes());
        }
        if let Some(account) = account {
            part(b'A', account.as_bytes());
        }
        for (kind, bytes) in value {
            if let Some(bytes) = bytes {
                part(*kind, bytes);
            }
        }
    }
}

/// Returns, as text, the key of all that decides how a route's deliveries are remembered. With another key, the ledger of the route begins
/// again.
pub fn policy_key(hash_key: &[u8; 16], policy: &str) -> Key {
    Scope {
        route: policy,
        params: &Params(Vec::new()),
        account: None,
    }
    .key(hash_key, b'P', &[])
}

/// Returns a time as bytes, with the precision of every format that writes it.
fn nanoseconds(time: SystemTime) -> [u8; 16] {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
        .to_be_bytes()
}

#[cfg(test)]
mod tests;

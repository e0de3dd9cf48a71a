//! A delivery without its body, as bytes: an encoding of ours, since a header may hold any byte and its order and repetition count.
//!
//! The first byte is the kind, the second the version. Then come fields, each a length (LEB128) and its bytes; a list is its count before its fields.
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// A request that came in.
const INBOUND: u8 = 1;
/// The version of the encoding that is written.
const VERSION: u8 = 1;

/// The name of the fact that is stored with a delivery that is accepted once by its own ID: the hash by which a repeated call is recognized.
pub const DIGEST: &[u8] = b"digest";

/// Pairs of a name and a value, in order, repeated as they came.
pub type Pairs = Vec<(Bytes, Bytes)>;

/// The stored parts of a request beside its body.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The method as sent.
    pub method: Bytes,
    /// The target byte for byte.
    pub target: Bytes,
    /// The authority as sent.
    pub authority: Bytes,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The headers as sent.
    pub headers: Pairs,
    /// The gateway's own findings: the client's address, the secret's name, the path parameters… Names are the gateway's own.
    pub facts: Pairs,
}

impl std::fmt::Debug for Record {
    /// Shows no value and no query: either may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self
            .target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        f.debug_struct("Record")
            .field("method", &self.method)
            .field("path", &String::from_utf8_lossy(path))
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// The bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// It ends too early, or says something that cannot be.
    #[error("the record is damaged")]
    Bytes,
    /// A newer program wrote it.
    #[error("the record is of kind {0}, version {1}, which this version does not know")]
    Unknown(u8, u8),
}

impl Record {
    /// Encodes the record.
    pub fn encode(&self) -> Bytes {
        let pairs = |pairs: &Pairs| {
            pairs
                .iter()
                .map(|(name, value)| name.len() + value.len() + 6)
                .sum::<usize>()
        };
        let size = 32
            + self.method.len()
            + self.target.len()
            + self.authority.len()
            + pairs(&self.headers)
            + pairs(&self.facts);
        let mut to = BytesMut::with_capacity(size);
        to.put_slice(&[INBOUND, VERSION, u8::from(self.tls)]);
        for field in [&self.method, &self.target, &self.authority] {
            put(&mut to, field);
        }
        put_pairs(&mut to, &self.headers);
        put_pairs(&mut to, &self.facts);
        to.freeze()
    }

    /// Returns the value of a fact.
    pub fn fact(&self, name: &[u8]) -> Option<&Bytes> {
        let found = self.facts.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// Reads the bytes; what it gives shares them.
    ///
    /// # Errors
    /// They are damaged, or of a kind or version that is not known.
    pub fn decode(mut from: Bytes) -> Result<Self, Damaged> {
        let (kind, version) = (take_byte(&mut from)?, take_byte(&mut from)?);
        if (kind, version) != (INBOUND, VERSION) {
            return Err(Damaged::Unknown(kind, version));
        }
        let tls = match take_byte(&mut from)? {
            0 => false,
            1 => true,
            _ => return Err(Damaged::Bytes),
        };
        let (method, target, authority) = (take(&mut from)?, take(&mut from)?, take(&mut from)?);
        let (headers, facts) = (take_pairs(&mut from)?, take_pairs(&mut from)?);
        if from.has_remaining() {
            return Err(Damaged::Bytes);
        }
        Ok(Self {
            method,
            target,
            authority,
            tls,
            headers,
            facts,
        })
    }
}

/// Encodes pairs alone: the headers of a response.
pub fn headers(pairs: &Pairs) -> Bytes {
    let mut to = BytesMut::new();
    put_pairs(&mut to, pairs);
    to.freeze()
}

/// Reads what [`headers`] wrote.
///
/// # Errors
/// They are damaged.
pub fn parse_headers(mut from: Bytes) -> Result<Pairs, Damaged> {
    let pairs = take_pairs(&mut from)?;
    if from.has_remaining() {
        Err(Damaged::Bytes)
    } else {
        Ok(pairs)
    }
}

fn put_number(to: &mut BytesMut, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        to.put_u8(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return;
        }
    }
}

fn put(to: &mut BytesMut, field: &[u8]) {
    put_number(to, field.len());
    to.put_slice(field);
}

fn put_pairs(to: &mut BytesMut, pairs: &Pairs) {
    put_number(to, pairs.len());
    for (name, value) in pairs {
        put(to, name);
        put(to, value);
    }
}

fn take_byte(from: &mut Bytes) -> Result<u8, Damaged> {
    if from.has_remaining() {
        Ok(from.get_u8())
    } else {
        Err(Damaged::Bytes)
    }
}

/// Reads a number of at most 32 bits.
fn take_number(from: &mut Bytes) -> Result<usize, Damaged> {
    let mut number = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = take_byte(from)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let number = u32::try_from(number).map_err(|_| Damaged::Bytes)?;
            return usize::try_from(number).map_err(|_| Damaged::Bytes);
        }
    }
    Err(Damaged::Bytes)
}

fn take(from: &mut Bytes) -> Result<Bytes, Damaged> {
    let length = take_number(from)?;
    if length > from.remaining() {
        Err(Damaged::Bytes)
    } else {
        Ok(from.split_to(length))
    }
}

fn take_pairs(from: &mut Bytes) -> Result<Pairs, Damaged> {
    let count = take_number(from)?;
    // a pair is two bytes at least: a count that cannot be costs no memory
    if count > from.remaining() / 2 {
        return Err(Damaged::Bytes);
    }
    (0..count).map(|_| Ok((take(from)?, take(from)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
            prop::collection::vec(any::<u8>(), 120..140).prop_map(Bytes::from),
        ]
    }

    fn pairs() -> impl Strategy<Value = Pairs> {
        prop::collection::vec((bytes(), bytes()), 0..6)
    }

    fn records() -> impl Strategy<Value = Record> {
        (bytes(), bytes(), bytes(), any::<bool>(), pairs(), pairs()).prop_map(
            |(method, target, authority, tls, headers, facts)| Record {
                method,
                target,
                authority,
                tls,
                headers,
                facts,
            },
        )
    }

    proptest! {
        #[test]
        fn record_round_trips(record in records()) {
            prop_assert_eq!(Record::decode(record.encode()), Ok(record.clone()));
            prop_assert_eq!(parse_headers(headers(&record.headers)), Ok(record.headers));
        }

        #[test]
        fn truncated_record_is_an_error(record in records(), at in any::<prop::sample::Index>()) {
            let whole = record.encode();
            prop_assert_eq!(Record::decode(whole.slice(..at.index(whole.len()))), Err(Damaged::Bytes));
            let longer: Bytes = [&whole[..], b"x"].concat().into();
            prop_assert_eq!(Record::decode(longer), Err(Damaged::Bytes));
        }

        #[test]
        fn damaged_record_never_panics(record in records(), at in any::<prop::sample::Index>(), byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut damaged = record.encode().to_vec();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _read = Record::decode(damaged.into());
            let _read = Record::decode([&[INBOUND, VERSION], &noise[..]].concat().into());
            let _read = parse_headers(noise.into());
        }
    }

    #[test]
    fn newer_version_is_named_and_debug_shows_no_value() {
        assert_eq!(
            Record::decode(Bytes::from_static(&[1, 2, 0])),
            Err(Damaged::Unknown(1, 2))
        );
        assert_eq!(
            Record::decode(Bytes::from_static(&[9, 1])),
            Err(Damaged::Unknown(9, 1))
        );
        let record = Record {
            target: Bytes::from_static(b"/hook?secret"),
            headers: vec![(
                Bytes::from_static(b"x-token"),
                Bytes::from_static(b"secret"),
            )],
            ..Record::default()
        };
        assert!(!format!("{record:?}").contains("secret"));
    }
}

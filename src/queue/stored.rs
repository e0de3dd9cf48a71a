//! Encodes a delivery as it is stored, and decodes it.
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method};

use crate::clock::{Now, unix_ms};
use crate::delivery::Delivery;
use crate::request::{Body, Client, HeaderLines, Params, Received, RequestHead, RequestId};
use crate::store::record::{Pairs, Record};
use crate::verify::{Cleared, Covers, SecretLocations, StoredProof};

/// The client's address.
pub const CLIENT: &str = "client";
/// The gateway's own ID of the request.
pub const REQUEST_ID: &str = "request_id";
/// The time at which the request was complete, in milliseconds since the Unix epoch.
pub const RECEIVED_AT: &str = "received_at";
/// `true` if the request is authentic, `false` if the route accepts it without a proof.
pub const VERIFIED: &str = "verified";
/// The name of the secret that matched.
pub const SECRET: &str = "secret";
/// The key by which the secret was found, where the route finds its secrets by key.
pub const ACCOUNT: &str = "account";
/// The signed time, in milliseconds since the Unix epoch.
pub const SIGNED_AT: &str = "signed_at";
/// The provider's ID of the delivery.
pub const DELIVERY_ID: &str = "delivery_id";
/// The parts that the signature covers, as in the `Hookgate-Covers` header.
pub const COVERS: &str = "covers";
/// The preset's name.
pub const PROVIDER: &str = "provider";
/// The status of the answer to the sender.
pub const ANSWERED: &str = "answered";
/// `true` if the delivery was released from quarantine.
pub const FROM_QUARANTINE: &str = "from_quarantine";
/// The prefix of the name of a path parameter.
pub const PARAMETER: &str = "param:";
/// The prefix of a kind of place where the request holds a secret or a signature.
const SECRET_AT: &str = "secret_at:";
/// Whether the client's address is its own.
const CLIENT_OWN: &str = "client_own";
/// Whether the direct peer was a trusted proxy.
const BEHIND_PROXY: &str = "behind_proxy";

/// A stored delivery that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {0} cannot be read")]
pub struct Unreadable(&'static str);

/// Encodes a delivery without its body. The secrets at `dropped` are left out. The locations `secrets` are stored, since the route may change.
/// `more` are facts of the caller.
pub fn record(
    delivery: &Delivery,
    dropped: &SecretLocations,
    secrets: &SecretLocations,
    more: &[(&'static str, &str)],
) -> Record {
    let head = delivery.head();
    let target = dropped
        .without_parameters(&head.target)
        .map_or_else(|| head.target.clone(), BytesMut::freeze);
    let facts = facts(delivery, secrets, more);
    encoded(head, target, |name| !dropped.has_header(name), facts)
}

/// Encodes a request that is no delivery, because nothing proves it, without its body. `target` stands in for its own. Headers that `is_stored`
/// denies are left out.
pub fn unproved(
    head: &RequestHead,
    params: &Params,
    target: Bytes,
    is_stored: impl Fn(&str) -> bool,
) -> Record {
    let mut facts = facts_of_head(head);
    add(&mut facts, VERIFIED, word(false));
    for (name, value) in &params.0 {
        add(&mut facts, &format!("{PARAMETER}{name}"), value);
    }
    encoded(head, target, is_stored, facts)
}

fn encoded(
    head: &RequestHead,
    target: Bytes,
    is_stored: impl Fn(&str) -> bool,
    facts: Pairs,
) -> Record {
    let headers = head.headers.iter().filter(|(name, _)| is_stored(name));
    let headers = headers.map(|(name, value)| {
        (
            Bytes::copy_from_slice(name.as_bytes()),
            Bytes::copy_from_slice(value),
        )
    });
    Record {
        method: Bytes::copy_from_slice(head.method.as_str().as_bytes()),
        target,
        authority: Bytes::copy_from_slice(head.authority.as_bytes()),
        tls: head.tls,
        headers: headers.collect(),
        facts,
    }
}

fn add(facts: &mut Pairs, name: &str, value: &str) {
    facts.push((
        Bytes::copy_from_slice(name.as_bytes()),
        Bytes::copy_from_slice(value.as_bytes()),
    ));
}

fn facts_of_head(head: &RequestHead) -> Pairs {
    let mut facts = Pairs::new();
    add(&mut facts, CLIENT, &head.client.ip.to_string());
    add(&mut facts, CLIENT_OWN, word(head.client.own));
    let behind_proxy = word(head.client.behind_trusted_proxy);
    add(&mut facts, BEHIND_PROXY, behind_proxy);
    add(&mut facts, REQUEST_ID, head.request_id.as_str());
    let received_at = unix_ms(head.received.wall).to_string();
    add(&mut facts, RECEIVED_AT, &received_at);
    facts
}

fn facts(delivery: &Delivery, secrets: &SecretLocations, more: &[(&'static str, &str)]) -> Pairs {
    let mut facts = facts_of_head(delivery.head());
    let mut add = |name: &str, value: &str| add(&mut facts, name, value);
    if delivery.is_from_quarantine() {
        add(FROM_QUARANTINE, word(true));
    }
    let proof = delivery.cleared().stored_proof();
    add(VERIFIED, word(proof.is_some()));
    if let Some(StoredProof {
        secret,
        account,
        signed_at,
        delivery_id,
        covers,
    }) = proof
    {
        add(SECRET, &secret);
        add(COVERS, &covers.header_value());
        if let Some(account) = account {
            add(ACCOUNT, &account);
        }
        if let Some(at) = signed_at {
            add(SIGNED_AT, &unix_ms(at).to_string());
        }
        if let Some(id) = delivery_id {
            add(DELIVERY_ID, &id);
        }
    }
    for (name, value) in &delivery.params().0 {
        add(&format!("{PARAMETER}{name}"), value);
    }
    for (kind, name) in secrets.entries() {
        add(&format!("{SECRET_AT}{kind}"), name);
    }
    for (name, value) in more {
        add(name, value);
    }
    facts
}

/// Returns a fact of a record.
pub fn fact<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    let found = record
        .facts
        .iter()
        .find(|(known, _)| known == name.as_bytes());
    found.and_then(|(_, value)| std::str::from_utf8(value).ok())
}

/// Returns a fact of a record that is a time.
pub fn time(record: &Record, name: &str) -> Option<SystemTime> {
    fact(record, name)?
        .parse()
        .ok()
        .map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}

/// Returns the path parameters of a record.
pub fn parameters(record: &Record) -> Params {
    let all = record.facts.iter().filter_map(|(name, value)| {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(PARAMETER)?;
        Some((name.into(), std::str::from_utf8(value).ok()?.into()))
    });
    Params(all.collect())
}

/// Returns where the request of a record holds its secrets, as its route declared when it came.
pub fn secret_locations(record: &Record) -> SecretLocations {
    SecretLocations::from_entries(record.facts.iter().filter_map(|(kind, name)| {
        let kind = std::str::from_utf8(kind).ok()?.strip_prefix(SECRET_AT)?;
        Some((kind, std::str::from_utf8(name).ok()?))
    }))
}

/// Decodes a stored delivery of `route`, as [`request`] does.
///
/// # Errors
/// The part that [`record`] did not write.
pub fn restore(
    route: Arc<str>,
    record: &Record,
    body: Bytes,
    now: Now,
) -> Result<Delivery, Unreadable> {
    let received = request(record, body, now)?;
    let yes = |name| fact(record, name) == Some(word(true));
    let proof = yes(VERIFIED).then(|| StoredProof {
        secret: fact(record, SECRET).unwrap_or_default().into(),
        account: fact(record, ACCOUNT).map(Box::from),
        signed_at: time(record, SIGNED_AT),
        delivery_id: fact(record, DELIVERY_ID).map(Box::from),
        covers: Covers::parse(fact(record, COVERS).unwrap_or_default()),
    });
    let cleared = Cleared::restored(received, proof);
    let delivery = Delivery::new(route, parameters(record), cleared);
    Ok(match yes(FROM_QUARANTINE) {
        true => delivery.from_quarantine(),
        false => delivery,
    })
}

/// Decodes a stored request without its proof. `now` stands in for the monotonic time of its receipt, which ended with the process that received it.
///
/// # Errors
/// The part that [`record`] and [`unproved`] did not write.
pub fn request(record: &Record, body: Bytes, now: Now) -> Result<Received, Unreadable> {
    let text = |bytes: &Bytes, what| {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| Unreadable(what))
    };
    let headers = record.headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name).map_err(|_| Unreadable("header"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Unreadable("header"))?;
        Ok((name, value))
    });
    let headers: HeaderLines = headers.collect::<Result<_, _>>()?;
    let yes = |name| fact(record, name) == Some(word(true));
    let client = Client {
        ip: fact(record, CLIENT)
            .and_then(|ip| ip.parse().ok())
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        own: yes(CLIENT_OWN),
        behind_trusted_proxy: yes(BEHIND_PROXY),
    };
    let head = RequestHead {
        request_id: fact(record, REQUEST_ID)
            .and_then(RequestId::parse)
            .ok_or(Unreadable("request ID"))?,
        method: Method::from_bytes(&record.method).map_err(|_| Unreadable("method"))?,
        target: record.target.clone(),
        authority: text(&record.authority, "authority")?,
        tls: record.tls,
        headers,
        declared_size: u64::try_from(body.len()).ok(),
        client,
        certificate: None,
        received: Now {
            wall: time(record, RECEIVED_AT).unwrap_or(now.wall),
            mono: now.mono,
        },
    };
    Ok(Received {
        head,
        body: Body::from(body),
    })
}

fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

#[cfg(test)]
mod tests;

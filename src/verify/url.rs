//! The URL that a provider signed, as the sender used it.
use http::HeaderName;

use super::authentic::NotAuthentic;
use crate::request::RequestHead;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Returns whether a target may hold `byte`: neither a control byte nor a space.
pub(super) fn in_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

/// Returns a raw part of the target, if it holds only bytes that a target may hold.
pub(super) fn checked(part: &[u8]) -> Result<&[u8], NotAuthentic> {
    if part.iter().all(|byte| in_target(*byte)) {
        Ok(part)
    } else {
        Err(NotAuthentic::SignatureMalformed)
    }
}

/// Feeds the URL: the public one with the request's query, else the request's own scheme, authority and target.
pub(super) fn feed(
    head: &RequestHead,
    public_url: Option<&str>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), NotAuthentic> {
    if let Some(url) = public_url {
        let query = head.query().map(checked).transpose()?;
        sink(url.as_bytes());
        if let Some(query) = query {
            sink(b"?");
            sink(query);
        }
        return Ok(());
    }
    let scheme = match forwarded(head, &FORWARDED_PROTO)? {
        Some(proto) if proto.eq_ignore_ascii_case(b"https") => "https://",
        Some(proto) if proto.eq_ignore_ascii_case(b"http") => "http://",
        Some(_) => return Err(NotAuthentic::SignatureMalformed),
        None if head.tls => "https://",
        None => "http://",
    };
    let authority = forwarded(head, &FORWARDED_HOST)?.unwrap_or(head.authority.as_bytes());
    let plain = authority
        .iter()
        .all(|byte| byte.is_ascii_graphic() && !b"/?#@\\,".contains(byte));
    if authority.is_empty() || !plain {
        return Err(NotAuthentic::SignatureMalformed);
    }
    let target = checked(&head.target)?;
    sink(scheme.as_bytes());
    sink(authority);
    sink(target);
    Ok(())
}

/// Returns a forwarding header of a trusted proxy; those of other peers are ignored.
fn forwarded<'r>(
    head: &'r RequestHead,
    name: &HeaderName,
) -> Result<Option<&'r [u8]>, NotAuthentic> {
    if !head.client.behind_trusted_proxy {
        return Ok(None);
    }
    let value = head
        .headers
        .single(name)
        .map_err(|_| NotAuthentic::SignatureMalformed)?;
    Ok(value.map(<[u8]>::trim_ascii))
}

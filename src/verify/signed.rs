//! The headers and parameters that sign a request, where they are written, and the reasons why a request cannot be signed.
use std::fmt;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

use super::authentic::NotAuthentic;
use super::source::{Source, SourcePlace};
use crate::request::{self, RequestHead};

/// The headers and parameters that sign a request.
#[derive(Clone, Default)]
pub struct Signed {
    /// Headers to set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Query parameters to append, not yet percent-encoded.
    pub query: Vec<(String, String)>,
}

impl fmt::Debug for Signed {
    /// Shows names alone: a token is the secret itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(self.query.iter().map(|(name, _)| name.as_str()));
        f.debug_list().entries(names).finish()
    }
}

/// The reason why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    /// There is no secret of that number for this request.
    #[error("there is no such secret")]
    NoSecret,
    /// A part of the signed content is missing from the request, or malformed.
    #[error("a part of the signed content is missing from the request or malformed ({})", .0.code())]
    Content(NotAuthentic),
    /// The secret or the signature cannot be written where the scheme puts it.
    #[error("the secret cannot be written where the scheme puts it")]
    Unwritable,
}

/// The reason why requests of a scheme cannot be signed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotResignable {
    /// The request presents the secret itself, which never goes stale.
    #[error("the scheme signs nothing")]
    SignsNothing,
    /// The body would have to change.
    #[error("the signature is in the body")]
    SignatureInBody,
    /// The body would have to change.
    #[error("the signed time is in the body")]
    TimeInBody,
}

impl Signed {
    /// Puts `value` where `source` reads it, with the other headers that `source` expects.
    pub(super) fn at(source: &Source, value: Vec<u8>) -> Result<Self, CannotSign> {
        let mut signed = Self::default();
        match &source.place {
            SourcePlace::Json(_) => return Err(CannotSign::Unwritable),
            SourcePlace::Headers(_) => {
                let header = source.header(&value).ok_or(CannotSign::Unwritable)?;
                signed.headers.push(header);
            }
            SourcePlace::Query(name) => {
                let value = String::from_utf8(value).map_err(|_| CannotSign::Unwritable)?;
                signed.query.push((name.to_string(), value));
            }
        }
        for (name, expected) in &source.expect {
            let value = HeaderValue::from_str(expected).map_err(|_| CannotSign::Unwritable)?;
            signed.headers.push((name.clone(), value));
        }
        Ok(signed)
    }
}

/// Sets a header that may have several names: under each name that the request uses, because the upstream may read any of them; without
/// any, under the preferred name.
pub(super) fn set_header(head: &mut RequestHead, names: &[HeaderName], value: &HeaderValue) {
    let mut used: Vec<&HeaderName> = names
        .iter()
        .filter(|name| head.headers.contains(name))
        .collect();
    if used.is_empty() {
        used.extend(names.first());
    }
    for name in used {
        head.headers.insert(name, value);
    }
}

/// Sets a query parameter. The others stay as they are, byte for byte.
pub(super) fn set_parameter(head: &mut RequestHead, name: &str, value: &str) {
    let fresh = form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish();
    let others = request::without(head.query().unwrap_or_default(), name)
        .filter(|parameter| !parameter.is_empty());
    let mut target = BytesMut::from(head.path());
    request::put_query(&mut target, others.chain([fresh.as_bytes()]));
    head.target = target.freeze();
}

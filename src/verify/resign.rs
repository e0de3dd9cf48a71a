//! Signs an authentic request anew, in the scheme of its own provider: for a delivery that comes out of the queue after its time.
use std::time::SystemTime;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

use super::scheme::Scheme;
use super::scheme::mac::{SignedTime, TimeAt};
use super::shape::Shape;
use super::sign::{CannotSign, Signed};
use super::source::SourcePlace;
use super::{Authentic, Verifier};
use crate::clock::Dates;
use crate::request::{self, Params, RequestHead};

/// Why nothing can be signed anew in a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotResignable {
    /// What is presented is the secret itself: it never goes stale.
    #[error("the scheme signs nothing")]
    SignsNothing,
    /// The body would have to change.
    #[error("the signature stands in the body")]
    SignatureInBody,
    /// The body would have to change.
    #[error("the signed time stands in the body")]
    TimeInBody,
}

impl Shape {
    /// Whether a request of this scheme can be signed anew without a change of its body.
    ///
    /// # Errors
    /// Why not.
    pub fn resignable(&self) -> Result<(), NotResignable> {
        let Scheme::Hmac(hmac) = &self.scheme else {
            return Err(NotResignable::SignsNothing);
        };
        if matches!(hmac.source.place, SourcePlace::Json(_)) {
            return Err(NotResignable::SignatureInBody);
        }
        if hmac.time.as_ref().is_some_and(SignedTime::in_body) {
            return Err(NotResignable::TimeInBody);
        }
        Ok(())
    }

    /// Whether the signature stands in the query.
    pub fn signs_in_query(&self) -> bool {
        matches!(&self.scheme, Scheme::Hmac(hmac) if matches!(hmac.source.place, SourcePlace::Query(_)))
    }

    /// The headers that hold the signature and its time.
    pub fn signed_headers(&self) -> Vec<HeaderName> {
        let Scheme::Hmac(hmac) = &self.scheme else {
            return Vec::new();
        };
        let times = match hmac.time.as_ref().map(|time| &time.at) {
            Some(TimeAt::Header(names)) => names.names(),
            Some(TimeAt::Pair(_) | TimeAt::Item | TimeAt::Json(_)) | None => &[],
        };
        [hmac.source.headers(), times].concat()
    }
}

impl Verifier {
    /// The head of an authentic request with a signature of `now` in place of its own. The body stays as it is. It is signed with the secret
    /// that its own signature is of, as long as that is accepted, else with the newest that is.
    ///
    /// # Errors
    /// Why it cannot be signed.
    pub fn resign(
        &self,
        authentic: &Authentic,
        params: &Params,
        now: SystemTime,
        dates: &Dates,
    ) -> Result<RequestHead, CannotSign> {
        let received = authentic.received();
        let (head, body) = (&received.head, received.body.bytes());
        let Scheme::Hmac(hmac) = &self.shape.scheme else {
            return Err(CannotSign::Unwritable);
        };
        self.shape
            .resignable()
            .map_err(|_| CannotSign::Unwritable)?;
        let found = self.secrets.find(head, params);
        if !found.known() {
            return Err(CannotSign::NoSecret);
        }
        let active = || {
            found
                .candidates()
                .iter()
                .filter(|candidate| candidate.active(dates))
        };
        let own = active().find(|candidate| self.is_of(hmac, head, body, candidate));
        let candidate = own
            .or_else(|| active().next())
            .ok_or(CannotSign::NoSecret)?;
        let mut fresh = head.clone();
        if let Some(SignedTime {
            at: TimeAt::Header(names),
            format,
            ..
        }) = &hmac.time
        {
            let time =
                HeaderValue::from_str(&format.write(now)).map_err(|_| CannotSign::Unwritable)?;
            set(&mut fresh, names.names(), &time);
        }
        let Signed { headers, query } = self.sign_hmac(hmac, &fresh, body, candidate, now)?;
        for (name, value) in headers {
            let own = std::slice::from_ref(&name);
            set(
                &mut fresh,
                if hmac.source.headers().contains(&name) {
                    hmac.source.headers()
                } else {
                    own
                },
                &value,
            );
        }
        for (name, value) in query {
            set_query(&mut fresh, &name, &value);
        }
        Ok(fresh)
    }
}

/// Sets a header that may go by several names: each that is there gets the value, since nobody knows which of them the app reads; without
/// any, the preferred one.
fn set(head: &mut RequestHead, names: &[HeaderName], value: &HeaderValue) {
    let mut there: Vec<&HeaderName> = names
        .iter()
        .filter(|name| head.headers.contains_key(*name))
        .collect();
    if there.is_empty() {
        there.extend(names.first());
    }
    for name in there {
        head.headers.insert(name.clone(), value.clone());
    }
}

/// Sets a query parameter; the others stay as they are, to the byte.
fn set_query(head: &mut RequestHead, name: &str, value: &str) {
    let fresh = form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish();
    let others =
        request::without(head.query().unwrap_or_default(), name).filter(|piece| !piece.is_empty());
    let mut target = BytesMut::from(head.path());
    request::put_query(&mut target, others.chain([fresh.as_bytes()]));
    head.target = target.freeze();
}

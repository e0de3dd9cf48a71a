//! Makes the signature that a [`Verifier`] accepts: for `hookgate sign`, tests and re-signing.
use std::fmt;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::scheme::{Scheme, basic};
use super::source::{Source, SourcePlace};
use super::{NotAuthentic, Verifier};
use crate::request::{Params, RequestHead};

/// What to add to a request so that it is signed.
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

/// Why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    /// There is no secret of that number for this request.
    #[error("there is no such secret")]
    NoSecret,
    /// The signed content takes something that the request does not have as it should.
    #[error("the signed content takes a part that the request lacks or that is malformed there ({})", .0.code())]
    Content(NotAuthentic),
    /// The secret or the signature cannot stand where the scheme puts it.
    #[error("the secret cannot be written where the scheme puts it")]
    Unwritable,
}

impl Verifier {
    /// Signs a request with the secret at `secret`, counted from 0, as of `now`. A header with the delivery ID that the
    /// signature covers and `head` lacks is made from the request's own ID. Times and IDs inside the body are taken as they are.
    ///
    /// # Errors
    /// Why it cannot be signed.
    pub fn sign(
        &self,
        head: &RequestHead,
        params: &Params,
        body: &[u8],
        secret: usize,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        let found = self.secrets.find(head, params);
        if !found.known() {
            return Err(CannotSign::NoSecret);
        }
        let candidate = found.candidates().get(secret).ok_or(CannotSign::NoSecret)?;
        match &self.shape.scheme {
            Scheme::Hmac(hmac) => self.sign_hmac(hmac, head, body, candidate, now),
            Scheme::Token(source) => place(
                source,
                source.write(candidate.text().ok_or(CannotSign::NoSecret)?, None),
            ),
            Scheme::Basic => {
                let text = basic::header(candidate.text().ok_or(CannotSign::NoSecret)?);
                let mut value = HeaderValue::from_str(&text).map_err(|_| CannotSign::Unwritable)?;
                value.set_sensitive(true);
                Ok(Signed {
                    headers: vec![(AUTHORIZATION, value)],
                    query: Vec::new(),
                })
            }
        }
    }
}

pub(super) fn place(source: &Source, value: Vec<u8>) -> Result<Signed, CannotSign> {
    let mut signed = at_its_place(source, value)?;
    for (name, due) in &source.expect {
        signed.headers.push((
            name.clone(),
            HeaderValue::from_str(due).map_err(|_| CannotSign::Unwritable)?,
        ));
    }
    Ok(signed)
}

fn at_its_place(source: &Source, value: Vec<u8>) -> Result<Signed, CannotSign> {
    match &source.place {
        SourcePlace::Json(_) => Err(CannotSign::Unwritable),
        SourcePlace::Headers(_) => Ok(Signed {
            headers: vec![source.header(&value).ok_or(CannotSign::Unwritable)?],
            query: Vec::new(),
        }),
        SourcePlace::Query(name) => {
            let value = String::from_utf8(value).map_err(|_| CannotSign::Unwritable)?;
            Ok(Signed {
                headers: Vec::new(),
                query: vec![(name.to_string(), value)],
            })
        }
    }
}

//! Makes the signature that a [`Verifier`] accepts: for `hookgate sign`, tests and re-signing.
use std::fmt;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::content::{Sight, Span};
use super::locator::{HeaderNames, Locator};
use super::secret::Candidate;
use super::shape::{HmacScheme, Scheme, TimeAt};
use super::source::{Source, SourcePlace};
use super::{NotAuthentic, Verifier, basic};
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

    pub(super) fn sign_hmac(
        &self,
        hmac: &HmacScheme,
        head: &RequestHead,
        body: &[u8],
        candidate: &Candidate,
        now: SystemTime,
    ) -> Result<Signed, CannotSign> {
        let mut head = head.clone();
        let mut added = Vec::new();
        let mut time = String::new();
        if let Some(rule) = &hmac.time {
            time = rule.format.write(now);
            match &rule.at {
                TimeAt::Header(names) => {
                    let name = written_name(names, &head)?;
                    let value = HeaderValue::from_str(&time).map_err(|_| CannotSign::Unwritable)?;
                    head.headers.insert(name.clone(), value.clone());
                    added.push((name.clone(), value));
                }
                TimeAt::Json(_) => {
                    let (text, _) = rule
                        .read(&hmac.source, &head, body)
                        .map_err(CannotSign::Content)?;
                    time = String::from_utf8_lossy(&text).into_owned();
                }
                TimeAt::Pair(_) | TimeAt::Item => {}
            }
        }
        if let Some(Locator::Header(names)) = &self.shape.delivery_id
            && self.shape.covers().id
            && !names
                .names()
                .iter()
                .any(|name| head.headers.contains_key(name))
        {
            let name = written_name(names, &head)?;
            let value = HeaderValue::from_str(head.request_id.as_str())
                .map_err(|_| CannotSign::Unwritable)?;
            head.headers.insert(name.clone(), value.clone());
            added.push((name.clone(), value));
        }
        let sight = Sight {
            head: &head,
            body,
            time: time.as_bytes(),
            id: self.shape.delivery_id.as_ref(),
            public_url: self.public_url.as_deref(),
        };
        let mut mac = candidate.mac().ok_or(CannotSign::NoSecret)?;
        hmac.content
            .feed(Span::All, &sight, &mut |bytes| mac.update(bytes))
            .map_err(CannotSign::Content)?;
        let in_header = match hmac.time.as_ref().map(|rule| &rule.at) {
            Some(TimeAt::Pair(pair)) => Some((Some(&**pair), time.as_str())),
            Some(TimeAt::Item) => Some((None, time.as_str())),
            Some(TimeAt::Header(_) | TimeAt::Json(_)) | None => None,
        };
        let text = hmac.encoding.encode(&mac.finish());
        let mut signed = place(&hmac.source, hmac.source.write(text.as_bytes(), in_header))?;
        signed.headers.splice(..0, added);
        Ok(signed)
    }
}

/// The name that the request uses already, else the preferred one.
fn written_name<'n>(
    names: &'n HeaderNames,
    head: &RequestHead,
) -> Result<&'n HeaderName, CannotSign> {
    let used = names
        .names()
        .iter()
        .find(|name| head.headers.contains_key(*name));
    used.or_else(|| names.names().first())
        .ok_or(CannotSign::Unwritable)
}

fn place(source: &Source, value: Vec<u8>) -> Result<Signed, CannotSign> {
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

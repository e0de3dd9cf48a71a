//! A recorded HTTP/1 request: head and body bytes, parsed as strictly as the gateway parses them.
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};

use crate::clock::Now;
use crate::request::{Client, HeaderLines, RequestHead, RequestId};

/// The largest number of headers.
const MAX_HEADERS: usize = 512;

/// A request as it was recorded.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) method: Method,
    /// The target as in the request line.
    pub(super) target: Bytes,
    /// The value of `Host`; empty without one.
    pub(super) authority: String,
    pub(super) headers: HeaderLines,
    /// The body, without chunked coding.
    pub(super) body: Bytes,
}

/// The reason why there is no [`Message`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not a complete HTTP/1 request.
    Unreadable(&'static str),
    /// Two servers could read it differently, so the gateway refuses it.
    Malformed(&'static str),
}

impl Message {
    /// Parses a recorded request. Lines may end in LF alone.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut slots);
        let head_length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => {
                return Err(Fault::Unreadable(
                    "the head does not end: an empty line must follow the headers",
                ));
            }
            Err(error) => return Err(Fault::Unreadable(in_words(error))),
        };
        let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes());
        let method = method.map_err(|_| Fault::Unreadable("the method is not a word"))?;
        let mut headers = Vec::new();
        for header in request.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let name = name
                .map_err(|_| Fault::Unreadable("the name of a header has an invalid character"))?;
            let value = HeaderValue::from_bytes(header.value);
            let value = value
                .map_err(|_| Fault::Unreadable("the value of a header has an invalid character"))?;
            headers.push((name, value));
        }
        let target = Bytes::copy_from_slice(request.path.unwrap_or_default().as_bytes());
        let headers: HeaderLines = headers.into_iter().collect();
        let authority = authority(&headers)?;
        let rest = bytes.get(head_length..).unwrap_or_default();
        let body = body(&headers, rest)?;
        Ok(Self {
            method,
            target,
            authority,
            headers,
            body,
        })
    }

    /// Returns the head as the gateway would have parsed it. `url` replaces target and `Host`.
    pub(super) fn head(&self, url: Option<&SentTo>, now: Now) -> Result<RequestHead, Fault> {
        let target = url
            .and_then(|url| url.target.clone())
            .unwrap_or_else(|| self.target.clone());
        if target.first() != Some(&b'/') {
            return Err(Fault::Unreadable(
                "the target must begin with `/`: write the URL after `--url`",
            ));
        }
        let mut head = head(self.method.clone(), target, now);
        head.authority = url.map_or_else(|| self.authority.clone(), |url| url.authority.clone());
        head.tls = url.is_none_or(|url| url.tls);
        head.headers = self.headers.clone();
        head.declared_size = u64::try_from(self.body.len()).ok();
        Ok(head)
    }

    /// Returns whether it has no `Host`.
    pub(super) fn lacks_host(&self) -> bool {
        self.authority.is_empty()
    }
}

/// Returns a head without headers, from this machine, over TLS.
pub(super) fn head(method: Method, target: Bytes, now: Now) -> RequestHead {
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(uuid::Uuid::now_v7().as_u128()),
        method,
        target,
        authority: String::new(),
        tls: true,
        headers: HeaderLines::default(),
        declared_size: None,
        client: Client {
            ip: std::net::Ipv4Addr::LOCALHOST.into(),
            own: false,
            behind_trusted_proxy: false,
        },
        received: now,
    }
}

/// The URL that a sender used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentTo {
    /// Whether it is `https`.
    pub(super) tls: bool,
    /// Host and port as written.
    pub(super) authority: String,
    /// Path and query, if it has a path.
    pub(super) target: Option<Bytes>,
}

impl SentTo {
    /// Parses `https://HOST[:PORT][/PATH[?QUERY]]`, byte for byte.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "write the whole URL: https://hooks.example.com/webhooks/x".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest
            .split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))
            .ok_or_else(wrong)?;
        if authority.is_empty()
            || authority.contains('@')
            || !text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
        {
            return Err(wrong());
        }
        let target = match target.as_bytes() {
            [] => None,
            [b'?', ..] => Some(format!("/{target}").into()),
            _ => Some(target.to_owned().into()),
        };
        Ok(Self {
            tls,
            authority: authority.to_owned(),
            target,
        })
    }
}

fn in_words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "the name of a header has an invalid character",
        httparse::Error::HeaderValue => "the value of a header has an invalid character",
        httparse::Error::NewLine => "a line of the head does not end in CR LF or LF",
        httparse::Error::TooManyHeaders => "there are too many headers",
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            "the first line must read `POST /path HTTP/1.1`"
        }
    }
}

fn authority(headers: &HeaderLines) -> Result<String, Fault> {
    let Some(host) = at_most_one(headers, &HOST, "`Host` occurs twice")? else {
        return Ok(String::new());
    };
    let plain = !host.is_empty()
        && host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte));
    if plain {
        Ok(String::from_utf8_lossy(host).into_owned())
    } else {
        Err(Fault::Malformed("`Host` is not a host name"))
    }
}

/// Returns the body, whose framing must be the same for every server.
fn body(headers: &HeaderLines, rest: &[u8]) -> Result<Bytes, Fault> {
    let length = at_most_one(headers, &CONTENT_LENGTH, "`Content-Length` occurs twice")?;
    let coding = at_most_one(
        headers,
        &TRANSFER_ENCODING,
        "`Transfer-Encoding` occurs twice",
    )?;
    match (length, coding) {
        (Some(_), Some(_)) => Err(Fault::Malformed(
            "`Content-Length` and `Transfer-Encoding` occur together",
        )),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
            dechunk(rest).ok_or(Fault::Unreadable(
                "the body is not chunked; if it was saved decoded, remove `Transfer-Encoding`",
            ))
        }
        (None, Some(_)) => Err(Fault::Malformed(
            "`Transfer-Encoding` is not `chunked` alone",
        )),
        (Some(length), None) => {
            let digits = std::str::from_utf8(length)
                .ok()
                .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
            let length: u64 = digits
                .and_then(|digits| digits.parse().ok())
                .ok_or(Fault::Malformed("`Content-Length` is not a number"))?;
            match u64::try_from(rest.len()).unwrap_or(u64::MAX).cmp(&length) {
                std::cmp::Ordering::Equal => Ok(Bytes::copy_from_slice(rest)),
                std::cmp::Ordering::Less => Err(Fault::Unreadable(
                    "the body is shorter than `Content-Length` says: it was not saved completely",
                )),
                std::cmp::Ordering::Greater => Err(Fault::Unreadable(
                    "the body is longer than `Content-Length` says: did an editor add a line feed at its end?",
                )),
            }
        }
        (None, None) => Ok(Bytes::copy_from_slice(rest)),
    }
}

fn at_most_one<'a>(
    headers: &'a HeaderLines,
    name: &HeaderName,
    twice: &'static str,
) -> Result<Option<&'a [u8]>, Fault> {
    headers.only(name).map_err(|_| Fault::Malformed(twice))
}

/// Decodes a chunked body. Returns `None` if it does not end, or something follows it. Skips trailers.
fn dechunk(mut rest: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((skip, size)) = httparse::parse_chunk_size(rest).ok()?
        else {
            return None;
        };
        rest = rest.get(skip..)?;
        if size == 0 {
            break;
        }
        let (chunk, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        body.extend_from_slice(chunk);
        rest = after.strip_prefix(b"\r\n")?;
    }
    let mut slots = [httparse::EMPTY_HEADER; 16];
    let httparse::Status::Complete((length, _)) = httparse::parse_headers(rest, &mut slots).ok()?
    else {
        return None;
    };
    (length == rest.len()).then(|| body.into())
}

#[cfg(test)]
mod tests;

//! Says in what a signature, token or password differs from what the scheme expects.
use std::borrow::Cow;

use http::header::AUTHORIZATION;

use super::question::Question;
use super::{content, time, words};
use crate::verify::hmac::{Algorithm, TagEncoding};
use crate::verify::locator;
use crate::verify::scheme::Scheme;
use crate::verify::secret::KeyedBy;
use crate::verify::source::{Layout, MAX_SIGNATURES, Source, SourcePlace};
use crate::verify::{Shape, json};

/// The longest text whose form is looked at, in bytes. Signatures have up to 128.
const MAX_TEXT: usize = 256;

/// Says what is malformed: the account, the signature or the signed content.
pub(super) fn malformed(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let Some(source) = question.source() else {
        return Some(repeated_account(question).map_or_else(|| credentials(question), Into::into));
    };
    repeated_account(question)
        .or_else(|| repeated(question, source))
        .or_else(|| other_value(question, source))
        .or_else(|| unreadable(question, source))
        .or_else(|| content::malformed(question))
        .or_else(|| time::contradicted(question))
        .or_else(|| {
            let body = question.body;
            question
                .shape
                .could_be_token(body)
                .then(|| "the body could be the token of a handshake".to_owned())
        })
        .map(Into::into)
}

/// Says that the request names two accounts.
fn repeated_account(question: &Question<'_>) -> Option<String> {
    match question.keyed_by? {
        KeyedBy::Header(name) if question.head.headers.single(name).is_err() => {
            Some(words::repeated(name))
        }
        KeyedBy::Header(_) | KeyedBy::Param(_) => None,
    }
}

/// Says that a header or parameter of the signature occurs several times.
fn repeated(question: &Question<'_>, source: &Source) -> Option<String> {
    let headers = &question.head.headers;
    let names = source.headers().iter().filter(|_| !source.repeated);
    let mut all = source.expect.iter().map(|(name, _)| name).chain(names);
    if let Some(name) = all.find(|name| headers.single(name).is_err()) {
        return Some(words::repeated(name));
    }
    let parameter = source.query()?;
    locator::query(question.head, parameter).err()?;
    Some(format!(
        "the query parameter `{parameter}` occurs several times, or is not UTF-8"
    ))
}

/// Says that a header beside the signature has another value than the scheme has.
fn other_value(question: &Question<'_>, source: &Source) -> Option<String> {
    source.expect.iter().find_map(|(name, expected)| {
        let value = question.head.headers.get(name)?;
        (value != expected.as_bytes())
            .then(|| format!("{} is not `{expected}`", words::header(name)))
    })
}

/// Says why no text of the request is a signature of the scheme.
fn unreadable(question: &Question<'_>, source: &Source) -> Option<String> {
    if let SourcePlace::Json(pointer) = &source.place
        && let Some(text) = content::unreadable(question, pointer)
    {
        return Some(text);
    }
    let shape = question.shape;
    let form = shape.algorithm().zip(shape.tag_encoding());
    let (mut count, mut is_usable, mut first) = (0_usize, false, None);
    texts(question, source, |text| {
        count += 1;
        match form {
            Some((_, encoding)) if encoding.decode(text).is_some() => is_usable = true,
            None if !text.is_empty() => is_usable = true,
            Some((algorithm, encoding)) => {
                first.get_or_insert_with(|| misfit(text, algorithm, encoding));
            }
            None => {}
        }
    });
    if count > MAX_SIGNATURES {
        return Some(format!(
            "{} has more than {MAX_SIGNATURES} signatures",
            words::place(source)
        ));
    }
    if is_usable {
        return None;
    }
    Some(match first.flatten() {
        Some(text) => text,
        None if count > 0 => format!("{} is empty", words::place(source)),
        None => unlabelled(question, source),
    })
}

/// Calls `take` with each text that may be a signature. A large body is not searched.
fn texts(question: &Question<'_>, source: &Source, take: impl FnMut(&[u8])) {
    let body = question.small_body().unwrap_or_default();
    // its error has been described before, or is none of the texts
    source.each(question.head, body, take).ok();
}

/// Says that the value has no text with the label of the scheme, and which label it has.
fn unlabelled(question: &Question<'_>, source: &Source) -> String {
    let place = words::place(source);
    let value = value(question, source);
    if value.as_ref().is_some_and(|value| value.is_empty()) {
        return format!("{place} is empty");
    }
    let (kind, label) = match &source.layout {
        Layout::Pairs { key, .. } => ("", &**key),
        Layout::Whole => ("prefix ", &*source.prefix),
        Layout::List { .. } => ("item that begins with ", &*source.prefix),
    };
    let other = value.and_then(|value| words::label(&value, label));
    match other {
        Some(other) => format!("{place} has no {kind}`{label}`, but `{other}`"),
        None => format!("{place} has no {kind}`{label}`"),
    }
}

/// Returns the value that holds the signatures.
fn value<'r>(question: &Question<'r>, source: &Source) -> Option<Cow<'r, [u8]>> {
    match &source.place {
        SourcePlace::Headers(names) => names
            .iter()
            .find_map(|name| question.head.headers.get(name))
            .map(Cow::Borrowed),
        SourcePlace::Query(name) => {
            let value = locator::query(question.head, name).ok()??;
            Some(value.into_owned().into_bytes().into())
        }
        SourcePlace::Json(pointer) => {
            let value = json::find(question.small_body()?, pointer).ok()??;
            Some(value.into_owned().into_bytes().into())
        }
    }
}

/// Says that the signatures are well formed, and none has the length of the scheme's.
pub(super) fn of_other_length(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let shape: &Shape = question.shape;
    let Scheme::Hmac(scheme) = &shape.scheme else {
        return None;
    };
    let (mut first, mut fits) = (None, false);
    texts(question, &scheme.source, |text| {
        match misfit(text, scheme.algorithm, scheme.encoding) {
            Some(words) => drop(first.get_or_insert(words)),
            None => fits = true,
        }
    });
    first.filter(|_| !fits).map(Into::into)
}

/// Says in what a text differs from a signature of the scheme; `None` if it could be one.
fn misfit(text: &[u8], algorithm: Algorithm, encoding: TagEncoding) -> Option<String> {
    let due = algorithm.tag_bytes();
    let short = (text.len() <= MAX_TEXT).then_some(text);
    let bytes = |encoding: TagEncoding| Some(encoding.decode(short?)?.length());
    if bytes(encoding) == Some(due) {
        return None;
    }
    let is_hex =
        !text.is_empty() && short.is_some_and(|text| text.iter().all(u8::is_ascii_hexdigit));
    Some(if text.is_empty() {
        "the signature is empty".to_owned()
    } else if text.trim_ascii().len() < text.len() {
        "the signature has blanks around it".to_owned()
    } else if is_hex && encoding == TagEncoding::Hex {
        let (found, due) = (text.len(), 2 * due);
        format!("the signature has {found} hexadecimal digits, this scheme has {due}")
    } else if bytes(TagEncoding::Hex) == Some(due) {
        format!(
            "the signature is hexadecimal, this scheme has {}",
            encoding.name()
        )
    } else if let Some(other) = [TagEncoding::Base64, TagEncoding::Base64Url]
        .into_iter()
        .find(|other| *other != encoding && bytes(*other) == Some(due))
    {
        format!(
            "the signature is {}, this scheme has {}",
            other.name(),
            encoding.name()
        )
    } else if let Some(found) = bytes(encoding) {
        format!("the signature has {found} bytes, this scheme has {due}")
    } else {
        format!("the signature is not {}", encoding.name())
    })
}

/// Says why `Authorization` holds no credentials.
fn credentials(question: &Question<'_>) -> Cow<'static, str> {
    let headers = &question.head.headers;
    let Ok(value) = headers.single(&AUTHORIZATION) else {
        return words::repeated(&AUTHORIZATION).into();
    };
    let start = value.unwrap_or_default().get(..6).unwrap_or_default();
    if start.eq_ignore_ascii_case(b"basic ") {
        "the header Authorization does not hold the base64 of `user:password`".into()
    } else {
        "the header Authorization does not begin with `Basic`".into()
    }
}

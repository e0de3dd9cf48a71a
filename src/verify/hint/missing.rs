//! Says which part of a signature is missing.
use std::borrow::Cow;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::question::Question;
use super::{content, words};
use crate::verify::locator;
use crate::verify::scheme::Scheme;
use crate::verify::source::{Source, SourcePlace};

/// Headers in which providers send signatures, with what they hold where the name says it.
static SIGNATURES: [(HeaderName, &str); 10] = [
    (
        HeaderName::from_static("x-hub-signature-256"),
        ": a SHA-256 signature",
    ),
    (
        HeaderName::from_static("x-hub-signature"),
        ": a SHA-1 signature",
    ),
    (HeaderName::from_static("webhook-signature"), ""),
    (HeaderName::from_static("svix-signature"), ""),
    (HeaderName::from_static("stripe-signature"), ""),
    (HeaderName::from_static("x-slack-signature"), ""),
    (HeaderName::from_static("x-shopify-hmac-sha256"), ""),
    (HeaderName::from_static("x-gitlab-token"), ""),
    (HeaderName::from_static("x-signature"), ""),
    (AUTHORIZATION, ""),
];

/// Says what of the signature or of the signed content is missing.
pub(super) fn signature(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let scheme = &question.shape.scheme;
    let Some(source) = question.source() else {
        return words::missing(&[AUTHORIZATION]).map(Into::into);
    };
    of_source(question, source)
        .or_else(|| match scheme {
            Scheme::Hmac(_) => content::missing(question),
            Scheme::Token(_) | Scheme::Basic => None,
        })
        .map(Into::into)
}

/// Says which header, parameter or field of the signature is missing.
fn of_source(question: &Question<'_>, source: &Source) -> Option<String> {
    let headers = &question.head.headers;
    let mut expected = source.expect.iter();
    if let Some((name, _)) = expected.find(|(name, _)| !headers.contains(name)) {
        return words::missing(std::slice::from_ref(name));
    }
    match &source.place {
        SourcePlace::Headers(names) => {
            let text = words::missing(names)
                .filter(|_| !names.iter().any(|name| headers.contains(name)))?;
            let other = SIGNATURES.iter().find(|(name, _)| {
                headers.contains(name) && !question.shape.headers().has(name.as_str())
            });
            Some(match other {
                Some((name, kind)) => format!("{text}, {} is there{kind}", words::title(name)),
                None => text,
            })
        }
        SourcePlace::Query(name) => {
            let is_missing = matches!(locator::query(question.head, name), Ok(None));
            is_missing.then(|| format!("the query has no `{name}`"))
        }
        SourcePlace::Json(pointer) => content::missing_field(question, pointer),
    }
}

//! Says what is wrong with the signed time.
use std::borrow::Cow;

use super::question::Question;
use super::{content, words};
use crate::verify::locator::HeaderConflict;
use crate::verify::scheme::Scheme;
use crate::verify::scheme::mac::HmacScheme;
use crate::verify::scheme::signed_time::{SignedTime, TimeAt};
use crate::verify::timestamp::Format;

/// Returns the rule of the signed time, with its scheme.
fn rule<'a>(question: &Question<'a>) -> Option<(&'a HmacScheme, &'a SignedTime)> {
    match &question.shape.scheme {
        Scheme::Hmac(scheme) => Some((scheme, scheme.time.as_ref()?)),
        Scheme::Token(_) | Scheme::Basic => None,
    }
}

/// Says where the signed time is missing.
pub(super) fn missing(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let (scheme, time) = rule(question)?;
    let place = || words::place(&scheme.source);
    let text = match &time.at {
        TimeAt::Header(names) => words::missing(names.names())?,
        TimeAt::Pair(pair) => format!("{} has no `{pair}`", place()),
        TimeAt::Item => format!("{} has no item with the time", place()),
        TimeAt::Json(pointer) => content::missing_field(question, pointer)?,
    };
    Some(text.into())
}

/// Says why the signed time cannot be read.
pub(super) fn malformed(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let (scheme, time) = rule(question)?;
    let place = words::place(&scheme.source);
    let place = match &time.at {
        TimeAt::Header(names) => match names.read(question.head) {
            Err(HeaderConflict::Repeated) => {
                let mut names = names.names().iter();
                let name = names.find(|name| question.head.headers.single(name).is_err())?;
                return Some(words::repeated(name).into());
            }
            Ok(_) | Err(HeaderConflict::Contradicted) => words::header(names.names().first()?),
        },
        TimeAt::Pair(pair) => {
            let repeated = scheme.source.time(question.head, Some(pair)).is_err();
            if repeated {
                return Some(format!("{place} has several `{pair}`").into());
            }
            format!("`{pair}` in {place}")
        }
        TimeAt::Item => format!("the item with the time in {place}"),
        TimeAt::Json(pointer) => {
            if let Some(text) = content::unreadable(question, pointer) {
                return Some(text.into());
            }
            words::field(pointer)
        }
    };
    let body = question.small_body().unwrap_or_default();
    let unit = if question.shape.time_is_in_other_unit(question.head, body) {
        if time.format == Format::Unix {
            ", but milliseconds"
        } else {
            ", but seconds"
        }
    } else {
        ""
    };
    Some(format!("{place} is not {}{unit}", name(time.format)).into())
}

/// Says that two names of the header of the signed time have different values.
pub(super) fn contradicted(question: &Question<'_>) -> Option<String> {
    let (_, time) = rule(question)?;
    let TimeAt::Header(names) = &time.at else {
        return None;
    };
    let is_contradicted = names.read(question.head) == Err(HeaderConflict::Contradicted);
    let all: Vec<String> = names.names().iter().map(words::title).collect();
    is_contradicted.then(|| format!("{} have different values", all.join(" and ")))
}

/// Says how far the signed time is from the arrival. The body of a large request is not searched for it.
pub(super) fn distance(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let (scheme, time) = rule(question)?;
    let tolerance = time.tolerance.as_secs();
    let body = question.small_body();
    let read = match (body, time.in_body()) {
        (None, true) => None,
        (body, _) => time
            .read(&scheme.source, question.head, body.unwrap_or_default())
            .ok(),
    };
    let Some(signed) = read else {
        return Some(format!("the signed time is more than {tolerance} s from the arrival").into());
    };
    let text = match question.now.duration_since(signed.at) {
        Ok(age) => format!(
            "signed {} s before it arrived, tolerance {tolerance} s",
            age.as_secs()
        ),
        Err(ahead) => format!(
            "signed {} s after it arrived, tolerance {tolerance} s: one of the clocks is wrong",
            ahead.duration().as_secs()
        ),
    };
    Some(text.into())
}

/// Returns the name of a format.
const fn name(format: Format) -> &'static str {
    match format {
        Format::Unix => "Unix seconds of 10 digits",
        Format::UnixMs => "Unix milliseconds of 13 digits",
        Format::Rfc3339 => "an RFC 3339 time",
        Format::Utc => "a UTC time without zone, as in 2026-01-01T00:00:00",
        Format::ImfFixdate => "an HTTP date, as in Thu, 01 Jan 2026 00:00:00 GMT",
    }
}

//! Says which part of the signed content is missing or malformed.
use super::question::Question;
use super::words;
use crate::verify::authentic::NotAuthentic;
use crate::verify::content::Part;
use crate::verify::json;
use crate::verify::locator::{Locator, strict_header};
use crate::verify::url;

/// Says which part of the signed content is missing.
pub(super) fn missing(question: &Question<'_>) -> Option<String> {
    parts(
        question,
        NotAuthentic::SignatureMissing,
        |part| match part {
            Part::Header(name) => words::missing(std::slice::from_ref(name)),
            Part::Id => Some(match question.shape.delivery_id.as_ref()? {
                Locator::Header(names) => words::missing(names.names())?,
                Locator::Query(name) => format!("the query has no `{name}`"),
                Locator::Json(pointer) => return missing_field(question, pointer),
            }),
            Part::Json(pointer) => missing_field(question, pointer),
            Part::Literal(_)
            | Part::Body
            | Part::Timestamp
            | Part::Method
            | Part::Url
            | Part::Path
            | Part::Query => None,
        },
    )
}

/// Says which part of the signed content is malformed.
pub(super) fn malformed(question: &Question<'_>) -> Option<String> {
    parts(
        question,
        NotAuthentic::SignatureMalformed,
        |part| match part {
            Part::Header(name) if question.head.headers.single(name).is_err() => {
                Some(words::repeated(name))
            }
            Part::Header(name) => Some(format!(
                "{} is empty, too long, or has other than visible ASCII",
                words::header(name)
            )),
            Part::Id => Some(malformed_id(question.shape.delivery_id.as_ref()?)),
            Part::Json(pointer) => unreadable(question, pointer),
            Part::Url => {
                Some("the URL has bytes or forwarding headers that no signed URL has".to_owned())
            }
            Part::Path | Part::Query => {
                Some("the target has bytes that no signed URL has".to_owned())
            }
            Part::Literal(_) | Part::Body | Part::Timestamp | Part::Method => None,
        },
    )
}

/// Returns the words for the first part of the signed content that fails with `why`.
fn parts(
    question: &Question<'_>,
    why: NotAuthentic,
    say: impl Fn(&Part) -> Option<String>,
) -> Option<String> {
    let content = question.shape.scheme.content()?;
    content
        .parts()
        .iter()
        .filter(|part| fails(question, part) == Some(why))
        .find_map(say)
}

/// Returns the reason for which a part cannot be read. Looks at no field of a large body.
fn fails(question: &Question<'_>, part: &Part) -> Option<NotAuthentic> {
    let head = question.head;
    let read = match part {
        Part::Header(name) => strict_header(head, name).map(drop),
        Part::Id => match &question.shape.delivery_id {
            None => Err(NotAuthentic::SignatureMalformed),
            Some(id) if id.in_body() && question.small_body().is_none() => Ok(()),
            Some(id) => id.strict(head, question.body).map(drop),
        },
        Part::Json(pointer) => match json::find(question.small_body()?, pointer) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(NotAuthentic::SignatureMissing),
            Err(_) => Err(NotAuthentic::SignatureMalformed),
        },
        Part::Url => url::feed(head, question.public_url, &mut |_| ()),
        Part::Path => url::checked(head.path()).map(drop),
        Part::Query => url::checked(head.query().unwrap_or_default()).map(drop),
        Part::Literal(_) | Part::Body | Part::Timestamp | Part::Method => Ok(()),
    };
    read.err()
}

/// Describes a delivery ID that cannot be a part of signed content.
fn malformed_id(id: &Locator) -> String {
    let place = match id {
        Locator::Header(names) => match names.names() {
            [name, ..] => words::header(name),
            [] => String::new(),
        },
        Locator::Query(name) => format!("the query parameter `{name}`"),
        Locator::Json(pointer) => words::field(pointer),
    };
    format!("the ID in {place} occurs twice, is too long, or has other than visible ASCII")
}

/// Says that the body lacks a field. A large body is not searched.
pub(super) fn missing_field(question: &Question<'_>, pointer: &str) -> Option<String> {
    let Some(body) = question.small_body() else {
        return Some("the body lacks a field of the signature".to_owned());
    };
    let is_missing = matches!(json::find(body, pointer), Ok(None));
    is_missing.then(|| format!("the body has no field `{pointer}`"))
}

/// Says that a field of the body cannot be read. A large body is not searched.
pub(super) fn unreadable(question: &Question<'_>, pointer: &str) -> Option<String> {
    let Some(body) = question.small_body() else {
        return Some("a field of the body cannot be read".to_owned());
    };
    json::find(body, pointer).err()?;
    Some(if question.starts_like_json() {
        format!(
            "the body is not valid JSON, or has {} twice",
            words::field(pointer)
        )
    } else {
        "the body is not JSON, this preset expects JSON".to_owned()
    })
}

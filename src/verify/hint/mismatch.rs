//! Says why no secret matches.
use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::question::Question;
use super::{signature, words};
use crate::clock::rfc3339;
use crate::verify::content::Part;
use crate::verify::locator::Locator;
use crate::verify::secret::KeyedBy;

/// The inactive secrets that are named.
const MAX_NAMED: usize = 3;

/// Says why no secret matches. Makes all texts before it picks one: an unknown account must cost as much as a known one.
pub(super) fn mismatch(question: &Question<'_>) -> Cow<'static, str> {
    let [unknown, inactive, tried] = [
        unknown_account(question),
        inactive(question),
        Some(tried(question).into()),
    ];
    let length = signature::of_other_length(question);
    let body = body_sign(question);
    [unknown, inactive, length, body, tried]
        .into_iter()
        .flatten()
        .next()
        .unwrap_or_default()
}

/// Says that the account of the request has no secret.
fn unknown_account(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let place = match question.keyed_by? {
        KeyedBy::Param(name) => format!("the path parameter `{name}`"),
        KeyedBy::Header(name) => words::header(name),
    };
    let text = format!("there is no secret for the account in {place}");
    (!question.candidates.known()).then_some(text.into())
}

/// Says that no secret is active, and names the first ones.
fn inactive(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let all = question.candidates.list();
    if all.is_empty() || all.iter().any(|one| one.active(question.dates)) {
        return None;
    }
    let named = inactive_ones(question);
    (!named.is_empty()).then(|| format!("no secret of the route is active: {named}").into())
}

/// Lists secrets that are not active now, with their dates.
fn inactive_ones(question: &Question<'_>) -> String {
    let mut text = String::new();
    let mut last = None;
    let known = question.candidates.list().iter();
    let inactive = known
        .filter(|one| question.candidates.known() && !one.active(question.dates))
        // a secret with several encodings has several candidates, one after the other
        .filter(|one| last.replace(one.name()) != Some(one.name()));
    for one in inactive.take(MAX_NAMED) {
        let separator = if text.is_empty() { "" } else { ", " };
        let (word, date) = match (one.expires(), one.not_before()) {
            (Some(at), _) if question.dates.has_ended(at) => ("expired at", at),
            (_, Some(from)) => ("is active from", from),
            (_, None) => continue,
        };
        // writing to a string does not fail
        write!(text, "{separator}{} {word} {}", one.name(), rfc3339(date)).unwrap_or_default();
    }
    text
}

/// Says how many secrets were compared, and which were not.
fn tried(question: &Question<'_>) -> String {
    let mut last = None;
    let active = question
        .candidates
        .list()
        .iter()
        .filter(|one| one.active(question.dates))
        .filter(|one| last.replace(one.name()) != Some(one.name()))
        .count();
    let mut text = format!("no secret of the route matches: {active} tried");
    let inactive = inactive_ones(question);
    if !inactive.is_empty() {
        write!(text, ", and {inactive}").unwrap_or_default();
    }
    if question.shape.covers_address() {
        text.push_str("; the URL is signed too, compare `public_url`");
    }
    // some providers send forms beside JSON, so that this is not the cause for sure
    if let Some(no_json) = no_json(question).filter(|_| !question.shape.reads_json()) {
        text.push_str("; ");
        text.push_str(no_json);
    }
    text
}

/// Says in what the body differs from one that the provider signs.
fn body_sign(question: &Question<'_>) -> Option<Cow<'static, str>> {
    let content = question.shape.scheme.content()?;
    if !content.parts().contains(&Part::Body) {
        return None;
    }
    if question.body.is_empty() {
        return Some("the body is empty".into());
    }
    if let Some(encoding) = question
        .head
        .headers
        .get(&CONTENT_ENCODING)
        .and_then(words::encoding)
    {
        return Some(
            format!("the body is compressed (Content-Encoding: {encoding}), and the signature may be that of the plain body")
                .into(),
        );
    }
    let no_json = no_json(question).filter(|_| question.shape.reads_json())?;
    Some(no_json.into())
}

/// Says that the body is no JSON, if requests of the preset have a JSON body.
fn no_json(question: &Question<'_>) -> Option<&'static str> {
    if !expects_json(question) || question.starts_like_json() {
        return None;
    }
    let is_form = question
        .head
        .headers
        .get(&CONTENT_TYPE)
        .is_some_and(words::is_form);
    Some(if is_form {
        "the body is a form, this preset expects JSON"
    } else {
        "the body is not JSON, this preset expects JSON"
    })
}

/// Returns whether requests of the scheme have a JSON body.
fn expects_json(question: &Question<'_>) -> bool {
    let facts = [&question.shape.delivery_id, &question.shape.event_type];
    let mut facts = facts.into_iter().flatten();
    question.shape.reads_json() || facts.any(|fact| matches!(fact, Locator::Json(_)))
}

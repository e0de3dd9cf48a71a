//! Compiles the response to requests that are not authentic.
use http::StatusCode;

use crate::config::compile::context::Context;
use crate::config::compile::proof::Facts;
use crate::config::diagnostic::Place;
use crate::config::presets::{RefusedBody, StatusPattern};
use crate::config::snapshot::RefusedAnswer;

/// The keys of the route, as written.
pub(super) struct Written<'a> {
    pub(super) status: Option<u16>,
    pub(super) body: Option<&'a str>,
    /// Whether the route verifies requests.
    pub(super) verifies: bool,
}

/// Compiles the response. `title` is the provider's name for people, `place` the route's.
pub(super) fn refused(
    written: &Written<'_>,
    facts: &Facts,
    title: Option<&str>,
    route: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> RefusedAnswer {
    let keys = [
        ("refused_status", written.status.is_some()),
        ("refused_body", written.body.is_some()),
    ];
    for (key, _) in keys.iter().filter(|(_, given)| *given && !written.verifies) {
        let help = format!("leave `{key}` out");
        cx.problems.error_at_key(
            &place.key(key),
            format!("`{key}` has no effect: this route does not verify requests"),
            help,
        );
    }
    let at = place.key("refused_status");
    let own = written
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .filter(|status| (400..600).contains(&status.as_u16()));
    if written.status.is_some() && own.is_none() {
        cx.problems.error(
            &at,
            "this is not a valid refusal status",
            "write a status from 400 to 599".to_owned(),
        );
    }
    let status = own
        .or(facts.refused_status)
        .unwrap_or(StatusCode::UNAUTHORIZED);
    let words = [("json", RefusedBody::Json), ("empty", RefusedBody::Empty)];
    let body = cx
        .word(written.body, &place.key("refused_body"), &words)
        .or(facts.refused_body)
        .unwrap_or_default();
    let matches = |patterns: &[StatusPattern]| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(status.as_u16()))
    };
    let provider = title.unwrap_or("the provider");
    let code = status.as_u16();
    let follows = match (matches(&facts.disables_on), matches(&facts.stops_on)) {
        (true, _) => format!("{provider} disables the endpoint after {code}"),
        (false, true) => format!("{provider} does not retry after {code}"),
        (false, false) => return RefusedAnswer { status, body },
    };
    if own.is_some() {
        let help = "leave it out, or write a status after which the provider retries; a wrong secret gets the same response".to_owned();
        cx.problems
            .warning(&at, format!("route {route}: {follows}"), help);
    } else if written.verifies {
        let help = "to change the secret, add the new one first and keep the old one until it no longer matches".to_owned();
        cx.problems.warning_at_key(
            &place.key("verify"),
            format!("route {route}: {follows}, so a wrong secret loses deliveries"),
            help,
        );
    }
    RefusedAnswer { status, body }
}

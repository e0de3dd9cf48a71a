//! Compiles `quarantine`.
use std::time::{Duration, SystemTime};

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::Quarantine;
use crate::units::saturating;
use crate::verify::{SecretKind, Verifier};

/// The default of `max_bytes`.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The default of `max_age`.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The other keys of the route that matter here.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    route: &'a str,
    /// Whether it verifies requests.
    verifies: bool,
    /// Its verifier; `None` if that has an error.
    verifier: Option<&'a Verifier>,
    /// The time until which it observes.
    observe_until: Option<SystemTime>,
    /// Whether it drops duplicates.
    has_dedupe: bool,
}

impl<'a> Given<'a> {
    pub(super) fn new(
        route: &'a str,
        verifies: bool,
        verifier: Option<&'a Verifier>,
        observe_until: Option<SystemTime>,
        has_dedupe: bool,
    ) -> Self {
        Self {
            route,
            verifies,
            verifier,
            observe_until,
            has_dedupe,
        }
    }
}

/// Compiles the block of the route at `place`.
pub(super) fn quarantine(
    written: Option<file::Quarantine>,
    given: Given<'_>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Quarantine> {
    let file::Quarantine { max_bytes, max_age } = written?;
    let place = &place.key("quarantine");
    let compiled = Quarantine {
        max_bytes: saturating(cx.size(max_bytes.as_deref(), &place.key("max_bytes"), MAX_BYTES)),
        max_age: cx.duration(max_age.as_deref(), &place.key("max_age"), MAX_AGE),
    };
    if !given.verifies {
        cx.problems.error_at_key(
            place,
            "`quarantine` has no effect: this route does not verify requests",
            "leave it out".to_owned(),
        );
        return None;
    }
    let scheme = match given
        .verifier
        .map(|verifier| verifier.shape().secret_kind())
    {
        Some(SecretKind::Token) => "token",
        Some(SecretKind::Basic) => "basic",
        Some(SecretKind::Hmac(_)) | None => {
            note_observing(given, place, cx);
            note_duplicates(given, place, cx);
            return Some(compiled);
        }
    };
    cx.problems.error_at_key(
        place,
        format!(
            "a route with the scheme `{scheme}` cannot have a `quarantine`: its requests hold the secret itself, which is never stored"
        ),
        "leave it out".to_owned(),
    );
    None
}

/// Warns about a route that cannot tell a released request from one that the provider sent again.
fn note_duplicates(given: Given<'_>, place: &Place, cx: &mut Context<'_>) {
    if !given.has_dedupe {
        cx.problems.warning_at_key(
            place,
            format!(
                "route {} has no `dedupe`: a released delivery that the provider also sent again reaches the app twice",
                given.route
            ),
            "add `dedupe: {}` to the route".to_owned(),
        );
    }
}

/// Warns about a route that refuses nothing yet.
fn note_observing(given: Given<'_>, place: &Place, cx: &mut Context<'_>) {
    let Given {
        route,
        observe_until,
        ..
    } = given;
    if observe_until.is_some_and(|until| until > cx.loader.now.wall) {
        cx.problems.warning_at_key(
            place,
            format!("route {route} keeps nothing while it observes, because it refuses nothing"),
            "leave it out until the route enforces; `hookgate report` shows what would be refused"
                .to_owned(),
        );
    }
}

//! Compiles the target of a route's deliveries.
use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::context::{Context, Upstreams};
use crate::config::compile::proof::Proof;
use crate::config::compile::sign;
use crate::config::diagnostic::{Place, instead_of, unknown};
use crate::config::file;
use crate::config::snapshot::{Forward, Upstream};
use crate::route::router;
use crate::route::template::{PathPart, PathTemplate};
use crate::verify::{Covers, SecretLocations, Shape, Verifier};

/// The default timeout of an exchange, if neither the upstream nor the provider has one.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The other keys of the route that matter here.
pub(super) struct Given<'a> {
    /// The name of the route.
    pub(super) route: &'a str,
    /// The path of the route.
    pub(super) path: &'a str,
    pub(super) covers: Covers,
    pub(super) secrets_stand: SecretLocations,
    pub(super) answer_within: Option<Duration>,
    /// Whether the route has `verify: none`.
    pub(super) unverified: bool,
    pub(super) shape: Option<&'a Shape>,
}

impl<'a> Given<'a> {
    /// Collects the keys.
    pub(super) fn new(
        route: &'a str,
        path: &'a str,
        proof: Option<&'a Proof>,
        answer_within: Option<Duration>,
        unverified: bool,
    ) -> Self {
        let covers = proof.map_or(Covers::default(), |proof| proof.covers);
        let secrets_stand = proof.map_or(SecretLocations::default(), |proof| {
            proof.secrets_stand.clone()
        });
        let shape = proof
            .and_then(|proof| proof.verifier.as_ref())
            .map(Verifier::shape);
        Self {
            route,
            path,
            covers,
            secrets_stand,
            answer_within,
            unverified,
            shape,
        }
    }
}

/// The keys of the action about the target, as written.
pub(super) struct Target {
    pub(super) upstream: Option<String>,
    pub(super) path: Option<String>,
    pub(super) query: Option<String>,
    pub(super) keep_token: Option<bool>,
    pub(super) resign: Option<bool>,
    pub(super) sign: Option<file::Sign>,
}

/// Compiles the target. `place` is that of the block `action`.
pub(super) fn forward(
    target: Target,
    action: &str,
    given: Given<'_>,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Forward> {
    let Target {
        upstream,
        path,
        query,
        keep_token,
        resign,
        sign,
    } = target;
    let queries = [("keep", true), ("drop", false)];
    let covers_query = given.covers.url || given.covers.query;
    let keep_query = cx
        .word(query.as_deref(), &place.key("query"), &queries)
        .unwrap_or(covers_query);
    let path = path.map(|path| template(&path, given.path, &place.key("path"), cx));
    let signing = sign::Given {
        route: given.route,
        unverified: given.unverified,
        shape: given.shape,
        keep_query,
    };
    let resign = sign::resign(resign, &signing, &place.key("resign"), cx);
    let sign = sign::sign(sign, resign, &signing, &place.key("sign"), cx);
    let upstream = upstream_of(upstream, action, upstreams, place, cx)?;
    let dropped = if keep_token == Some(true) {
        SecretLocations::default()
    } else {
        given.secrets_stand
    };
    let within = given.answer_within.map(|within| {
        within
            .saturating_sub(Duration::from_secs(1))
            .max(Duration::from_secs(1))
    });
    let timeout = upstream.timeout.or(within).unwrap_or(TIMEOUT);
    let path = match path {
        None => None,
        Some(path) => Some(path?),
    };
    Some(Forward {
        upstream,
        path,
        keep_query,
        dropped,
        timeout,
        resign,
        sign,
    })
}

/// Returns the upstream that the block `action` at `place` names.
pub(super) fn upstream_of(
    name: Option<String>,
    action: &str,
    upstreams: &Upstreams,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<Upstream>> {
    let Some(name) = name else {
        cx.problems.missing(
            place,
            "upstream",
            format!("`{action}` has no upstream"),
            "add `upstream: NAME`".to_owned(),
        );
        return None;
    };
    let Some(upstream) = upstreams.get(name.as_str()) else {
        if cx.may_be_left_out(&["upstreams", &name]) {
            return None;
        }
        let help = instead_of(&name, upstreams.keys().map(|name| &**name))
            .unwrap_or_else(|| "add it under `upstreams`".to_owned());
        cx.problems.error(
            &place.key("upstream"),
            format!("unknown upstream `{}`", unknown(&name)),
            help,
        );
        return None;
    };
    upstream.clone()
}

/// Parses a path at the upstream. Its parameters must be the route's.
fn template(path: &str, route: &str, place: &Place, cx: &mut Context<'_>) -> Option<PathTemplate> {
    let known = router::parameters(route);
    let is_path = path.starts_with('/')
        && !path.contains(['?', '#'])
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    let mut pieces = Vec::new();
    let mut rest = path;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        let name = name.trim_start_matches('*');
        if !known.contains(&name) {
            let help = instead_of(name, known.iter().copied())
                .unwrap_or_else(|| "add it to the route's path, or remove it here".to_owned());
            cx.problems.error(
                place,
                format!("the route's path has no parameter `{}`", unknown(name)),
                help,
            );
            return None;
        }
        if !literal.is_empty() {
            pieces.push(PathPart::Literal(literal.to_owned()));
        }
        pieces.push(PathPart::Parameter(name.to_owned()));
        rest = after;
    }
    if !is_path || rest.contains(['{', '}']) {
        cx.problems.error(
            place,
            "this is not a valid path",
            "begin with `/`, leave out the query, and write parameters of the route as `{name}`"
                .to_owned(),
        );
        return None;
    }
    if !rest.is_empty() {
        pieces.push(PathPart::Literal(rest.to_owned()));
    }
    Some(PathTemplate(pieces))
}

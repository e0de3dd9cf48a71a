//! A question to the explanation, and its finding.
use std::sync::Arc;

use super::cause::Cause;
use crate::clock::Now;
use crate::request::{Params, Received};
use crate::verify::{NotAuthentic, Shape, Verifier};

/// A route that verifies.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its verifier.
    pub verifier: &'a Verifier,
}

/// A refused request, and what is known around it.
#[derive(Debug)]
pub struct Question<'a> {
    /// The request as it arrived.
    pub received: &'a Received,
    /// Its path parameters.
    pub params: &'a Params,
    /// The route that it arrived at.
    pub route: Subject<'a>,
    /// The other routes of the config.
    pub others: &'a [Subject<'a>],
    /// The schemes of all providers, by the names of their presets.
    pub providers: &'a [(Arc<str>, Shape)],
    /// The preset of the route.
    pub own_provider: Option<&'a str>,
    /// The time by which the signed time is judged.
    pub now: Now,
}

/// The explanation of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The reason of the refusal; `None` if the request is authentic as of `now`.
    pub refused: Option<NotAuthentic>,
    /// The causes, all of which apply together. Empty if none of the known ones was found.
    pub causes: Vec<Cause>,
    /// Whether a signature matches once the causes are undone. If not, the first cause is what the request looks like.
    pub is_proven: bool,
    /// The route and the name of the secret that matches.
    pub matched: Option<(Box<str>, Arc<str>)>,
    /// The numbers of what was tried.
    pub tried: Tried,
}

/// The numbers of what was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Secrets of the route.
    pub own_secrets: usize,
    /// Other readings of these secrets.
    pub readings: usize,
    /// Secrets of other routes.
    pub other_secrets: usize,
    /// Other spellings of the body.
    pub bodies: usize,
    /// Other spellings of the URL.
    pub addresses: usize,
    /// Schemes of other providers.
    pub providers: usize,
    /// Whether some of it was left out, because the body is large.
    pub is_cut: bool,
}

//! The explanation of a refused request, as `POST /-/refusals/{id}/explain` and `hookgate explain --json` return it.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::explain::{self, Finding};

/// The explanation of a refused request. It holds no secret and no part of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The route that refused the request, or the preset that it was judged by.
    pub judged_by: String,
    /// The code of the refusal; null if the request is authentic with the current secrets.
    pub refused: Option<String>,
    /// The causes, all of which apply together. Empty if none of the known ones was found.
    pub causes: Vec<Cause>,
    /// Whether a signature matches once the causes are undone. If not, the first cause is what the request looks like.
    pub proven: bool,
    /// The secret that matches once the causes are undone.
    pub matches: Option<Match>,
    /// The numbers of what was tried.
    pub tried: Tried,
}

/// One cause of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// A code that stays the same.
    pub code: String,
    /// The cause in words.
    pub title: String,
    /// A hint what to do.
    pub advice: String,
}

/// The secret that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Match {
    /// Its route, or its preset.
    pub route: String,
    /// Its name.
    pub secret: String,
}

/// The numbers of what was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    pub urls: usize,
    /// Schemes of other providers.
    pub providers: usize,
    /// Whether some of it was left out, because the body is large.
    pub cut: bool,
}

impl Explanation {
    /// Renders what was found about a request that the route or preset `judged_by` refused.
    pub fn new(finding: &Finding, judged_by: &str) -> Self {
        let cause = |cause: &explain::Cause| Cause {
            code: cause.code().to_owned(),
            title: cause.title(),
            advice: cause.advice(judged_by),
        };
        let matches = finding.matched.as_ref().map(|(route, secret)| Match {
            route: route.to_string(),
            secret: secret.to_string(),
        });
        let explain::Tried {
            own_secrets,
            readings,
            other_secrets,
            bodies,
            addresses,
            providers,
            is_cut,
        } = finding.tried;
        Self {
            judged_by: judged_by.to_owned(),
            refused: finding.refused.map(|why| why.code().to_owned()),
            causes: finding.causes.iter().map(cause).collect(),
            proven: finding.is_proven,
            matches,
            tried: Tried {
                own_secrets,
                readings,
                other_secrets,
                bodies,
                urls: addresses,
                providers,
                cut: is_cut,
            },
        }
    }
}

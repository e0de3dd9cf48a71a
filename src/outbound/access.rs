//! The tokens of the app, and the rights that calls need.
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::config::snapshot::{AppRights, AppToken};
use crate::web::call::{Need, Security};
use crate::web::guard::{Head, HostCheck, JsonCheck, Rights};
use crate::web::problem::Problem;

/// A right that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// To publish events.
    Publish,
    /// To read everything but secrets.
    Read,
    /// To change tenants and endpoints.
    Manage,
    /// A token with any right.
    Any,
}

impl Right {
    fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::Any => "any",
        }
    }
}

impl Need for Right {
    fn security(&self) -> Security {
        Security::Token
    }

    fn words(&self) -> Option<&'static str> {
        match self {
            Self::Publish => Some("The token needs `publish`."),
            Self::Read => Some("The token needs `read`."),
            Self::Manage => Some("The token needs `manage`."),
            Self::Any => None,
        }
    }
}

/// The owner of a token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name.
    pub(super) name: Arc<str>,
    rights: AppRights,
}

impl Caller {
    /// Checks that the token has a right.
    ///
    /// # Errors
    /// It lacks the right.
    pub(super) fn may(&self, right: Right) -> Result<(), Problem> {
        let has = match right {
            Right::Publish => self.rights.publish,
            Right::Read => self.rights.read,
            Right::Manage => self.rights.manage,
            Right::Any => true,
        };
        if has {
            return Ok(());
        }
        let word = right.word();
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_allowed",
            format!("the token of {} lacks `{word}`", self.name),
            format!("add `{word}` to its `allow` in `outbound.tokens`"),
        ))
    }
}

/// The tokens of the config that runs now.
#[derive(Clone)]
pub struct AppTokens(Arc<dyn Fn() -> Vec<AppToken> + Send + Sync>);

impl std::fmt::Debug for AppTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AppTokens(…)")
    }
}

impl AppTokens {
    /// Reads the tokens by `tokens` at each request: one that was taken out of the config does not count any more.
    pub fn new(tokens: impl Fn() -> Vec<AppToken> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tokens))
    }
}

impl Rights for AppTokens {
    const HOST: HostCheck = HostCheck::WithoutToken;
    const JSON: JsonCheck = JsonCheck::Bodies;

    type Caller = Option<Caller>;
    type Denied = Problem;

    /// Compares all tokens, whichever it is.
    fn caller(&self, token: Option<&[u8]>) -> Option<Caller> {
        let offered = token.filter(|token| !token.is_empty())?;
        let tokens = (self.0)();
        let found = tokens.iter().fold(None, |found, one| {
            if one.token.matches(offered) {
                Some(one)
            } else {
                found
            }
        });
        found.map(|token| Caller {
            name: Arc::clone(&token.name),
            rights: token.rights,
        })
    }

    fn admit(&self, caller: &Option<Caller>, _: Head<'_>) -> Result<(), Problem> {
        caller.as_ref().map(drop).ok_or_else(no_token)
    }
}

fn no_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "no_token",
        "the token is missing or wrong",
        "send `Authorization: Bearer TOKEN` with one of `outbound.tokens`",
    )
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Option<Self>>();
        caller.cloned().flatten().ok_or_else(no_token)
    }
}

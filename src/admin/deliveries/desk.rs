//! What the deliveries of a gate are asked through: its store, and what its config says of its routes.
use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;

use crate::admin::answer::Denied;
use crate::api::deliveries::Origin;
use crate::clock::Now;
use crate::request::Params;
use crate::store::queue::{Kind, TargetId};
use crate::store::{Key, Store, StoreError};

/// What the config says of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The attempts made at most; `None`: as many as fit into the greatest age.
    pub max_attempts: Option<u32>,
}

/// A delivery as an operator names it, whom the ledger knows by a key alone.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryName<'a> {
    /// The provider's ID of it.
    pub id: &'a str,
    /// The path parameters it came with.
    pub params: &'a Params,
    /// The account it came from.
    pub account: Option<&'a str>,
    /// The name of the secret it was signed with, if it is known.
    pub secret: Option<&'a str>,
    /// Its body, if it is known.
    pub body: Option<&'a [u8]>,
}

/// How the ledger keeps an ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// Under one of these keys: several where the secret is part of the key and is not named.
    By(Vec<Key>),
    /// Under one that depends on the body, too.
    ByBody,
    /// Under one that depends on more than was named.
    Needs {
        /// The path parameters to name, all of them.
        params: Vec<String>,
        /// Whether the account must be named.
        account: bool,
    },
    /// Not at all: the route does not dedupe.
    Not,
    /// There is no such route.
    NoRoute,
}

/// Where deliveries lie.
pub trait Desk: Send + Sync {
    /// The store, which is on disk.
    fn store(&self) -> &Arc<dyn Store>;

    /// The time.
    fn now(&self) -> Now;

    /// What the config says now of a route; none if it has no such route.
    fn policy(&self, route: &str) -> Option<Policy>;

    /// How the ledger keeps an ID of a route.
    fn keyed(&self, route: &str, named: DeliveryName<'_>) -> Keyed;
}

/// Names of what has numbers in the store, now.
#[derive(Debug, Default)]
pub(super) struct Names {
    named: HashMap<u32, (Kind, Arc<str>)>,
    pub(super) gone: Arc<[TargetId]>,
}

impl Names {
    pub(super) async fn of(desk: &dyn Desk) -> Result<Self, Denied> {
        let all = desk
            .store()
            .names()
            .await
            .map_err(|error| unavailable(&error))?;
        let is_gone = |kind: Kind, name: &str| match kind {
            Kind::Route => desk.policy(name).is_none(),
            Kind::Alarm => false,
            Kind::Pass => true,
        };
        let gone = all
            .iter()
            .filter(|(kind, _, name)| is_gone(*kind, name))
            .map(|(_, number, _)| TargetId(*number))
            .collect();
        Ok(Self {
            named: all
                .into_iter()
                .map(|(kind, number, name)| (number, (kind, name)))
                .collect(),
            gone,
        })
    }

    /// What has that number.
    pub(super) fn origin(&self, number: u32) -> Origin {
        let (kind, name) = self
            .named
            .get(&number)
            .map_or((Kind::Route, ""), |(kind, name)| (*kind, name));
        let kind = match kind {
            Kind::Route | Kind::Pass => "route",
            Kind::Alarm => "alarm",
        };
        Origin {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Returns the numbers of a name, in order: a route's, if another kind of thing has the name too.
    pub(super) fn numbers(&self, name: &str) -> Vec<u32> {
        let of = |kind: Kind| {
            let named = self
                .named
                .iter()
                .filter(|(_, known)| known.0 == kind && *known.1 == *name);
            let mut numbers: Vec<u32> = named.map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers
        };
        Some(of(Kind::Route))
            .filter(|numbers| !numbers.is_empty())
            .unwrap_or_else(|| of(Kind::Alarm))
    }

    pub(super) fn is_gone(&self, target: TargetId) -> bool {
        self.gone.contains(&target)
    }
}

/// The store does not answer.
pub(super) fn unavailable(error: &StoreError) -> Denied {
    Denied::new(
        StatusCode::SERVICE_UNAVAILABLE,
        &error.to_string(),
        "ask again; `hookgate status` says how the store is",
    )
}

/// There is no store on disk.
pub(super) fn no_store() -> Denied {
    let help = "set `store.path`, and restart: without it nothing is kept";
    Denied::new(
        StatusCode::CONFLICT,
        "no deliveries are kept: the config has no `store.path`",
        help,
    )
}

/// There is no such delivery.
pub(super) fn no_delivery(id: &str) -> Denied {
    let help =
        "`GET /-/deliveries` lists those that are kept; ask by the ID there, or by the provider's";
    Denied::new(
        StatusCode::NOT_FOUND,
        &format!("there is no delivery {}", shortened(id)),
        help,
    )
}

/// The request says something that cannot be.
pub(super) fn bad(error: &str, help: &'static str) -> Denied {
    Denied::new(StatusCode::BAD_REQUEST, error, help)
}

/// What somebody sent, short enough to be said back.
pub(super) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

//! What the admin API has: one table, of which both the router and its document are made, so that neither knows what the other does not.
use axum::Router;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::api::Api;
use super::{api, deliveries, live};

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// It reads.
    Get,
    /// It changes something.
    Post,
}

/// Who may ask on loopback. Off it, everything needs a token that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Everybody there.
    Nothing,
    /// Whoever has a token that reads.
    Read,
    /// Whoever has a token that acts.
    Act,
}

/// What it answers when all is well.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    /// JSON, with this status.
    Json(u16, SchemaOf),
    /// Text or bytes.
    Bytes(&'static [&'static str]),
}

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One thing that can be asked.
pub(super) struct Endpoint {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) needs: Needs,
    /// A type whose fields are the query.
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    pub(super) answers: Answers,
    /// Another JSON that it answers, and its status.
    pub(super) or: Option<(u16, SchemaOf)>,
    /// Statuses of its own that it refuses with.
    pub(super) refuses: &'static [u16],
    handler: MethodRouter<Api>,
}

/// The schema of `T`.
pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Endpoint {
    pub(super) fn get(
        path: &'static str,
        about: &'static str,
        answers: Answers,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self {
            verb: Verb::Get,
            path,
            about,
            needs: Needs::Nothing,
            query: None,
            body: None,
            answers,
            or: None,
            refuses: &[],
            handler,
        }
    }

    pub(super) fn post<B: JsonSchema>(
        path: &'static str,
        about: &'static str,
        answers: Answers,
        handler: MethodRouter<Api>,
    ) -> Self {
        let body = Some(schema::<B> as SchemaOf);
        Self {
            verb: Verb::Post,
            path,
            about,
            needs: Needs::Act,
            query: None,
            body,
            answers,
            or: None,
            refuses: &[],
            handler,
        }
    }

    pub(super) fn asked<Q: JsonSchema>(self) -> Self {
        Self {
            query: Some(schema::<Q>),
            ..self
        }
    }

    pub(super) fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    pub(super) fn or(self, status: u16, schema: SchemaOf) -> Self {
        Self {
            or: Some((status, schema)),
            ..self
        }
    }

    pub(super) fn refuses(self, refuses: &'static [u16]) -> Self {
        Self { refuses, ..self }
    }
}

/// All of them, in the order of the document.
pub(super) fn all() -> Vec<Endpoint> {
    let mut all = api::endpoints();
    all.extend(deliveries::endpoints());
    all.extend(live::endpoints());
    all
}

/// The routes of all of them.
pub(super) fn router() -> Router<Api> {
    all().into_iter().fold(Router::new(), |router, endpoint| {
        router.route(endpoint.path, endpoint.handler)
    })
}

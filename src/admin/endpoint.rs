//! The description of an endpoint, from which the router and the OpenAPI document are made.
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::state::Api;

/// The method of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// GET: the endpoint reads.
    Get,
    /// POST: the endpoint changes something.
    Post,
}

/// The access that an endpoint needs on loopback. On other addresses every endpoint needs a token with `read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// No token.
    Nothing,
    /// A token with `read`.
    Read,
    /// A token with `act`.
    Act,
}

/// The response of an endpoint to a request without errors.
#[derive(Clone, Copy)]
pub(super) enum Answers {
    /// JSON, with this status.
    Json(u16, SchemaOf),
    /// Text or bytes.
    Bytes(&'static [&'static str]),
}

/// A function that returns the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// An endpoint of the admin API.
pub(super) struct Endpoint {
    pub(super) verb: Verb,
    pub(super) path: &'static str,
    /// The summary in the OpenAPI document.
    pub(super) about: &'static str,
    pub(super) needs: Needs,
    /// The type whose fields are the query parameters.
    pub(super) query: Option<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    pub(super) answers: Answers,
    /// A second JSON response, and its status.
    pub(super) or: Option<(u16, SchemaOf)>,
    /// The statuses of errors that not every endpoint has.
    pub(super) refuses: &'static [u16],
    pub(super) handler: MethodRouter<Api>,
}

/// Returns the schema of `T`.
pub(super) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Endpoint {
    /// Makes an endpoint that reads, without a token on loopback.
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

    /// Makes an endpoint that changes something, with a token that has `act`.
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

    /// Adds the query parameters.
    pub(super) fn with_query<Q: JsonSchema>(self) -> Self {
        Self {
            query: Some(schema::<Q>),
            ..self
        }
    }

    /// Sets the access that the endpoint needs.
    pub(super) fn needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// Adds a second JSON response.
    pub(super) fn or(self, status: u16, schema: SchemaOf) -> Self {
        Self {
            or: Some((status, schema)),
            ..self
        }
    }

    /// Adds the statuses of errors.
    pub(super) fn refuses(self, refuses: &'static [u16]) -> Self {
        Self { refuses, ..self }
    }
}

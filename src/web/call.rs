//! The table of an API's calls, from which its router and its OpenAPI document are made.
use std::fmt;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The method of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET: the call reads.
    Get,
    /// POST: the call changes something.
    Post,
    /// PUT: the call makes or replaces something.
    Put,
    /// PATCH: the call changes some fields of something.
    Patch,
    /// DELETE: the call removes something.
    Delete,
}

impl Verb {
    /// Returns the method in lower case, as OpenAPI writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Whether a call needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// No token.
    Open,
    /// A token, except where the listener does without.
    Optional,
    /// A token, always.
    Token,
}

/// The access that a call needs. Each API has rights of its own.
pub trait Need: fmt::Debug + Send + Sync {
    /// Returns whether the call needs a token.
    fn security(&self) -> Security;

    /// Returns a sentence about the right for the OpenAPI document.
    fn words(&self) -> Option<&'static str> {
        None
    }
}

/// A function that returns the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Returns the schema of `T`.
pub fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The response of a call to a request without errors.
#[derive(Clone, Copy, Debug)]
pub enum Answers {
    /// JSON, with this status.
    Json(u16, SchemaOf),
    /// Text or bytes of these content types.
    Bytes(&'static [&'static str]),
    /// No body, with this status.
    Nothing(u16),
}

/// A call of an API whose router has the state `S`.
#[derive(Debug)]
pub struct Call<S> {
    /// The method.
    pub verb: Verb,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// The summary in the OpenAPI document.
    pub about: &'static str,
    /// The access that it needs.
    pub needs: &'static dyn Need,
    /// The type whose fields are the query parameters.
    pub query: Option<SchemaOf>,
    /// The type of the JSON body, if it has one.
    pub body: Option<SchemaOf>,
    /// The response to a request without errors.
    pub answers: Answers,
    /// A second JSON response, and its status.
    pub or: Option<(u16, SchemaOf)>,
    /// The statuses of errors that not every call has.
    pub refuses: &'static [u16],
    /// The handler, for this method alone.
    pub handler: MethodRouter<S>,
}

impl<S: Clone + Send + Sync + 'static> Call<S> {
    /// Makes a call without query parameters, body and errors of its own.
    pub fn new<H, T>(
        verb: Verb,
        path: &'static str,
        about: &'static str,
        needs: &'static dyn Need,
        answers: Answers,
        handler: H,
    ) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        Self {
            verb,
            path,
            about,
            needs,
            query: None,
            body: None,
            answers,
            or: None,
            refuses: &[],
            handler: on(verb.filter(), handler),
        }
    }

    /// Adds the query parameters.
    pub fn with_query<Q: JsonSchema>(self) -> Self {
        Self {
            query: Some(schema::<Q>),
            ..self
        }
    }

    /// Adds the JSON body of the request.
    pub fn with_body<B: JsonSchema>(self) -> Self {
        Self {
            body: Some(schema::<B>),
            ..self
        }
    }

    /// Sets the access that the call needs.
    pub fn needs(self, needs: &'static dyn Need) -> Self {
        Self { needs, ..self }
    }

    /// Adds a second JSON response.
    pub fn or(self, status: u16, schema: SchemaOf) -> Self {
        Self {
            or: Some((status, schema)),
            ..self
        }
    }

    /// Adds the statuses of errors.
    pub fn refuses(self, refuses: &'static [u16]) -> Self {
        Self { refuses, ..self }
    }

    /// Sets the maximum size of the body in bytes, if it differs from that of other calls.
    pub fn max_body(self, bytes: usize) -> Self {
        Self {
            handler: self.handler.layer(DefaultBodyLimit::max(bytes)),
            ..self
        }
    }
}

/// Builds the routes of these calls.
pub fn routes<S: Clone + Send + Sync + 'static>(calls: Vec<Call<S>>) -> Router<S> {
    calls.into_iter().fold(Router::new(), |router, call| {
        router.route(call.path, call.handler)
    })
}

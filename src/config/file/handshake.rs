//! How a provider tests an endpoint, as written.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::file::{Locator, OneOrMany, Secret};

/// How a provider tests an endpoint, and what the gate answers. On a route it stands for all that the preset has; `verify_token` alone adds to it.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Handshake {
    /// `GET`, `HEAD`, `OPTIONS` or `POST` (default). The route takes it for a handshake, whatever its `methods` say.
    pub method: Option<String>,
    /// Whether the request is signed like a delivery (POST); it is answered after the proof then (default false).
    pub signed: Option<bool>,
    /// What else tells it from a delivery: all must hold.
    pub when: Option<OneOrMany<Condition>>,
    /// Where the token stands.
    pub token: Option<Locator>,
    /// Characters that the token may hold beside `[A-Za-z0-9_-]`, such as `.=`.
    pub token_also: Option<String>,
    /// Where the second secret stands that the request must carry.
    pub guard: Option<Locator>,
    /// What the gate answers, with status 200 (default: no body).
    pub answer: Option<Answer>,
    /// The second secret: what was entered at the provider as verify token. On a route only.
    pub verify_token: Option<Secret>,
}

/// What must stand in a request.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// In this header.
    pub header: Option<String>,
    /// In the body, by JSON pointer.
    pub json: Option<String>,
    /// In this query parameter.
    pub query: Option<String>,
    /// The value, to the letter.
    pub is: Option<String>,
}

/// What the gate answers to a handshake.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// Plain text with `{token}` in it.
    pub text: Option<String>,
    /// A JSON object of texts with `{token}` and `{mac}` in them; `{mac}` is the MAC of the token by the scheme of the route.
    pub json: Option<BTreeMap<String, String>>,
    /// Headers, as they are.
    pub headers: Option<BTreeMap<String, String>>,
    /// How `{mac}` is written: `hex` (default), `base64`, `base64url`.
    pub mac: Option<String>,
}

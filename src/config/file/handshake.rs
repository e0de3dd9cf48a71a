//! The block `handshake`, as written.
use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess};

use crate::config::file::union::{Forms, OneOrMany, any_form, any_of};
use crate::config::file::verify::{Locator, Secret};

/// The test of an endpoint by a provider, and the gateway's answer. On a route it replaces the handshakes of the preset; `verify_token` alone adds to them.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Handshake {
    /// `GET`, `HEAD`, `OPTIONS` or `POST` (default). The route accepts this method for the handshake, whatever its `methods` are.
    pub method: Option<String>,
    /// Whether the request is signed like a delivery (POST). It is then answered after verification (default false).
    pub signed: Option<bool>,
    /// The conditions that distinguish it from a delivery. All must hold.
    pub when: Option<OneOrMany<Condition>>,
    /// The location of the token that the answer repeats.
    pub token: Option<Locator>,
    /// Characters that the token may contain in addition to `[A-Za-z0-9_-]`, such as `.=`.
    pub token_also: Option<String>,
    /// The location of the verify token that the request must carry.
    pub guard: Option<Locator>,
    /// The answer of the gateway, with status 200 (default: no body).
    pub answer: Option<Answer>,
    /// The verify token that was entered at the provider, for example Meta's. On a route only.
    pub verify_token: Option<Secret>,
}

/// A value that a request must contain.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// The header that contains the value.
    pub header: Option<String>,
    /// A JSON pointer to the value in the body.
    pub json: Option<String>,
    /// The query parameter that contains the value.
    pub query: Option<String>,
    /// The exact value.
    pub is: Option<String>,
}

/// The answer to a handshake.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// Plain text with the placeholder `{token}`.
    pub text: Option<String>,
    /// A JSON object of texts with the placeholders `{token}` and `{mac}`; `{mac}` is the MAC of the token by the scheme of the route.
    pub json: Option<BTreeMap<String, String>>,
    /// Headers of the answer.
    pub headers: Option<BTreeMap<String, String>>,
    /// The encoding of `{mac}`: `hex` (default), `base64`, `base64url`.
    pub mac: Option<String>,
}

/// `handshake: none`, or a block.
#[derive(Debug, Clone)]
pub enum HandshakeOrNone {
    /// The word `none`: the gateway answers no handshake.
    None,
    /// A block.
    Block(Box<Handshake>),
}

impl<'de> Forms<'de> for HandshakeOrNone {
    const EXPECTING: &'static str = "`none` or a block";
    fn text<E: Error>(text: &str) -> Result<Self, E> {
        if text == "none" {
            Ok(Self::None)
        } else {
            Err(E::custom(Self::EXPECTING))
        }
    }
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Handshake::deserialize(MapAccessDeserializer::new(map))
            .map(|block| Self::Block(Box::new(block)))
    }
}

impl<'de> Deserialize<'de> for HandshakeOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        any_form(deserializer)
    }
}

impl JsonSchema for HandshakeOrNone {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "HandshakeOrNone".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<Handshake>();
        any_of([json_schema!({ "const": "none" }), block])
    }
}

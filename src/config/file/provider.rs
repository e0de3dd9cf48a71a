//! A provider preset, as written.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::file::{Handshake, OneOrMany, Verify};

/// A provider's preset: what a user's `verify` block may say, and facts about the provider.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// The provider's name as people write it.
    pub title: String,
    /// The block, without `provider` and `secrets`.
    pub verify: Verify,
    /// How the provider tests the endpoint, where the gate answers.
    pub handshake: Option<OneOrMany<Handshake>>,
    /// What is known of the provider.
    pub facts: Facts,
}

/// What is known of a provider beside its signature.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// The provider's own page about signatures.
    pub docs: Option<String>,
    /// When it was checked (YYYY-MM-DD).
    pub checked: Option<String>,
    /// `sdk`, `third-party`, `published`, `library`, or `unproven`.
    pub proof: Option<String>,
    /// Who judged the vectors: package and version.
    pub proven_by: Option<String>,
    /// How long the provider waits for an answer.
    pub answer_within: Option<String>,
    /// How long it retries.
    pub retries_for: Option<String>,
    /// When it disables an endpoint that does not take its deliveries.
    pub disables_after: Option<DisablesAfter>,
    /// Whether a retry keeps the time that the first attempt was signed with: `yes`, `no` or `unknown` (default).
    pub retry_keeps_time: Option<String>,
    /// Whether two different events can have the same signed bytes: `yes`, `no` or `unknown` (default).
    pub bodies_repeat: Option<String>,
    /// The status it wants for success (default 200).
    pub success_status: Option<u16>,
    /// The status for requests that are not authentic (default 401). The provider must retry after it.
    pub refused_status: Option<u16>,
    /// The body of that answer: `json` (default) or `empty`.
    pub refused_body: Option<String>,
    /// The statuses after which it does not retry the delivery: `403`, or `4xx` for all of a class.
    pub stops_on: Vec<String>,
    /// The statuses with which it disables or deletes the endpoint.
    pub disables_on: Vec<String>,
    /// How large its bodies may be.
    pub max_body: Option<String>,
    /// How it tests an endpoint, in words; none: no handshake.
    pub handshake: Option<String>,
    /// What an operator should know.
    pub notes: Option<String>,
}

/// When a provider disables an endpoint.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DisablesAfter {
    /// After so many failures in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// After failures for so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
}

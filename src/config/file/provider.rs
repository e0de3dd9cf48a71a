//! A provider preset, as written.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::file::{Handshake, OneOrMany, Verify};

/// A provider's preset: the keys of a `verify` block, and facts about the provider.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// The provider's name as it is shown to people.
    pub title: String,
    /// The `verify` block, without `provider` and `secrets`.
    pub verify: Verify,
    /// The tests of the endpoint by the provider that the gateway answers.
    pub handshake: Option<OneOrMany<Handshake>>,
    /// The facts about the provider.
    pub facts: Facts,
}

/// The facts about a provider beside its signature.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// The provider's own page about signatures.
    pub docs: Option<String>,
    /// The date when that page was last checked (YYYY-MM-DD).
    pub checked: Option<String>,
    /// The kind of proof for the preset: `sdk`, `third-party`, `published`, `library`, or `unproven`.
    pub proof: Option<String>,
    /// The package and version that verified the test vectors.
    pub proven_by: Option<String>,
    /// The time that the provider waits for a response.
    pub answer_within: Option<String>,
    /// The time for which it retries a delivery.
    pub retries_for: Option<String>,
    /// The failures after which it disables an endpoint.
    pub disables_after: Option<DisablesAfter>,
    /// Whether a retry keeps the signed time of the first attempt: `yes`, `no` or `unknown` (default).
    pub retry_keeps_time: Option<String>,
    /// Whether two different events can have the same signed bytes: `yes`, `no` or `unknown` (default).
    pub bodies_repeat: Option<String>,
    /// The status it wants for success (default 200).
    pub success_status: Option<u16>,
    /// The status for requests that are not authentic (default 401). The provider must retry after it.
    pub refused_status: Option<u16>,
    /// The body of that response: `json` (default) or `empty`.
    pub refused_body: Option<String>,
    /// The statuses after which it does not retry the delivery: `403`, or `4xx` for all of a class.
    pub stops_on: Vec<String>,
    /// The statuses with which it disables or deletes the endpoint.
    pub disables_on: Vec<String>,
    /// The largest body that it sends.
    pub max_body: Option<String>,
    /// The test of an endpoint in words; absent if there is none.
    pub handshake: Option<String>,
    /// Notes for operators.
    pub notes: Option<String>,
}

/// The failures after which a provider disables an endpoint.
#[derive(Debug, Default, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DisablesAfter {
    /// The number of failures in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// The time for which all deliveries fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting: Option<String>,
}

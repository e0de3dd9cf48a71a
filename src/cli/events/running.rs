//! The catalogue of a running gateway.
use serde::Deserialize;
use serde_json::Value;

use crate::cli::admin_client::escaped;
use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::events::type_view::TypeView;
use crate::cli::outbound_client::OutboundClient;
use crate::cli::outbound_list::list;
use crate::event::fields;

/// The largest number of types that are listed.
const MAX_TYPES: u64 = 10_000;

/// A type, as the API shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Type {
    #[serde(rename = "type")]
    name: String,
    summary: Option<String>,
    versions: Vec<u32>,
    deprecated: Vec<u32>,
    schemas: Vec<Version>,
    mappings: Vec<Mapping>,
}

/// A version of a type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Version {
    version: u32,
    schema: Value,
}

/// A mapping between two versions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mapping {
    from: u32,
    to: u32,
}

impl From<Type> for TypeView {
    fn from(found: Type) -> Self {
        let newest = found.schemas.iter().max_by_key(|version| version.version);
        Self {
            fields: newest
                .map(|version| fields::list(&version.schema))
                .unwrap_or_default(),
            name: found.name,
            summary: found.summary,
            versions: found.versions,
            deprecated: found.deprecated,
            mappings: found
                .mappings
                .iter()
                .map(|mapping| (mapping.from, mapping.to))
                .collect(),
        }
    }
}

/// Gets all types.
///
/// # Errors
/// The gateway does not answer, or has no catalogue.
pub(super) fn all(client: &OutboundClient) -> Result<Vec<TypeView>, Error> {
    let found = list::<Type>(client, "/v1/event-types", "types", MAX_TYPES);
    let found = context::block_on(found)??;
    Ok(found.items.into_iter().map(TypeView::from).collect())
}

/// Gets a type, with the fields of its newest version.
///
/// # Errors
/// As [`all`], or the gateway does not know the type.
pub(super) fn one(client: &OutboundClient, name: &str) -> Result<TypeView, Error> {
    let target = format!("/v1/event-types/{}", escaped(name));
    let found = context::block_on(client.get::<Type>(&target))??;
    Ok(TypeView::from(found))
}

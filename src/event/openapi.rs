//! The catalogue as an OpenAPI 3.1 document with `webhooks`.
use serde_json::{Map, Value, json};

use crate::event::catalogue::{Catalogue, TypeEntry, Version};
use crate::event::event_type::EventType;
use crate::event::schema::keywords;

/// The headers of Standard Webhooks.
const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// Returns the OpenAPI document: a webhook for each version of each type, and its schemas.
pub fn document(catalogue: &Catalogue) -> Value {
    let mut webhooks = Map::new();
    let mut schemas = Map::new();
    for (event_type, entry) in catalogue.types() {
        for (number, version) in &entry.versions {
            let name = format!("{event_type}.{number}");
            let data = format!("{name}.data");
            webhooks.insert(name.clone(), webhook(event_type, entry, *number, version));
            schemas.insert(name, envelope(event_type, &data));
            schemas.insert(data.clone(), moved(&version.document, &data));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Events",
            "version": "1",
            "description": "Every event is a POST request, signed by Standard Webhooks. Answer 2xx; any other answer is a failed attempt, and the event is sent again.",
        },
        "paths": {},
        "webhooks": webhooks,
        "components": { "schemas": schemas, "parameters": parameters() },
    })
}

/// Returns the webhook of a version.
fn webhook(event_type: &EventType, entry: &TypeEntry, number: u32, version: &Version) -> Value {
    let name = format!("{event_type}.{number}");
    let example = version
        .example
        .as_ref()
        .and_then(|example| serde_json::from_str::<Value>(example.get()).ok())
        .map(|data| json!({ "type": event_type.as_str(), "timestamp": "2026-11-24T13:04:33.118Z", "data": data }));
    let content = object([
        (
            "schema",
            Some(json!({ "$ref": format!("#/components/schemas/{name}") })),
        ),
        ("example", example),
    ]);
    let parameters =
        HEADERS.map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
    let about = entry.about.as_ref().map(|about| json!(about.trim()));
    let is_deprecated = entry.deprecated.contains(&number);
    let post = object([
        ("operationId", Some(json!(name))),
        ("tags", Some(json!([event_type.as_str()]))),
        (
            "summary",
            Some(json!(format!("{event_type}, version {number}"))),
        ),
        ("description", about),
        ("deprecated", is_deprecated.then_some(json!(true))),
        ("parameters", Some(json!(parameters))),
        (
            "requestBody",
            Some(json!({ "required": true, "content": { "application/json": content } })),
        ),
        (
            "responses",
            Some(json!({ "2XX": { "description": "The event was received." } })),
        ),
    ]);
    json!({ "post": post })
}

/// Returns an object of the entries that have a value.
fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let entries = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(entries.collect())
}

/// Returns the schema of a body.
fn envelope(event_type: &EventType, data: &str) -> Value {
    json!({
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": { "const": event_type.as_str() },
            "timestamp": { "type": "string", "format": "date-time", "description": "The time of the event." },
            "data": { "$ref": format!("#/components/schemas/{data}") },
        },
    })
}

/// Returns a schema as a component: its references point to where it is now.
fn moved(document: &Value, name: &str) -> Value {
    let mut document = document.clone();
    keywords::walk_mut(&mut document, &mut |schema| {
        if let Some(Value::String(reference)) = schema.get_mut("$ref")
            && let Some(at) = reference.strip_prefix('#')
        {
            *reference = format!("#/components/schemas/{name}{at}");
        }
    });
    document
}

/// Returns the headers of Standard Webhooks.
fn parameters() -> Value {
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "required": true, "description": description, "schema": { "type": "string" } });
    json!({
        "webhook-id": header("webhook-id", "The ID of the event. It is the same for all attempts: use it to ignore a repeated event."),
        "webhook-timestamp": header("webhook-timestamp", "The time of the attempt, in seconds since 1970."),
        "webhook-signature": header(
            "webhook-signature",
            "`v1,` and the base64 of an HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`. There may be several, separated by spaces: one valid one is enough.",
        ),
    })
}

#[cfg(test)]
mod tests;

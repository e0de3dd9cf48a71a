//! The API's document, in OpenAPI 3.1, made of the table that its router is made of.
use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::endpoint::{self, Answers, Endpoint, Needs, SchemaOf, Verb};

/// What refuses with a status.
const REFUSALS: &[(u16, &str)] = &[
    (400, "What was asked cannot be."),
    (401, "The token is missing or wrong."),
    (
        403,
        "The token is not good for this, none is configured, or the `Host` is of somebody else.",
    ),
    (404, "There is no such thing."),
    (
        409,
        "It cannot be done as things are; or there is no store.",
    ),
    (413, "The body is larger than 64 KiB."),
    (415, "The body is not `application/json`."),
    (422, "It has mistakes."),
    (429, "Too much is going on."),
    (503, "The store does not answer."),
];

/// The document.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in endpoint::all() {
        let verb = match endpoint.verb {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        let one = operation(&endpoint, &mut generator);
        if let Value::Object(path) = paths.entry(endpoint.path).or_insert_with(|| json!({})) {
            path.insert(verb.to_owned(), one);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hookgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are RFC 3339 in UTC, durations seconds, sizes bytes. Fields are only ever added.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "`admin.token`, one of `admin.tokens`, or what is in the file `admin-token` beside the store." } },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.about,
        "parameters": parameters(endpoint, generator),
        "responses": responses(endpoint, generator),
    });
    if let Value::Object(fields) = &mut operation {
        if let Some(body) = endpoint.body {
            let schema = body(generator);
            fields.insert(
                "requestBody".to_owned(),
                json!({ "content": { "application/json": { "schema": schema } } }),
            );
        }
        let security = match endpoint.needs {
            Needs::Nothing => json!([{}, { "token": [] }]),
            Needs::Read | Needs::Act => json!([{ "token": [] }]),
        };
        fields.insert("security".to_owned(), security);
    }
    operation
}

fn operation_id(endpoint: &Endpoint) -> String {
    let verb = match endpoint.verb {
        Verb::Get => "get",
        Verb::Post => "post",
    };
    let words = endpoint
        .path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold(verb.to_owned(), |id, word| format!("{id}_{word}"))
}

/// What stands in braces in the path, and the fields of the query's type.
fn parameters(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = endpoint
        .path
        .split('/')
        .filter_map(|piece| piece.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect();
    let Some(query) = endpoint.query else {
        return all;
    };
    for (name, mut schema) in properties(query, generator) {
        let about = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        all.push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
    }
    all
}

/// The fields of a type, which is no part of the document itself.
fn properties(of: SchemaOf, generator: &mut SchemaGenerator) -> Map<String, Value> {
    let reference = of(generator);
    let name = reference
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.rsplit('/').next())
        .map(str::to_owned);
    let found = name.and_then(|name| generator.definitions_mut().remove(&name));
    match found.as_ref().and_then(|schema| schema.get("properties")) {
        Some(Value::Object(properties)) => properties.clone(),
        _ => Map::new(),
    }
}

fn responses(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut all = Map::new();
    let (status, content) = match endpoint.answers {
        Answers::Json(status, schema) => (
            status,
            json!({ "application/json": { "schema": schema(generator) } }),
        ),
        Answers::Bytes(types) => {
            let content: Map<_, _> = types
                .iter()
                .map(|name| ((*name).to_owned(), json!({ "schema": {} })))
                .collect();
            (200, Value::Object(content))
        }
    };
    all.insert(
        status.to_string(),
        json!({ "description": "As asked.", "content": content }),
    );
    if let Some((status, schema)) = endpoint.or {
        let content = json!({ "application/json": { "schema": schema(generator) } });
        all.insert(
            status.to_string(),
            json!({ "description": "As asked.", "content": content }),
        );
    }
    let refusal = generator.subschema_for::<Refusal>();
    let everywhere: &[u16] = match endpoint.verb {
        Verb::Get => &[401, 403],
        Verb::Post => &[400, 401, 403, 413, 415],
    };
    let has_store = endpoint.path.starts_with("/-/deliveries") || endpoint.refuses.contains(&409);
    for (status, about) in REFUSALS {
        if everywhere.contains(status)
            || endpoint.refuses.contains(status)
            || (*status == 503 && has_store)
        {
            let content = json!({ "application/json": { "schema": refusal } });
            all.insert(
                status.to_string(),
                json!({ "description": about, "content": content }),
            );
        }
    }
    Value::Object(all)
}

pub(super) async fn served() -> Json<Value> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/openapi.json` is this document. `HOOKGATE_WRITE_EXPECTED=1` writes it.
    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write("docs/openapi.json", &text).unwrap();
        }
        let committed = std::fs::read_to_string("docs/openapi.json").unwrap_or_default();
        assert!(
            committed == text,
            "run `HOOKGATE_WRITE_EXPECTED=1 cargo test --lib admin::openapi`"
        );
    }
}

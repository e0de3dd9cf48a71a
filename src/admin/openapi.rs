//! The OpenAPI 3.1 document of the admin API.
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::endpoint::{Answers, Endpoint, Needs, SchemaOf, Verb};

/// The descriptions of error statuses.
const REFUSALS: &[(u16, &str)] = &[
    (400, "The request is invalid."),
    (401, "The token is missing or wrong."),
    (
        403,
        "The token does not allow this, no token is configured, or the `Host` header names another host.",
    ),
    (404, "Not found."),
    (
        409,
        "The request conflicts with the present state, or there is no store.",
    ),
    (413, "The body is larger than 64 KiB."),
    (415, "The body is not `application/json`."),
    (422, "The config has errors."),
    (429, "Too many requests of this kind are in progress."),
    (503, "The store is unavailable."),
];

/// Returns the document of these endpoints.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let verb = match endpoint.verb {
            Verb::Get => "get",
            Verb::Post => "post",
        };
        let one = operation(endpoint, &mut generator);
        if let Value::Object(path) = paths.entry(endpoint.path).or_insert_with(|| json!({})) {
            path.insert(verb.to_owned(), one);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hookgate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are RFC 3339 in UTC, durations are in seconds, sizes in bytes. Fields are only ever added.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "`admin.token`, one of `admin.tokens`, or the content of the file `admin-token` in the store's directory." } },
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

/// Returns the path parameters and the query parameters.
fn parameters(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = endpoint
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
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

/// Returns the fields of a type, and removes the type from the document.
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
        json!({ "description": "Success.", "content": content }),
    );
    if let Some((status, schema)) = endpoint.or {
        let content = json!({ "application/json": { "schema": schema(generator) } });
        all.insert(
            status.to_string(),
            json!({ "description": "Success.", "content": content }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::routes;

    /// Compares `docs/openapi.json` with this document. `HOOKGATE_WRITE_EXPECTED=1` writes it.
    #[test]
    fn committed_openapi_document_is_the_served_one() {
        let document = document(&routes::endpoints());
        let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write("docs/openapi.json", &text).unwrap();
        }
        let committed = std::fs::read_to_string("docs/openapi.json").unwrap_or_default();
        assert!(
            committed == text,
            "run `HOOKGATE_WRITE_EXPECTED=1 cargo test --lib admin::openapi`"
        );
    }

    /// Checks that every endpoint is in the document once, and nothing else is.
    #[test]
    fn openapi_document_has_every_endpoint() {
        let endpoints = routes::endpoints();
        let document = document(&endpoints);
        let mut documented: Vec<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, verbs)| {
                let verbs = verbs.as_object().unwrap();
                verbs.keys().map(move |verb| format!("{verb} {path}"))
            })
            .collect();
        let mut routed: Vec<String> = endpoints
            .iter()
            .map(|endpoint| match endpoint.verb {
                Verb::Get => format!("get {}", endpoint.path),
                Verb::Post => format!("post {}", endpoint.path),
            })
            .collect();
        documented.sort();
        routed.sort();
        assert_eq!(documented, routed);
    }
}

//! The OpenAPI 3.1 document of an API, made from the table of its calls.
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::call::{Answers, Call, SchemaOf, Security};

/// The parts of a document that are the same for all calls.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    /// The name of the API.
    pub title: &'static str,
    /// The rules that all calls follow.
    pub description: &'static str,
    /// The description of the bearer token.
    pub token: &'static str,
    /// The errors.
    pub errors: Errors,
}

/// The errors of an API.
#[derive(Clone, Copy, Debug)]
pub struct Errors {
    /// The type of their body.
    pub body: SchemaOf,
    /// The description of each status, in the order of the document. A status that is not here is in no response.
    pub words: &'static [(u16, &'static str)],
    /// The statuses of every call that takes a token.
    pub always: &'static [u16],
    /// The statuses of every call with a body.
    pub with_body: &'static [u16],
    /// The statuses that may have a `Retry-After` header.
    pub retry_after: &'static [u16],
}

/// Returns the document of these calls.
pub fn document<S>(title: &Title, calls: &[Call<S>]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for call in calls {
        let operation = operation(call, &title.errors, &mut generator);
        if let Value::Object(path) = paths.entry(call.path).or_insert_with(|| json!({})) {
            path.insert(call.verb.word().to_owned(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title.title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": title.description,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": title.token } },
        },
    })
}

fn operation<S>(call: &Call<S>, errors: &Errors, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(call),
        "summary": call.about,
        "parameters": parameters(call, generator),
        "responses": responses(call, errors, generator),
    });
    if let Value::Object(fields) = &mut operation {
        if let Some(words) = call.needs.words() {
            fields.insert("description".to_owned(), words.into());
        }
        if let Some(body) = call.body {
            let schema = body(generator);
            fields.insert(
                "requestBody".to_owned(),
                json!({ "content": { "application/json": { "schema": schema } } }),
            );
        }
        let security = match call.needs.security() {
            Security::Open => json!([]),
            Security::Optional => json!([{}, { "token": [] }]),
            Security::Token => json!([{ "token": [] }]),
        };
        fields.insert("security".to_owned(), security);
    }
    operation
}

fn operation_id<S>(call: &Call<S>) -> String {
    let words = call
        .path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold(call.verb.word().to_owned(), |id, word| {
        format!("{id}_{word}")
    })
}

/// Returns the path parameters and the query parameters.
fn parameters<S>(call: &Call<S>, generator: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = call
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect();
    let Some(query) = call.query else {
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

fn responses<S>(call: &Call<S>, errors: &Errors, generator: &mut SchemaGenerator) -> Value {
    let mut all = Map::new();
    let (status, success) = success(call.answers, generator);
    all.insert(status.to_string(), success);
    if let Some((status, schema)) = call.or {
        let (status, success) = success_json(status, schema, generator);
        all.insert(status.to_string(), success);
    }
    let body = (errors.body)(generator);
    let takes_token = call.needs.security() != Security::Open;
    for (status, about) in errors.words {
        let is_possible = call.refuses.contains(status)
            || takes_token && errors.always.contains(status)
            || call.body.is_some() && errors.with_body.contains(status);
        if !is_possible {
            continue;
        }
        let content = json!({ "application/json": { "schema": body } });
        let mut response = json!({ "description": about, "content": content });
        if let Value::Object(fields) = &mut response
            && errors.retry_after.contains(status)
        {
            let header = json!({ "description": "The seconds after which to repeat the request.", "schema": { "type": "integer", "minimum": 0 } });
            fields.insert("headers".to_owned(), json!({ "Retry-After": header }));
        }
        all.insert(status.to_string(), response);
    }
    Value::Object(all)
}

/// Returns the status and the description of a response without an error.
fn success(answers: Answers, generator: &mut SchemaGenerator) -> (u16, Value) {
    match answers {
        Answers::Json(status, schema) => success_json(status, schema, generator),
        Answers::Bytes(types) => {
            let content: Map<_, _> = types
                .iter()
                .map(|name| ((*name).to_owned(), json!({ "schema": {} })))
                .collect();
            (
                200,
                json!({ "description": "Success.", "content": content }),
            )
        }
        Answers::Nothing(status) => (status, json!({ "description": "Success." })),
    }
}

fn success_json(status: u16, schema: SchemaOf, generator: &mut SchemaGenerator) -> (u16, Value) {
    let content = json!({ "application/json": { "schema": schema(generator) } });
    (
        status,
        json!({ "description": "Success.", "content": content }),
    )
}

#[cfg(test)]
mod tests;

use axum::http::StatusCode;
use schemars::JsonSchema;

use super::super::call::{Need, Verb, schema};
use super::*;

#[derive(Debug)]
struct Right(Security, Option<&'static str>);

impl Need for Right {
    fn security(&self) -> Security {
        self.0
    }

    fn words(&self) -> Option<&'static str> {
        self.1
    }
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is read")]
struct Item {
    name: String,
}

#[derive(JsonSchema)]
#[schemars(rename = "Error")]
#[expect(dead_code, reason = "only its schema is read")]
struct Wrong {
    error: String,
}

const TITLE: Title = Title {
    title: "an API",
    description: "",
    token: "",
    errors: Errors {
        body: schema::<Wrong>,
        words: &[
            (400, "bad"),
            (401, "who"),
            (404, "none"),
            (413, "large"),
            (503, "later"),
        ],
        always: &[401],
        with_body: &[400, 413],
        retry_after: &[503],
    },
};

fn calls() -> Vec<Call<()>> {
    let handler = async || StatusCode::OK;
    vec![
        Call::new(
            Verb::Get,
            "/items",
            "Lists.",
            &Right(Security::Open, None),
            Answers::Json(200, schema::<Item>),
            handler,
        )
        .with_query::<Item>(),
        Call::new(
            Verb::Put,
            "/items/{id}",
            "Makes.",
            &Right(Security::Token, Some("Needs `manage`.")),
            Answers::Json(200, schema::<Item>),
            handler,
        )
        .with_body::<Item>()
        .or(201, schema::<Item>)
        .refuses(&[503]),
        Call::new(
            Verb::Delete,
            "/items/{id}",
            "Deletes.",
            &Right(Security::Token, None),
            Answers::Nothing(204),
            handler,
        )
        .refuses(&[404]),
    ]
}

#[test]
fn calls_of_one_path_stand_together() {
    let document = document(&TITLE, &calls());
    let path = document["paths"]["/items/{id}"].as_object().unwrap();
    assert_eq!(path.keys().collect::<Vec<_>>(), ["delete", "put"]);
    assert_eq!(path["put"]["operationId"], "put_items_id");
    assert_eq!(path["put"]["parameters"][0]["in"], "path");
    assert_eq!(
        document["paths"]["/items"]["get"]["parameters"][0]["name"],
        "name"
    );
}

#[test]
fn responses_are_those_of_the_table() {
    let document = document(&TITLE, &calls());
    let statuses = |path: &str, verb: &str| {
        let responses = document["paths"][path][verb]["responses"]
            .as_object()
            .unwrap();
        responses.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(statuses("/items", "get"), "200");
    assert_eq!(statuses("/items/{id}", "put"), "200 201 400 401 413 503");
    assert_eq!(statuses("/items/{id}", "delete"), "204 401 404");
    let put = &document["paths"]["/items/{id}"]["put"]["responses"];
    assert!(put["503"]["headers"]["Retry-After"].is_object());
    assert!(put["413"]["headers"].is_null());
    assert_eq!(
        put["413"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Error"
    );
    let deleted = &document["paths"]["/items/{id}"]["delete"]["responses"]["204"];
    assert!(deleted["content"].is_null());
}

#[test]
fn rights_give_security_and_words() {
    let document = document(&TITLE, &calls());
    let get = &document["paths"]["/items"]["get"];
    assert_eq!(get["security"], json!([]));
    assert!(get["description"].is_null());
    let put = &document["paths"]["/items/{id}"]["put"];
    assert_eq!(put["security"], json!([{ "token": [] }]));
    assert_eq!(put["description"], "Needs `manage`.");
}

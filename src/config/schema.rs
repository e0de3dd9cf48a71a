//! The published JSON Schema of the config, with the values that a key allows: for editors and for `docs/config.md`.
use serde_json::{Map, Value, json};

use crate::config::file;
use crate::config::presets::Catalogue;
use crate::config::type_schema;
use crate::verify::{Algorithm, Encoding, Format, Scheme, TagEncoding};

/// Returns the schema of the main file for editors and other validators, as `hookgate schema` prints it.
///
/// In addition to the types it contains the values that a key allows. A number may be written instead of text.
pub fn schema() -> Value {
    let mut schema = type_schema::of::<file::File>();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), "The config of hookgate".into());
        publish("File", schema);
        for (name, block) in schema
            .get_mut("$defs")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
        {
            publish(name, block.as_object_mut().unwrap_or(&mut Map::new()));
        }
    }
    schema
}

/// Adds the allowed values to the keys of one block.
fn publish(name: &str, block: &mut Map<String, Value>) {
    for (key, value) in block
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        let words = words(name, key);
        let text = match (name, key.as_str()) {
            ("Retry", "factor") => json!({ "type": "number", "minimum": 1 }),
            // a config may have presets of its own
            ("Verify", "provider") => {
                json!({ "anyOf": [{ "enum": Catalogue::built_in().names().collect::<Vec<_>>() }, { "type": "string" }] })
            }
            ("RateLimit", "key") => {
                json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": "^(header:|json:/)" }] })
            }
            _ => words.map_or_else(
                || json!({ "type": ["string", "number"] }),
                |words| json!({ "enum": words }),
            ),
        };
        replace_text(value, &text);
    }
}

/// Replaces each form of a value that is any text by `text`.
fn replace_text(value: &mut Value, text: &Value) {
    let Some(object) = value.as_object_mut() else {
        return;
    };
    if object.get("type").is_some_and(|kind| kind == "string") {
        object.remove("type");
        object.extend(text.as_object().cloned().unwrap_or_default());
        return;
    }
    object
        .get_mut("anyOf")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .for_each(|form| replace_text(form, text));
    for of_each in ["items", "additionalProperties"] {
        object
            .get_mut(of_each)
            .into_iter()
            .for_each(|value| replace_text(value, text));
    }
}

/// Returns the values that a key allows; `None` if it allows any text.
pub(super) fn words(block: &str, key: &str) -> Option<&'static [&'static str]> {
    Some(match (block, key) {
        ("Verify", "scheme") => &Scheme::NAMES,
        ("Verify", "algorithm") => &Algorithm::NAMES,
        ("Verify", "secret_encoding") | ("Secret" | "SecretTable", "encoding") => &Encoding::NAMES,
        ("Signature", "encoding") | ("Answer", "mac") => &TagEncoding::NAMES,
        ("Timestamp", "format") => &Format::NAMES,
        ("Route", "methods") => &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        ("Handshake", "method") => &["GET", "HEAD", "OPTIONS", "POST"],
        ("Route", "mode") => &["enforce", "observe"],
        ("Route", "refused_body") => &["json", "empty"],
        ("RateLimit", "key") => &["client_ip", "route"],
        ("RateLimit" | "Forward" | "Queue", "scope") => &["gateway", "fleet"],
        ("Dedupe", "by") => &["id", "content"],
        ("Dedupe", "per") => &["route", "secret"],
        ("Forward" | "Queue", "query") => &["keep", "drop"],
        ("Forward", "on_failure") | ("Failures", "unreached" | "ambiguous") => &["fail", "queue"],
        ("Forward", "record") => &["all", "failures", "none"],
        ("Upstream", "host") => &["original", "upstream"],
        ("Tls", "client_auth") => &["required", "optional"],
        ("Log", "format") => &["json", "pretty"],
        ("Log", "requests") => &["all", "refused", "none"],
        ("StorePostgres", "durability") => &["disk", "storage", "standby"],
        ("ServerTls", "mode") => &["verify-full", "verify-ca", "off"],
        ("AdminToken", "allow") => &["read", "act"],
        _ => return None,
    })
}

//! `docs/config.md` and `docs/config.schema.json`, from the doc comments of [`crate::config::file`].
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::config::{file, schema};

/// The notes that stand above the reference.
const NOTES: &str = include_str!("reference.md");

/// The blocks, in the order in which a reader meets them.
const ORDER: [&str; 35] = [
    "Listen",
    "Tls",
    "Health",
    "Admin",
    "AdminToken",
    "Limits",
    "Shutdown",
    "Store",
    "Egress",
    "Alarms",
    "AlarmWebhook",
    "Log",
    "Upstream",
    "Breaker",
    "Route",
    "Verify",
    "Signature",
    "Timestamp",
    "DeliveryId",
    "Locator",
    "Secret",
    "SecretTable",
    "Handshake",
    "Condition",
    "Answer",
    "RateLimit",
    "Dedupe",
    "Forward",
    "Failures",
    "Queue",
    "Acknowledgement",
    "Retry",
    "Sign",
    "Keep",
    "Pass",
];

/// The reference in Markdown: what `docs/config.md` holds.
pub fn markdown() -> String {
    let schema = schema::of::<file::File>();
    let empty = Map::new();
    let blocks = schema
        .get("$defs")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let mut text = NOTES.to_owned();
    section(&mut text, "The whole config", &schema);
    let rest = blocks
        .keys()
        .map(String::as_str)
        .filter(|name| !ORDER.contains(name) && *name != "InlineSecret");
    for name in ORDER.into_iter().chain(rest) {
        if let Some(block) = blocks.get(name) {
            section(&mut text, name, block);
        }
    }
    text
}

fn section(text: &mut String, name: &str, block: &Value) {
    let says = |value: &Value| {
        value
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .replace('\n', " ")
    };
    // Writing to a String cannot fail.
    writeln!(
        text,
        "\n## {name}\n\n{}\n\n| key | form | what it says |\n|---|---|---|",
        says(block)
    )
    .ok();
    for (key, value) in block
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        writeln!(
            text,
            "| `{key}` | {} | {} |",
            form(value),
            says(value).replace('|', "\\|")
        )
        .ok();
    }
}

/// How a value is written, in words with links.
fn form(value: &Value) -> String {
    if let Some(name) = value
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|target| target.strip_prefix("#/$defs/"))
    {
        return if name == "InlineSecret" {
            "text".to_owned()
        } else {
            format!("[{name}](#{})", name.to_lowercase())
        };
    }
    if let Some(forms) = value.get("anyOf").and_then(Value::as_array) {
        return forms.iter().map(form).collect::<Vec<_>>().join(", or ");
    }
    if let Some(word) = value.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    match value.get("type").and_then(Value::as_str) {
        Some("string") => "text".to_owned(),
        Some("integer") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => format!(
            "list of {}",
            value.get("items").map(form).unwrap_or_default()
        ),
        Some("object") => match value
            .get("additionalProperties")
            .filter(|other| !other.is_boolean())
        {
            Some(other) => format!("map from name to {}", form(other)),
            None => "map".to_owned(),
        },
        _ => "reserved".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// Set `HOOKGATE_WRITE_EXPECTED=1` to write them anew.
    fn holds(name: &str, expected: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(name);
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write(&path, expected).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == expected,
            "docs/{name} is not what the code says"
        );
    }

    #[test]
    fn the_reference_is_what_the_code_says() {
        holds("config.md", &super::markdown());
    }

    #[test]
    fn the_schema_is_what_the_code_says() {
        holds(
            "config.schema.json",
            &format!(
                "{}\n",
                serde_json::to_string_pretty(&crate::config::schema()).unwrap()
            ),
        );
    }
}

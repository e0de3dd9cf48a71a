//! Generates `docs/config.md` and `docs/config.schema.json` from the doc comments of [`crate::config::file`].
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::config::{file, schema, type_schema};

/// The text around the tables.
const TEXT: &str = include_str!("reference.md");
/// The line of [`TEXT`] that the tables replace.
const TABLES: &str = "<!-- keys -->\n";
/// The longest cell of a table, in characters. A longer text belongs into a second paragraph of the doc comment.
const MAX_CELL: usize = 250;

/// The blocks in the order in which a reader meets them.
const ORDER: [&str; 40] = [
    "Listen",
    "Tls",
    "Certificate",
    "Health",
    "Admin",
    "AdminToken",
    "Limits",
    "Shutdown",
    "Store",
    "StorePostgres",
    "ServerTls",
    "TextSource",
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
    "Quarantine",
    "Pass",
];

/// Returns the reference in Markdown.
fn markdown() -> String {
    let schema = type_schema::of::<file::File>();
    let empty = Map::new();
    let blocks = schema
        .get("$defs")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let rest = blocks
        .keys()
        .map(String::as_str)
        .filter(|name| !ORDER.contains(name) && *name != "InlineSecret");
    let mut tables = String::new();
    section(&mut tables, "Top level", &schema);
    for name in ORDER.into_iter().chain(rest) {
        tables.push('\n');
        section(&mut tables, name, &blocks[name]);
    }
    assert!(TEXT.contains(TABLES));
    TEXT.replace(TABLES, &tables)
}

/// Returns the paragraphs of a doc comment.
fn paragraphs(value: &Value) -> Vec<String> {
    value
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "))
        .collect()
}

/// Appends one block: its table, and the further paragraphs of the block and of its keys.
fn section(text: &mut String, name: &str, block: &Value) {
    let of_block = paragraphs(block);
    writeln!(
        text,
        "## {name}\n\n{}\n\n| key | value | meaning |\n|---|---|---|",
        of_block[0]
    )
    .unwrap();
    let mut notes = of_block.get(1..).unwrap_or_default().to_vec();
    for (key, value) in block["properties"].as_object().into_iter().flatten() {
        let mut of_key = paragraphs(value).into_iter();
        let cell = of_key.next().unwrap_or_default().replace('|', "\\|");
        assert!(
            cell.chars().count() <= MAX_CELL,
            "{name}.{key}: the first paragraph is too long for a table: {cell}"
        );
        writeln!(text, "| `{key}` | {} | {cell} |", form(value)).unwrap();
        notes.extend(of_key.enumerate().map(|(index, note)| {
            if index == 0 {
                format!("**`{key}`**: {note}")
            } else {
                note
            }
        }));
    }
    for note in notes {
        write!(text, "\n{note}\n").unwrap();
    }
}

/// Returns how a value is written, in words with links.
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
        _ => panic!("no words for {value}"),
    }
}

/// Compares a document with the generated text. With `HOOKGATE_WRITE_EXPECTED=1` it is written first.
fn check(name: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == expected,
        "docs/{name} differs from the generated text"
    );
}

#[test]
fn reference_is_up_to_date() {
    check("config.md", &markdown());
}

#[test]
fn schema_is_up_to_date() {
    check(
        "config.schema.json",
        &format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap()),
    );
}

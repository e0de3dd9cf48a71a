//! Makes a schema stand alone: the shared documents that it refers to become part of its `$defs`.
use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value};

use crate::event::pointer;
use crate::event::schema::keywords;

/// The shared documents, by file name.
pub(crate) type Shared = BTreeMap<String, Value>;

/// The dialect of the schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The first part of the keys of shared documents in `$defs`.
const SHARED_KEY: &str = "shared/";
/// Keywords that give a reference another meaning than "this place of this file".
const REFUSED: &[&str] = &[
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
];

/// The place of shared documents in a bundle.
pub(crate) const SHARED_PLACE: &str = "/$defs/shared~1";

/// A fault of the references of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefFault {
    /// The JSON pointer of the fault.
    pub(crate) at: String,
    /// The reason.
    pub(crate) message: String,
    /// The text to write instead.
    pub(crate) help: &'static str,
}

/// The target of a reference.
struct Target<'r> {
    /// The shared document; `None` for the own one.
    file: Option<&'r str>,
    /// The JSON pointer inside it.
    at: &'r str,
}

/// Returns the faults of the references of a document. `name` is its own file name, if it is a shared one.
pub(crate) fn check(document: &Value, name: Option<&str>, shared: &Shared) -> Vec<RefFault> {
    let mut faults = Vec::new();
    let own = places(document);
    let mut of_shared: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
    let mut fault = |at: String, message: String, help: &'static str| {
        faults.push(RefFault { at, message, help });
    };
    keywords::walk(document, &mut String::new(), &mut |at, schema| {
        let defs = schema.get("$defs").and_then(Value::as_object);
        if at.is_empty()
            && defs.is_some_and(|defs| defs.keys().any(|name| name.starts_with(SHARED_KEY)))
        {
            fault(
                "/$defs".to_owned(),
                format!("names in `$defs` that begin with `{SHARED_KEY}` are reserved"),
                "rename them",
            );
        }
        for (keyword, message, help) in unsupported(at, schema) {
            fault(format!("{at}/{keyword}"), message, help);
        }
        let Some(reference) = schema.get("$ref") else {
            return;
        };
        let here = || format!("{at}/$ref");
        let Some(target) = reference.as_str().and_then(|text| target(text, name)) else {
            fault(
                here(),
                "`$ref` may point into its own file or into a shared one; nothing is fetched"
                    .to_owned(),
                "write `#/$defs/money` or `../shared/money.json`",
            );
            return;
        };
        let found = match target.file.map(|file| shared.get_key_value(file)) {
            None => own.contains(target.at),
            Some(Some((file, document))) => of_shared
                .entry(file)
                .or_insert_with(|| places(document))
                .contains(target.at),
            Some(None) => {
                let file = target.file.unwrap_or_default();
                fault(
                    here(),
                    format!("there is no file shared/{file}"),
                    "write it, or correct the name",
                );
                return;
            }
        };
        if !found {
            fault(
                here(),
                "`$ref` points at nothing that is a schema".to_owned(),
                "point at a schema, such as one of `$defs`",
            );
        }
    });
    faults
}

/// Returns the keywords of a schema that a catalogue does not support, each with a message and help.
fn unsupported(at: &str, schema: &Map<String, Value>) -> Vec<(&'static str, String, &'static str)> {
    let mut found = Vec::new();
    for keyword in REFUSED {
        if schema.contains_key(*keyword) {
            let message = format!("`{keyword}` is not supported in a catalogue");
            let help = "point at a place in a file, such as `#/$defs/money`";
            found.push((*keyword, message, help));
        }
    }
    if schema.contains_key("$id") && !at.is_empty() {
        let message = "`$id` is allowed only at the top of a file".to_owned();
        found.push(("$id", message, "leave it out"));
    }
    if let Some(dialect) = schema.get("$schema")
        && dialect.as_str().map(|text| text.trim_end_matches('#')) != Some(DIALECT)
    {
        let message = "schemas of a catalogue are written in draft 2020-12".to_owned();
        let help = "write `https://json-schema.org/draft/2020-12/schema`, or leave it out";
        found.push(("$schema", message, help));
    }
    found
}

/// Returns the schema with all shared documents that it refers to in its `$defs`. Its references must have no fault. `name` is its own file
/// name, if it is a shared one.
pub(crate) fn bundle(schema: &Value, name: Option<&str>, shared: &Shared) -> Value {
    let mut bundled = schema.clone();
    let mut wanted = rewrite(&mut bundled, name);
    let mut included = BTreeMap::new();
    while let Some(name) = wanted.pop_first() {
        let Some(document) = shared.get(&name).filter(|_| !included.contains_key(&name)) else {
            continue;
        };
        let mut document = document.clone();
        wanted.extend(rewrite(&mut document, Some(&name)));
        included.insert(name, document);
    }
    if let Value::Object(root) = &mut bundled {
        root.remove("$id");
        root.remove("$schema");
        if !included.is_empty() {
            let defs = root
                .entry("$defs")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(defs) = defs {
                defs.extend(
                    included
                        .into_iter()
                        .map(|(name, document)| (key(&name), document)),
                );
            }
        }
    }
    bundled
}

/// Makes the references of a document point into the bundle. Returns the shared documents that it needs.
fn rewrite(document: &mut Value, name: Option<&str>) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    if let (Value::Object(root), Some(_)) = (&mut *document, name) {
        root.remove("$id");
        root.remove("$schema");
    }
    keywords::walk_mut(document, &mut |schema| {
        let Some(Value::String(reference)) = schema.get_mut("$ref") else {
            return;
        };
        let Some(target) = target(reference, name) else {
            return;
        };
        if let Some(file) = target.file.or(name) {
            let inside = format!("#/$defs{}{}", pointer::step(&key(file)), target.at);
            wanted.insert(file.to_owned());
            *reference = inside;
        }
    });
    wanted
}

/// Returns the key of a shared document in `$defs`.
fn key(name: &str) -> String {
    format!("{SHARED_KEY}{name}")
}

/// Parses a reference of the document `name`, or of the schema of a version. `None` if it leads anywhere else.
fn target<'r>(reference: &'r str, name: Option<&str>) -> Option<Target<'r>> {
    let (file, at) = reference.split_once('#').unwrap_or((reference, ""));
    if reference.contains('%') || pointer::steps(at).is_none() {
        return None;
    }
    let file = match file {
        "" => None,
        _ => {
            let from_shared = |file: &'r str| {
                name.is_some()
                    .then(|| file.strip_prefix("./").unwrap_or(file))
            };
            let file = file
                .strip_prefix("../shared/")
                .or_else(|| from_shared(file))?;
            Some(file).filter(|file| is_file_name(file))
        }
    };
    (file.is_some() || reference.starts_with('#')).then_some(Target { file, at })
}

/// Returns whether the text may be the name of a shared document.
pub(crate) fn is_file_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    text.len() <= 128
        && text.bytes().all(plain)
        && text
            .strip_suffix(".json")
            .is_some_and(|stem| !stem.is_empty() && !stem.starts_with('.'))
}

/// Returns the pointers of all schemas in a document.
fn places(document: &Value) -> HashSet<String> {
    let mut places = HashSet::from([String::new()]);
    keywords::walk(document, &mut String::new(), &mut |at, schema| {
        places.insert(at.to_owned());
        // `true` and `false` are schemas too
        for (keyword, value) in schema {
            if let (Some(keywords::Holds::Map), Value::Object(map)) =
                (keywords::holds(keyword), value)
            {
                let inside = map
                    .keys()
                    .map(|key| format!("{at}/{keyword}{}", pointer::step(key)));
                places.extend(inside);
            }
        }
    });
    places
}

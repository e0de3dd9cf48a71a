//! Sorts the files of a catalogue by type, and parses those that are JSON.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::catalogue::Files;
use crate::event::catalogue::file_name::FileName;
use crate::event::catalogue::finding::Findings;
use crate::event::document;
use crate::event::event_type::EventType;
use crate::event::pointer;
use crate::event::schema::bundle::is_file_name;

/// The folder of the shared schemas.
const SHARED: &str = "shared";

/// A file of a catalogue.
#[derive(Debug)]
pub(super) struct Source<'f> {
    /// The path below the directory of the catalogue.
    pub(super) path: String,
    /// The text.
    pub(super) text: &'f str,
}

/// A parsed JSON file of a catalogue.
#[derive(Debug)]
pub(super) struct JsonSource<'f> {
    /// The file.
    pub(super) source: Source<'f>,
    /// The document.
    pub(super) value: Value,
}

/// The files of a type.
#[derive(Debug, Default)]
pub(super) struct TypeSources<'f> {
    pub(super) about: Option<Source<'f>>,
    pub(super) settings: Option<Source<'f>>,
    pub(super) schemas: BTreeMap<u32, JsonSource<'f>>,
    pub(super) examples: BTreeMap<u32, JsonSource<'f>>,
    pub(super) mappings: BTreeMap<(u32, u32), Source<'f>>,
    /// Whether a schema of the type cannot be parsed.
    pub(super) is_incomplete: bool,
}

/// All files of a catalogue.
#[derive(Debug, Default)]
pub(super) struct Sources<'f> {
    pub(super) types: BTreeMap<EventType, TypeSources<'f>>,
    pub(super) shared: BTreeMap<String, JsonSource<'f>>,
}

impl JsonSource<'_> {
    /// Returns the line and the column of the value at a pointer.
    pub(super) fn position(&self, at: &str) -> (usize, usize) {
        pointer::position(self.source.text, at)
    }
}

impl<'f> Sources<'f> {
    /// Sorts the files.
    pub(super) fn new(files: &'f Files, max_bytes: usize, findings: &mut Findings) -> Self {
        let mut sources = Self::default();
        let mut bad_folders = Vec::new();
        for (path, bytes) in files {
            if path.split('/').any(|part| part.starts_with('.')) {
                continue;
            }
            let Some((folder, name)) = path.split_once('/') else {
                if !path.ends_with(".md") {
                    findings.warning(
                        path,
                        "this file is in no folder of a type, and is not read",
                        "move it to the folder of its type",
                    );
                }
                continue;
            };
            let text = match std::str::from_utf8(bytes) {
                Ok(_) if bytes.len() > max_bytes => {
                    findings.error(
                        path,
                        format!("this file is larger than {} KiB", max_bytes >> 10),
                        "",
                    );
                    None
                }
                Ok(text) => Some(text),
                Err(_) => {
                    findings.error(path, "this file is not UTF-8 text", "");
                    None
                }
            };
            let source = text.map(|text| Source {
                path: path.clone(),
                text,
            });
            if folder == SHARED {
                sources.add_shared(path, name, source, findings);
                continue;
            }
            match EventType::new(folder) {
                Ok(event_type) => sources
                    .types
                    .entry(event_type)
                    .or_default()
                    .add(path, name, source, findings),
                Err(why) if !bad_folders.contains(&folder) => {
                    bad_folders.push(folder);
                    findings.error(
                        folder,
                        format!("the name of the folder is no event type: {why}"),
                        "",
                    );
                }
                Err(_) => {}
            }
        }
        sources
    }

    fn add_shared(
        &mut self,
        path: &str,
        name: &str,
        source: Option<Source<'f>>,
        findings: &mut Findings,
    ) {
        if !is_file_name(name) {
            findings.warning(
                path,
                "this file is not read: a shared schema is called NAME.json, of letters, digits, `_`, `-` and `.`",
                "rename it",
            );
        } else if let Some(json) = source.and_then(|source| parsed(source, findings)) {
            self.shared.insert(name.to_owned(), json);
        }
    }
}

impl<'f> TypeSources<'f> {
    fn add(&mut self, path: &str, name: &str, source: Option<Source<'f>>, findings: &mut Findings) {
        let kind = FileName::new(name);
        let Some(source) = source else {
            self.is_incomplete |= matches!(kind, FileName::Schema(_));
            return;
        };
        match kind {
            FileName::About => self.about = Some(source),
            FileName::Settings => self.settings = Some(source),
            FileName::Schema(version) => match parsed(source, findings) {
                Some(json) => drop(self.schemas.insert(version, json)),
                None => self.is_incomplete = true,
            },
            FileName::Example(version) => {
                if let Some(json) = parsed(source, findings) {
                    self.examples.insert(version, json);
                }
            }
            FileName::Mapping(from, to) => drop(self.mappings.insert((from, to), source)),
            FileName::Unknown => findings.warning(
                path,
                "this file is not read: the folder of a type has about.md, type.yaml, 1.schema.json, 1.example.json and 2-to-1.yaml",
                "rename it",
            ),
        }
    }
}

/// Parses a JSON file.
fn parsed<'f>(source: Source<'f>, findings: &mut Findings) -> Option<JsonSource<'f>> {
    match document::parse(source.text.as_bytes()) {
        Ok(value) => Some(JsonSource { source, value }),
        Err(fault) => {
            findings.error_at(&source.path, fault.position(), fault.to_string(), "");
            None
        }
    }
}

//! Compiles the files of a catalogue, and reports all mistakes at once.
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::catalogue::finding::{Finding, Findings};
use crate::event::catalogue::sources::{JsonSource, Source, Sources, TypeSources};
use crate::event::catalogue::{Catalogue, Files, TypeEntry, Version};
use crate::event::document;
use crate::event::mapping::Mapping;
use crate::event::schema::bundle::{self, Shared};
use crate::event::schema::{Schema, is_known_format, keywords};

/// The largest size of a file, in bytes.
pub const MAX_FILE_BYTES: usize = 256 << 10;
/// The largest size of all files together, in bytes.
pub const MAX_TOTAL_BYTES: usize = 64 << 20;
/// The largest number of types.
const MAX_TYPES: usize = 2_000;
/// The largest number of versions of a type.
const MAX_VERSIONS: usize = 64;
/// The largest number of shared schemas.
const MAX_SHARED: usize = 256;

/// The content of `type.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    deprecated: BTreeSet<u32>,
}

impl Catalogue {
    /// Compiles the files of a catalogue. A part with an error is left out, so a catalogue is fit for use only if no finding is an error.
    pub fn compile(files: &Files) -> (Self, Vec<Finding>) {
        let mut findings = Findings::default();
        if files.values().map(Vec::len).sum::<usize>() > MAX_TOTAL_BYTES {
            let message = format!(
                "the files are larger than {} MiB in all",
                MAX_TOTAL_BYTES >> 20
            );
            findings.error(".", message, "");
            return (Self::default(), findings.into_list());
        }
        let sources = Sources::new(files, MAX_FILE_BYTES, &mut findings);
        if sources.types.len() > MAX_TYPES {
            let count = sources.types.len();
            findings.error(
                ".",
                format!("there are {count} types; at most {MAX_TYPES} are allowed"),
                "",
            );
        }
        if sources.shared.len() > MAX_SHARED {
            findings.error(
                "shared",
                format!("at most {MAX_SHARED} shared schemas are allowed"),
                "",
            );
        }
        let shared = shared(&sources.shared, &mut findings);
        let types = sources
            .types
            .iter()
            .take(MAX_TYPES)
            .map(|(event_type, sources)| {
                let entry = Compiler {
                    name: event_type.as_str(),
                    sources,
                    shared: &shared,
                    findings: &mut findings,
                }
                .entry();
                (event_type.clone(), entry)
            })
            .collect();
        (Self { types }, findings.into_list())
    }
}

/// Returns the shared documents, and reports their faults.
fn shared(sources: &BTreeMap<String, JsonSource<'_>>, findings: &mut Findings) -> Shared {
    let all: Shared = sources
        .iter()
        .take(MAX_SHARED)
        .map(|(name, source)| (name.clone(), source.value.clone()))
        .collect();
    for (name, source) in sources {
        if check_document(source, Some(name), &all, findings) {
            let document = bundle::bundle(&source.value, Some(name), &all);
            if let Err(fault) = Schema::compile(&document)
                && !fault.at.starts_with(bundle::SHARED_PLACE)
            {
                let position = source.position(&fault.at);
                findings.error_at(&source.source.path, position, fault.message, "");
            }
        }
    }
    all
}

/// Reports the faults of a schema that its text shows. Returns whether it may be compiled.
fn check_document(
    source: &JsonSource<'_>,
    name: Option<&str>,
    shared: &Shared,
    findings: &mut Findings,
) -> bool {
    let path = &source.source.path;
    let faults = bundle::check(&source.value, name, shared);
    for fault in &faults {
        findings.error_at(
            path,
            source.position(&fault.at),
            fault.message.as_str(),
            fault.help,
        );
    }
    keywords::walk(&source.value, &mut String::new(), &mut |at, schema| {
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            if schema.get(keyword) == Some(&Value::Bool(false)) {
                let message =
                    format!("`{keyword}: false` closes the schema: no field could ever be added");
                findings.error_at(
                    path,
                    source.position(&format!("{at}/{keyword}")),
                    message,
                    "leave it out",
                );
            }
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !is_known_format(format)
        {
            findings.warning_at(
                path,
                source.position(&format!("{at}/format")),
                "this `format` is not known, and is not checked",
                "use a format of JSON Schema, such as `date-time` or `uuid`, or a `pattern`",
            );
        }
    });
    faults.is_empty()
}

/// Compiles one type.
struct Compiler<'c, 'f> {
    name: &'c str,
    sources: &'c TypeSources<'f>,
    shared: &'c Shared,
    findings: &'c mut Findings,
}

impl Compiler<'_, '_> {
    fn entry(mut self) -> TypeEntry {
        let mut entry = TypeEntry {
            about: self.about(),
            ..TypeEntry::default()
        };
        if self.sources.schemas.len() > MAX_VERSIONS {
            self.findings.error(
                self.name,
                format!("a type has at most {MAX_VERSIONS} versions"),
                "",
            );
        }
        for (number, source) in self.sources.schemas.iter().take(MAX_VERSIONS) {
            entry.versions.extend(
                self.version(*number, source)
                    .map(|version| (*number, version)),
            );
        }
        self.numbers();
        self.mappings(&mut entry);
        entry.deprecated = self.settings().deprecated;
        entry
    }

    fn about(&mut self) -> Option<String> {
        match &self.sources.about {
            Some(about) if !about.text.trim().is_empty() => Some(about.text.to_owned()),
            _ => {
                self.findings.warning(
                    self.name,
                    "there is no text about this type",
                    "write about.md; its first line says in one sentence when the event is sent",
                );
                None
            }
        }
    }

    /// Compiles a version with its example.
    fn version(&mut self, number: u32, source: &JsonSource<'_>) -> Option<Version> {
        if !check_document(source, None, self.shared, self.findings) {
            return None;
        }
        let document = bundle::bundle(&source.value, None, self.shared);
        let schema = match Schema::compile(&document) {
            Ok(schema) => schema,
            Err(fault) => {
                let position = source.position(&fault.at);
                let message = if fault.at.starts_with(bundle::SHARED_PLACE) {
                    "a shared schema that this one refers to is not valid".to_owned()
                } else {
                    fault.message
                };
                self.findings
                    .error_at(&source.source.path, position, message, "");
                return None;
            }
        };
        let example = self.example(number, &schema);
        Some(Version {
            document,
            schema,
            example,
        })
    }

    /// Checks the example of a version.
    fn example(&mut self, number: u32, schema: &Schema) -> Option<Box<RawValue>> {
        let Some(example) = self.sources.examples.get(&number) else {
            self.findings.warning(
                self.name,
                format!("version {number} has no example"),
                &format!("write {number}.example.json"),
            );
            return None;
        };
        let breaches = schema.breaches(&example.value);
        for breach in &breaches {
            let position = example.position(&breach.at);
            let message = format!("the example of version {number} is not valid: {breach}");
            self.findings
                .error_at(&example.source.path, position, message, "");
        }
        if !breaches.is_empty() {
            return None;
        }
        serde_json::from_str(example.source.text).ok()
    }

    /// Reports versions that are missing, and files of versions that are not there.
    fn numbers(&mut self) {
        let numbers: Vec<u32> = self.sources.schemas.keys().copied().collect();
        let Some(last) = numbers.last() else {
            if !self.sources.is_incomplete {
                self.findings
                    .error(self.name, "this type has no version", "write 1.schema.json");
            }
            return;
        };
        if self.sources.is_incomplete {
            return;
        }
        if let Some(missing) = (1..*last).find(|number| !numbers.contains(number)) {
            let list: Vec<String> = numbers.iter().take(10).map(u32::to_string).collect();
            let message = format!(
                "there are versions {}, but no version {missing}",
                list.join(", ")
            );
            self.findings
                .warning(self.name, message, "number the versions 1, 2, 3 and so on");
        }
        for (number, example) in &self.sources.examples {
            if !numbers.contains(number) {
                let message = format!("there is no version {number}");
                let help = format!("write {number}.schema.json, or remove the example");
                self.findings.error(&example.source.path, message, &help);
            }
        }
    }

    /// Compiles the mappings, and applies each to the example of the version that it reads.
    fn mappings(&mut self, entry: &mut TypeEntry) {
        for ((from, to), source) in &self.sources.mappings {
            let path = &source.path;
            if from <= to {
                self.findings.error(
                    path,
                    "a mapping leads from a version to a lower one",
                    "rename it, such as 2-to-1.yaml",
                );
                continue;
            }
            let known = |number| self.sources.schemas.contains_key(number);
            if let Some(missing) = [from, to].into_iter().find(|number| !known(number)) {
                if !self.sources.is_incomplete {
                    self.findings
                        .error(path, format!("there is no version {missing}"), "");
                }
                continue;
            }
            match Mapping::parse(source.text) {
                Ok(mapping) => {
                    self.try_mapping(&mapping, (*from, *to), source, entry);
                    entry.mappings.insert((*from, *to), mapping);
                }
                Err(fault) => {
                    let position = fault
                        .line
                        .map_or((1, 1), |line| (line, fault.column.unwrap_or(1)));
                    self.findings.error_at(path, position, fault.message, "");
                }
            }
        }
    }

    fn try_mapping(
        &mut self,
        mapping: &Mapping,
        (from, to): (u32, u32),
        source: &Source<'_>,
        entry: &TypeEntry,
    ) {
        let example = entry
            .versions
            .get(&from)
            .and_then(|version| version.example.as_deref());
        let (Some(example), Some(target)) = (example, entry.versions.get(&to)) else {
            return;
        };
        let mapped = match mapping.apply(example) {
            Ok(mapped) => mapped,
            Err(fault) => {
                let message = format!("the example of version {from} cannot be mapped: {fault}");
                self.findings.error(&source.path, message, "");
                return;
            }
        };
        let breaches = document::parse(mapped.get().as_bytes())
            .map(|value| target.schema.breaches(&value))
            .unwrap_or_default();
        for breach in breaches {
            let message = format!(
                "this makes of the example of version {from} data that version {to} refuses: {breach}"
            );
            self.findings
                .error(&source.path, message, "add the step that is missing");
        }
    }

    fn settings(&mut self) -> Settings {
        let Some(source) = &self.sources.settings else {
            return Settings::default();
        };
        if source.text.trim().is_empty() {
            return Settings::default();
        }
        match serde_yaml::from_str::<Settings>(source.text) {
            Ok(settings) => {
                let unknown = settings
                    .deprecated
                    .iter()
                    .find(|number| !self.sources.schemas.contains_key(number));
                if let Some(number) = unknown.filter(|_| !self.sources.is_incomplete) {
                    self.findings
                        .error(&source.path, format!("there is no version {number}"), "");
                }
                settings
            }
            Err(error) => {
                let position = error
                    .location()
                    .map_or((1, 1), |at| (at.line(), at.column()));
                let message = "the settings of a type are not understood";
                self.findings.error_at(
                    &source.path,
                    position,
                    message,
                    "write `deprecated: [1]`, or remove the file",
                );
                Settings::default()
            }
        }
    }
}

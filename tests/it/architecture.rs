//! The rules of docs/architecture.md, checked: who may name whom, where pingora may be named, how large a file may be.
use std::fs;
use std::path::Path;

const LEAVES: &[&str] = &["clock", "units", "request", "refusal", "delivery", "verify", "retry", "random"];
const STATE: &[&str] = &["alarm", "limit", "store", "queue", "dedupe", "telemetry"];
const CONFIG: &[&str] = &["config", "provider"];
const EDGES: &[&str] = &["upstream", "gateway", "admin"];

/// Layers from the bottom up: each may name itself and those before it.
const LAYERS: &[&[&str]] = &[LEAVES, STATE, CONFIG, EDGES, &["cli", "main"]];

/// Crates, and engines of the store, that only some modules may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("pingora", &["gateway", "upstream", "telemetry", "main", "cli"]),
    ("axum", &["admin", "cli"]),
    ("rusqlite", &["store"]),
    // whoever opens the store names its engine, nobody else
    ("sqlite", &["store", "dedupe", "cli"]),
    ("embedded", &["dedupe", "cli"]),
    ("serde_yaml", &["config", "provider"]),
];

/// Lines a file may have without its tests.
const MOST_LINES: usize = 400;

#[test]
fn modules_name_only_what_they_may() {
    for (path, module, code) in sources(Path::new("src")) {
        let Some(layer) = LAYERS.iter().position(|layer| layer.contains(&module.as_str())) else {
            panic!("{path}: module {module} is in no layer");
        };
        let may: Vec<_> = LAYERS[..=layer].iter().flat_map(|layer| layer.iter()).collect();
        for used in code.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()) {
            assert!(may.contains(&&used), "{path} may not use crate::{used}");
        }
        for (krate, only_in) in ONLY_IN {
            assert!(!code.contains(&format!("{krate}::")) || only_in.contains(&module.as_str()), "{path} may not use {krate}");
        }
    }
}

/// `docs/architecture.md` has the layers that are enforced here.
#[test]
fn layers_are_those_of_the_document() {
    let page = fs::read_to_string("docs/architecture.md").unwrap();
    for (name, layer) in ["leaves", "state", "config", "edges"].into_iter().zip(LAYERS) {
        let row = page.lines().find(|line| line.starts_with(&format!("| {name} | "))).unwrap();
        let mut said: Vec<&str> = row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2).collect();
        let mut is = layer.to_vec();
        said.sort_unstable();
        is.sort_unstable();
        assert_eq!(said, is, "{name}");
    }
}

#[test]
fn files_stay_small() {
    for (path, _, code) in sources(Path::new("src")) {
        let lines = code.lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines without its tests, more than {MOST_LINES}");
    }
}

/// Path, top module, and code without tests of every source file.
fn sources(dir: &Path) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("lib.rs") && !path.ends_with("tests.rs") {
            let inside = path.strip_prefix("src").unwrap();
            let module = inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            if inside.components().any(|part| part.as_os_str() == "tests") {
                continue;
            }
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            found.push((path.display().to_string(), module, code));
        }
    }
    found
}

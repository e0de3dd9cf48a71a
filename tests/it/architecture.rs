//! The rules of docs/architecture.md, checked: which room may import which, where crates may be named, how large a file may be.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::support::source::without_tests;

/// The rooms from the bottom up, each with the rooms that it may import. A room imports only what stands before it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("clock", &["units"]),
    ("random", &[]),
    ("arriving", &[]),
    ("activity", &[]),
    ("address", &[]),
    ("mount", &[]),
    ("postgres_url", &[]),
    ("request", &["clock"]),
    ("verify", &["clock", "request"]),
    ("explain", &["clock", "request", "verify"]),
    ("headers", &["clock", "request", "verify"]),
    ("delivery", &["clock", "request", "verify"]),
    ("refusal", &["delivery", "verify"]),
    ("retry", &[]),
    ("event", &[]),
    ("route", &["request"]),
    ("limit", &["units"]),
    ("cache", &[]),
    (
        "tenant",
        &[
            "address", "clock", "delivery", "event", "request", "units", "verify",
        ],
    ),
    ("alarm", &["clock", "mount"]),
    (
        "store",
        &[
            "clock",
            "mount",
            "postgres_url",
            "random",
            "retry",
            "tenant",
            "units",
        ],
    ),
    (
        "queue",
        &[
            "clock", "delivery", "headers", "request", "retry", "store", "verify",
        ],
    ),
    (
        "dedupe",
        &["clock", "delivery", "random", "request", "store", "verify"],
    ),
    (
        "telemetry",
        &[
            "alarm", "clock", "delivery", "headers", "refusal", "request", "units", "verify",
        ],
    ),
    ("api", &["alarm", "clock", "explain", "telemetry"]),
    (
        "replay",
        &["api", "clock", "queue", "random", "request", "store"],
    ),
    (
        "config",
        &[
            "alarm",
            "clock",
            "dedupe",
            "event",
            "limit",
            "mount",
            "postgres_url",
            "request",
            "retry",
            "route",
            "telemetry",
            "tenant",
            "units",
            "verify",
        ],
    ),
    (
        "upstream",
        &[
            "address", "arriving", "clock", "config", "delivery", "headers", "queue", "request",
            "route", "verify",
        ],
    ),
    (
        "listener",
        &[
            "address", "arriving", "clock", "config", "refusal", "request",
        ],
    ),
    ("web", &["event"]),
    (
        "deliver",
        &[
            "activity",
            "cache",
            "clock",
            "config",
            "delivery",
            "event",
            "limit",
            "queue",
            "random",
            "request",
            "retry",
            "store",
            "telemetry",
            "tenant",
            "units",
            "upstream",
            "verify",
        ],
    ),
    (
        "quarantine",
        &[
            "clock", "config", "listener", "queue", "request", "store", "units", "verify",
        ],
    ),
    (
        "admin",
        &[
            "api",
            "clock",
            "config",
            "deliver",
            "queue",
            "replay",
            "request",
            "retry",
            "store",
            "telemetry",
            "units",
            "verify",
            "web",
        ],
    ),
    (
        "outbound",
        &[
            "activity",
            "api",
            "cache",
            "clock",
            "config",
            "deliver",
            "event",
            "limit",
            "queue",
            "random",
            "retry",
            "store",
            "telemetry",
            "tenant",
            "units",
            "verify",
            "web",
        ],
    ),
    (
        "gateway",
        &[
            "activity",
            "admin",
            "alarm",
            "api",
            "clock",
            "config",
            "dedupe",
            "deliver",
            "delivery",
            "explain",
            "headers",
            "limit",
            "listener",
            "mount",
            "quarantine",
            "queue",
            "random",
            "refusal",
            "replay",
            "request",
            "retry",
            "route",
            "store",
            "telemetry",
            "upstream",
            "verify",
        ],
    ),
    (
        "app",
        &[
            "admin",
            "clock",
            "config",
            "deliver",
            "gateway",
            "listener",
            "outbound",
            "random",
            "store",
            "telemetry",
            "web",
        ],
    ),
    (
        "cli",
        &[
            "admin",
            "api",
            "app",
            "clock",
            "config",
            "delivery",
            "explain",
            "event",
            "gateway",
            "mount",
            "random",
            "refusal",
            "request",
            "store",
            "telemetry",
            "units",
            "upstream",
            "verify",
        ],
    ),
    ("main", &["cli"]),
];

/// Crates that only some rooms may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    (
        "pingora",
        &[
            "gateway",
            "listener",
            "deliver",
            "upstream",
            "telemetry",
            "main",
            "cli",
        ],
    ),
    ("axum", &["admin", "cli", "outbound", "web"]),
    ("rusqlite", &["quarantine", "store"]),
    ("tokio_postgres", &["store"]),
    ("serde_yaml", &["config", "event"]),
    ("hickory_resolver", &["upstream"]),
];

/// The modules and types of the engines of the store.
const ENGINES: &[&str] = &["embedded::", "sqlite::", "Embedded", "store::postgres::"];

/// The files outside the engines that name one: those that open it, and the commands that work on its files or its server.
const NAME_AN_ENGINE: &[&str] = &[
    "src/app/postgres.rs",
    "src/app/store.rs",
    "src/cli/doctor/postgres.rs",
    "src/cli/migrate.rs",
    "src/cli/move_store.rs",
    "src/cli/set_aside.rs",
    // a database of its own: it shares nothing with the store
    "src/quarantine/table.rs",
];

/// Lines a file may have without its tests.
const MOST_LINES: usize = 400;

struct Source {
    path: String,
    /// The modules from the crate's root to this file.
    module: Vec<String>,
    /// The text without comments and without what is compiled for tests alone.
    code: String,
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for Source { path, module, code } in sources(Path::new("src")) {
        let room = module.first().map_or("main", String::as_str);
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{path}: {room} is not in the table"));
        for used in imports(&module, &code) {
            let is_room = ALLOWED.iter().any(|(name, _)| *name == used);
            if is_room && used != room && !allowed.contains(&used.as_str()) {
                broken.push(format!("{path} may not import {used}"));
            }
        }
        for (krate, only_in) in ONLY_IN {
            if code.contains(&format!("{krate}::")) && !only_in.contains(&room) {
                broken.push(format!("{path} may not use {krate}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Another store replaces the one there is by a change of these files alone.
#[test]
fn nothing_outside_an_engine_names_one() {
    let engines = ["embedded", "postgres"].map(|engine| ["store".to_owned(), engine.to_owned()]);
    let is_engine = |source: &Source| {
        let mut engines = engines.iter();
        engines.any(|engine| source.module.starts_with(engine))
    };
    let names_one = |source: &Source| ENGINES.iter().any(|name| source.code.contains(name));
    let naming: Vec<String> = sources(Path::new("src"))
        .into_iter()
        .filter(|source| !is_engine(source))
        .filter(names_one)
        .map(|source| source.path)
        .collect();
    let mut expected = NAME_AN_ENGINE.to_vec();
    expected.sort_unstable();
    let mut found: Vec<&str> = naming.iter().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn no_room_imports_one_above_it() {
    for (place, (room, allowed)) in ALLOWED.iter().enumerate() {
        for used in *allowed {
            let is_below = ALLOWED
                .iter()
                .position(|(name, _)| name == used)
                .is_some_and(|below| below < place);
            assert!(is_below, "{room} stands before {used} in the table");
        }
    }
}

#[test]
fn the_table_has_no_unused_arrow() {
    let mut used = BTreeMap::<String, Vec<String>>::new();
    for Source { module, code, .. } in sources(Path::new("src")) {
        let room = module.first().cloned().unwrap_or_else(|| "main".to_owned());
        used.entry(room)
            .or_default()
            .extend(imports(&module, &code));
    }
    for (room, allowed) in ALLOWED.iter().filter(|(room, _)| *room != "main") {
        let used = used
            .get(*room)
            .unwrap_or_else(|| panic!("{room} does not exist"));
        for arrow in *allowed {
            assert!(
                used.iter().any(|name| name == arrow),
                "{room} does not import {arrow}"
            );
        }
    }
}

/// `docs/architecture.md` has the rooms of this table, in its order.
#[test]
fn rooms_are_those_of_the_document() {
    let page = fs::read_to_string("docs/architecture.md").unwrap();
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| room | "))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let written: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    let rooms: Vec<&str> = ALLOWED
        .iter()
        .map(|(room, _)| *room)
        .filter(|room| *room != "main")
        .collect();
    assert_eq!(written, rooms);
}

#[test]
fn files_stay_small() {
    for Source { path, code, .. } in sources(Path::new("src")) {
        let lines = code.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{path} has {lines} lines without its tests, more than {MOST_LINES}"
        );
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let of = |module: &[&str], code: &str| {
        imports(
            &module
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>(),
            code,
        )
    };
    assert_eq!(
        of(&["gateway", "edge"], "use crate::store::Key;"),
        ["store"]
    );
    assert_eq!(
        of(
            &["gateway", "edge"],
            "use crate::{clock::Clock, store as s};"
        ),
        ["clock", "store"]
    );
    assert_eq!(
        of(&["gateway", "edge"], "use super::super::store::Key;"),
        ["store"]
    );
    assert_eq!(
        of(&["gateway", "edge"], "use super::pipeline;"),
        ["gateway"]
    );
    assert_eq!(of(&["limit"], "super::store::open()"), ["store"]);
    assert_eq!(
        without_tests(
            "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod more {\n    c\n}\nd // e\n"
        ),
        "a\nb\nd \n"
    );
}

/// Returns the rooms that `code` names, whether by `crate::` or by `super::`.
fn imports(module: &[String], code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let name_at = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_names(group)),
            None => found.push(name_at(rest)),
        }
    }
    let mut rest = code;
    while let Some(at) = rest.find("super::") {
        let (mut ups, mut tail) = (0, &rest[at..]);
        while let Some(next) = tail.strip_prefix("super::") {
            (ups, tail) = (ups + 1, next);
        }
        // `super` of a file is the module above it
        let kept = module.len().saturating_sub(ups);
        match (
            module.get(..kept).and_then(<[String]>::first),
            tail.strip_prefix('{'),
        ) {
            (Some(room), _) => found.push(room.clone()),
            (None, Some(group)) => found.extend(top_names(group)),
            (None, None) => found.push(name_at(tail)),
        }
        rest = tail;
    }
    found
}

/// Returns the first names of the paths in a group, `a::b, c` of `{a::b, c}`.
fn top_names(group: &str) -> Vec<String> {
    let (mut names, mut depth, mut current) = (Vec::new(), 0_usize, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut current)),
            c => current.push(c),
        }
    }
    names.push(current);
    let first = |name: &String| {
        name.trim()
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    names
        .iter()
        .map(first)
        .filter(|name| !name.is_empty())
        .collect()
}

/// Returns every source file but the root and the files that are tests.
fn sources(dir: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_name().is_some_and(|name| {
            name == "tests" || name == "tests.rs" || name == "contract" || name == "contract.rs"
        });
        if is_test || path.ends_with("src/lib.rs") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let inside = path.strip_prefix("src").unwrap().with_extension("");
            let module = inside
                .components()
                .map(|part| part.as_os_str().to_string_lossy().into_owned());
            let module = module
                .filter(|name| name != "mod" && name != "main")
                .collect();
            found.push(Source {
                path: path.display().to_string(),
                module,
                code: without_tests(&fs::read_to_string(&path).unwrap()),
            });
        }
    }
    found
}

/// A test that imports from another one breaks when that one is renamed or split: helpers belong to `tests/it/support/`.
#[test]
fn tests_import_no_other_test() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir("tests/it").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().map(str::trim) {
            let imported = line
                .strip_prefix("pub ")
                .unwrap_or(line)
                .strip_prefix("use super::");
            if let Some(imported) = imported
                && !imported.starts_with("support::")
                && !imported.starts_with('*')
            {
                wrong.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! The files of a room form no circle of imports: each file can be read after the ones that it imports.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::support::source::without_tests;

/// The circles that may stay: their files below `src/`, and the reason.
const ALLOWED: &[(&[&str], &str)] = &[];

/// A path of modules below the crate's root.
type Module = Vec<String>;

/// The imports of a file from each other file of its room.
type Imports = BTreeMap<Module, BTreeSet<String>>;

/// A source file without its tests.
struct File {
    path: PathBuf,
    uses: Vec<Use>,
    /// The code without its `use` items.
    body: String,
}

/// A name that a `use` item brings into the file.
struct Use {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

/// An import of a re-exported item is an import of the file that defines it. A re-export alone is no import, and neither is a call of a
/// method.
#[test]
fn files_of_a_room_form_no_circle() {
    let files = files(Path::new("src"));
    let mut graph = BTreeMap::new();
    for module in files.keys() {
        graph.insert(module.clone(), imports(&files, module));
    }
    let found = circles(&graph);
    let mut wrong = Vec::new();
    for circle in &found {
        let names: Vec<String> = circle.iter().map(|file| short(&files, file)).collect();
        if !ALLOWED.iter().any(|(allowed, _)| *allowed == names) {
            wrong.push(described(&files, &graph, circle));
        }
    }
    assert!(
        wrong.is_empty(),
        "move what is shared below its users, or pass a value:\n\n{}",
        wrong.join("\n")
    );
    for (allowed, _) in ALLOWED {
        let is_found = found.iter().any(|circle| {
            let names: Vec<String> = circle.iter().map(|file| short(&files, file)).collect();
            *allowed == names
        });
        assert!(is_found, "{allowed:?} is no circle: take it off the list");
    }
}

#[test]
fn circles_are_found_however_an_import_is_written() {
    let found = |texts: &[(&str, &str)]| {
        let files: BTreeMap<Module, File> = texts
            .iter()
            .map(|(module, text)| {
                let module: Module = module.split("::").map(str::to_owned).collect();
                let path = PathBuf::from("src").join(module.join("/"));
                (module, File::new(path, text))
            })
            .collect();
        let graph = files
            .keys()
            .map(|module| (module.clone(), imports(&files, module)))
            .collect();
        let names = |circle: &Vec<Module>| circle.iter().map(|file| file.join("::")).collect();
        circles(&graph)
            .iter()
            .map(names)
            .collect::<Vec<Vec<String>>>()
    };
    let parent = ("r", "pub mod a;\npub mod b;\npub use a::A;\nstruct P;");
    let a = ("r::a", "use super::b::B;\npub struct A;");
    for import in [
        "use crate::r::A;",
        "use crate::{r::{a::A as Other}};",
        "use super::{A as _, P};",
        "use super::a;\nfn f() -> a::A;",
        "fn f(a: &super::A) {}",
        "pub(super) use crate::r::a::A;\nfn f(a: A) {}",
    ] {
        let circle = [vec!["r::a".to_owned(), "r::b".to_owned()]];
        assert_eq!(found(&[parent, a, ("r::b", import)]), circle, "{import}");
    }
    for import in [
        "use super::P;",
        "pub use super::A;",
        "use crate::other::A;\n// super::A\n#[cfg(test)]\nuse super::A;",
        "#[cfg(test)]\nmod tests {\n    use super::super::A;\n}",
    ] {
        let none: [Vec<String>; 0] = [];
        assert_eq!(found(&[parent, a, ("r::b", import)]), none, "{import}");
    }
    let user = ("r", "mod a;\npub struct P;\nfn f() {\n    a::A::new();\n}");
    let circle = [vec!["r".to_owned(), "r::a".to_owned()]];
    assert_eq!(
        found(&[user, ("r::a", "use super::P;\npub struct A;")]),
        circle
    );
}

impl File {
    fn new(path: PathBuf, text: &str) -> Self {
        let (uses, body) = split_uses(&without_tests(text));
        Self { path, uses, body }
    }
}

/// Returns every file that is compiled without tests: those that `mod` items name, from the root on.
fn files(src: &Path) -> BTreeMap<Module, File> {
    let mut found = BTreeMap::new();
    let mut open = vec![(Module::new(), src.join("lib.rs"))];
    while let Some((module, path)) = open.pop() {
        let text = fs::read_to_string(&path).unwrap();
        let file = File::new(path, &text);
        let inside = module
            .iter()
            .fold(src.to_owned(), |dir, name| dir.join(name));
        for line in file.body.lines() {
            let Some(child) = line
                .strip_suffix(';')
                .and_then(|line| line.split_once("mod "))
                .map(|(_, name)| name)
                .filter(|name| name.chars().all(is_word))
            else {
                continue;
            };
            let flat = inside.join(format!("{child}.rs"));
            let path = Some(flat).filter(|path| path.exists());
            let path = path.unwrap_or_else(|| inside.join(child).join("mod.rs"));
            let module = [module.as_slice(), &[child.to_owned()]].concat();
            open.push((module, path));
        }
        found.insert(module, file);
    }
    found
}

/// Takes the `use` items out of the code.
fn split_uses(code: &str) -> (Vec<Use>, String) {
    let (mut uses, mut body) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start();
        let (visibility, rest) = item.split_once("use ").unwrap_or((item, ""));
        let is_use = visibility.is_empty()
            || visibility == "pub "
            || (visibility.starts_with("pub(") && visibility.ends_with(") "));
        let is_path = rest.contains("::") || rest.contains(';');
        if !(is_use && is_path) {
            body.push_str(line);
            body.push('\n');
            continue;
        }
        let mut tree = rest.to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().expect("a use item ends"));
        }
        let is_public = !visibility.is_empty();
        for (name, path) in leaves(tree.split(';').next().unwrap()) {
            uses.push(Use {
                name,
                path,
                is_public,
            });
        }
    }
    (uses, body)
}

/// Returns the names of a `use` tree, each with its path.
fn leaves(tree: &str) -> Vec<(String, Vec<String>)> {
    let tree = tree.trim();
    let segments = |text: &str| -> Vec<String> {
        text.split("::")
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    };
    let Some((head, group)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path = segments(path);
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let last = path.last().cloned().unwrap_or_default();
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        return vec![(name.unwrap_or(last), path)];
    };
    let group = group.trim_end().strip_suffix('}').expect("a group ends");
    let (mut parts, mut depth) = (vec![String::new()], 0_usize);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    let head = segments(head);
    parts
        .iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| leaves(&format!("{}::{}", head.join("::"), part.trim())))
        .collect()
}

/// Returns the names that a file imports from the other files of its room.
fn imports(files: &BTreeMap<Module, File>, module: &Module) -> Imports {
    let file = &files[module];
    let words: BTreeSet<&str> = file.body.split(|c| !is_word(c)).collect();
    let used = file
        .uses
        .iter()
        // a re-export is an import of the files that import the item from here
        .filter(|item| !item.is_public || words.contains(item.name.as_str()))
        .map(|item| item.path.clone());
    let mut found = Imports::new();
    for path in used.chain(inline_paths(&file.body)) {
        let Some((target, name)) =
            absolute(files, module, &path).and_then(|path| definition(files, &path, 0))
        else {
            continue;
        };
        if target != *module && target.first() == module.first() {
            found.entry(target).or_default().insert(name);
        }
    }
    found
}

/// Returns each `a::b` of the code.
fn inline_paths(body: &str) -> Vec<Vec<String>> {
    body.split(|c| !is_word(c) && c != ':')
        .filter(|text| text.contains("::"))
        .map(|text| {
            let parts = text.split("::").take_while(|part| !part.is_empty());
            parts
                .map(|part| part.trim_matches(':').to_owned())
                .collect()
        })
        .filter(|path: &Vec<String>| !path.is_empty())
        .collect()
}

/// Returns the path from the crate's root, or nothing if it leads to another crate or stays inside the file.
fn absolute(
    files: &BTreeMap<Module, File>,
    module: &Module,
    path: &[String],
) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let above = module.len().checked_sub(ups)?;
            Some([&module[..above], &path[ups..]].concat())
        }
        _ => {
            let child = [module.as_slice(), std::slice::from_ref(first)].concat();
            if files.contains_key(&child) {
                return Some([&child, rest].concat());
            }
            let import = files[module].uses.iter().find(|item| item.name == *first)?;
            if import.path.first() == Some(first) {
                return None;
            }
            let start = absolute(files, module, &import.path)?;
            Some([&start, rest].concat())
        }
    }
}

/// Returns the file that defines an item, through every file that only passes it on.
fn definition(
    files: &BTreeMap<Module, File>,
    path: &[String],
    passed: usize,
) -> Option<(Module, String)> {
    let depth = (1..=path.len())
        .take_while(|&depth| files.contains_key(&path[..depth]))
        .last()
        .unwrap_or(0);
    let (module, rest) = path.split_at(depth);
    let name = rest.first()?;
    let file = files.get(module)?;
    let import = file.uses.iter().find(|item| item.name == *name);
    match import {
        Some(import) if passed < 8 => {
            let start = absolute(files, &module.to_vec(), &import.path)?;
            definition(files, &[&start, &rest[1..]].concat(), passed + 1)
        }
        _ => Some((module.to_vec(), name.clone())),
    }
}

/// Returns the groups of files of which each reaches all others of its group.
fn circles(graph: &BTreeMap<Module, Imports>) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = graph
        .keys()
        .map(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(file) = open.pop() {
                open.extend(graph[file].keys().filter(|next| seen.insert(*next)));
            }
            (start, seen)
        })
        .collect();
    let mut found = BTreeSet::new();
    for (file, below) in &reached {
        let circle: Vec<Module> = below
            .iter()
            .filter(|other| reached[**other].contains(*file))
            .map(|other| (*other).clone())
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// Returns a line for each import between two files of a circle.
fn described(
    files: &BTreeMap<Module, File>,
    graph: &BTreeMap<Module, Imports>,
    circle: &[Module],
) -> String {
    let mut lines = String::new();
    for file in circle {
        for (target, names) in graph[file].iter().filter(|(to, _)| circle.contains(to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (from, to) = (short(files, file), short(files, target));
            lines += &format!("{from} imports {} from {to}\n", names.join(", "));
        }
    }
    lines
}

/// Returns the path of a file below `src/`.
fn short(files: &BTreeMap<Module, File>, module: &Module) -> String {
    let path = files[module].path.strip_prefix("src").unwrap();
    path.display().to_string()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

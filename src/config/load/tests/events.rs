use super::*;
use crate::event::catalogue::OnFault;

const OUTBOUND: &str = "store: { path: state, key: { insecure_inline: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=' } }\noutbound:\n  listen: { address: '127.0.0.1:9400' }\n  tokens: [{ name: app, env: APP_TOKEN }]\n  events: { dir: events, unknown: warn }\n";

fn config() -> String {
    format!("{HEAD}{OUTBOUND}routes:\n{ROUTE}")
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join("events").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn catalogue_is_an_input_of_the_config() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.b/1.schema.json", "{}");
    let (first, _) = load_text(dir.path(), &config(), None).unwrap();
    let events = |loaded: &Loaded| {
        let outbound = loaded.snapshot.outbound.as_ref().unwrap();
        outbound.events.clone().unwrap()
    };
    assert_eq!(events(&first).catalogue.types().len(), 1);
    assert_eq!(events(&first).policy.unknown, OnFault::Warn);
    for watched in ["events", "events/a.b"] {
        assert!(
            first.snapshot.files.contains(&dir.path().join(watched)),
            "{watched}"
        );
    }
    assert!(first.contents.are_current());
    write(dir.path(), "a.b/1.schema.json", "{ }");
    assert!(!first.contents.are_current(), "another content");
    let (second, _) = load_text(dir.path(), &config(), Some(&first.cache)).unwrap();
    assert_ne!(first.snapshot.hash, second.snapshot.hash);
    write(dir.path(), "c.d/1.schema.json", "{}");
    assert!(!second.contents.are_current(), "a new folder");
    let (third, _) = load_text(dir.path(), &config(), Some(&second.cache)).unwrap();
    assert_eq!(events(&third).catalogue.types().len(), 2);
    std::fs::rename(
        dir.path().join("events/c.d/1.schema.json"),
        dir.path().join("events/c.d/2.schema.json"),
    )
    .unwrap();
    assert!(!third.contents.are_current(), "another name");
    let (fourth, _) = load_text(dir.path(), &config(), Some(&third.cache)).unwrap();
    assert_ne!(third.snapshot.hash, fourth.snapshot.hash);
    // what did not change is not compiled again
    let (fifth, warnings) = load_text(dir.path(), &config(), Some(&fourth.cache)).unwrap();
    assert!(Arc::ptr_eq(
        &events(&fourth).catalogue,
        &events(&fifth).catalogue
    ));
    assert!(
        warnings.contains(&"version 2 has no example".to_owned()),
        "{warnings:?}"
    );
}

#[test]
fn catalogue_with_an_error_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.b/1.schema.json", "{\n  \"type\": 1\n}\n");
    let error = load_text(dir.path(), &config(), None).unwrap_err();
    assert!(error.contains("events/a.b/1.schema.json:2:"), "{error}");
    std::fs::remove_dir_all(dir.path().join("events/a.b")).unwrap();
    let error = load_text(dir.path(), &config(), None).unwrap_err();
    assert!(error.contains("has no type of events"), "{error}");
    write(dir.path(), "a.b/1.schema.json", &" ".repeat(300 << 10));
    let error = load_text(dir.path(), &config(), None).unwrap_err();
    assert!(error.contains("larger than 262144 bytes"), "{error}");
}

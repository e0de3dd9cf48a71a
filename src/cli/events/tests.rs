use std::path::Path;
use std::process::Command;

use super::*;
use crate::cli::events::check::report;
use crate::cli::events::report::Style;
use crate::cli::events::source;
use crate::cli::events::type_view::TypeView;
use crate::cli::term::Look;
use crate::event::catalogue::Catalogue;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/events");

fn look() -> Look {
    Look {
        width: Some(100),
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn views(catalogue: &Catalogue) -> Vec<TypeView> {
    let types = catalogue.types();
    types
        .map(|(name, entry)| TypeView::of(name, entry))
        .collect()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Copies the demo catalogue into a directory.
fn copy_demo(to: &Path) {
    for folder in std::fs::read_dir(DEMO).unwrap() {
        let folder = folder.unwrap();
        let inside = to.join(folder.file_name());
        std::fs::create_dir_all(&inside).unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), inside.join(file.file_name())).unwrap();
        }
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// The demo catalogue with changes that break, that are safe, and that cannot be judged.
fn changed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_demo(dir.path());
    let invoice = dir.path().join("invoice.paid");
    replace(
        &invoice.join("2.schema.json"),
        "\"overpaid\"]",
        "\"overpaid\", \"void\"]",
    );
    replace(
        &invoice.join("2.schema.json"),
        "\"status\": {",
        "\"memo\": { \"type\": \"string\" },\n    \"status\": {",
    );
    replace(&invoice.join("1.schema.json"), "\"^in_\"", "\"^inv_\"");
    replace(&invoice.join("1.example.json"), "in_", "inv_");
    std::fs::remove_file(invoice.join("2-to-1.yaml")).unwrap();
    dir
}

fn render(new: &Path, old: Option<&str>, style: Style) -> String {
    let report = report(new.to_str().unwrap(), old).unwrap();
    report
        .render(style, &look())
        .replace(new.to_str().unwrap(), "events")
}

#[test]
fn changes_are_listed_worst_first() {
    let dir = changed();
    let text = render(dir.path(), Some(DEMO), Style::Text);
    insta::assert_snapshot!("check_plain", plain(&text));
    insta::assert_snapshot!("check_coloured", text.replace('\x1b', "^"));
    assert!(
        report(dir.path().to_str().unwrap(), Some(DEMO))
            .unwrap()
            .is_bad()
    );
    insta::assert_snapshot!(
        "check_github",
        render(dir.path(), Some(DEMO), Style::Github)
    );
    insta::assert_snapshot!("check_json", render(dir.path(), Some(DEMO), Style::Json));
}

#[test]
fn same_catalogue_has_no_change() {
    for old in [None, Some(DEMO)] {
        assert!(!report(DEMO, old).unwrap().is_bad());
    }
    assert_eq!(
        plain(&render(Path::new(DEMO), Some(DEMO), Style::Text)),
        "✓ 2 types, no change\n"
    );
    assert_eq!(
        plain(&render(Path::new(DEMO), None, Style::Text)),
        "✓ events: 2 types\n"
    );
    assert_eq!(render(Path::new(DEMO), Some(DEMO), Style::Github), "");
}

#[test]
fn mistakes_are_listed_with_their_places() {
    let dir = changed();
    let invoice = dir.path().join("invoice.paid");
    replace(
        &invoice.join("2.schema.json"),
        "\"type\": \"object\",\n  \"required\"",
        "\"type\": \"object\",\n  \"additionalProperties\": false,\n  \"required\"",
    );
    std::fs::remove_file(invoice.join("1.example.json")).unwrap();
    std::fs::write(invoice.join("about.md"), "").unwrap();
    // with mistakes nothing is compared: what has one would look removed
    let text = render(dir.path(), Some(DEMO), Style::Text);
    insta::assert_snapshot!("mistakes_plain", plain(&text));
    insta::assert_snapshot!("mistakes_github", render(dir.path(), None, Style::Github));
    let error = source::load(dir.path()).unwrap_err();
    assert_eq!(error.message, "the catalogue has errors");
    assert!(error.location.unwrap().contains("2.schema.json:3:3"));
}

#[test]
fn annotation_cannot_be_ended_by_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("a\n::set-env x=1::b, c")).unwrap();
    std::fs::write(
        dir.path().join("a\n::set-env x=1::b, c/1.schema.json"),
        "{}",
    )
    .unwrap();
    let text = render(dir.path(), None, Style::Github);
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.starts_with("::error file=events/a%0A%3A%3Aset-env x=1%3A%3Ab%2C c::"),
        "{text}"
    );
    assert!(!plain(&render(dir.path(), None, Style::Text)).contains("\n::"));
}

#[test]
fn types_are_listed_and_shown() {
    let catalogue = source::load(Path::new(DEMO)).unwrap();
    let text = types::list(&views(&catalogue), &look());
    insta::assert_snapshot!("types_plain", plain(&text));
    insta::assert_snapshot!("types_coloured", text.replace('\x1b', "^"));
    let (event_type, entry) = source::entry(&catalogue, "invoice.paid").unwrap();
    insta::assert_snapshot!(
        "type_plain",
        plain(&types::show(&TypeView::of(&event_type, entry), &look()))
    );
}

#[test]
fn pages_and_openapi_are_written() {
    let catalogue = source::load(Path::new(DEMO)).unwrap();
    let pages = crate::event::pages::render(&catalogue);
    insta::assert_snapshot!("page", pages["invoice.paid.md"]);
    let document = crate::event::openapi::document(&catalogue);
    insta::assert_snapshot!(
        "openapi",
        serde_json::to_string_pretty(&document["webhooks"]).unwrap()
    );
}

#[test]
fn unknown_type_gets_did_you_mean() {
    let catalogue = source::load(Path::new(DEMO)).unwrap();
    let error = source::entry(&catalogue, "invoice.payd").unwrap_err();
    assert_eq!(error.message, "the catalogue has no type `invoice.payd`");
    assert_eq!(error.why.as_deref(), Some("did you mean `invoice.paid`?"));
    let error = source::entry(&catalogue, "zzz").unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("hookgate events types"));
    assert_eq!(
        source::entry(&catalogue, "a b").unwrap_err().exit,
        Exit::USAGE
    );
    let error = source::load(Path::new("/nowhere/events")).unwrap_err();
    assert_eq!(error.location.as_deref(), Some("/nowhere/events"));
}

/// Runs git in a directory; `false` where there is no git.
fn git(dir: &Path, arguments: &[&str]) -> bool {
    let identity = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.com",
        "-c",
        "commit.gpgsign=false",
    ];
    let run = Command::new("git")
        .current_dir(dir)
        .args(identity)
        .args(arguments)
        .output();
    run.is_ok_and(|output| output.status.success())
}

#[test]
fn catalogue_of_a_commit_is_read() {
    let repository = tempfile::tempdir().unwrap();
    let dir = repository.path().join("api/events");
    std::fs::create_dir_all(&dir).unwrap();
    if !git(repository.path(), &["init", "-q", "-b", "main"]) {
        return;
    }
    copy_demo(&dir);
    assert!(
        git(repository.path(), &["add", "-A"]) && git(repository.path(), &["commit", "-qm", "x"])
    );
    let new = dir.to_str().unwrap();
    let changes = |old: &str| report(new, Some(old)).unwrap().changes.unwrap().len();
    assert_eq!(changes("git:main"), 0);
    std::fs::remove_dir_all(dir.join("order.created")).unwrap();
    assert_eq!(changes("git:main"), 1);
    assert_eq!(changes("git:HEAD^0"), 1);
    // a commit without the directory: everything is new
    assert!(git(
        repository.path(),
        &["checkout", "-q", "--orphan", "empty"]
    ));
    assert!(git(repository.path(), &["rm", "-rq", "--cached", "."]));
    assert!(git(
        repository.path(),
        &["commit", "-qm", "x", "--allow-empty"]
    ));
    assert_eq!(changes("git:empty"), 1);
}

#[test]
fn hostile_name_of_a_commit_does_nothing() {
    let repository = tempfile::tempdir().unwrap();
    let dir = repository.path().join("events");
    std::fs::create_dir_all(&dir).unwrap();
    if !git(repository.path(), &["init", "-q"]) {
        return;
    }
    let written = repository.path().join("written");
    let output = format!("git:--output={}", written.display());
    for name in [
        &*output,
        "git:",
        "git:-x",
        "git:a\nb",
        "git:main;touch written",
        "git:$(touch written)",
        "git:main..HEAD",
        "git:nope",
        "git:@{u}",
    ] {
        let error = report(dir.to_str().unwrap(), Some(name)).unwrap_err();
        assert!(!error.message.is_empty(), "{name}");
    }
    assert!(!written.exists() && !dir.join("written").exists());
    let error = report("git:main", None).unwrap_err();
    assert_eq!(error.message, "`git:main` needs the path of the catalogue");
}

#[test]
fn directory_is_that_of_the_option_or_of_the_config() {
    let path = |yaml: Option<&str>| {
        let beside = tempfile::tempdir().unwrap();
        let config = beside.path().join("config.yaml");
        if let Some(yaml) = yaml {
            std::fs::write(&config, yaml).unwrap();
        }
        let named = yaml.map(|_| config.as_path());
        let found = source::Dir::default().path(named).unwrap();
        let below = found.strip_prefix(beside.path()).map(Path::to_owned);
        below.map_or_else(|_| found, |below| Path::new("…").join(below))
    };
    assert_eq!(path(None), Path::new("events"));
    assert_eq!(path(Some("routes: []\n")), Path::new("events"));
    let yaml = "outbound: { events: { dir: types } }\n";
    assert_eq!(path(Some(yaml)), Path::new("…/types"));
}

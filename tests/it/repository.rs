//! The files around the code: the workflow, the hook for commits.
use std::fs;
use std::process::{Command, Output};

/// Runs a tool that `tools/setup test` installs.
fn run(tool: &str, arguments: &[&str]) -> Output {
    Command::new(format!("target/tools/bin/{tool}"))
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}: run tools/setup test"))
}

#[track_caller]
fn passes(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The schema is that of GitHub; zizmor finds what a workflow should not be allowed to do.
#[test]
fn the_workflow_passes_its_linters() {
    let workflow = ".github/workflows/ci.yml";
    let schema = ["--builtin-schema", "vendor.github-workflows", workflow];
    passes(&run("check-jsonschema", &schema));
    passes(&run("zizmor", &["--offline", "--no-progress", workflow]));
    let text = fs::read_to_string(workflow).unwrap();
    assert!(text.contains("- run: .ci/run\n"), "{text}");
}

#[test]
fn the_hook_checks_the_form_of_a_commit_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("message");
    let long = format!("{}\n\nWhy.\n", "A".repeat(73));
    for (message, refused_for) in [
        ("Add a thing\n\nIt was missing.\n# a comment\n", None),
        ("Merge branch 'other'\n", None),
        ("Add a thing\n", Some("the body is missing")),
        (
            "Add a thing\n\nCo-authored-by: A <a@example.com>\n",
            Some("the body is missing"),
        ),
        (
            "Add a thing\nIt was missing.\n",
            Some("the second line is not empty"),
        ),
        ("Add a thing.\n\nWhy.\n", Some("full stop")),
        ("area: add\n\nWhy.\n", Some("lower case")),
        (&long, Some("73 characters")),
    ] {
        fs::write(&path, message).unwrap();
        let output = Command::new("tools/hooks/commit-msg")
            .arg(&path)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        match refused_for {
            None => assert!(output.status.success(), "{message}: {text}"),
            Some(reason) => assert!(
                !output.status.success() && text.contains(reason),
                "{message}: {text}"
            ),
        }
    }
}

/// The sum of the parts of README that a newcomer reads: about two screens.
#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string("README.md").unwrap().lines().count();
    assert!(lines <= 120, "README.md has {lines} lines");
}

/// A page that does not say whom it is for is read by the wrong people. The generated pages are left out.
#[test]
fn each_page_names_its_readers_first() {
    for entry in fs::read_dir("docs").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".md") || ["config.md", "headers.md"].contains(&&*name) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let first = text.split("\n\n").nth(1).unwrap();
        assert!(first.starts_with("This page is for "), "{name}: {first}");
    }
}

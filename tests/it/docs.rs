//! Compares the documents with the code.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use hookgate::cli::Exit;
use hookgate::clock::{Clock, SystemClock};
use hookgate::config;
use hookgate::refusal::Refusal;

use super::support::source::without_tests;

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that people read.
fn pages() -> Vec<(String, String)> {
    let mut pages = vec![
        "README.md".to_owned(),
        "CONTRIBUTING.md".to_owned(),
        "CHANGELOG.md".to_owned(),
        "SECURITY.md".to_owned(),
        "CODE_OF_CONDUCT.md".to_owned(),
    ];
    pages.extend(
        fs::read_dir("docs")
            .unwrap()
            .map(|entry| entry.unwrap().path().display().to_string())
            .filter(|path| path.ends_with(".md")),
    );
    pages
        .into_iter()
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// `docs/refusals.md` lists every code with its status.
#[test]
fn refusals() {
    let page = read("docs/refusals.md");
    for refusal in Refusal::ALL {
        let row = format!("| `{}` | {} |", refusal.code(), refusal.status().as_u16());
        assert!(
            page.contains(&row),
            "docs/refusals.md has no row that begins with {row}"
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        Refusal::ALL.len(),
        "docs/refusals.md has rows for codes that are no more"
    );
}

/// The table by status has each code once, in the row of its status, and no other.
#[test]
fn refusals_by_status() {
    let page = read("docs/refusals.md");
    let section = page
        .split("## By status")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .unwrap();
    let mut documented = BTreeSet::new();
    for row in section
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
    {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let status: u16 = cells.next().unwrap().parse().unwrap();
        for code in cells.next().unwrap().split('`').skip(1).step_by(2) {
            assert!(
                documented.insert((status, code.to_owned())),
                "{code} is there twice"
            );
        }
    }
    let is: BTreeSet<_> = Refusal::ALL
        .iter()
        .map(|refusal| (refusal.status().as_u16(), refusal.code().to_owned()))
        .collect();
    assert_eq!(documented, is);
}

/// Checks that the README shows the output of the demo.
#[test]
fn the_demo_of_the_readme() {
    let readme = read("README.md");
    let shown = read("src/cli/demo/snapshots/hookgate__cli__demo__page__tests__page_plain.snap");
    let table = shown
        .split("---\n")
        .nth(2)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    assert!(readme.contains(table), "{table}");
}

/// Checks that docs/observe.md shows the output of `report` and `doctor`.
#[test]
fn samples_of_commands() {
    let page = read("docs/observe.md");
    for (snapshot, ends) in [
        (
            "src/cli/report/snapshots/hookgate__cli__report__tests__pages_plain.snap",
            "\n\n",
        ),
        (
            "src/cli/doctor/snapshots/hookgate__cli__doctor__finding__tests__page_plain.snap",
            "\n\0",
        ),
    ] {
        let shown = read(snapshot);
        let printed = shown.split("---\n").nth(2).unwrap();
        let printed = printed.split(ends).next().unwrap().trim_end();
        assert!(page.contains(printed), "{snapshot}:\n{printed}");
    }
}

/// The rows of the table of exit codes: the code, and its meaning.
fn exit_rows() -> Vec<(u8, String)> {
    let page = read("docs/operate.md");
    let section = page
        .split("## Exit codes")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .unwrap();
    section
        .lines()
        .filter_map(|line| {
            let (code, meaning) = line.strip_prefix("| ")?.split_once(" | ")?;
            Some((code.parse().ok()?, meaning.to_owned()))
        })
        .collect()
}

/// The table has the codes that there are, and each is returned by some command.
#[test]
fn exit_codes() {
    let documented: BTreeSet<u8> = exit_rows().into_iter().map(|(code, _)| code).collect();
    assert_eq!(documented, Exit::ALL.iter().map(|exit| exit.0).collect());
    let constants = [
        ("DONE", Exit::DONE),
        ("NO", Exit::NO),
        ("USAGE", Exit::USAGE),
        ("UNFINISHED", Exit::UNFINISHED),
        ("UNREACHED", Exit::UNREACHED),
        ("STORE_HELD", Exit::STORE_HELD),
        ("INTERRUPTED", Exit::INTERRUPTED),
    ];
    let known: BTreeSet<u8> = constants.iter().map(|(_, exit)| exit.0).collect();
    assert_eq!(known, documented);
    for (name, _) in constants {
        assert!(
            !returned_by(name).is_empty(),
            "no command exits with {name}"
        );
    }
}

/// The row of code 3 names the commands that end with it, and no other.
#[test]
fn commands_that_can_end_unfinished() {
    let rows = exit_rows();
    let (_, meaning) = rows
        .iter()
        .find(|(code, _)| *code == Exit::UNFINISHED.0)
        .unwrap();
    let documented: BTreeSet<&str> = meaning.split('`').skip(1).step_by(2).collect();
    let mut commands = BTreeSet::new();
    for file in returned_by("UNFINISHED") {
        commands.extend(match &*file {
            "src/cli/drain.rs" => &["drain"][..],
            "src/cli/reverify.rs" => &["reverify"],
            "src/cli/deliveries/change.rs" => &["cancel", "purge"],
            "src/cli/deliveries/watch.rs" => &["replay"],
            "src/cli/endpoints/job.rs" => &["recover", "resume"],
            "src/cli/move_store.rs" => &["migrate"],
            other => panic!("{other} exits with 3: add its command here and to docs/operate.md"),
        });
    }
    assert_eq!(documented, commands);
}

/// The files of the commands that return this exit code, outside tests.
fn returned_by(name: &str) -> BTreeSet<String> {
    let mut dirs = vec![Path::new("src/cli").to_owned()];
    let mut files = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_stem().is_none_or(|stem| stem != "tests")
            {
                let code = without_tests(&read(&path));
                if code.contains(&format!("Exit::{name}")) {
                    files.insert(path.display().to_string());
                }
            }
        }
    }
    files
}

/// Every path of the admin API that a page names is in the document of the API, with its method if the page says one.
#[test]
fn endpoints_that_pages_name_exist() {
    let document: serde_json::Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let mut texts = pages();
    texts.push((
        "config.example.yaml".to_owned(),
        read("config.example.yaml"),
    ));
    let mut count = 0;
    for (page, text) in texts {
        for (at, _) in text.match_indices("/-/") {
            let path: String = text[at..]
                .chars()
                .take_while(|&c| c.is_ascii_alphanumeric() || "/-{}_.".contains(c))
                .collect();
            let path = path.trim_end_matches('.');
            let operations = paths
                .get(path)
                .unwrap_or_else(|| panic!("{page} names {path}, which docs/openapi.json has not"));
            let before = text[..at].trim_end_matches('`').split_whitespace();
            let method = before.last().unwrap_or_default().trim_matches('`');
            if ["GET", "POST", "PUT", "DELETE"].contains(&method) {
                assert!(
                    operations.get(method.to_ascii_lowercase()).is_some(),
                    "{page} says {method} {path}"
                );
            }
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

/// A link to a heading leads to one.
#[test]
fn anchors_lead_to_headings() {
    let slug = |heading: &str| -> String {
        heading
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    for (page, text) in pages() {
        let base = Path::new(&page).parent().unwrap();
        for link in text.split("](").skip(1) {
            let Some((file, anchor)) = link.split(')').next().unwrap().split_once('#') else {
                continue;
            };
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() {
                text.clone()
            } else {
                read(base.join(file))
            };
            assert!(
                target
                    .lines()
                    .any(|line| line.starts_with('#') && slug(line) == anchor),
                "{page} links to {file}#{anchor}"
            );
        }
    }
}

/// A block of a document, as a config that can be compiled: what it leaves out is filled in.
fn completed(block: &str, dir: &Path) -> String {
    let indent = block
        .lines()
        .find(|line| !line.trim().is_empty())
        .map_or(0, |line| line.len() - line.trim_start().len());
    let block: String = block
        .lines()
        .map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()))
        .collect();
    let keys: Vec<&str> = block
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split(':').next())
        .collect();
    let has = |key: &str| keys.contains(&key);
    let in_route = |text: &str| {
        format!(
            "routes:\n  - name: block\n    path: /block\n{}    forward: {{ upstream: app }}\n",
            indented(text)
        )
    };
    let mut config = if has("facts") {
        let presets = dir.join("presets.d");
        fs::create_dir_all(&presets).unwrap();
        fs::write(presets.join("block.yaml"), &block).unwrap();
        format!(
            "providers: presets.d\n{}",
            in_route("verify: { provider: block, secrets: [{ env: SECRET }] }\n")
        )
    } else if has("verify") {
        in_route(&block)
    } else {
        block.clone()
    };
    if !has("listen") {
        config.push_str("listen: [{ address: 127.0.0.1:0 }]\n");
    }
    if !has("upstreams") {
        config.push_str("upstreams: { app: { url: http://127.0.0.1:3000 } }\n");
    }
    if !config.contains("routes:") {
        config.push_str(&in_route("verify: none\n"));
    }
    config
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// Returns the errors of a config, after making its secrets and directories of state in `dir`.
fn problems(yaml: &str, dir: &Path) -> Option<String> {
    let mut yaml = yaml.to_owned();
    for place in ["/run/secrets/", "/etc/hookgate/", "/var/lib/hookgate/"] {
        yaml = yaml.replace(place, &format!("{}{place}", dir.display()));
    }
    for (at, _) in yaml.match_indices("file: ") {
        let written = yaml[at + 6..].split([' ', ',', '}', '\n']).next().unwrap();
        let path = dir.join(written);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = match path.file_name().unwrap().to_str().unwrap() {
            name if name.starts_with("whsec-") => {
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()
            }
            "pg-uri" => "postgres://hookgate:the-password@db.internal/hooks".to_owned(),
            "store-key" => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
            "old-store-key" => "/+Dm7OXi6e7r6OXi397b2NXSz8zJxsPAvbq3tLGuqys=".to_owned(),
            _ => path.display().to_string(),
        };
        fs::write(path, text).unwrap();
    }
    // the pages name the catalogue of the demo
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/events");
    yaml = yaml.replace("dir: demo/events", &format!("dir: {demo}"));
    let path = dir.join("config.yaml");
    fs::write(&path, &yaml).unwrap();
    let env = |name: &str| Some(OsString::from(format!("the-secret-text-of-{name}")));
    let loaded = config::load(&path, &env, None, 1, SystemClock.now());
    loaded.err().map(|refused| refused.report.render(false))
}

/// Every YAML block of every page is a config, a part of one, or a preset, and compiles.
#[test]
fn blocks_compile() {
    let mut count = 0;
    for (page, text) in pages() {
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let config = completed(block, dir.path());
            if let Some(problems) = problems(&config, dir.path()) {
                panic!("{page}:\n{block}\n{problems}");
            }
            count += 1;
        }
    }
    assert!(count >= 5, "{count}");
}

/// The published schema, in a validator that is not ours.
fn schema() -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(&read("docs/config.schema.json")).unwrap())
        .unwrap()
}

/// Returns the errors that the schema finds in a config.
fn breaches(schema: &jsonschema::Validator, yaml: &str) -> Vec<String> {
    let config: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
    schema
        .iter_errors(&config)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Editors find nothing wrong with what the gateway takes.
#[test]
fn the_schema_accepts_every_config_that_compiles() {
    let schema = schema();
    let mut configs = vec![(
        "config.example.yaml".to_owned(),
        read("config.example.yaml"),
    )];
    for (page, text) in pages() {
        for block in text.split("```yaml\n").skip(1) {
            let dir = tempfile::tempdir().unwrap();
            configs.push((
                page.clone(),
                completed(block.split("```").next().unwrap(), dir.path()),
            ));
        }
    }
    for entry in fs::read_dir("tests/config/good").unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            configs.push((
                path.display().to_string(),
                fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    assert!(configs.len() >= 10, "{}", configs.len());
    for (name, config) in configs {
        assert_eq!(breaches(&schema, &config), [""; 0], "{name}:\n{config}");
    }
}

#[test]
fn the_schema_offers_and_enforces_words() {
    let (schema, example) = (schema(), read("config.example.yaml"));
    let text = read("docs/config.schema.json");
    for word in [
        "\"github\"",
        "\"stripe\"",
        "\"hmac\"",
        "\"sha256\"",
        "\"base64url\"",
        "\"observe\"",
        "\"unix_ms\"",
        "\"OPTIONS\"",
    ] {
        assert!(text.contains(word), "{word}");
    }
    for (right, wrong) in [
        ("scheme: hmac", "scheme: hmacs"),
        ("algorithm: sha256", "algorithm: md5"),
        ("encoding: hex", "encoding: hexa"),
        ("path: /webhooks/github", "pth: /webhooks/github"),
    ] {
        assert!(example.contains(right), "{right}");
        assert_ne!(
            breaches(&schema, &example.replacen(right, wrong, 1)),
            [""; 0],
            "{wrong}"
        );
    }
    let own = example.replacen("provider: github", "provider: my-own-preset", 1);
    assert_eq!(breaches(&schema, &own), [""; 0], "a preset of one's own");
}

/// The first config that a newcomer meets is good, and without a warning.
#[test]
fn the_config_of_the_readme_has_no_warning() {
    let readme = read("README.md");
    let yaml = readme
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(problems(yaml, dir.path()), None);
    let loaded = config::load(
        &dir.path().join("config.yaml"),
        &|_| None,
        None,
        1,
        SystemClock.now(),
    )
    .unwrap();
    assert_eq!(
        (loaded.report.warnings(), loaded.report.render(false)),
        (0, String::new())
    );
}

/// The configs within the deployment files compile, and what they mount is what they name.
#[test]
fn deployments_compile() {
    for manifest in ["deploy/kubernetes.yaml", "deploy/kubernetes-fleet.yaml"] {
        deployment_compiles(&read(manifest));
    }
    let unit = read("deploy/hookgate.service");
    let config = unit.split("config.yaml:\n#\n").nth(1).unwrap();
    let config: String = config
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{}\n", line.get(6..).unwrap()))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(problems(&config, dir.path()), None);
}

fn deployment_compiles(manifest: &str) {
    let documents: Vec<serde_yaml::Value> = manifest
        .split("\n---\n")
        .map(|document| serde_yaml::from_str(document).unwrap())
        .collect();
    let of_kind = |kind: &str| {
        documents
            .iter()
            .find(|document| document["kind"] == kind)
            .unwrap()
    };
    let config = of_kind("ConfigMap")["data"]["config.yaml"]
        .as_str()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(problems(config, dir.path()), None);
    let pod = &of_kind("Deployment")["spec"]["template"]["spec"];
    let gate = ["initContainers", "containers"]
        .iter()
        .flat_map(|kind| pod[*kind].as_sequence().unwrap())
        .find(|container| container["name"] == "hookgate")
        .unwrap();
    let mounts = gate["volumeMounts"].as_sequence().unwrap();
    assert!(mounts.iter().all(|mount| mount.get("subPath").is_none()));
    let dockerfile = read("Dockerfile");
    for place in mounts
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
    {
        assert!(
            config.contains(place) || dockerfile.contains(&format!("{place}/config.yaml")),
            "nothing is read from {place}"
        );
    }
}

/// The example is a config, without a warning.
#[test]
fn the_example_compiles() {
    let loaded = config::load(
        Path::new("config.example.yaml"),
        &|_| None,
        None,
        1,
        SystemClock.now(),
    );
    let loaded = loaded.unwrap_or_else(|refused| panic!("{}", refused.report.render(false)));
    // a clone may lie on any disk
    let warnings: Vec<_> = loaded
        .report
        .findings
        .iter()
        .filter(|finding| {
            !["acknowledged deliveries", "network disk"]
                .iter()
                .any(|disk| finding.message.contains(disk))
        })
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// The Dockerfile copies what the compiler reads, and nothing that it copies is kept from the builder.
#[test]
fn the_image_is_built_of_what_it_needs() {
    let (dockerfile, ignored) = (read("Dockerfile"), read(".dockerignore"));
    let copied: Vec<&str> = dockerfile
        .lines()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from"))
        .flat_map(|line| line.split(' ').skip(1))
        .collect();
    for needed in ["Cargo.toml", "Cargo.lock", "build.rs", "providers", "src"] {
        assert!(
            copied.contains(&needed),
            "the Dockerfile does not copy {needed}"
        );
        assert!(
            ignored.lines().any(|line| line == format!("!{needed}")),
            ".dockerignore drops {needed}"
        );
    }
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.split('"').nth(1).unwrap();
    assert!(
        dockerfile.contains(&format!("FROM rust:{channel}-alpine")),
        "the image is built with another compiler than {channel}"
    );
}

/// Checks that the targets of links, and the files that a page names, exist.
#[test]
fn links_lead_somewhere() {
    for (page, text) in pages() {
        let base = Path::new(&page).parent().unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap();
            if !link.contains("://") && !file.is_empty() {
                assert!(base.join(file).exists(), "{page} links to {link}");
            }
        }
        for named in text.split('`').skip(1).step_by(2) {
            let path = named.split(' ').next().unwrap().split("::").next().unwrap();
            let is_ours = ["src/", "tests/", "docs/", "deploy/", "benches/", "tools/"]
                .iter()
                .any(|dir| path.starts_with(dir));
            if page == "docs/architecture.md" && path.ends_with(".rs") {
                assert!(
                    Path::new(path).exists() || Path::new("src").join(path).exists(),
                    "{page} names {path}"
                );
            }
            if is_ours && !path.contains("NAME") && !path.contains("acme") {
                assert!(Path::new(path).exists(), "{page} names {path}");
            }
        }
    }
}

/// Every test that `docs/security.md` names is run and asserts something, and every row of its table names one.
#[test]
fn the_tests_behind_the_threat_model() {
    let page = read("docs/security.md");
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.contains(".rs::"))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let listed = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse"])
        .output()
        .unwrap();
    let ignored = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--list", "--format", "terse", "--ignored"])
        .output()
        .unwrap();
    let lines = |output: &[u8]| -> BTreeSet<String> {
        String::from_utf8_lossy(output)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let run: BTreeSet<String> = lines(&listed.stdout)
        .difference(&lines(&ignored.stdout))
        .cloned()
        .collect();
    for name in named {
        let (file, function) = name.split_once("::").unwrap();
        let source = read(file);
        if let Some(module) = file.strip_prefix("tests/it/") {
            let module = module
                .trim_end_matches(".rs")
                .trim_end_matches("/mod")
                .replace('/', "::");
            assert!(
                run.contains(&format!("{module}::{function}: test")),
                "{name} is not run"
            );
        } else {
            check_is_run(file, &source, function);
        }
        assert!(asserts(&[&source], function, 3), "{name} asserts nothing");
    }
    let section = page
        .split("## Who attacks")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    for row in section.lines().filter(|line| line.starts_with('|')).skip(2) {
        assert!(row.contains(".rs::"), "no test is behind: {row}");
    }
}

/// Panics unless a test of the library is run: marked as a test, neither ignored nor left out, in a module that each file above it declares.
fn check_is_run(file: &str, source: &str, function: &str) {
    let at = source
        .find(&format!("fn {function}("))
        .unwrap_or_else(|| panic!("{file} has no {function}"));
    let before = source[..at].rsplit("\n\n").next().unwrap();
    assert!(
        before.contains("#[test]") || before.contains("::test"),
        "{file}::{function} is no test"
    );
    assert!(
        !before.contains("#[ignore") && !before.contains("#[cfg"),
        "{file}::{function} is not always run"
    );
    let mut path = Path::new(file).to_owned();
    while path != Path::new("src/lib.rs") {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (name, dir) = if stem == "mod" {
            (
                path.parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap(),
                path.parent().unwrap().parent().unwrap(),
            )
        } else {
            (stem, path.parent().unwrap())
        };
        let parents = [
            dir.join("lib.rs"),
            dir.join("mod.rs"),
            dir.with_extension("rs"),
        ];
        let parent = parents
            .iter()
            .find(|parent| parent.exists() && **parent != path)
            .unwrap_or_else(|| panic!("{}: no parent", path.display()));
        let declared = read(parent).lines().any(|line| {
            let line = line
                .trim()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub(super) ")
                .trim_start_matches("pub ");
            line == format!("mod {name};")
        });
        assert!(declared, "{} does not declare {name}", parent.display());
        path.clone_from(parent);
    }
}

/// Whether a function, or one that it calls in the same sources, asserts something.
fn asserts(sources: &[&str], function: &str, depth: usize) -> bool {
    let Some(body) = sources.iter().find_map(|source| body_of(source, function)) else {
        return false;
    };
    if [
        "assert!(",
        "assert_eq!(",
        "assert_ne!(",
        "assert_snapshot!(",
        "panic!(",
        ".unwrap_err()",
    ]
    .iter()
    .any(|macro_| body.contains(macro_))
    {
        return true;
    }
    let calls = body.match_indices('(').filter_map(|(at, _)| {
        let name = body[..at]
            .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
            .next()?;
        (!name.is_empty() && name != function).then_some(name)
    });
    depth > 0
        && calls
            .collect::<BTreeSet<_>>()
            .into_iter()
            .any(|name| asserts(sources, name, depth - 1))
}

/// The lines of a function, as rustfmt lays it out: it ends where a brace stands as far from the margin as it began.
fn body_of<'a>(source: &'a str, function: &str) -> Option<&'a str> {
    let at = ["(", "<"]
        .iter()
        .find_map(|open| source.find(&format!("fn {function}{open}")))?;
    let begin = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[begin..].lines().next()?;
    let margin = &line[..line.len() - line.trim_start().len()];
    let end = if line.ends_with('}') {
        begin + line.len()
    } else {
        begin + source[begin..].find(&format!("\n{margin}}}"))?
    };
    source.get(begin..end)
}

/// The check above is able to fail.
#[test]
fn a_test_without_an_assertion_is_found() {
    let source = "#[test]\nfn empty() {\n    run();\n}\nfn run() { let x = 1; }\n#[test]\nfn full() { held(); }\nfn held() { assert!(true); }\n";
    assert!(
        !asserts(&[source], "empty", 3)
            && asserts(&[source], "full", 3)
            && !asserts(&[source], "absent", 3)
    );
    let ignored = std::panic::catch_unwind(|| {
        check_is_run(
            "src/lib.rs",
            "#[test]\n#[ignore]\nfn skipped() {}",
            "skipped",
        );
    });
    assert!(ignored.is_err());
}

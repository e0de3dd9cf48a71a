use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::{Clock as _, Dates, FrozenClock, SystemClock};
use crate::retry::{LastAttempt, RetryDecision, RetryState};

use super::*;

fn env(name: &str) -> Option<OsString> {
    match name {
        "EMPTY_VARIABLE" => Some("".into()),
        "NOT_SET_ANYWHERE" => None,
        name => Some(format!("a-long-value-of-the-variable-{name}").into()),
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files.sort();
    files
}

/// The time of the loads here, in seconds.
const NOW: u64 = 1_795_000_000;

fn try_load(path: &Path) -> Result<Loaded, Rejected> {
    load_on(&[], path, None, NOW)
}

fn load_on(
    mounts: &[Mount],
    path: &Path,
    previous: Option<&Cache>,
    seconds: u64,
) -> Result<Loaded, Rejected> {
    let now = FrozenClock::at_unix(seconds).now();
    load_among(
        mounts,
        path,
        Loader::new(&base_of(path), &env, previous, now, Dates::at(now.wall)),
        1,
    )
}

/// The report as a person sees it who stands in the folder of the file.
fn shown(report: &Report, path: &Path) -> String {
    let folder = format!("{}/", path.parent().unwrap().display());
    format!("{}\n{}\n", report.render(false), report.summary()).replace(&folder, "")
}

#[test]
fn bad_files_say_what_is_wrong_and_what_to_write() {
    for path in files("bad") {
        let rejected = try_load(&path).expect_err(&path.display().to_string());
        let expected = path.with_extension("txt");
        let shown = shown(&rejected.report, &path);
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(
            shown,
            std::fs::read_to_string(&expected).unwrap_or_default(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn good_files_compile_and_say_what_to_look_at() {
    for path in files("good") {
        let loaded =
            try_load(&path).unwrap_or_else(|rejected| panic!("{}", shown(&rejected.report, &path)));
        let expected = path.with_extension("txt");
        let shown = format!("{}{}\n", shown(&loaded.report, &path), loaded.summary());
        if std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(
            shown,
            std::fs::read_to_string(&expected).unwrap_or_default(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_example_runs_as_it_is() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
    let loaded =
        try_load(&path).unwrap_or_else(|rejected| panic!("{}", rejected.report.render(false)));
    assert!(
        loaded.report.findings.is_empty(),
        "{}",
        loaded.report.render(false)
    );
    assert_eq!(
        loaded.summary(),
        "7 routes (1 queue), 1 upstream, 10 secrets; no route unverified"
    );
    let snapshot = &loaded.snapshot;
    assert_eq!(snapshot.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(snapshot.health.unwrap().to_string(), "127.0.0.1:9091");
    let github = &snapshot.hooks[0];
    assert_eq!(
        (&*github.name, github.max_body, github.rate_limits.len()),
        ("github", 25 * 1024 * 1024, 2)
    );
    assert_eq!(
        github.forward.timeout.as_secs(),
        9,
        "what GitHub waits, less a second"
    );
    let gitlab = snapshot
        .hooks
        .iter()
        .find(|hook| &*hook.name == "gitlab")
        .unwrap();
    assert_eq!(gitlab.forward.dropped.headers, ["x-gitlab-token"]);
    let (found, params) = snapshot
        .router
        .find("localhost:8080", b"/webhooks/acme/acme-berlin")
        .unwrap();
    assert_eq!(
        (&*snapshot.hooks[found].name, params.get("account")),
        ("acme", Some("acme-berlin"))
    );
}

const SECRET: &str = "Hunter2Hunter2Hunter2";

#[test]
fn no_shape_of_bad_config_shows_a_secret() {
    let route = |secrets: &str| {
        format!(
            "routes:\n  - name: a\n    path: /a\n    verify:\n      provider: github\n      secrets: {secrets}\n"
        )
    };
    let mut shapes: Vec<String> = [
        "[{ insecure_inline: SECRET, nam: x }]",
        "[{ insecure_inlin: SECRET }]",
        "[{ inline: SECRET }]",
        "[{ value: SECRET }]",
        "[{ SECRET: 1 }]",
        "[{ SECRET }]",
        "[SECRET]",
        "SECRET",
        "{ SECRET: x }",
        "{ by: SECRET }",
        "[{ env: SECRET }]",
        "[{ file: SECRET }]",
        "[{ insecure_inline: [SECRET] }]",
        "[{ insecure_inline: { SECRET: SECRET } }]",
        "[{ insecure_inline: ' SECRET' }]",
        "[{ insecure_inline: 'SECRET SECRET' }]",
        "[{ insecure_inline: SECRET, encoding: hex }]",
        "[{ insecure_inline: SECRET, encoding: nothing }]",
        "[{ insecure_inline: SECRET, insecure_inline: SECRET }]",
        "[{ insecure_inline: SECRET, env: A }]",
        "[{ insecure_inline: !!binary SECRET }]",
        "[{ insecure_inline: &a SECRET }]",
        "[{ insecure_inline: 'SECRET }]",
        "[{ insecure_inline: SECRET",
        "[{ insecure_inline:SECRET }]",
        "[{ insecure_inline: \"SECRET\\q\" }]",
        "\n        - insecure_inline: |\n            SECRET\n            SECRET\n          expires: never",
        "\n        - insecure_inline: SECRET\n         name: x",
        "\n        - SECRET: [\n",
    ]
    .map(route)
    .into();
    shapes.push(format!("{}    secret: SECRET\n", route("[{ env: A }]")));
    shapes.push(format!("{}      token: SECRET\n", route("[{ env: A }]")));
    shapes.push("admin: { address: 127.0.0.1:1, token: SECRET }\n".to_owned());
    for tokens in [
        "SECRET",
        "[SECRET]",
        "[{ SECRET: 1 }]",
        "[{ name: SECRET }]",
        "[{ name: a, file: SECRET }]",
        "[{ name: a, env: SECRET }]",
        "[{ name: a, allow: [SECRET] }]",
        "[{ name: a, insecure_inline: ' SECRET' }]",
    ] {
        shapes.push(format!(
            "admin: {{ address: 127.0.0.1:1, tokens: {tokens} }}\n"
        ));
    }
    for sign in [
        "SECRET",
        "{ SECRET: 1 }",
        "{ secret: SECRET }",
        "{ secret: { SECRET: 1 } }",
        "{ secret: { file: SECRET } }",
        "{ secret: { insecure_inline: SECRET+ } }",
        "{ secret: { insecure_inline: SECRET, encoding: hex } }",
    ] {
        shapes.push(format!(
            "{}    queue: {{ upstream: app, sign: {sign} }}\n",
            route("[{ env: A }]")
        ));
    }
    shapes.push("upstreams: { app: { url: 'http://user:SECRET@host' } }\n".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    for shape in shapes {
        std::fs::write(&path, shape.replace("SECRET", SECRET)).unwrap();
        let rejected =
            load(&path, &|_| None, None, 1, FrozenClock::at_unix(0).now()).expect_err(&shape);
        let said = format!(
            "{:?}{}{}{}",
            rejected,
            rejected.report.render(true),
            rejected.report.json_lines(),
            rejected.report.headline()
        );
        assert!(
            !said.contains(SECRET),
            "{shape}\n{}",
            rejected.report.render(false)
        );
    }
}

#[test]
fn the_machine_readable_form() {
    let path = folder("bad").join("sample.yaml");
    let report = try_load(&path).unwrap_err().report;
    let third: serde_json::Value =
        serde_json::from_str(report.json_lines().lines().nth(2).unwrap()).unwrap();
    let expected = serde_json::json!({
        "level": "error", "file": path.to_str().unwrap(), "line": 12, "column": 26, "end_column": 28,
        "message": "no upstream is called `ap`", "help": "did you mean `app`? There are app, billing",
    });
    assert_eq!(third, expected);
    assert!(
        report
            .headline()
            .ends_with("sample.yaml:11:36: the secret file is empty"),
        "{}",
        report.headline()
    );
}

#[test]
fn files_that_are_no_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let said = |bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        load(&path, &|_| None, None, 1, FrozenClock::at_unix(0).now())
            .unwrap_err()
            .report
            .headline()
            .replace(path.to_str().unwrap(), "f")
    };
    assert_eq!(said(None), "f: the config is not there");
    assert_eq!(said(Some(b"a: \xff")), "f:1:1: the file is not UTF-8 text");
    assert_eq!(
        said(Some(b"a: \0")),
        "f:1:1: there is a NUL byte in the file"
    );
    assert_eq!(
        said(Some(&vec![b'#'; 1024 * 1024 + 1])),
        "f: the config is larger than 1048576 bytes"
    );
    let deep = format!("routes: {}{}", "[".repeat(40), "]".repeat(40));
    assert!(said(Some(deep.as_bytes())).contains("more than 32 maps and lists deep"));
    assert_eq!(said(Some(b"")), "f:1:1: the gate listens nowhere");
    assert_eq!(
        said(Some(b"- a")),
        "f:1:1: the config must be a map, and is a list"
    );
    assert!(
        load(
            folder.path(),
            &|_| None,
            None,
            1,
            FrozenClock::at_unix(0).now()
        )
        .unwrap_err()
        .report
        .headline()
        .ends_with("is not a regular file")
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), yaml in "[a-z0-9:{}\\[\\],&*!|>'\"# \n-]{0,120}") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        for text in [bytes, yaml.clone().into_bytes(), format!("routes:\n  - {yaml}\n").into_bytes(), format!("upstreams: {{ a: {yaml} }}").into_bytes()] {
            std::fs::write(&path, text).unwrap();
            if let Err(rejected) = load(&path, &|_| None, None, 1, FrozenClock::at_unix(0).now()) {
                rejected.report.render(true);
                rejected.report.json_lines();
            }
        }
    }
}

#[test]
fn certificates_and_keys_are_read_and_must_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&format!("{name}.crt"), &made.cert.pem());
        write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }
    let try_pair = |certificate: &str, key: &str| {
        let listen = format!(
            "listen: [{{ address: '127.0.0.1:0', tls: {{ certificate: {certificate}, key: {key} }} }}]\n"
        );
        let routes = "routes: [{ name: a, path: /a, verify: none, forward: { upstream: app } }]";
        write(
            "config.yaml",
            &format!(
                "{listen}upstreams: {{ app: {{ url: 'https://localhost', ca: a.crt }} }}\n{routes}\n"
            ),
        );
        try_load(&folder.path().join("config.yaml"))
    };
    let loaded = try_pair("a.crt", "a.key").unwrap();
    let alpn = &loaded.snapshot.listeners[0]
        .tls
        .as_ref()
        .unwrap()
        .alpn_protocols;
    assert_eq!(alpn, &[b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(
        loaded.snapshot.files.len(),
        3,
        "{:?}",
        loaded.snapshot.files
    );
    let headline = try_pair("a.crt", "b.key").unwrap_err().report.headline();
    assert!(
        headline.ends_with("certificate and key do not belong together"),
        "{headline}"
    );
    assert!(try_pair("a.key", "a.crt").unwrap_err().report.errors() == 2);
}

/// Writes a certificate for `days` from `first` on (days after [`NOW`]) with its key into a folder, as `a.crt` and `a.key`.
fn renew(folder: &Path, first: i64, days: i64) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let at = |day: i64| {
        let seconds = NOW.checked_add_signed(day * 86_400).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (at(first), at(first + days));
    std::fs::write(
        folder.join("a.crt"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    std::fs::write(folder.join("a.key"), key.serialize_pem()).unwrap();
}

const TLS: &str = "listen: [{ address: '127.0.0.1:0', tls: { certificate: a.crt, key: a.key, client_ca: a.crt } }]
upstreams: { app: { url: 'https://localhost', certificate: a.crt, key: a.key, ca: a.crt } }
routes: [{ name: a, path: /a, verify: { provider: stripe, secrets: [{ env: A }] }, forward: { upstream: app } }]\n";

#[test]
fn a_pair_that_is_not_valid_replaces_no_good_one() {
    const DAY: u64 = 86_400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, TLS).unwrap();
    let load =
        |previous: &Cache, day: u64| load_on(&[], &path, Some(previous), NOW + day * DAY).unwrap();
    let validity = |loaded: &Loaded| {
        let own = loaded
            .snapshot
            .certificates
            .iter()
            .find(|one| one.label == "listen[0]")
            .unwrap();
        (
            own.in_use[0]
                .to
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                .saturating_sub(NOW)
                / DAY,
            own.waiting.is_some(),
        )
    };
    renew(folder.path(), -10, 100);
    let good = try_load(&path).unwrap();
    assert_eq!((validity(&good), good.report.warnings()), ((90, false), 0));
    for first in [-200, 5] {
        renew(folder.path(), first, 110);
        let kept = load(&good.cache, 0);
        assert_eq!(validity(&kept), (90, true), "{first}");
        assert_eq!(
            kept.stale_certificates.len(),
            2,
            "of the listener, and of the upstream: {:?}",
            kept.stale_certificates
        );
    }
    // the one from day 5 on waits
    let kept = load(&good.cache, 0);
    assert_eq!(validity(&load(&kept.cache, 4)), (90, true));
    let renewed = load(&kept.cache, 5);
    assert_eq!(
        (validity(&renewed), renewed.stale_certificates.len()),
        ((115, false), 0)
    );
    renew(folder.path(), -300, 200);
    for file in ["crt", "key"] {
        std::fs::copy(
            folder.path().join(format!("a.{file}")),
            folder.path().join(format!("b.{file}")),
        )
        .unwrap();
    }
    std::fs::write(
        &path,
        TLS.replace(
            "a.crt, key: a.key, client_ca",
            "b.crt, key: b.key, client_ca",
        ),
    )
    .unwrap();
    let other = load_on(&[], &path, Some(&renewed.cache), NOW)
        .unwrap_err()
        .report
        .headline();
    assert!(
        other.contains("the certificate expired at"),
        "a pair of another name: {other}"
    );
    std::fs::write(&path, TLS).unwrap();
    assert_eq!(
        validity(&load(&renewed.cache, 200)),
        (0, false),
        "where neither is valid, that of the files is used"
    );
}

#[test]
fn a_certificate_that_is_not_valid_is_told_and_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, TLS).unwrap();
    for (first, days, told) in [
        (-10, 100, None),
        (
            -110,
            100,
            Some("the certificate expired at 2026-11-08T11:06:40Z"),
        ),
        (
            10,
            100,
            Some("the certificate is not valid before 2026-11-28T11:06:40Z"),
        ),
        (
            -95,
            100,
            Some("the certificate expires at 2026-11-23T11:06:40Z"),
        ),
    ] {
        renew(folder.path(), first, days);
        let loaded = try_load(&path).unwrap();
        let told: Vec<&str> = std::iter::repeat_n(told, 4).flatten().collect();
        let messages: Vec<&str> = loaded
            .report
            .findings
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(messages, told, "{first}");
        let labels: Vec<&str> = loaded
            .snapshot
            .certificates
            .iter()
            .map(|one| one.label.as_str())
            .collect();
        assert_eq!(
            labels,
            [
                "listen[0].client_ca",
                "listen[0]",
                "upstreams.app.ca",
                "upstreams.app"
            ]
        );
    }
}

#[test]
fn a_store_that_would_not_stay_is_told_where_deliveries_lie_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = std::fs::canonicalize(folder.path()).unwrap();
    std::fs::create_dir_all(folder.join("there")).unwrap();
    let path = folder.join("config.yaml");
    let warned = |kind: &str, store: &str, action: &str| {
        let upstreams = "upstreams: { app: { url: 'http://127.0.0.1:1' } }";
        let route = format!(
            "{{ name: a, path: /a, verify: {{ provider: github, secrets: [{{ env: A }}] }}, dedupe: {{}}, {action} }}"
        );
        let text = format!(
            "listen: [{{ address: '127.0.0.1:0' }}]\nstore: {{ path: {store} }}\n{upstreams}\nroutes: [{route}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let info = format!(
            "1 0 8:0 /{} {} rw - {kind} x rw",
            if kind == "ext3" {
                "x/kubernetes.io~empty-dir/y"
            } else {
                ""
            },
            folder.display()
        );
        let mounts = mount::parse(info.as_bytes());
        let loaded = load_on(&mounts, &path, None, 0).unwrap();
        loaded
            .report
            .findings
            .iter()
            .map(|finding| finding.message.clone())
            .collect::<String>()
    };
    let queue = "queue: { upstream: app }";
    assert!(warned("tmpfs", "there", queue).contains("in memory here (tmpfs)"));
    assert!(
        warned(
            "tmpfs",
            "not/yet",
            "forward: { upstream: app, record: all }"
        )
        .contains("in memory here (tmpfs)")
    );
    assert!(
        warned(
            "ext3",
            "there",
            "forward: { upstream: app, on_failure: queue }"
        )
        .contains("an emptyDir")
    );
    assert!(warned("overlay", "there", queue).contains("the container's own layer"));
    assert!(warned("nfs4", "there", queue).contains("network disk here (nfs4)"));
    for (kind, store, action) in [
        ("overlay", "not/yet", queue),
        ("ext4", "there", queue),
        ("tmpfs", "there", "forward: { upstream: app }"),
    ] {
        assert_eq!(warned(kind, store, action), "", "{kind} {store} {action}");
    }
}

const HEAD: &str = "listen: [{ address: '127.0.0.1:8080' }]\nupstreams: { app: { url: 'http://127.0.0.1:3000' } }\n";
const ROUTE: &str = "  - { name: a, path: /a, verify: { provider: stripe, secrets: [{ env: A }] }, forward: { upstream: app } }\n";

/// The first error, or else all warnings, of a config in a folder of its own.
fn told(
    folder: &Path,
    text: &str,
    previous: Option<&Cache>,
) -> Result<(Loaded, Vec<String>), String> {
    let path = folder.join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = load_on(&[], &path, previous, NOW);
    let loaded = loaded.map_err(|rejected| {
        rejected
            .report
            .headline()
            .replace(path.to_str().unwrap(), "f")
    })?;
    let warnings = loaded
        .report
        .findings
        .iter()
        .map(|finding| finding.message.clone())
        .collect();
    Ok((loaded, warnings))
}

#[test]
fn a_config_without_routes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let none = "there are no routes, so every request would be refused";
    for text in [
        HEAD.to_owned(),
        format!("{HEAD}routes: []\n"),
        format!("include: [conf.d/*.yaml]\n{HEAD}"),
    ] {
        let error = told(folder.path(), &text, None).unwrap_err();
        assert!(error.contains(none), "{text}{error}");
    }
    let text = format!("include: ['conf.d/*.yaml']\n{HEAD}routes:\n{ROUTE}");
    assert_eq!(
        told(folder.path(), &text, None).unwrap().1,
        ["no file matches this pattern"]
    );
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(
        folder.path().join("conf.d/a.yaml"),
        format!("routes:\n{ROUTE}"),
    )
    .unwrap();
    assert!(
        told(
            folder.path(),
            &format!("include: ['conf.d/*.yaml']\n{HEAD}"),
            None
        )
        .is_ok(),
        "an included file has a route"
    );
}

/// Not even a pattern that takes everything holds up `check`.
#[test]
fn an_include_of_everything_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1_001 {
        std::fs::write(folder.path().join(format!("{number}.txt")), [0; 100]).unwrap();
    }
    let begun = SystemClock.mono();
    for pattern in ["*.txt", "/**/*", "/**", "../**/*"] {
        let text = format!("include: ['{pattern}']\n{HEAD}routes:\n{ROUTE}");
        let error = told(folder.path(), &text, None).unwrap_err();
        assert!(
            error.ends_with("the pattern matches more than 1000 files and directories"),
            "{pattern}: {error}"
        );
    }
    let large = tempfile::tempdir().unwrap();
    let text = format!(
        "# {}\nroutes:\n{}",
        "x".repeat(1_000_000),
        ROUTE.replace("name: a, path: /a", "name: NAME, path: /NAME")
    );
    for number in 0..20 {
        std::fs::write(
            large.path().join(format!("{number:02}.yaml")),
            text.replace("NAME", &format!("n{number}")),
        )
        .unwrap();
    }
    let error = told(
        folder.path(),
        &format!("include: ['{}/*.yaml']\n{HEAD}", large.path().display()),
        None,
    )
    .unwrap_err();
    assert!(
        error.ends_with("the files beside the config have more than 16777216 bytes"),
        "{error}"
    );
    assert!(SystemClock.mono() - begun < Duration::from_secs(20));
}

#[test]
#[expect(
    clippy::string_slice,
    reason = "what is sliced is ASCII, made by the test"
)]
fn a_file_that_breaks_off_in_a_line_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let second = ROUTE.replace("name: a, path: /a", "name: b, path: /b");
    let whole = format!(
        "{HEAD}limits: {{ connections: 10 }}\nroutes:\n{ROUTE}{second}  # of 100 and more\n"
    );
    let (first, _) = told(folder.path(), &whole, None).unwrap();
    let again = |text: &str| {
        told(folder.path(), text, Some(&first.cache)).map(|(loaded, _)| loaded.removed_keys)
    };
    let broken = "the file breaks off here in the middle of a line";
    // of these the first would run with one route less, the second with a name and a secret of another length
    for cut in [
        whole.find("{ name: b").unwrap() - 2,
        whole.find(" of 100").unwrap(),
        whole.find("tion").unwrap(),
        HEAD.len() - 3,
    ] {
        let error = again(&whole[..cut]).unwrap_err();
        assert!(error.ends_with(broken), "{}: {error}", &whole[..cut]);
    }
    assert!(
        told(
            folder.path(),
            &whole[..whole.find(" of 100").unwrap()],
            None
        )
        .is_ok(),
        "at the start there is nothing to compare with"
    );
    assert_eq!(
        again(&format!(
            "{HEAD}limits: {{ connections: 10 }}\nroutes:\n{ROUTE}"
        ))
        .unwrap(),
        [""; 0],
        "whole lines may go"
    );
    assert_eq!(again(whole.trim_end()).unwrap(), [""; 0]);
    assert_eq!(
        again(&format!("{HEAD}routes:\n{ROUTE}")).unwrap(),
        ["limits"],
        "a key that is gone is named"
    );
    std::fs::write(
        folder.path().join("more.yaml"),
        format!("routes:\n{second}"),
    )
    .unwrap();
    let including = format!("include: [more.yaml]\n{HEAD}routes:\n{ROUTE}");
    let (first, _) = told(folder.path(), &including, None).unwrap();
    std::fs::write(folder.path().join("more.yaml"), "routes:\n  ").unwrap();
    assert!(
        told(folder.path(), &including, Some(&first.cache))
            .unwrap_err()
            .ends_with(broken),
        "an included file"
    );
}

/// A request that is signed for one path is valid on no other.
#[test]
fn each_path_parameter_is_signed_or_selects_the_secret() {
    let hmac = |content: &str, more: &str| {
        format!(
            "{{ scheme: hmac, algorithm: sha256, signature: {{ header: X-S, encoding: hex }}, signed_content: \"{content}\", {more} "
        )
    };
    let list = "secrets: [{ env: A_SECRET }] }";
    let token = "{ scheme: token, signature: { header: X-T }, ";
    let reason = "concatenated: reasons,";
    for (path, more, verify, free) in [
        (
            "/{a}/{p}",
            "",
            format!(
                "{} secrets: {{ by: '{{a}}', dir: keys }} }}",
                hmac("{body}", "")
            ),
            "`{p}`",
        ),
        (
            "/{a}/{*rest}",
            "",
            format!("{token} secrets: {{ by: '{{a}}', dir: keys }} }}"),
            "`{rest}`",
        ),
        (
            "/{a}/{*rest}",
            "",
            format!("{token} secrets: {{ by: '{{rest}}', dir: keys }} }}"),
            "`{a}`",
        ),
        (
            "/{a}/{b}/{c}",
            "",
            format!("{token} secrets: {{ by: '{{b}}', dir: keys }} }}"),
            "`{a}`, `{c}`",
        ),
        (
            "/{a}",
            "",
            format!("{token} secrets: {{ by: 'header:X-A', dir: keys }} }}"),
            "`{a}`",
        ),
        (
            "/{a}",
            "",
            format!("{token} secrets: {{ by: '{{a}}', dir: keys }} }}"),
            "",
        ),
        ("/{a}", "", format!("{token} {list}"), "`{a}`"),
        (
            "/{a}",
            "",
            format!("{} {list}", hmac("{query}.\\n{body}", "")),
            "`{a}`",
        ),
        (
            "/{a}/{b}",
            "",
            format!("{} {list}", hmac("{path}\\n{body}", "")),
            "",
        ),
        (
            "/{a}/{b}",
            "public_url: 'https://x.example/in',",
            format!("{} {list}", hmac("{path}\\n{body}", "")),
            "",
        ),
        (
            "/{a}/{b}",
            "host: x.example,",
            format!("{} {list}", hmac("{url}\\n{body}", "")),
            "",
        ),
        (
            "/{a}",
            "host: '*.example.com',",
            format!("{} {list}", hmac("{body}\\n{url}", "")),
            "",
        ),
        (
            "/{a}",
            "public_url: 'https://x.example/in',",
            format!("{} {list}", hmac("{url}\\n{body}", "")),
            "`{a}`",
        ),
        (
            "/{a}",
            "host: x.example,",
            format!("{} {list}", hmac("{url}{body}", reason)),
            "`{a}`",
        ),
        (
            "/{a}",
            "",
            format!("{} {list}", hmac("{path}{query}\\n{body}", reason)),
            "`{a}`",
        ),
        (
            "/{a}",
            "",
            format!(
                "{} {list}",
                hmac(
                    "{path}\\n{id}{body}",
                    "concatenated: reasons, delivery_id: { header: X-I },"
                )
            ),
            "",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        let text = format!(
            "{HEAD}routes: [{{ name: a, path: '{path}', {more} verify: {verify}, forward: {{ upstream: app }} }}]\n"
        );
        let error = told(folder.path(), &text, None).err().unwrap_or_default();
        let want = if free.is_empty() {
            String::new()
        } else {
            format!("does not cover {free} of the path")
        };
        assert!(
            error.contains(&want) && error.is_empty() == want.is_empty(),
            "{text}{error}"
        );
    }
}

#[test]
fn a_wildcard_host_that_is_not_signed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (host, is_told) in [("'*.example.com'", true), ("a.example.com", false)] {
        let text = format!(
            "{HEAD}routes:\n{}",
            ROUTE.replace("path: /a", &format!("host: {host}, path: /a"))
        );
        let warnings = told(folder.path(), &text, None).unwrap().1;
        assert_eq!(
            warnings
                .iter()
                .any(|warning| warning.contains("does not cover the host")),
            is_told,
            "{warnings:?}"
        );
    }
}

/// A delivery that only its body tells apart is remembered for a short time, unless the preset says that no other event has the same body.
#[test]
fn dedupe_windows_follow_the_facts_of_the_preset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let windows = |verify: &str, dedupe: &str| {
        let verify = format!("{{ {verify}, secrets: [{{ env: A_SECRET }}] }}");
        let route = format!(
            "{{ name: a, path: /a, verify: {verify}, dedupe: {dedupe}, forward: {{ upstream: app }} }}"
        );
        let text = format!(
            "listen: [{{ address: '127.0.0.1:0' }}]\nupstreams: {{ app: {{ url: 'http://127.0.0.1:1' }} }}\nroutes: [{route}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let loaded =
            try_load(&path).unwrap_or_else(|rejected| panic!("{}", shown(&rejected.report, &path)));
        let dedupe = loaded.snapshot.hooks[0].dedupe.unwrap();
        [dedupe.window_of(true), dedupe.window_of(false)].map(|window| window.as_secs())
    };
    let own = "scheme: hmac, algorithm: sha256, signature: { header: X-S, encoding: hex }";
    let with_id = format!("{own}, delivery_id: {{ json: /id }}");
    let (short, day) = (10, 86_400);
    for (verify, dedupe, due) in [
        // no ID, and bodies that repeat, or may
        ("provider: dropbox", "{}", [short; 2]),
        ("provider: storyblok", "{}", [short; 2]),
        ("provider: helpscout", "{}", [short; 2]),
        (own, "{}", [short; 2]),
        // no ID, and bodies that never repeat
        (
            "provider: heroku, delivery_id: { header: X-Id }",
            "{}",
            [3 * day; 2],
        ),
        ("provider: line", "{}", [day; 2]),
        ("provider: xero", "{}", [day; 2]),
        ("provider: meta-whatsapp", "{}", [7 * day; 2]),
        // an ID: a request without it has its body alone
        ("provider: github", "{}", [day, short]),
        (&with_id, "{}", [day, short]),
        ("provider: stripe", "{}", [3 * day; 2]),
        // an ID that two deliveries can have
        ("provider: surveymonkey", "{}", [short; 2]),
        (
            "provider: trello, signature: { header: X-T, encoding: base64 }",
            "{}",
            [day; 2],
        ),
        // as written
        ("provider: dropbox", "{ window: 1h }", [3600; 2]),
        ("provider: stripe", "{ window: 1h }", [3600; 2]),
        (
            "provider: dropbox",
            "{ by: content, window: 2h }",
            [7200; 2],
        ),
        ("provider: helpscout", "{ by: content }", [day; 2]),
        ("provider: stripe", "{ by: content }", [3 * day; 2]),
    ] {
        assert_eq!(windows(verify, dedupe), due, "{verify} {dedupe}");
    }
}

/// Block, key, what its doc comment says, and the same written out.
const DEFAULTS: &[(&str, &str, &str, &str)] = &[
    ("Limits", "in_flight_bytes", "(default 64MiB)", "64MiB"),
    (
        "Limits",
        "refused_per_client",
        "(default 50/s, burst ten times that)",
        "50/s",
    ),
    ("Limits", "header_timeout", "(default 5s)", "5s"),
    ("Limits", "idle_timeout", "(default 60s)", "60s"),
    ("Limits", "header_bytes", "(default 32KiB)", "32KiB"),
    ("Limits", "body_timeout", "(default 10s)", "10s"),
    ("Limits", "connections", "(default 10000)", "10000"),
    ("Limits", "connections_per_client", "(default 1000)", "1000"),
    ("Shutdown", "delay", "(default 5s)", "5s"),
    ("Shutdown", "grace", "(default 25s)", "25s"),
    ("Store", "ledger_entries", "(default 10000000,", "10000000"),
    ("Log", "format", "`json` (default)", "json"),
    ("Log", "requests", "`all` (default)", "all"),
    ("Upstream", "connect_timeout", "(default 1s)", "1s"),
    ("Upstream", "timeout", "else 15s)", "15s"),
    ("Upstream", "idle_timeout", "(default 4s;", "4s"),
    ("Upstream", "host", "`original` (default", "original"),
    ("Breaker", "failures", "(default 5; 0", "5"),
    ("Breaker", "open", "(default 5s)", "5s"),
    ("Route", "methods", "(default POST;", "[POST]"),
    ("Route", "max_body", "else 5MiB;", "5MiB"),
    ("Route", "mode", "`enforce`", "enforce"),
    ("RateLimit", "burst", "(default: the count of `rate`)", "7"),
    ("RateLimit", "key", "`route` (default)", "route"),
    ("Dedupe", "by", "`id` (default)", "id"),
    ("Dedupe", "per", "`route` (default)", "route"),
    ("Forward", "keep_token", "Default false", "false"),
    ("Forward", "on_failure", "`fail` (default)", "fail"),
    ("Forward", "record", "`none` (default)", "none"),
    ("Queue", "concurrency", "(default 8)", "8"),
    ("Queue", "keep_token", "Default false", "false"),
    ("Acknowledgement", "status", "else 200)", "200"),
    ("Acknowledgement", "body", "(default: none)", "\"\""),
    ("Retry", "initial", "(default 5s)", "5s"),
    ("Retry", "factor", "(default 2)", "2"),
    ("Retry", "max", "(default 1h)", "1h"),
    ("Retry", "max_age", "(default 3d;", "3d"),
    ("Retry", "retry_after_max", "(default 1d)", "1d"),
    ("Keep", "age", "(default 7d)", "7d"),
    ("Keep", "dead", "(default 30d)", "30d"),
    ("Pass", "timeout", "else 60s)", "60s"),
    ("Pass", "idle_timeout", "(default 5m)", "5m"),
];

/// Without `max_attempts` a delivery is attempted until it is `max_age` old.
#[test]
fn the_default_schedule_spans_max_age() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let text = "listen: [{ address: \"127.0.0.1:0\" }]\nstore: { path: state }\nupstreams: { app: { url: \"http://127.0.0.1:1\" } }
routes: [{ name: a, path: /a, verify: none, queue: { upstream: app } }]\n";
    std::fs::write(&path, text).unwrap();
    let loaded =
        try_load(&path).unwrap_or_else(|rejected| panic!("{}", shown(&rejected.report, &path)));
    let schedule = &loaded.snapshot.hooks[0].deliver.schedule;
    let late = RetryState {
        attempts: 100_000,
        age: schedule.max_age() - Duration::from_secs(1),
    };
    assert_eq!(schedule.max_age(), Duration::from_secs(3 * 86_400));
    assert_eq!(
        schedule.decide(late, LastAttempt::NoAnswer, u64::MAX),
        RetryDecision::RetryIn(Duration::from_secs(1))
    );
}

/// The same for keys of `Forward` that stand with `on_failure: queue`.
const SPILL_DEFAULTS: &[(&str, &str, &str)] = &[
    ("budget", "the whole time it has", "15s"),
    ("rate", "(default 20/s)", "20/s"),
    ("burst", "(default: the count of `rate`)", "20"),
    ("concurrency", "(default 4)", "4"),
];

/// What the reference states as a default is what runs without the key.
#[test]
fn defaults_are_what_the_reference_says() {
    let schema = crate::config::schema::schema();
    let mut written = std::collections::BTreeMap::<&str, String>::new();
    for &(block, key, says, value) in DEFAULTS {
        let described = schema["$defs"][block]["properties"][key]["description"]
            .as_str()
            .unwrap_or_default();
        assert!(described.contains(says), "{block}.{key} says: {described}");
        written
            .entry(block)
            .or_default()
            .push_str(&format!(", {key}: {value}"));
    }
    for &(key, says, value) in SPILL_DEFAULTS {
        let described = schema["$defs"]["Forward"]["properties"][key]["description"]
            .as_str()
            .unwrap_or_default();
        assert!(described.contains(says), "Forward.{key} says: {described}");
        written
            .entry("spill")
            .or_default()
            .push_str(&format!(", {key}: {value}"));
    }
    let config = |of: &dyn Fn(&str) -> String| {
        let text = format!(
            "listen: [{{ address: \"127.0.0.1:0\" }}]\n{top}upstreams: {{ app: {{ url: \"http://127.0.0.1:3000\"{up}{breaker} }}, other: {{ url: \"http://127.0.0.1:1\" }} }}\nroutes:
  - {{ name: a, path: /a, verify: {{ scheme: token, signature: {{ header: X-T }}, secrets: [{{ env: A_SECRET }}] }}{route}, rate_limit: {{ rate: 7/s{rate} }}, dedupe: {{ {dedupe} }}, forward: {{ upstream: app{forward} }} }}
  - {{ name: b, path: /b, pass: {{ upstream: other{pass} }} }}
  - {{ name: c, path: /c, verify: none, queue: {{ upstream: app, answer: {{ {answer} }}, retry: {{ {retry} }}{queue} }}, keep: {{ {keep} }} }}
  - {{ name: d, path: /d, verify: none, forward: {{ upstream: app, on_failure: queue{spill} }} }}
store: {{ path: state{store} }}\n",
            store = of("Store"),
            queue = of("Queue"),
            answer = of("Acknowledgement").trim_start_matches(", "),
            retry = of("Retry").trim_start_matches(", "),
            keep = of("Keep").trim_start_matches(", "),
            spill = of("spill"),
            top = [("limits", "Limits"), ("shutdown", "Shutdown"), ("log", "Log")]
                .map(|(key, block)| {
                    let lines = of(block);
                    if lines.is_empty() { String::new() } else { format!("{key}: {{ {} }}\n", lines.trim_start_matches(", ")) }
                })
                .concat(),
            up = of("Upstream"),
            breaker = if of("Breaker").is_empty() { String::new() } else { format!(", breaker: {{ {} }}", of("Breaker").trim_start_matches(", ")) },
            route = of("Route"),
            rate = of("RateLimit"),
            dedupe = of("Dedupe").trim_start_matches(", "),
            forward = of("Forward"),
            pass = of("Pass"),
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, &text).unwrap();
        let loaded = try_load(&path)
            .unwrap_or_else(|rejected| panic!("{text}\n{}", shown(&rejected.report, &path)));
        let Snapshot {
            limits,
            shutdown,
            mut store,
            log,
            upstreams,
            hooks,
            routes,
            ..
        } = loaded.snapshot;
        store.path = None;
        let hook = &hooks[0];
        // `timeout` is the upstream's if it says one, else the route's; what counts is the forward's.
        let upstreams = format!("{upstreams:?}").replace("timeout: Some(15s)", "timeout: None");
        let pass = routes[1]
            .pass()
            .map(|pass| (pass.timeout, pass.idle_timeout));
        let forward = (
            hook.forward.timeout,
            hook.forward.keep_query,
            hook.forward.dropped.headers.clone(),
        );
        let waiting: Vec<_> = hooks
            .iter()
            .map(|hook| (&hook.action, &hook.deliver, hook.keep))
            .collect();
        format!(
            "{limits:?} {shutdown:?} {store:?} {log:?} {upstreams} {:?} {} {:?} {:?} {forward:?} {waiting:?} {pass:?}",
            hook.methods, hook.max_body, hook.rate_limits, hook.dedupe
        )
    };
    let without = config(&|_| String::new());
    let with = config(&|block| written.get(block).cloned().unwrap_or_default());
    assert_eq!(without, with);
    assert!(without.contains("burst: 500"), "{without}");
    let example = try_load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml"))
        .unwrap()
        .snapshot;
    let said = format!("{:?} {:?}", example.limits, example.shutdown);
    assert!(
        without.starts_with(&said),
        "the example says that these are the defaults: {said}"
    );
}

/// The words of the schema are those that the compiler names when it meets another.
#[test]
fn words_of_the_schema_are_those_of_the_compiler() {
    let hmac = "scheme: hmac, algorithm: sha256, signature: { header: X, encoding: hex }, secrets: [{ env: A }]";
    let route = |more: &str| format!("{HEAD}routes: [{{ name: a, path: /a, {more} }}]\n");
    let verify = |block: &str| {
        route(&format!(
            "verify: {{ {block} }}, forward: {{ upstream: app }}"
        ))
    };
    let forward = |more: &str| {
        route(&format!(
            "verify: none, forward: {{ upstream: app, {more} }}"
        ))
    };
    let handshake = |more: &str| {
        route(&format!(
            "verify: {{ {hmac} }}, handshake: {{ {more} }}, forward: {{ upstream: app }}"
        ))
    };
    let root = |more: &str| format!("{HEAD}routes:\n{ROUTE}{more}\n");
    for (block, key, text) in [
        (
            "Verify",
            "scheme",
            verify("scheme: WORD, secrets: [{ env: A }]"),
        ),
        (
            "Verify",
            "algorithm",
            verify(&hmac.replace("sha256", "WORD")),
        ),
        (
            "Verify",
            "secret_encoding",
            verify(&format!("{hmac}, secret_encoding: WORD")),
        ),
        (
            "Secret",
            "encoding",
            verify(&hmac.replace("env: A", "env: A, encoding: WORD")),
        ),
        (
            "SecretTable",
            "encoding",
            verify(&hmac.replace(
                "[{ env: A }]",
                "{ by: 'header:X-A', dir: ., encoding: WORD }",
            )),
        ),
        (
            "Signature",
            "encoding",
            verify(&hmac.replace("hex", "WORD")),
        ),
        (
            "Answer",
            "mac",
            handshake("token: { query: t }, method: GET, answer: { text: '{mac}', mac: WORD }"),
        ),
        (
            "Handshake",
            "method",
            handshake("token: { query: t }, method: WORD, answer: { text: '{token}' }"),
        ),
        (
            "Timestamp",
            "format",
            verify(&format!(
                "{hmac}, signed_content: '{{timestamp}}.{{body}}', timestamp: {{ header: X-T, format: WORD }}"
            )),
        ),
        (
            "Route",
            "refused_body",
            verify(hmac).replace("path:", "refused_body: WORD, path:"),
        ),
        (
            "Route",
            "mode",
            verify(hmac).replace("path:", "mode: WORD, path:"),
        ),
        (
            "RateLimit",
            "key",
            verify(hmac).replace("path:", "rate_limit: { rate: 1/s, key: WORD }, path:"),
        ),
        (
            "Dedupe",
            "by",
            verify(hmac).replace("path:", "dedupe: { by: WORD }, path:"),
        ),
        (
            "Dedupe",
            "per",
            verify(hmac).replace("path:", "dedupe: { per: WORD }, path:"),
        ),
        ("Forward", "query", forward("query: WORD")),
        (
            "Queue",
            "query",
            forward("query: WORD").replace("forward", "queue"),
        ),
        ("Forward", "on_failure", forward("on_failure: WORD")),
        (
            "Failures",
            "unreached",
            forward("on_failure: { unreached: WORD }"),
        ),
        (
            "Failures",
            "ambiguous",
            forward("on_failure: { ambiguous: WORD }"),
        ),
        ("Forward", "record", forward("record: WORD")),
        (
            "Upstream",
            "host",
            root("").replace("3000'", "3000', host: WORD"),
        ),
        (
            "Tls",
            "client_auth",
            root("").replace("8080'", "8080', tls: { client_auth: WORD }"),
        ),
        ("Log", "format", root("log: { format: WORD }")),
        ("Log", "requests", root("log: { requests: WORD }")),
        (
            "AdminToken",
            "allow",
            root("admin: { address: '127.0.0.1:1', tokens: [{ name: a, env: A, allow: [WORD] }] }"),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text.replace("WORD", "qqqqqqqqqqqq")).unwrap();
        let report = try_load(&path).expect_err(&text).report;
        let words =
            crate::config::schema::words(block, key).unwrap_or_else(|| panic!("{block}.{key}"));
        let helps = report
            .findings
            .iter()
            .filter_map(|finding| finding.help.as_deref());
        let named = |help: &str| {
            words.iter().all(|word| {
                help.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|one| one == *word)
            })
        };
        assert!(
            helps.clone().any(named),
            "{block}.{key}: {words:?}\n{}",
            report.render(false)
        );
    }
}

/// A file may become a pipe between the look at it and its opening: nobody waits for the pipe's writer.
#[test]
fn a_file_that_turns_into_a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(
        std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(at("file"), "text").unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                for kind in ["pipe", "file"] {
                    std::fs::hard_link(at(kind), at("next")).unwrap();
                    std::fs::rename(at("next"), at("it")).unwrap();
                    // a link of the same file is left where it was
                    std::fs::remove_file(at("next")).ok();
                }
            }
        });
        let (mut files, mut pipes) = (0, 0);
        // both must be met often enough, however the threads take turns
        for _ in 0..2_000_000 {
            if files >= 2_000 && pipes >= 2_000 {
                break;
            }
            match source::read_regular(&at("it"), 100) {
                Ok(bytes) => {
                    assert_eq!(bytes.as_slice(), b"text");
                    files += 1;
                }
                Err(_) => pipes += 1,
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(files > 0 && pipes > 0, "{files} {pipes}");
    });
}

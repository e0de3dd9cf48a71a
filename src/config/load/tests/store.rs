use crate::config::snapshot::{Engine, PostgresEngine, PostgresTlsMode, TextPlace};

use super::*;

#[test]
fn store_on_a_temporary_disk_gets_a_warning() {
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
    assert!(warned("tmpfs", "there", queue).contains("in memory (tmpfs)"));
    assert!(
        warned(
            "tmpfs",
            "not/yet",
            "forward: { upstream: app, record: all }"
        )
        .contains("in memory (tmpfs)")
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
    assert!(warned("nfs4", "there", queue).contains("network disk (nfs4)"));
    for (kind, store, action) in [
        ("overlay", "not/yet", queue),
        ("ext4", "there", queue),
        ("tmpfs", "there", "forward: { upstream: app }"),
    ] {
        assert_eq!(warned(kind, store, action), "", "{kind} {store} {action}");
    }
}

const CONFIG: &str = "listen: [{ address: '127.0.0.1:0' }]\nupstreams: { app: { url: 'http://127.0.0.1:1' } }\nroutes: [{ name: a, path: /a, verify: none, queue: { upstream: app } }]\n";

/// Loads a config with this `store.postgres` from a folder.
fn load_postgres(
    folder: &Path,
    postgres: &str,
    previous: Option<&Cache>,
) -> Result<Loaded, RefusedConfig> {
    let path = folder.join("config.yaml");
    let text = format!("store: {{ postgres: {{ {postgres} }} }}\n{CONFIG}");
    std::fs::write(&path, text).unwrap();
    load_on(&[], &path, previous, NOW)
}

fn engine(loaded: &Loaded) -> &PostgresEngine {
    loaded.snapshot.store.engine.postgres().unwrap()
}

/// The URL says what `tls` does not, and the names of its files begin beside the config.
#[test]
fn tls_of_the_url_counts_where_none_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    std::fs::write(
        folder.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    let ca = Some(folder.path().join("ca.pem"));
    let of = |postgres: &str| {
        let loaded = load_postgres(folder.path(), postgres, None);
        let loaded = loaded.unwrap_or_else(|refused| panic!("{}", refused.report.render(false)));
        let tls = engine(&loaded).tls.clone();
        (tls.mode, tls.ca, tls.client.is_some())
    };
    let full = PostgresTlsMode::VerifyFull;
    assert_eq!(of("url: postgres://u@db/x"), (full, None, false));
    assert_eq!(
        of("url: 'postgres://u@db/x?sslmode=verify-ca&sslrootcert=ca.pem'"),
        (PostgresTlsMode::VerifyCa, ca.clone(), false)
    );
    assert_eq!(
        of(
            "url: 'postgres://u@db/x?sslmode=require', tls: { mode: verify-full, ca: ca.pem, certificate: ca.pem, key: key.pem }"
        ),
        (full, ca, true)
    );
    assert_eq!(
        of("url: 'postgres://u@localhost/x?sslmode=disable'"),
        (PostgresTlsMode::Off, None, false)
    );
    let refused = load_postgres(
        folder.path(),
        "url: postgres://u@db/x, tls: { ca: key.pem, certificate: ca.pem, key: ca.pem }",
        None,
    );
    assert_eq!(refused.unwrap_err().report.errors(), 2);
}

/// A rotated password changes neither the hash of the config nor its engine, and a file that is away for a moment refuses no reload.
#[test]
fn rotated_password_is_no_change_of_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let write = |url: &str| std::fs::write(folder.path().join("uri"), url).unwrap();
    write("postgres://u:first-password@db/x?sslmode=verify-ca");
    let load = |previous| load_postgres(folder.path(), "url: { file: uri }", previous).unwrap();
    let first = load(None);
    write("postgres://u:second-password@db-2/x?sslmode=verify-ca");
    let second = load(Some(&first.cache));
    std::fs::remove_file(folder.path().join("uri")).unwrap();
    let third = load(Some(&second.cache));
    let fourth = load(Some(&third.cache));
    assert!(!first.snapshot.files.contains(&folder.path().join("uri")));
    assert_eq!(first.origins.files, [folder.path().join("uri")]);
    assert_eq!(first.secrets, 1);
    for other in [&second, &third, &fourth] {
        assert_eq!(first.snapshot.hash, other.snapshot.hash);
        assert_eq!(first.snapshot.store.engine, other.snapshot.store.engine);
    }
    assert_eq!(engine(&first).server, "db:5432/x");
    assert_eq!(engine(&second).server, "db-2:5432/x");
    assert!(matches!(&engine(&first).url, TextPlace::File(path) if path.ends_with("uri")));
    let shown = format!("{:?}", first.snapshot.store);
    assert!(!shown.contains("first-password"), "{shown}");
    assert!(load_postgres(folder.path(), "url: { file: uri }", None).is_err());
}

#[test]
fn another_schema_is_another_engine() {
    let folder = tempfile::tempdir().unwrap();
    let load = |schema: &str| {
        let postgres = format!("url: postgres://u@db/x, schema: {schema}");
        load_postgres(folder.path(), &postgres, None)
            .unwrap()
            .snapshot
            .store
            .engine
    };
    assert_eq!(load("a"), load("a"));
    assert_ne!(load("a"), load("b"));
    assert!(load("a").is_durable() && load("a").directory().is_none());
    assert_ne!(load("a"), Engine::Memory);
}

/// Gateways of a fleet may have files of their own for `listen` and `admin`; all other files they have in common.
#[test]
fn files_of_one_gateway_make_no_other_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "config.yaml",
        "listen: [{ address: '127.0.0.1:0' }]\nadmin: { address: '127.0.0.1:0', token: { file: admin } }\nupstreams: { app: { url: 'http://127.0.0.1:1' } }\nroutes: [{ name: a, path: /a, verify: { provider: github, secrets: [{ file: secret }] }, forward: { upstream: app } }]\n",
    );
    let hash = |admin: &str, secret: &str| {
        write("admin", admin);
        write("secret", secret);
        try_load(&path).unwrap().snapshot.common_hash
    };
    let one = hash(&"a".repeat(40), "a-secret-of-the-route");
    assert_eq!(hash(&"b".repeat(40), "a-secret-of-the-route"), one);
    assert_ne!(hash(&"b".repeat(40), "b-secret-of-the-route"), one);
}

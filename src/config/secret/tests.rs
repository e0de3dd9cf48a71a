use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::clock::{Clock as _, FrozenClock};
use crate::config::load::{Loaded, load};

use super::text::without_line_feed;
use super::*;

const CONFIG: &str = "
listen: [{ address: 127.0.0.1:8080 }]
upstreams: { app: { url: http://127.0.0.1:3000 } }
routes:
  - name: a
    path: /a
    verify: { provider: github, secrets: [{ name: new, file: secret }] }
    forward: { upstream: app }
  - name: t
    path: /t/{account}
    verify: { provider: github, secrets: { by: '{account}', dir: keys } }
    forward: { upstream: app }
";

struct Rig(tempfile::TempDir);

impl Rig {
    fn new() -> Self {
        let rig = Self(tempfile::tempdir().unwrap());
        rig.write("config.yaml", CONFIG);
        rig.write("secret", "the-first-secret-of-this-route\n");
        fs::create_dir(rig.0.path().join("keys")).unwrap();
        rig
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn load(&self, previous: Option<&Cache>) -> Result<Loaded, String> {
        let now = FrozenClock(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)).now();
        load(
            &self.0.path().join("config.yaml"),
            &|_| None,
            previous,
            1,
            now,
        )
        .map_err(|refused| refused.report.render(false))
    }
}

#[test]
fn dropped_line_feed_is_noted_once() {
    let rig = Rig::new();
    let first = rig.load(None).unwrap();
    assert_eq!(
        first.notes,
        ["ignored the trailing newline in the secret file of a/new"]
    );
    let second = rig.load(Some(&first.cache)).unwrap();
    assert!(second.notes.is_empty() && second.stale.is_empty());
    assert_eq!(first.snapshot.hash, second.snapshot.hash);
    rig.write("secret", "the-second-secret-of-this-route");
    assert_ne!(first.snapshot.hash, rig.load(None).unwrap().snapshot.hash);
}

#[test]
fn an_empty_or_absent_file_keeps_its_last_good_text() {
    let rig = Rig::new();
    let mut last = rig.load(None).unwrap();
    for change in ["empty", "a lone line feed", "gone"] {
        match change {
            "empty" => rig.write("secret", ""),
            "gone" => fs::remove_file(rig.0.path().join("secret")).unwrap(),
            _ => rig.write("secret", "\n"),
        }
        assert!(
            rig.load(None).is_err(),
            "{change}: there is no last good one at the start"
        );
        last = rig.load(Some(&last.cache)).unwrap();
        assert_eq!(last.stale, ["a/new"], "{change}");
    }
    rig.write("secret", "the-second-secret-of-this-route");
    assert!(rig.load(Some(&last.cache)).unwrap().stale.is_empty());
}

#[test]
fn a_changed_entry_of_ten_thousand_is_read_alone() {
    let rig = Rig::new();
    for number in 0..10_000 {
        rig.write(
            &format!("keys/tenant-{number}"),
            &format!("the-secret-of-tenant-number-{number}"),
        );
    }
    let first = rig.load(None).unwrap();
    assert_eq!(first.secrets, 10_001);
    rig.write("keys/tenant-77", "another-secret-of-tenant-77");
    rig.write("keys/tenant-78", "");
    let second = rig.load(Some(&first.cache)).unwrap();
    let rows = |loaded: &Loaded, number: u32| {
        let path = rig.0.path().join(format!("keys/tenant-{number}"));
        loaded.cache.rows.get(&path).unwrap().candidates().cloned()
    };
    for number in [0, 76, 9_999] {
        assert!(
            Arc::ptr_eq(
                &rows(&first, number).unwrap(),
                &rows(&second, number).unwrap()
            ),
            "{number} is the same entry"
        );
    }
    assert!(!Arc::ptr_eq(
        &rows(&first, 77).unwrap(),
        &rows(&second, 77).unwrap()
    ));
    assert!(
        Arc::ptr_eq(&rows(&first, 78).unwrap(), &rows(&second, 78).unwrap()),
        "an empty file keeps its last good text"
    );
    assert_eq!(
        (second.secrets, second.stale.as_slice()),
        (10_001, ["keys/tenant-78".to_owned()].as_slice())
    );
    let reloaded = rig.load(None).unwrap();
    assert!(
        reloaded
            .report
            .render(false)
            .contains("key tenant-78 is ignored: the secret is empty"),
        "{}",
        reloaded.report.render(false)
    );
    rig.write("keys/one-too-many", "the-secret-of-one-too-many");
    assert!(rig.load(None).unwrap_err().contains("more than 10000 keys"));
}

/// Texts that are no secret, and a word of what is said about each.
const NO_SECRETS: [(&[u8], &str); 16] = [
    (b"", "is empty"),
    (b" \t", "only white space"),
    (
        b" the-secret-of-this-route",
        "begins or ends with white space",
    ),
    (
        b"the-secret-of-this-route\r",
        "begins or ends with white space",
    ),
    (
        "the-secret-of-this-route\u{a0}".as_bytes(),
        "begins or ends with white space",
    ),
    (b"\xef\xbb\xbfthe-secret-of-this-route", "byte order mark"),
    (b"\xff\xfet\0h\0e\0", "byte order mark"),
    (b"\xfe\xff\0t\0h\0e", "byte order mark"),
    (b"t\0h\0e\0-\0s\0e\0c\0", "NUL byte"),
    (b"the-secret\0", "NUL byte"),
    (b"\x89PNG\x0d\x0a\x1a\x0a of an image", "not UTF-8"),
    (
        b"the-secret-of\x08-this-route",
        "control or invisible character",
    ),
    (
        b"the-secret-of\x7f-this-route",
        "control or invisible character",
    ),
    (
        "the-secret\u{200b}-of-this-route".as_bytes(),
        "control or invisible character",
    ),
    (
        "the-secret\u{feff}-of-this-route".as_bytes(),
        "control or invisible character",
    ),
    (
        "the-secret\u{fffd}-of-this-route".as_bytes(),
        "control or invisible character",
    ),
];

#[test]
fn texts_that_are_no_secrets_are_refused() {
    for (bytes, why) in NO_SECRETS {
        for allow in [false, true] {
            let (what, _) = check_secret_text(bytes, allow).expect_err(why);
            assert!(what.contains(why), "{bytes:?}: {what}");
        }
    }
    for (text, allow, wrong) in [
        ("two words", false, true),
        ("two words", true, false),
        ("two\nlines", false, true),
        ("two\nlines", true, false),
        ("\u{fc}n\u{ef}c\u{f6}de", false, false),
    ] {
        assert_eq!(
            check_secret_text(text.as_bytes(), allow).is_err(),
            wrong,
            "{text:?}"
        );
    }
    let drop = |text: &str| {
        without_line_feed(Zeroizing::new(text.as_bytes().to_vec()))
            .0
            .to_vec()
    };
    assert_eq!(drop("a\n"), b"a");
    assert_eq!(drop("a\r\n"), b"a");
    assert_eq!(drop("a\n\n"), b"a\n");
    assert_eq!(drop("a"), b"a");
}

#[test]
fn a_file_that_is_no_secret_keeps_its_last_good_text() {
    let rig = Rig::new();
    let first = rig.load(None).unwrap();
    for (bytes, why) in NO_SECRETS {
        fs::write(rig.0.path().join("secret"), bytes).unwrap();
        assert!(rig.load(None).unwrap_err().contains(why), "{why}");
        let second = rig.load(Some(&first.cache)).unwrap();
        assert_eq!(second.stale, ["a/new"], "{why}");
        assert_eq!(
            rig.load(Some(&second.cache)).unwrap().stale,
            ["a/new"],
            "{why}: it stays"
        );
    }
}

#[test]
fn a_bad_file_of_a_table_disables_its_key() {
    let rig = Rig::new();
    for (index, (bytes, _)) in NO_SECRETS.iter().enumerate() {
        fs::write(rig.0.path().join(format!("keys/tenant-{index}")), bytes).unwrap();
    }
    rig.write("keys/good", "the-secret-of-a-good-tenant");
    let loaded = rig.load(None).unwrap();
    assert_eq!(loaded.secrets, 2, "that of the route, and the good one");
    let shown = loaded.report.render(false);
    for (index, (_, why)) in NO_SECRETS.iter().enumerate() {
        let notes = shown
            .lines()
            .find(|line| line.contains(&format!("key tenant-{index} is ignored: the secret ")))
            .unwrap();
        assert!(notes.contains(why), "{notes}");
    }
}

#[test]
fn table_file_skips_values_that_are_no_secrets() {
    let rig = Rig::new();
    rig.write(
        "config.yaml",
        &CONFIG.replace("dir: keys", "file: keys.yaml"),
    );
    let table = "a: \"the\\0-secret-of-tenant-a\"\nb: \"\\uFEFFthe-secret-of-tenant-b\"\nc: \"the-secret-of\\a-tenant-c\"\nd: ~\ne: null\nf:\ng: the-secret-of-tenant-g\nh: '\"the-secret-of-tenant-h\"'\n";
    for table in [table.to_owned(), format!("\u{feff}{table}")] {
        rig.write("keys.yaml", &table);
        let loaded = rig.load(None).unwrap();
        let shown = loaded.report.render(false);
        assert_eq!(loaded.secrets, 3, "{shown}");
        for key in ["a", "b", "c", "d", "e", "f"] {
            assert!(shown.contains(&format!("key {key} is ignored")), "{shown}");
        }
        assert!(
            shown.contains("the secret of key h is in quotes"),
            "{shown}"
        );
    }
    fs::write(rig.0.path().join("keys.yaml"), b"\xff\xfea\0:\0").unwrap();
    assert!(
        rig.load(None)
            .unwrap_err()
            .contains("the table of secrets is not UTF-8 text")
    );
}

#[test]
fn quotes_around_a_secret_get_a_warning() {
    let rig = Rig::new();
    for (text, is_told) in [
        ("\"the-secret-of-this-route\"", true),
        ("'the-secret-of-this-route'\n", true),
        ("\u{201c}the-secret-of-this-route\u{201d}", true),
        ("\"the-secret-of-this-route", false),
        ("the-\"secret\"-of-this-route", false),
    ] {
        rig.write("secret", text);
        let shown = rig.load(None).unwrap().report.render(false);
        assert_eq!(shown.contains("is in quotes"), is_told, "{text}\n{shown}");
    }
}

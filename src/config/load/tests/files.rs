use crate::config::source;

use super::*;

#[test]
fn files_that_are_no_config_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let error_of = |bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        load(&path, &|_| None, None, 1, FrozenClock::at_unix(0).now())
            .unwrap_err()
            .report
            .headline()
            .replace(path.to_str().unwrap(), "f")
    };
    assert_eq!(error_of(None), "f: the config does not exist");
    assert_eq!(
        error_of(Some(b"a: \xff")),
        "f:1:1: the file is not UTF-8 text"
    );
    assert_eq!(
        error_of(Some(b"a: \0")),
        "f:1:1: the file contains a NUL byte"
    );
    assert_eq!(
        error_of(Some(&vec![b'#'; 1024 * 1024 + 1])),
        "f: the config is larger than 1048576 bytes"
    );
    let deep = format!("routes: {}{}", "[".repeat(40), "]".repeat(40));
    assert!(error_of(Some(deep.as_bytes())).contains("nested more than 32 levels deep"));
    assert_eq!(error_of(Some(b"")), "f:1:1: there is no listener");
    assert_eq!(
        error_of(Some(b"- a")),
        "f:1:1: the config must be a map, not a list"
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
            if let Err(refused) = load(&path, &|_| None, None, 1, FrozenClock::at_unix(0).now()) {
                refused.report.render(true);
                refused.report.json_lines();
            }
        }
    }
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
        let error = load_text(folder.path(), &text, None).unwrap_err();
        assert!(error.contains(none), "{text}{error}");
    }
    let text = format!("include: ['conf.d/*.yaml']\n{HEAD}routes:\n{ROUTE}");
    assert_eq!(
        load_text(folder.path(), &text, None).unwrap().1,
        ["no file matches this pattern"]
    );
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(
        folder.path().join("conf.d/a.yaml"),
        format!("routes:\n{ROUTE}"),
    )
    .unwrap();
    assert!(
        load_text(
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
fn include_of_too_many_files_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1_001 {
        std::fs::write(folder.path().join(format!("{number}.txt")), [0; 100]).unwrap();
    }
    let begun = SystemClock.mono();
    for pattern in ["*.txt", "/**/*", "/**", "../**/*"] {
        let text = format!("include: ['{pattern}']\n{HEAD}routes:\n{ROUTE}");
        let error = load_text(folder.path(), &text, None).unwrap_err();
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
    let error = load_text(
        folder.path(),
        &format!("include: ['{}/*.yaml']\n{HEAD}", large.path().display()),
        None,
    )
    .unwrap_err();
    assert!(
        error.ends_with("the included files and presets are larger than 16777216 bytes together"),
        "{error}"
    );
    assert!(SystemClock.mono() - begun < Duration::from_secs(20));
}

#[test]
#[expect(
    clippy::string_slice,
    reason = "what is sliced is ASCII, made by the test"
)]
fn file_cut_off_in_a_line_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let second = ROUTE.replace("name: a, path: /a", "name: b, path: /b");
    let whole = format!(
        "{HEAD}limits: {{ connections: 10 }}\nroutes:\n{ROUTE}{second}  # of 100 and more\n"
    );
    let (first, _) = load_text(folder.path(), &whole, None).unwrap();
    let again = |text: &str| {
        load_text(folder.path(), text, Some(&first.cache)).map(|(loaded, _)| loaded.removed_keys)
    };
    let broken = "the file is truncated in the middle of a line";
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
        load_text(
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
    let (first, _) = load_text(folder.path(), &including, None).unwrap();
    std::fs::write(folder.path().join("more.yaml"), "routes:\n  ").unwrap();
    assert!(
        load_text(folder.path(), &including, Some(&first.cache))
            .unwrap_err()
            .ends_with(broken),
        "an included file"
    );
}

/// A file may become a pipe between the look at it and its opening: nobody waits for the pipe's writer.
#[test]
fn pipe_in_place_of_a_file_does_not_block() {
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

use proptest::prelude::*;

use super::*;

fn router(routes: &[(Option<&str>, &str)]) -> Router {
    let mut router = Router::default();
    for (index, (host, path)) in routes.iter().enumerate() {
        router
            .insert(*host, path, index)
            .unwrap_or_else(|conflict| panic!("{host:?} {path}: {conflict}"));
    }
    router
}

fn hit(router: &Router, host: &str, path: &str) -> Option<(usize, String)> {
    router
        .find(host, path.as_bytes())
        .map(|(index, Params(params))| {
            (
                index,
                params
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        })
}

#[test]
fn requests_match_by_path() {
    let router = router(&[
        (None, "/webhooks/github"),
        (None, "/webhooks/{account}"),
        (None, "/t/{account}/{kind}"),
        (None, "/all/{*rest}"),
        (None, "/all/one"),
        (None, "/all/"),
        (None, "/more/{*rest}"),
    ]);
    for (path, expected) in [
        ("/webhooks/github", Some((0, ""))),
        ("/webhooks/github/", None),
        ("/Webhooks/github", None),
        ("/webhooks/acme", Some((1, "account=acme"))),
        ("/webhooks/a%20b", Some((1, "account=a%20b"))),
        ("/webhooks/a%2Fb", None),
        ("/webhooks/a%5cb", None),
        ("/webhooks/a%00b", None),
        ("/webhooks/a%252fb", None),
        ("/webhooks/.", None),
        ("/webhooks/..", None),
        ("/webhooks/%2e%2E", None),
        ("/webhooks/...", Some((1, "account=..."))),
        ("/webhooks/", None),
        ("/t/a/b", Some((2, "account=a kind=b"))),
        ("/all/one", Some((4, ""))),
        ("/all/two/three", Some((3, "rest=two/three"))),
        ("/all/two/../three", None),
        ("/all/", Some((5, ""))),
        ("/more/", Some((6, "rest="))),
        ("/more", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(
            hit(&router, "x", path),
            expected.map(|(index, params)| (index, params.to_owned())),
            "{path}"
        );
    }
    assert!(router.find("x", b"/webhooks/\xff").is_none());
}

#[test]
fn the_order_of_routes_does_not_matter() {
    for routes in [
        ["/{*rest}", "/", "/a"],
        ["/", "/{*rest}", "/a"],
        ["/a", "/", "/{*rest}"],
    ] {
        let router = router(&routes.map(|path| (None, path)));
        let at = |path: &str| routes.iter().position(|route| *route == path);
        assert_eq!(hit(&router, "", "/").map(|hit| hit.0), at("/"));
        assert_eq!(hit(&router, "", "/a").map(|hit| hit.0), at("/a"));
        assert_eq!(hit(&router, "", "/b").map(|hit| hit.0), at("/{*rest}"));
    }
}

#[test]
fn requests_match_by_host() {
    let router = router(&[
        (Some("hooks.example.com"), "/a"),
        (Some("*.example.com"), "/a"),
        (Some("*.eu.example.com"), "/a"),
        (None, "/a"),
        (Some("*.example.com"), "/b"),
    ]);
    for (host, path, expected) in [
        ("hooks.example.com", "/a", 0),
        ("HOOKS.example.com:8443", "/a", 0),
        ("hooks.example.com.", "/a", 0),
        ("hooks.example.com", "/b", 4),
        ("x.example.com", "/a", 1),
        ("x.y.example.com", "/a", 1),
        ("x.eu.example.com", "/a", 2),
        ("example.com", "/a", 3),
        ("evilexample.com", "/a", 3),
        ("[::1]:80", "/a", 3),
        ("", "/a", 3),
    ] {
        assert_eq!(
            hit(&router, host, path).map(|hit| hit.0),
            Some(expected),
            "{host} {path}"
        );
    }
}

#[test]
fn conflicts_and_bad_patterns_are_errors() {
    let mut router = router(&[(None, "/a/{x}"), (Some("h"), "/a"), (None, "/r/{*rest}")]);
    assert_eq!(
        router.insert(None, "/a/{x}", 9),
        Err(Conflict::Taken { by: Some(0) })
    );
    assert_eq!(
        router.insert(None, "/a/{y}", 9),
        Err(Conflict::Taken { by: Some(0) })
    );
    assert_eq!(
        router.insert(Some("H"), "/a", 9),
        Err(Conflict::Taken { by: Some(1) })
    );
    assert_eq!(
        router.insert(None, "/r/{*other}", 9),
        Err(Conflict::Taken { by: Some(2) })
    );
    for path in [
        "a",
        "/a?b",
        "/{",
        "/{}",
        "/}",
        "/{a}/{a}",
        "/{*rest}/x",
        "/a b",
        "/ä",
        "/..",
        "/a/%2e",
        "//a",
        "/{a}{b}",
        "/{{a}}",
        "/{a-b}",
        "/\\",
    ] {
        assert!(
            matches!(router.insert(None, path, 9), Err(Conflict::Path(_))),
            "{path}"
        );
    }
    for host in ["a:80", "*", "*.", "a..b", "*a.b", "http://a", "a/b", ""] {
        assert_eq!(
            router.insert(Some(host), "/z", 9),
            Err(Conflict::Host),
            "{host}"
        );
    }
}

proptest! {
    #[test]
    fn parameter_never_holds_a_parent_segment(path in "/t/[a-z%2FfeEcC5.0\\\\/]{0,12}") {
        let router = router(&[(None, "/t/{account}")]);
        if let Some((_, params)) = router.find("", path.as_bytes()) {
            let value = params.get("account").unwrap();
            prop_assert_eq!(format!("/t/{value}"), path.clone());
            prop_assert!(!value.contains(['/', '\\']) && value != "." && value != "..");
            prop_assert!(!value.to_lowercase().contains("%2f") && !value.to_lowercase().contains("%5c") && !value.contains("%00"));
        }
    }

    #[test]
    fn no_bytes_panic(host in any::<String>(), path in proptest::collection::vec(any::<u8>(), 0..64)) {
        let router = router(&[(None, "/t/{account}"), (Some("*.a"), "/{*rest}")]);
        router.find(&host, &path);
    }
}

#[test]
fn star_outside_a_parameter_is_an_error() {
    let single = "write `/{name}` for one segment, `/{*rest}` at the end for all that follow";
    for (path, help) in [
        ("/*", "write `/{*rest}`"),
        ("/**", "write `/{*rest}`"),
        ("/webhooks/*", "write `/webhooks/{*rest}`"),
        ("/t/{account}/*", "write `/t/{account}/{*rest}`"),
        ("/a/*/b", single),
        ("/*/*", single),
        ("/a*", single),
    ] {
        let expected = format!("{help}; a path cannot contain a literal `*`");
        assert_eq!(
            Router::default().insert(None, path, 0),
            Err(Conflict::Path(expected.into())),
            "{path}"
        );
    }
}

#[test]
fn a_parameter_is_a_whole_segment() {
    for path in [
        "/t/{a}:/x",
        "/img-{id}.png",
        "/v{n}",
        "/{a}{b}",
        "/a{*rest}",
    ] {
        assert!(
            matches!(
                Router::default().insert(None, path, 0),
                Err(Conflict::Path(_))
            ),
            "{path}"
        );
    }
}

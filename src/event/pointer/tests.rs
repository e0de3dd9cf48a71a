use super::*;

#[test]
fn steps_are_escaped_and_read_back() {
    assert_eq!(step("a/b~c"), "/a~1b~0c");
    assert_eq!(steps("/a~1b~0c/0/").unwrap(), ["a/b~c", "0", ""]);
    assert_eq!(steps(""), Some(vec![]));
    for bad in ["a", "/~", "/~2", "/a/~"] {
        assert_eq!(steps(bad), None, "{bad}");
    }
}

#[test]
fn position_is_of_the_key() {
    let document = "{\n  \"a\": {\n    \"é\": 1, \"x\\u002fy\": [10, 20]\n  }\n}\n";
    for (pointer, at) in [
        ("", (1, 1)),
        ("/a", (2, 3)),
        ("/a/é", (3, 5)),
        ("/a/x~1y", (3, 13)),
        ("/a/x~1y/1", (3, 30)),
        ("/a/missing/deeper", (2, 3)),
    ] {
        assert_eq!(position(document, pointer), at, "{pointer}");
    }
    assert_eq!(position("  7", ""), (1, 3));
    assert_eq!(position("not json", "/a"), (1, 1));
}

#[test]
fn long_pointer_is_cut() {
    assert_eq!(shown(""), "/");
    assert_eq!(shown(&"/é".repeat(500)).chars().count(), MAX_SHOWN + 1);
}

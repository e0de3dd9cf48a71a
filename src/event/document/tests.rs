use proptest::prelude::*;

use super::*;

fn fault(json: &str) -> DocumentFault {
    check(json.as_bytes()).unwrap_err()
}

fn repeated(json: &str) -> String {
    let found = fault(json);
    let DocumentFault::RepeatedKey { at, .. } = found else {
        panic!("{found:?}");
    };
    at
}

#[test]
fn repeated_key_is_found_anywhere() {
    for (json, at) in [
        (r#"{"a":1,"a":1}"#, ""),
        (r#"{"a":1,"\u0061":2}"#, ""),
        (r#"{"x":[0,{"a":1,"b":{},"a":2}]}"#, "/x/1"),
        (r#"{"x/y":{"~":{"k":1,"k":1}}}"#, "/x~1y/~0"),
        (r#"{"":{"":0,"":0}}"#, "/"),
        (r#"[[{"a":{"a":1},"a":{"a":1}}]]"#, "/0/0"),
    ] {
        assert_eq!(repeated(json), at, "{json}");
    }
    let many: Vec<String> = (0..200).map(|key| format!("\"k{key}\":0")).collect();
    let many = many.join(",");
    assert_eq!(check(format!("{{{many}}}").as_bytes()), Ok(()));
    for key in [0, 15, 16, 199] {
        assert_eq!(repeated(&format!("{{{many},\"k{key}\":1}}")), "");
    }
}

#[test]
fn good_documents_pass() {
    for json in [
        "null",
        " [1, -2.5e3, \"x\\u00e9\", true, {}] ",
        r#"{"a":{"a":{"a":[]}},"A":1}"#,
    ] {
        assert_eq!(check(json.as_bytes()), Ok(()), "{json}");
        assert_eq!(
            parse(json.as_bytes()).unwrap(),
            serde_json::from_str::<Value>(json).unwrap()
        );
    }
}

#[test]
fn text_that_parsers_read_differently_is_refused() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    for json in [
        "",
        "{",
        "{} {}",
        "{'a':1}",
        "[1,]",
        "nul",
        "\"\\ud800\"",
        "{\"\\udc00\":1}",
        "1e999",
        "01",
        "\u{feff}{}",
        &deep,
    ] {
        assert!(
            matches!(fault(json), DocumentFault::NotJson { .. }),
            "{json}"
        );
        assert!(parse(json.as_bytes()).is_err());
    }
    assert!(check(b"\"\xff\"").is_err());
}

/// serde_json reads an object with its private key as the JSON in the text: the schema would judge another document than is sent.
#[test]
fn key_that_the_parser_reserves_is_refused() {
    let json = r#"{"x":{"$serde_json::private::RawValue":"{\"amount\":1}"}}"#;
    assert!(matches!(fault(json), DocumentFault::ReservedKey { at, .. } if at == "/x"));
}

#[test]
fn fault_has_a_place_and_no_data() {
    let found = fault("{\"a\": \"secret\",\n \"b\": {\"c\": \"secret\", \"c\": \"secret\"}}");
    assert_eq!(found.to_string(), "the object at `/b` has a key twice");
    assert_eq!(found.position().0, 2);
    let found = fault("[\"secret\",\n x]");
    assert_eq!(found.position(), (2, 2));
    assert!(!found.to_string().contains("secret"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_bytes_are_checked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:a0 ]{0,40}") {
        if check(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
        if check(text.as_bytes()).is_ok() {
            prop_assert!(parse(text.as_bytes()).is_ok());
        }
    }
}

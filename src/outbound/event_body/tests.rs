use std::collections::HashSet;
use std::time::UNIX_EPOCH;

use super::*;

fn read(body: &str) -> Result<[u8; 32], Problem> {
    Draft::read(body.as_bytes(), Some("key"), UNIX_EPOCH).map(|draft| draft.digest)
}

#[test]
fn data_is_of_one_version_or_of_several() {
    let of = |rest: &str| format!(r#"{{"type":"a.b",{rest}}}"#);
    for good in [
        r#""data":null"#,
        r#""data":1,"version":1"#,
        r#""data":1,"version":9999"#,
        r#""versions":{"1":null,"12":2}"#,
    ] {
        read(&of(good)).unwrap();
    }
    for (bad, code) in [
        (r#""id":"key""#, "bad_request"),
        (r#""data":1,"version":0"#, "bad_request"),
        (r#""data":1,"version":10000"#, "bad_request"),
        (r#""data":1,"versions":{"1":1}"#, "bad_request"),
        (r#""versions":{"1":1},"version":1"#, "bad_request"),
        (r#""versions":{}"#, "bad_request"),
        (r#""versions":{"01":1}"#, "bad_request"),
        (r#""versions":{"+1":1}"#, "bad_request"),
        (r#""versions":{"":1}"#, "bad_request"),
        (r#""versions":{"1":1,"1":1}"#, "repeated_key"),
        (r#""data":{"a":1,"a":2}"#, "repeated_key"),
        (r#""versions":{"1":{"a":1,"a":2}}"#, "repeated_key"),
    ] {
        assert_eq!(read(&of(bad)).unwrap_err().code(), code, "{bad}");
    }
}

#[test]
fn publishes_that_mean_something_else_have_other_digests() {
    let all = [
        r#"{"type":"a.b","data":1}"#,
        r#"{"type":"a.c","data":1}"#,
        r#"{"type":"a.b","data":2}"#,
        r#"{"type":"a.b","data":1,"version":1}"#,
        r#"{"type":"a.b","data":1,"version":2}"#,
        r#"{"type":"a.b","data":1,"timestamp":"2026-11-24T13:04:33Z"}"#,
        r#"{"type":"a.b","versions":{"1":1}}"#,
        r#"{"type":"a.b","versions":{"2":1}}"#,
        r#"{"type":"a.b","versions":{"1":1,"2":1}}"#,
        r#"{"type":"a.b","versions":{"1":1,"2":12}}"#,
        r#"{"type":"a.b","versions":{"1":11,"2":2}}"#,
    ];
    let digests: HashSet<[u8; 32]> = all.iter().map(|body| read(body).unwrap()).collect();
    assert_eq!(digests.len(), all.len());
    // neither the order of the fields nor the spaces around them count
    let same = r#"{ "versions": {"2":1, "1":1}, "type": "a.b" }"#;
    assert_eq!(
        read(same).unwrap(),
        read(r#"{"type":"a.b","versions":{"1":1,"2":1}}"#).unwrap()
    );
}

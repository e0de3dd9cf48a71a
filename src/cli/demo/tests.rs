use super::*;

#[test]
fn tampered_body_differs_in_one_byte() {
    for provider in PROVIDERS {
        let body = body(
            provider,
            1,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        );
        assert!(
            serde_json::from_slice::<Value>(&body).unwrap().is_object(),
            "{provider}"
        );
    }
    let body = body(
        "github",
        5,
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
    );
    let changed = one_byte_changed(&body);
    assert_eq!(
        body.iter()
            .zip(&changed)
            .filter(|(one, other)| one != other)
            .count(),
        1
    );
    assert!(serde_json::from_slice::<Value>(&changed).is_ok());
}

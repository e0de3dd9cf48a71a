//! The body of a publish: what is taken has a key, means the same each time, and its data are bytes of the body.
//!
//! The input: a line with the header `Idempotency-Key`, empty for none; then the body.
use std::time::Duration;

use hookgate::event::catalogue::Given;
use hookgate::event::document;
use hookgate::outbound::Draft;

use super::request;

pub fn run(bytes: &[u8]) {
    let mut body = bytes;
    let Ok(header) = std::str::from_utf8(request::line(&mut body)) else {
        return;
    };
    let header = Some(header).filter(|header| !header.is_empty());
    match Draft::read(body, header, request::now().wall) {
        Ok(draft) => taken(&draft, body, header),
        Err(problem) => {
            assert!([400, 422].contains(&problem.status().as_u16()));
            assert!(!problem.code().is_empty());
        }
    }
}

fn taken(draft: &Draft<'_>, body: &[u8], header: Option<&str>) {
    assert!((1..=256).contains(&draft.key.len()));
    assert!(draft.key.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(header.is_none_or(|header| *header == *draft.key));
    assert!(!draft.event_type.as_str().starts_with("hookgate."));
    assert!(document::check(body).is_ok());
    let all = match &draft.given {
        Given::One(_, data) => vec![*data],
        Given::Many(versions) => versions.values().copied().collect(),
    };
    assert!(!all.is_empty());
    for data in all {
        let data = data.get().as_bytes();
        assert!(body.windows(data.len()).any(|part| part == data));
        assert!(document::check(data).is_ok());
    }
    // a repeated request, a day later and with its key in the header, too
    let later = request::now().wall + Duration::from_secs(86_400);
    let again = Draft::read(body, Some(&draft.key), later).unwrap();
    assert_eq!(again.digest, draft.digest);
    assert_eq!(
        (again.key, again.event_type),
        (draft.key.clone(), draft.event_type.clone())
    );
}

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::tenant::Invalid;

const ID: &str = "msg_01935c00000070008000000000000001";

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the JSON in place"
)]
fn resume(fields: Value) -> Result<Resume, Invalid> {
    Resume::read(fields.as_object().unwrap())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the JSON in place"
)]
fn recover(fields: Value) -> Result<Recover, Invalid> {
    Recover::read(fields.as_object().unwrap())
}

#[test]
fn resume_is_read() {
    assert_eq!(resume(json!({})).unwrap().waiting, Waiting::All);
    let since = resume(json!({ "waiting": "since", "since": "2026-11-21T09:00:00Z" })).unwrap();
    assert!(since.since.is_some());
    for (fields, at) in [
        (json!({ "waiting": "some" }), "/waiting"),
        (json!({ "waiting": "since" }), "/since"),
        (
            json!({ "waiting": "since", "since": "yesterday" }),
            "/since",
        ),
        (
            json!({ "waiting": "all", "since": "2026-11-21T09:00:00Z" }),
            "/since",
        ),
        (json!({ "since": "2026-11-21T09:00:00Z" }), "/since"),
        (json!({ "wating": "all" }), "/wating"),
    ] {
        assert_eq!(resume(fields.clone()).unwrap_err().at, at, "{fields}");
    }
}

#[test]
fn recover_is_read() {
    let one = recover(json!({ "what": "both", "since": "2026-11-16T00:00:00Z" })).unwrap();
    assert_eq!((one.rate, one.stop_after), (20, 20));
    let all = json!({ "what": "missing", "since": "2026-11-16T00:00:00Z", "until": "2026-11-17T00:00:00Z", "types": ["invoice.*"], "rate": 5, "stop_after": 3 });
    let all = recover(all).unwrap();
    assert_eq!((all.rate, all.stop_after, all.types.len()), (5, 3, 1));
    let ids = recover(json!({ "what": "ids", "ids": [ID, ID] })).unwrap();
    assert_eq!(ids.ids.len(), 1);
    for (fields, at) in [
        (json!({}), "/what"),
        (json!({ "what": null }), "/what"),
        (json!({ "what": "all" }), "/what"),
        (json!({ "what": "failed" }), "/since"),
        (json!({ "what": "ids" }), "/ids"),
        (json!({ "what": "ids", "ids": ["msg_1"] }), "/ids/0"),
        (
            json!({ "what": "ids", "ids": [ID], "since": "2026-11-16T00:00:00Z" }),
            "/what",
        ),
        (
            json!({ "what": "failed", "ids": [ID], "since": "2026-11-16T00:00:00Z" }),
            "/ids",
        ),
        (
            json!({ "what": "failed", "since": "2026-11-16T00:00:00Z", "until": "2026-11-16T00:00:00Z" }),
            "/until",
        ),
        (
            json!({ "what": "failed", "since": "2026-11-16T00:00:00Z", "types": [] }),
            "/types",
        ),
        (
            json!({ "what": "failed", "since": "2026-11-16T00:00:00Z", "rate": 0 }),
            "/rate",
        ),
        (
            json!({ "what": "failed", "since": "2026-11-16T00:00:00Z", "stop_after": 10_001 }),
            "/stop_after",
        ),
        (
            json!({ "what": "failed", "since": "2026-11-16T00:00:00Z", "dry": true }),
            "/dry",
        ),
    ] {
        assert_eq!(recover(fields.clone()).unwrap_err().at, at, "{fields}");
    }
}

#[test]
fn jobs_survive_the_store() {
    let now = UNIX_EPOCH + Duration::from_millis(1_795_525_320_123);
    let failed = json!({ "what": "failed", "since": "2026-11-16T00:00:00.125Z", "types": ["a.*"] });
    for work in [
        Work::Resume(resume(json!({ "waiting": "none" })).unwrap()),
        Work::Resume(
            resume(json!({ "waiting": "since", "since": "2026-11-21T09:00:00Z" })).unwrap(),
        ),
        Work::Recover(recover(failed).unwrap()),
        Work::Recover(recover(json!({ "what": "ids", "ids": [ID] })).unwrap()),
        Work::Remove,
    ] {
        let job = EndpointJob::new(work, "office", Some("renewed"), now);
        let later = EndpointJob {
            planned: Some(9),
            failures_before: 4,
            ..job.after_step(3).ended(Some(StopReason::Failures), now)
        };
        for job in [job, later] {
            let text = job.to_json();
            assert_eq!(EndpointJob::from_json(&text).unwrap(), job, "{text}");
            assert!(text.contains(&format!("\"kind\":\"{}\"", job.work.kind())));
        }
    }
    assert!(EndpointJob::from_json("{}").is_err());
}

#[test]
fn stored_form_is_fixed() {
    let now = UNIX_EPOCH + Duration::from_millis(1_795_525_320_123);
    let job = EndpointJob::new(Work::Remove, "office", None, now).after_step(2);
    assert_eq!(
        job.to_json(),
        r#"{"work":{"kind":"remove"},"actor":"office","started":"2026-11-24T13:02:00.123Z","done":2}"#
    );
}

#[test]
fn failures_count_from_the_start_of_a_job() {
    use crate::tenant::Cause;
    use crate::tenant::health::Failure;
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    let streak = |times: &[u64]| {
        times.iter().fold(None, |before, seconds| {
            let failure = Failure {
                at: at(*seconds),
                cause: Cause::Status(500),
                event: Uuid::from_u128(7),
            };
            Some(Streak::after_failure(before, &failure))
        })
    };
    let job = EndpointJob {
        failures_before: 2,
        ..EndpointJob::new(Work::Remove, "office", None, at(30))
    };
    for (times, due) in [
        (&[][..], 0),
        (&[10, 20], 0),
        (&[10, 20, 31, 32], 2),
        // a success ended the streak of before
        (&[31, 32, 33], 3),
    ] {
        assert_eq!(job.failures(streak(times).as_ref()), due, "{times:?}");
    }
}

#[test]
fn cursors_survive_the_store() {
    for after in [&b""[..], b"position"] {
        let cursor = JobCursor {
            phase: 1,
            after: after.to_vec(),
        };
        assert_eq!(JobCursor::from_bytes(&cursor.to_bytes()), Some(cursor));
    }
    assert_eq!(JobCursor::from_bytes(b""), None);
}

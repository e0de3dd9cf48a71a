//! Samples of `hookgate publish`.
use super::*;
use plan::{LeftOut, Planned, Target};

fn look(width: Option<usize>) -> Look {
    Look {
        width,
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn answer_says_how_many_endpoints_get_it() {
    let published = Published {
        id: "msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57".to_owned(),
        event_type: "invoice.paid".to_owned(),
        version: 2,
        targets: 3,
        accepted_at: "2026-11-21T13:04:33Z".to_owned(),
        repeated: false,
        warnings: Vec::new(),
    };
    let took = Duration::from_millis(2);
    assert_eq!(
        plain(&published.render(took, &look(None))),
        "✓ msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57   invoice.paid 2, 3 endpoints, on disk in 2 ms"
    );
    let none = Published {
        targets: 0,
        ..published.clone()
    };
    assert!(plain(&none.render(took, &look(None))).starts_with("! msg_"));
    let repeated = Published {
        repeated: true,
        ..published
    };
    assert!(
        plain(&repeated.render(took, &look(None)))
            .ends_with("3 endpoints, published before at 21 Nov 13:04")
    );
}

#[test]
fn plan_names_each_endpoint() {
    let target = |endpoint: &str, version, bytes, state: &str, why: &str| Target {
        endpoint: endpoint.to_owned(),
        version,
        bytes,
        state: state.to_owned(),
        why: why.to_owned(),
    };
    let planned = Planned {
        targets: vec![
            target(
                "ep_7Q2M0d3a01936f0c4e7a7d1e9b1f6a2c",
                2,
                1204,
                "active",
                "invoice.*",
            ),
            target(
                "ep_9D1C0d3a01936f0c4e7a7d1e9b1f6a2c",
                1,
                1188,
                "paused",
                "invoice.paid, mapped 2 → 1",
            ),
        ],
        left_out: vec![LeftOut {
            endpoint: "ep_P3RT0d3a01936f0c4e7a7d1e9b1f6a2c".to_owned(),
            why: "type".to_owned(),
        }],
        warnings: Vec::new(),
    };
    let shown = planned.render(&look(Some(100)));
    insta::assert_snapshot!("plan_plain", plain(&shown));
    insta::assert_snapshot!("plan_coloured", shown.replace('\x1b', "^"));
    assert_eq!(
        planned.foot(),
        "2 of 3 endpoints would get it; nothing was published"
    );
    assert_eq!(Planned::default().render(&look(None)), "");
}

#[test]
fn data_is_taken_as_it_is_written() {
    assert_eq!(data("{\"a\": 1.0}").unwrap(), "{\"a\": 1.0}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.json");
    std::fs::write(&path, "[1,  2]\n").unwrap();
    assert_eq!(data(&format!("@{}", path.display())).unwrap(), "[1,  2]\n");
    std::fs::write(&path, b"\xff").unwrap();
    let error = data(&format!("@{}", path.display())).unwrap_err();
    assert!(error.message.contains("UTF-8"), "{error:?}");
    let missing = data("@/missing/data.json").unwrap_err();
    assert_eq!(missing.exit, Exit::USAGE);
}

#[test]
fn unknown_outcome_names_the_key() {
    let error = Error::new(Exit::UNREACHED, "the gateway does not answer").why("no response");
    let error = given_up(error, "cli-1");
    assert_eq!(error.exit, Exit::UNREACHED);
    assert!(error.message.contains("may be published, or not"));
    assert_eq!(
        error.hint.as_deref(),
        Some("the same command with --id cli-1: it publishes the event only once")
    );
    assert!(can_repeat(StatusCode::SERVICE_UNAVAILABLE) && !can_repeat(StatusCode::CONFLICT));
}

//! Samples of `hookgate endpoints show` and `list`.
use super::*;
use crate::cli::endpoints::list;
use crate::cli::endpoints::shown::{Job, Paused};

fn look(width: Option<usize>) -> Look {
    Look {
        width,
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn now() -> SystemTime {
    term::moment("2026-11-24T13:07:02Z").unwrap()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn active() -> Endpoint {
    Endpoint {
        id: "ep_7a2f4c01936f0c4e7a7d1e9b1f6a2c8d".to_owned(),
        url: "https://hooks.acme.example/in".to_owned(),
        types: vec!["*".to_owned()],
        payload: "envelope".to_owned(),
        sign: "standard".to_owned(),
        state: "active".to_owned(),
        ..Endpoint::default()
    }
}

fn paused() -> Endpoint {
    let versions = [("invoice.paid".to_owned(), 1)];
    Endpoint {
        id: "ep_9d1c4c01936f0c4e7a7d1e9b1f6a2c8d".to_owned(),
        uid: Some("main".to_owned()),
        types: vec!["invoice.*".to_owned(), "order.created".to_owned()],
        versions: versions.into(),
        headers: vec!["Authorization".to_owned()],
        rate: Some("10/s".to_owned()),
        timeout: Some(20),
        ordered: true,
        on_dead: "pause".to_owned(),
        state: "paused".to_owned(),
        paused: Some(Paused {
            why: "failing".to_owned(),
            since: "2026-11-21T09:14:00Z".to_owned(),
            waiting: Some(1030),
        }),
        health: Some(Health {
            failing_since: "2026-11-16T09:14:00Z".to_owned(),
            failures: 412,
            error: Some("unreached_tls_expired".to_owned()),
            message: Some(
                "hooks.acme.example's certificate expired on 16 Nov 2026; 1,030 events wait"
                    .to_owned(),
            ),
            first: "msg_01935c0c4e7a7d1e9b1f6a2c8d4e0b57".to_owned(),
            ..Health::default()
        }),
        job: Some(Job {
            kind: "recover".to_owned(),
            state: "stopped".to_owned(),
            stop_reason: Some("failures".to_owned()),
            started_at: "2026-11-20T09:14:00Z".to_owned(),
            ended_at: Some("2026-11-20T09:15:00Z".to_owned()),
            planned: Some(1204),
            done: 690,
            ..Job::default()
        }),
        ..active()
    }
}

fn secrets() -> Vec<Secret> {
    let secret = |name: &str, ends_at: Option<&str>, signs| Secret {
        name: name.to_owned(),
        ends_at: ends_at.map(str::to_owned),
        signs,
    };
    vec![
        secret("2026-05", Some("2026-11-25T13:04:33Z"), true),
        secret("2026-11", None, true),
        secret("2026-12", None, false),
    ]
}

fn attempts() -> Vec<Attempt> {
    let failed = Attempt {
        event: "msg_01936e0c4e7a7d1e9b1f6a2c8d4e0b57".to_owned(),
        number: 10,
        cause: "schedule".to_owned(),
        started_at: "2026-11-21T09:14:00Z".to_owned(),
        took: 0.031,
        error: Some("unreached_tls_expired".to_owned()),
        message: Some("hooks.acme.example's certificate expired on 16 Nov 2026".to_owned()),
        ..Attempt::default()
    };
    let answered = Attempt {
        number: 9,
        status: Some(503),
        error: None,
        message: None,
        body_text: Some("\n  maintenance \x1b[2J\nmore".to_owned()),
        ..failed.clone()
    };
    let good = Attempt {
        number: 1,
        status: Some(204),
        cause: "test".to_owned(),
        started_at: "2026-11-24T13:04:33Z".to_owned(),
        ..answered.clone()
    };
    vec![good, failed, answered]
}

#[test]
fn endpoint_is_shown_with_its_failures() {
    let show = |endpoint: &Endpoint, width| {
        render(
            "acme",
            endpoint,
            &secrets(),
            &attempts(),
            now(),
            &look(width),
        )
    };
    let whole = show(&paused(), Some(100));
    insta::assert_snapshot!("show_plain", plain(&whole));
    insta::assert_snapshot!("show_coloured", whole.replace('\x1b', "^"));
    assert_eq!(next(&paused()).unwrap().0, "resume");
    let quiet = render("acme", &active(), &[], &[], now(), &look(None));
    assert_eq!(
        plain(&quiet),
        "ep_7a2f4c01936f0c4e7a7d1e9b1f6a2c8d   acme   https://hooks.acme.example/in   ✓ active\n\n  sends     *; envelope; signed by standard\n"
    );
    assert_eq!(next(&active()), None);
}

#[test]
fn dead_events_and_types_without_events_are_shown() {
    let show = |dead, unknown_types: &[&str]| {
        let endpoint = Endpoint {
            dead: Some(dead),
            unknown_types: unknown_types.iter().map(ToString::to_string).collect(),
            ..active()
        };
        plain(&render("acme", &endpoint, &[], &[], now(), &look(None)))
    };
    let text = show(1, &["invoce.*"]);
    assert!(
        text.contains("  dead      1 event; `hookgate endpoints recover` sends them again\n"),
        "{text}"
    );
    assert!(
        text.contains("  types     no type of the catalogue matches `invoce.*`\n"),
        "{text}"
    );
    assert!(show(100, &[]).contains("100 events or more;"));
    assert!(!show(0, &[]).contains("dead"));
}

#[test]
fn list_shows_states() {
    let failing = Endpoint {
        paused: None,
        state: "active".to_owned(),
        ..paused()
    };
    let resuming = Endpoint {
        state: "resuming".to_owned(),
        ..active()
    };
    let by_hand = Endpoint {
        health: None,
        paused: Some(Paused {
            why: "by_hand".to_owned(),
            since: "2026-11-24T09:14:00Z".to_owned(),
            waiting: None,
        }),
        ..paused()
    };
    let all = [active(), paused(), failing, resuming, by_hand];
    let shown = list::render(&all, &look(Some(100)));
    insta::assert_snapshot!("list_plain", plain(&shown));
    insta::assert_snapshot!("list_coloured", shown.replace('\x1b', "^"));
    let narrow = plain(&list::render(&all[..1], &look(None)));
    assert!(!narrow.contains("UID"), "{narrow}");
}

use std::collections::BTreeMap;

use serde_json::json;

use super::attention::{first_error, retries};
use super::*;
use crate::api::deliveries::Delivery;
use crate::api::status::{
    AlarmStatus, ClockStatus, FailingEndpoint, LastError, OutboundStatus, RouteStatus,
    SecretStatus, UpstreamStatus,
};

fn look() -> Look {
    Look {
        width: Some(100),
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn now() -> SystemTime {
    term::moment("2026-11-24T13:07:02Z").unwrap()
}

fn sample() -> Status {
    serde_json::from_value(json!({
        "version": "0.1.0", "uptime_seconds": 273_720, "ready": true,
        "generation": 14, "hash": "9f2c41ab", "loaded_at": "2026-11-24T13:04:00Z", "last_error": null,
        "config": {
            "generation": 14, "hash": "9f2c41ab", "loaded_at": "2026-11-24T13:04:00Z", "age_seconds": 182,
            "last_error": { "at": "2026-11-24T13:02:00Z", "message": "config.yaml:31:33: `verify` has no key `tolerence`" },
            "needs_restart": [], "stale_secrets": [],
        },
        "routes": [
            { "name": "github", "action": "forward", "provider": "github",
              "hour": { "received": 216, "forwarded": 177, "accepted": 0, "duplicates": 2, "refused": { "signature_mismatch": 36, "timestamp_stale": 1 }, "other": {} },
              "last_at": "2026-11-24T13:06:50Z",
              "last_unauthentic": { "at": "2026-11-24T13:06:50Z", "code": "signature_mismatch", "why": "the body is empty" },
              "secrets": [{ "name": "2026-11", "last_match_at": "2026-11-24T13:06:50Z", "expires": null }, { "name": "2026-05", "last_match_at": "2026-11-15T12:00:00Z", "expires": null, "state": "removable" }] },
            { "name": "stripe", "action": "queue", "waiting": 12, "dead": 0, "cancelled": 0, "provider": "stripe",
              "hour": { "received": 1216, "forwarded": 0, "accepted": 1202, "duplicates": 14, "refused": {}, "other": {} }, "last_at": "2026-11-24T13:07:01Z",
              "secrets": [{ "name": "2026-11", "last_match_at": "2026-11-24T13:07:01Z", "expires": null }, { "name": "2026-05", "last_match_at": "2026-11-24T12:07:01Z", "expires": null }] },
            { "name": "shopify", "action": "forward", "mode": "observe", "until": "2026-12-09T00:00:00Z", "provider": null, "hour": { "received": 88, "forwarded": 88, "accepted": 0, "duplicates": 0, "refused": {}, "other": {} },
              "last_at": "2026-11-24T13:03:00Z", "secrets": [{ "name": "secret-1", "last_match_at": "2026-11-24T13:03:00Z", "expires": null }] },
        ],
        "upstreams": [{ "name": "app", "url": "http://127.0.0.1:3000", "breaker": "open" }, { "name": "billing", "url": "http://b:1", "breaker": "closed" }],
        "clock": { "skew_seconds": -0.2, "samples": 1304, "jumped": false },
        "ledger": { "entries": 10_204, "bytes": 1_048_576, "capacity": 10_000_000, "forgotten_early": 0, "unsaved": 3 },
        "store": { "path": "/var/lib/hookgate", "alarm": null, "bytes": 432_013_312, "free": 8_157_921_280_u64, "last_fsync": 0.0021 },
        "in_flight_bytes": 0, "connections": 3,
    }))
    .unwrap()
}

/// A refused request of `github` that is kept, and the oldest retrying delivery of `stripe`.
fn details() -> Details {
    let kept = json!([{
        "at": "2026-11-24T13:06:40Z", "code": "signature_mismatch", "status": 401, "why": "the body is empty", "route": "github",
        "request_id": "01JDC9R7T3WA0000000000000X", "client": "192.0.2.1", "method": "POST", "path": "/webhooks/github",
        "kept_until": "2026-11-25T13:06:40Z"
    }]);
    Details {
        oldest: oldest(),
        kept: BTreeMap::from([("github".to_owned(), serde_json::from_value(kept).unwrap())]),
    }
}

/// The oldest retrying delivery of `stripe`.
fn oldest() -> BTreeMap<String, Delivery> {
    let target = json!({ "state": "retrying", "attempt_count": 4, "last": { "at": "2026-11-24T13:06:40Z", "outcome": "503", "took": 0.031 } });
    let oldest = crate::cli::deliveries::tests::fake_gateway::delivery(
        "evt_1",
        "invoice.paid",
        "2026-11-24T13:00:40Z",
        target,
    );
    BTreeMap::from([("stripe".to_owned(), serde_json::from_value(oldest).unwrap())])
}

#[test]
fn unreachable_upstream_is_shown() {
    let route = RouteStatus {
        waiting: Some(1),
        ..RouteStatus::default()
    };
    let mut first = oldest().remove("stripe").unwrap();
    let mut text = |outcome: &str| {
        first.targets[0].last.as_mut().unwrap().outcome = outcome.to_owned();
        retries(&route, &first, now())
    };
    assert_eq!(text("500"), "answers 500; 1 delivery waits, oldest 6 m");
    assert_eq!(
        text("unreached_refused"),
        "not reached; 1 delivery waits, oldest 6 m"
    );
    assert_eq!(
        text("ambiguous_timeout"),
        "no answer; 1 delivery waits, oldest 6 m"
    );
}

#[test]
fn page_fits_100_columns() {
    let page = render(&sample(), &details(), now(), &look());
    let plain = anstream::adapter::strip_str(&page).to_string();
    assert!(
        plain.lines().all(|line| line.chars().count() <= 100),
        "{plain}"
    );
    insta::assert_snapshot!("page_plain", plain);
    insta::assert_snapshot!("page_coloured", page.replace('\x1b', "^"));
}

#[test]
fn quiet_gateway_needs_no_attention() {
    let mut status = sample();
    status.config.last_error = None;
    status.upstreams.clear();
    status
        .routes
        .iter_mut()
        .for_each(|route| route.hour.refused.clear());
    assert!(attention(&status, &Details::default(), now()).is_empty());
    let plain = anstream::adapter::strip_str(&render(
        &status,
        &Details::default(),
        now(),
        &Look {
            utf8: false,
            ..look()
        },
    ))
    .to_string();
    assert!(plain.contains("ok nothing needs attention"), "{plain}");
}

#[test]
fn drained_gateway_says_what_it_waits_for() {
    let mut status = Status {
        draining_since: Some("2026-11-24T13:04:00Z".to_owned()),
        ..Status::default()
    };
    let text = |status: &Status| {
        let lines = attention(status, &Details::default(), now());
        anstream::adapter::strip_str(&attention::render(&lines, now(), &look())).to_string()
    };
    assert_eq!(
        text(&status),
        "  ! gateway   13:04:00 a drain began: it accepts no deliveries until it is restarted\n"
    );
    status.draining_since = None;
    assert_eq!(text(&status), "  ! gateway   it is not ready\n");
}

#[test]
fn each_trouble_needs_attention() {
    let check = |change: &dyn Fn(&mut Status)| {
        let mut status = Status {
            ready: true,
            ..Status::default()
        };
        assert!(attention(&status, &Details::default(), now()).is_empty());
        change(&mut status);
        assert_eq!(attention(&status, &Details::default(), now()).len(), 1);
    };
    check(&|status| status.config.stale_secrets = vec!["github/2026-11".to_owned()]);
    check(&|status| {
        status.config.stale_certificates =
            vec!["listen[0]: `key`: the file is not there".to_owned()];
    });
    check(&|status| status.config.needs_restart = vec!["listen".to_owned()]);
    check(&|status| status.store.alarm = Some("the disk is full".to_owned()));
    check(&|status| {
        let alarm = |code: &str| AlarmStatus {
            code: code.to_owned(),
            message: "why".to_owned(),
            ..AlarmStatus::default()
        };
        status.alarms = vec![alarm("disk_nearly_full"), alarm("clock_jump")];
    });
    check(&|status| {
        status.clock = ClockStatus {
            skew_seconds: -31.0,
            samples: 9,
            jumped: false,
        }
    });
    check(&|status| status.clock.jumped = true);
    check(&|status| {
        let until = Some("2026-11-26T00:00:00Z".to_owned());
        status.routes = vec![RouteStatus {
            mode: "observe".to_owned(),
            until,
            ..RouteStatus::default()
        }];
    });
    check(&|status| status.ledger.forgotten_early = 1);
    check(&|status| status.store.parked = 1);
    check(&|status| {
        status.routes = vec![RouteStatus {
            breaker: Some("open".to_owned()),
            ..RouteStatus::default()
        }];
    });
    check(&|status| {
        status.routes = vec![RouteStatus {
            secrets: vec![SecretStatus {
                needs_attention: true,
                ..SecretStatus::default()
            }],
            ..RouteStatus::default()
        }];
    });
    check(&|status| {
        status.upstreams = vec![UpstreamStatus {
            breaker: "half_open".to_owned(),
            ..UpstreamStatus::default()
        }];
    });
}

#[test]
fn control_characters_of_a_status_are_escaped() {
    let mut status = sample();
    status.config.last_error = Some(LastError {
        at: "x".to_owned(),
        message: "\u{1b}]0;owned\u{7}".to_owned(),
    });
    status.routes[0].name = "\u{1b}[2J".to_owned();
    let plain = anstream::adapter::strip_str(&render(&status, &Details::default(), now(), &look()))
        .to_string();
    assert!(
        plain.contains("\\x1b]0;owned\\x07") && plain.contains("\\x1b[2J"),
        "{plain}"
    );
}

#[test]
fn first_config_error_has_its_file() {
    let check = |text: &str, words: &str, file: Option<&str>| {
        assert_eq!(first_error(text), (words.to_owned(), file));
    };
    check(
        "error: no upstream is called `ap`\n  --> c/x.yaml:27:26\n   |",
        "c/x.yaml:27:26, no upstream is called `ap`",
        Some("c/x.yaml"),
    );
    check(
        "c/x.yaml:27:26: no upstream",
        "c/x.yaml:27:26: no upstream",
        Some("c/x.yaml"),
    );
    check(
        "the address is taken: 127.0.0.1:80",
        "the address is taken: 127.0.0.1:80",
        None,
    );
    check("", "", None);
}

#[test]
fn paused_queue_is_described() {
    let mut status = Status {
        routes: vec![RouteStatus {
            name: "stripe".to_owned(),
            ..RouteStatus::default()
        }],
        ..sample()
    };
    let text = |status: &Status| {
        let needs = attention(status, &Details::default(), now());
        needs
            .into_iter()
            .find(|need| need.subject == "stripe")
            .map(|need| need.text)
    };
    assert_eq!(text(&status), None);
    status.routes[0].pause_seconds = Some(12);
    assert_eq!(
        text(&status).unwrap(),
        "its queue pauses because the upstream is down or overloaded; next attempt in 12 s"
    );
}

#[test]
fn alarm_whose_cause_has_ended_needs_no_attention() {
    let alarm = |code: &str, ending| AlarmStatus {
        code: code.to_owned(),
        message: code.to_uppercase(),
        ending,
        ..AlarmStatus::default()
    };
    let status = Status {
        ready: true,
        alarms: vec![alarm("disk_nearly_full", true), alarm("clock_jump", true)],
        ..Status::default()
    };
    assert!(attention(&status, &Details::default(), now()).is_empty());
    let page = render(&status, &Details::default(), now(), &look());
    let plain = anstream::adapter::strip_str(&page).to_string();
    assert!(plain.contains("✓ nothing needs attention"), "{plain}");
    let line = "  ✓ gateway   disk_nearly_full: DISK_NEARLY_FULL\n";
    assert!(
        plain.contains(line) && !plain.contains("clock_jump"),
        "{plain}"
    );
}

#[test]
fn failing_endpoints_are_shown_by_name_and_counted() {
    let one = |id: &str, uid: Option<&str>| FailingEndpoint {
        id: id.to_owned(),
        uid: uid.map(str::to_owned),
        tenant: "acme".to_owned(),
        state: "active".to_owned(),
        since: "2026-11-24T09:14:00Z".to_owned(),
        failures: 12,
        message: "it answers 503".to_owned(),
    };
    let mut outbound = OutboundStatus {
        failing: vec![one("ep_1", Some("main")), one("ep_2", None)],
        ..OutboundStatus::default()
    };
    let text = |outbound: &OutboundStatus| {
        anstream::adapter::strip_str(&sending::failing(outbound, now(), &look())).to_string()
    };
    assert_eq!(
        text(&outbound),
        "  endpoints that fail, for their customers to repair:\n    \
         acme main (ep_1): it answers 503; 12 failures since 09:14:00\n    \
         acme ep_2: it answers 503; 12 failures since 09:14:00\n"
    );
    outbound.more_failing = 7;
    assert!(text(&outbound).ends_with("    and 7 more: hookgate endpoints list TENANT\n"));
}

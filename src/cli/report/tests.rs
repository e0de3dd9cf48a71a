use serde_json::json;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn look() -> Look {
    Look {
        width: Some(100),
        utf8: true,
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn now() -> SystemTime {
    moment("2026-11-23T13:12:00Z").unwrap()
}

fn sample() -> Report {
    serde_json::from_value(json!({
        "now": "2026-11-23T13:12:00Z",
        "routes": [
            { "route": "shopify", "mode": "observe", "observes": true, "until": "2026-12-01T00:00:00Z", "since": "2026-11-16T09:12:00Z",
              "authentic": 14_902, "last_authentic_at": "2026-11-23T13:08:00Z",
              "refused": [{ "code": "signature_missing", "count": 31, "last_at": "2026-11-21T09:00:00Z",
                            "hint": "all from 10.0.9.4, User-Agent curl/8.5: a test?" }] },
            { "route": "stripe", "mode": "observe", "observes": true, "until": "2026-12-01T00:00:00Z", "since": "2026-11-23T11:00:00Z",
              "authentic": 1, "last_authentic_at": "2026-11-23T11:00:12Z",
              "refused": [{ "code": "signature_mismatch", "count": 1_204, "last_at": "2026-11-23T13:11:48Z",
                            "hint": "from many clients (Stripe/1.0): another secret?" },
                          { "code": "timestamp_stale", "count": 3, "last_at": "2026-11-23T13:00:00Z", "hint": "from 2 clients: clocks apart?" }] },
            { "route": "github", "mode": "enforce", "observes": false, "until": null, "since": null, "authentic": 0, "last_authentic_at": null, "refused": [] },
            { "route": "old", "mode": "enforce", "observes": false, "until": "2026-11-20T00:00:00Z", "since": "2026-11-16T09:12:00Z",
              "authentic": 7, "last_authentic_at": "2026-11-19T13:08:00Z", "refused": [] },
            { "route": "open", "mode": "none", "observes": false, "until": null, "since": null, "authentic": 0, "last_authentic_at": null, "refused": [] },
        ],
    }))
    .unwrap()
}

#[test]
fn pages_fit_100_columns() {
    let report = sample();
    let all: Vec<&RouteReport> = report.routes.iter().collect();
    let page = render(&all, now(), DAY, &look());
    let plain = anstream::adapter::strip_str(&page).to_string();
    assert!(
        plain.lines().all(|line| line.chars().count() <= 100),
        "{plain}"
    );
    insta::assert_snapshot!("pages_plain", plain);
    insta::assert_snapshot!("pages_coloured", page.replace('\x1b', "^"));
}

#[test]
fn enforcing_routes_are_listed_by_name_only() {
    let report = sample();
    let names = |named| {
        chosen(&report, named).map(|routes| {
            routes
                .iter()
                .map(|route| route.route.clone())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(names(None).unwrap(), ["shopify", "stripe", "old"]);
    assert_eq!(names(Some("github")).unwrap(), ["github"]);
    let error = names(Some("shopfy")).unwrap_err();
    assert_eq!(
        (
            error.exit,
            error
                .why
                .as_deref()
                .unwrap()
                .starts_with("did you mean `shopify`?")
        ),
        (Exit::USAGE, true)
    );
}

#[test]
fn route_is_safe_after_enough_observation() {
    #[track_caller]
    fn check(change: impl Fn(&mut RouteReport), settled: Duration, safe: bool, words: &str) {
        let mut route = sample().routes.remove(0);
        change(&mut route);
        let verdict = verdict(&route, now(), settled);
        assert_eq!(verdict.is_ok(), safe, "{verdict:?}");
        let words_said = verdict.unwrap_or_else(|words| words);
        assert!(words_said.contains(words), "{words_said}");
    }
    let signed = |at: &'static str, count| {
        move |route: &mut RouteReport| {
            route.refused.push(WouldRefuse {
                code: "signature_mismatch".to_owned(),
                count,
                last_at: Some(at.to_owned()),
                hint: String::new(),
                why: None,
            });
        }
    };
    check(
        |_| {},
        DAY,
        true,
        "refused for 7 d. To enforce: remove `mode: observe` from route shopify.",
    );
    check(|_| {}, 8 * DAY, false, "has observed for 7 d");
    check(|route| route.authentic = 0, DAY, false, "no authentic");
    check(
        signed("2026-11-23T13:00:00Z", 2),
        DAY,
        false,
        "2 signed requests would have been refused, the last one 12 m ago",
    );
    check(
        signed("2026-11-20T13:00:00Z", 2),
        DAY,
        true,
        "refused for 3 d",
    );
    check(
        |route| route.refused[0].count = 2_000,
        DAY,
        false,
        "2,000 requests without a signature",
    );
    check(
        |route| route.since = Some("2026-11-23T13:02:00Z".to_owned()),
        DAY,
        false,
        "has observed for 10 m",
    );
    check(
        |route| route.since = Some("2026-11-23T13:02:00Z".to_owned()),
        Duration::ZERO,
        true,
        "refused for 10 m",
    );
    // a route that would never be seen to be unsafe
    check(|route| route.since = None, DAY, false, "Not yet");
}

#[test]
fn shares_never_round_to_0_or_100_percent() {
    assert_eq!(
        [
            share(0, 5),
            share(1, 5_000),
            share(4_999, 5_000),
            share(5, 5)
        ],
        ["", "< 0.1 %", "99.9 %", "100 %"]
    );
}

#[test]
fn control_characters_of_a_report_are_escaped() {
    let mut report = sample();
    report.routes[0].route = "\u{1b}[2J".to_owned();
    report.routes[0].refused[0].hint = "\u{1b}]0;owned\u{7}".to_owned();
    let page = render(&[&report.routes[0]], now(), DAY, &look());
    let plain = anstream::adapter::strip_str(&page).to_string();
    assert!(
        plain.contains("\\x1b]0;owned\\x07") && plain.contains("\\x1b[2J"),
        "{plain}"
    );
}

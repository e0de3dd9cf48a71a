//! Ways round a webhook route: targets that an app could take for a guarded path. None of them reaches it.
use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::Gate;
use super::support::http::{self, Connection};
use super::support::sign;

/// Group and targets. What is guarded is `/hooks/github`, where the route forwards to, and `/webhooks/github`, where it listens.
const TRICKS: &[(&str, &[&str])] = &[
    (
        "plain",
        &[
            "/hooks/github",
            "/hooks/github?",
            "/hooks/github?a=b",
            "/hooks/github?/../..",
            "/webhooks/github/",
        ],
    ),
    (
        "slashes",
        &[
            "/hooks/github/",
            "/hooks/github//",
            "/hooks//github",
            "/hooks///github",
            "//hooks/github",
            "///hooks/github",
            "/hooks/github/?x",
            "//gate.test/hooks/github",
        ],
    ),
    (
        "dot segments",
        &[
            "/./hooks/github",
            "/hooks/./github",
            "/hooks/github/.",
            "/hooks/github/./",
            "/x/../hooks/github",
            "/hooks/x/../github",
            "/../hooks/github",
            "/../../hooks/github",
            "/hooks/github/x/..",
            "/hooks/../hooks/github",
            "/hooks//../github",
            "/a/b/../../hooks/github",
            "/hooks/github/..",
        ],
    ),
    (
        "encoded once",
        &[
            "/%68ooks/github",
            "/hooks/%67%69%74%68%75%62",
            "/hooks%2fgithub",
            "/hooks%2Fgithub",
            "/%2e/hooks/github",
            "/x/%2e%2e/hooks/github",
            "/x/%2E./hooks/github",
            "/x/.%2e/hooks/github",
            "/hooks/x%2f..%2fgithub",
            "/%2fhooks/github",
            "/hooks/github%2f",
            "/hooks/github%2e",
        ],
    ),
    (
        "encoded twice and more",
        &[
            "/%2568ooks/github",
            "/hooks%252fgithub",
            "/hooks%25252fgithub",
            "/x/%252e%252e/hooks/github",
            "/hooks/%252e%252e/../github",
            "/hooks/%2525252567ithub",
            "/hooks/git%25%36%38ub",
            "/hooks/%%36%37ithub",
        ],
    ),
    (
        "backslashes",
        &[
            "/hooks\\github",
            "/hooks%5cgithub",
            "/hooks%5Cgithub",
            "/hooks%255cgithub",
            "/x\\..\\hooks\\github",
            "/x%5c..%5chooks/github",
            "/hooks/x\\../github",
            "/\\hooks/github",
        ],
    ),
    (
        "parameters",
        &[
            "/hooks;a=b/github",
            "/hooks/github;a=b",
            "/;/hooks/github",
            "/hooks/;/github",
            "/hooks/.;/github",
            "/x/..;/hooks/github",
            "/hooks/..;/../github",
            "/hooks/..;x=y/hooks/github",
            "/hooks/github%3ba=b",
            "/hooks/github;/",
            "/hooks;a%2fb/github",
            "/hooks/x;/../github",
        ],
    ),
    (
        "hidden queries",
        &[
            "/hooks/github%3fa=b",
            "/hooks/github%3Fa=b",
            "/hooks/github%23a",
            "/hooks/github%253fa",
            "/x%3f/../hooks/github",
            "/hooks/github#a",
        ],
    ),
    (
        "case",
        &[
            "/HOOKS/GITHUB",
            "/Hooks/Github",
            "/hooks/gitHub",
            "/%48OOKS/github",
            "/hooks/%47ithub",
        ],
    ),
    (
        "trailing junk",
        &[
            "/hooks/github.",
            "/hooks/github...",
            "/hooks/github%20",
            "/hooks/github%20%20",
            "/hooks/github+",
            "/hooks/github. .",
            "/hooks/github%2e%20",
            "/hooks/%20github",
            "/hooks/github%2520",
        ],
    ),
    (
        "extensions and scripts",
        &[
            "/hooks/github.json",
            "/hooks/github.JSON",
            "/hooks/github.php",
            "/hooks/github.xml/",
            "/hooks/github.php/x",
            "/index.php/hooks/github",
            "/app_dev.php/hooks/github",
            "/cgi-bin/app.cgi/hooks/github",
            "/hooks/github/index.php",
            "/hooks/github.json;a",
            "/hooks/github::$DATA",
            "/hooks/github/.json",
        ],
    ),
    (
        "other alphabets",
        &[
            "/hooks/%u0067ithub",
            "/hooks%u002fgithub",
            "/hooks%u2215github",
            "/hooks/%ef%bd%87ithub",
            "/hooks%ef%bc%8fgithub",
            "/hooks/git%ca%b0ub",
            "/hoo%e2%84%aas/github",
            "/x/%ef%bc%8e%ef%bc%8e/hooks/github",
            "/hooks\u{ff0f}github",
        ],
    ),
    (
        "no path at all",
        &[
            "/hooks%c0%afgithub",
            "/x/%c0%ae%c0%ae/hooks/github",
            "/hooks%e0%80%afgithub",
            "/hooks/github%00",
            "/hooks/github%00.png",
            "/hooks/github%0a",
            "/hooks/github%0d%0aX:%20y",
            "/hooks/github%09",
            "/hooks/%7fgithub",
            "/hooks/github%2500",
            "/hooks/github%ff",
        ],
    ),
    (
        "other forms",
        &[
            "http://gate.test/hooks/github",
            "http://other.test/hooks/github",
            "hooks/github",
            "*",
            "/hooks/github /x",
            "?/hooks/github",
        ],
    ),
];

/// Returns the paths that lenient apps read in a target, by the usual orders of decoding.
fn readings(target: &str) -> Vec<String> {
    let path = target.split(['?', '#']).next().unwrap();
    let decode =
        |path: &str, times: usize| (0..times).fold(path.to_owned(), |path, _| decoded(&path));
    let mut readings = Vec::new();
    for early in 0..=3 {
        for late in 0..=1 {
            for slash in [false, true] {
                for parameters in [false, true] {
                    let mut path = decode(path, early);
                    if slash {
                        path = path.replace('\\', "/");
                    }
                    if parameters {
                        path = path
                            .split('/')
                            .map(|segment| segment.split(';').next().unwrap())
                            .collect::<Vec<_>>()
                            .join("/");
                    }
                    let path = resolved(&decode(&resolved(&path), late));
                    let path = path
                        .to_lowercase()
                        .split(['?', '#', '\0'])
                        .next()
                        .unwrap()
                        .to_owned();
                    let path = path.trim_end_matches(['/', '.', ' ', '+']).to_owned();
                    readings.push(
                        path.split_once(".php/")
                            .map_or(path.clone(), |(_, info)| format!("/{info}")),
                    );
                    readings.push(
                        path.rsplit_once('.')
                            .map_or(path.clone(), |(stem, _)| stem.to_owned()),
                    );
                    readings.push(path);
                }
            }
        }
    }
    readings
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let pair = (bytes[at] == b'%')
            .then(|| path.get(at + 1..at + 3))
            .flatten()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(pair.unwrap_or(bytes[at]));
        at += if pair.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

fn is_guarded(target: &str) -> bool {
    readings(target)
        .iter()
        .any(|path| path == "/hooks/github" || path == "/webhooks/github")
}

/// The status of a request with this target, byte for byte; 0 if the connection was closed without an answer.
fn ask(address: SocketAddr, method: &str, host: &str, target: &str) -> u16 {
    let mut sender = Connection::open(address);
    sender
        .send(
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
    sender.answer().map_or(0, |answer| answer.status)
}

#[test]
fn no_trick_reaches_a_guarded_path() {
    let app = App::start();
    let other = app.url().replace("127.0.0.1", "localhost");
    // another host, and another name for the same app
    let more = "  - name: by-host\n    host: www.example.com\n    path: /{*rest}\n    pass: { upstream: app }\n  \
         - name: by-name\n    host: '*.example.org'\n    path: /{*rest}\n    pass: { upstream: other }\n";
    let yaml = config::pass(&app.url(), "", more).replace(
        "routes:",
        &format!("  other: {{ url: '{other}' }}\nroutes:"),
    );
    let yaml = yaml.replace(
        "health:",
        "limits: { refused_per_client: 100000/s }\nhealth:",
    );
    let gate = Gate::start(&yaml);
    let address = gate.address("senders");
    let mut matrix = BTreeMap::<&str, BTreeMap<u16, usize>>::new();
    let (mut tricks, mut requests) = (0, 0);
    for (group, targets) in TRICKS {
        for target in *targets {
            tricks += 1;
            for (method, host) in [
                ("GET", "gate.test"),
                ("POST", "www.example.com"),
                ("PUT", "a.example.org"),
            ] {
                let status = ask(address, method, host, target);
                requests += 1;
                *matrix.entry(group).or_default().entry(status).or_default() += 1;
                assert!(
                    [400, 404, 405].contains(&status),
                    "{method} {target} on {host}: {status}, and the app saw {:?}",
                    app.seen().last()
                );
            }
        }
    }
    assert!(tricks >= 80, "{tricks}");
    eprintln!("{tricks} targets, {requests} requests; statuses by group:");
    for (group, statuses) in &matrix {
        eprintln!("  {group:<24}{statuses:?}");
    }
    for seen in app.seen() {
        assert!(!is_guarded(&seen.target), "the app saw {}", seen.target);
    }
    assert_eq!(app.count(), 0);
    // what is signed goes there, and honest traffic everywhere else
    assert_eq!(
        gate.post(
            "/webhooks/github",
            &sign::github(SECRET, "id", b"{}"),
            b"{}"
        )
        .status,
        200
    );
    assert_eq!(app.last().target, "/hooks/github");
    for honest in [
        "/",
        "/hooks",
        "/hooks/gitlab",
        "/hooks/github-enterprise",
        "/hooks/github/deliveries",
        "/api/hooks/github",
        "/a%2Fb/c;d?e=/hooks/github",
        "/caf%C3%A9",
    ] {
        assert_eq!(
            http::request(address, "GET", honest, &[], b"").status,
            200,
            "{honest}"
        );
        assert_eq!(app.last().target, honest);
    }
    let refused = gate.health("/metrics").text();
    assert!(
        refused.contains("hookgate_requests_total{outcome=\"path_guarded\",route=\"by-name\"}"),
        "{refused}"
    );
}

/// Checks the tricks themselves: without the guard most of them would reach a guarded path.
#[test]
fn tricks_arrive_without_the_guard() {
    let known = TRICKS
        .iter()
        .filter(|(group, _)| !["other alphabets", "no path at all", "other forms"].contains(group));
    let (mut all, mut arrive) = (0, 0);
    for target in known.flat_map(|(_, targets)| *targets) {
        all += 1;
        arrive += usize::from(is_guarded(target));
    }
    eprintln!("{arrive} of {all} targets are the guarded path to some app");
    assert!(arrive * 10 >= all * 8, "{arrive} of {all}");
}

/// Paths with parameters are guarded with all that they take.
#[test]
fn patterns_are_guarded() {
    let app = App::start();
    let hook = |name: &str, path: &str, forward: &str| {
        format!(
            "  - {{ name: {name}, path: '{path}', verify: none, forward: {{ upstream: app{forward} }} }}\n"
        )
    };
    let more = hook(
        "tenants",
        "/in/{account}",
        ", path: '/tenants/{account}/hook'",
    ) + &hook("tree", "/tree/{*rest}", "");
    let gate = Gate::start(&config::pass(&app.url(), "", &more));
    let address = gate.address("senders");
    for target in [
        "/in/a/",
        "/IN/a",
        "/tenants/a/hook",
        "/tenants/b/HOOK/",
        "/tenants/x%2f../a/hook",
        "/x/../tree/a/b",
        "/Tree",
        "/TREE/a/b/c",
    ] {
        assert_eq!(ask(address, "GET", "gate.test", target), 404, "{target}");
    }
    for target in [
        "/in",
        "/in/a/b",
        "/tenants/a",
        "/tenants/a/hook/b",
        "/trees/a",
    ] {
        assert_eq!(ask(address, "GET", "gate.test", target), 200, "{target}");
    }
}

/// Refusals by the guard count against the rate of a client, as all refusals do.
#[test]
fn refusals_by_the_guard_count() {
    let app = App::start();
    let yaml = config::pass(&app.url(), "", "").replace(
        "health:",
        "trusted_proxies: [127.0.0.1]\nlimits: { refused_per_client: 1/h }\nhealth:",
    );
    let gate = Gate::start(&yaml);
    let forwarded_for = [("X-Forwarded-For", "203.0.113.9")];
    let statuses: Vec<u16> = (0..14)
        .map(|_| {
            http::request(
                gate.address("senders"),
                "GET",
                "/hooks/github",
                &forwarded_for,
                b"",
            )
            .status
        })
        .collect();
    assert_eq!((statuses[0], statuses[13]), (404, 429), "{statuses:?}");
}

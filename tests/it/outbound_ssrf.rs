//! No endpoint of a customer reaches what is not public.
use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use serde_json::{Value, json};

use super::support::gate::wait_for;
use super::support::outbound::start_strict;
use super::support::sentinel::Sentinel;

const CORPUS: &str = include_str!("support/abuse_corpus/ssrf.txt");

/// Returns the addresses of this machine that lead to others. Nothing is sent for it.
fn own_addresses() -> Vec<IpAddr> {
    let towards = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let own = towards.iter().filter_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    own.filter(|address| !address.is_unspecified()).collect()
}

/// Writes an address as the host of a URL.
fn host(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Returns the lines of the corpus: the kind, the name behind it, and the URL.
fn corpus() -> Vec<(&'static str, &'static str, String)> {
    let lines = CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| {
        let (kind, rest) = line.split_once(' ').unwrap();
        let (name, url) = match kind {
            "dns" => ("", rest),
            _ => rest.split_once(' ').unwrap(),
        };
        (kind, name, unescaped(url))
    });
    parts.collect()
}

/// Replaces the escapes of a line of the corpus.
fn unescaped(line: &str) -> String {
    let mut text = line.to_owned();
    for (escape, c) in [("\\t", "\t"), ("\\r", "\r"), ("\\n", "\n"), ("\\0", "\0")] {
        text = text.replace(escape, c);
    }
    while let Some((before, rest)) = text.split_once("\\u{") {
        let (digits, after) = rest.split_once('}').unwrap();
        let c = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
        text = format!("{before}{c}{after}");
    }
    text
}

#[test]
fn urls_of_the_corpus_are_refused_with_one_text_when_saved() {
    let (_gate, api) = start_strict("");
    let (status, known) = api.endpoint("acme", &json!({ "url": "https://hooks.example.com/" }));
    assert_eq!(status, 201, "{known}");
    let known = format!(
        "/v1/tenants/acme/endpoints/{}",
        known["id"].as_str().unwrap()
    );
    let mut texts = BTreeSet::new();
    let own = own_addresses();
    let own = own
        .iter()
        .map(|own| ("refused", "host", format!("https://{}/", host(own))));
    for (kind, name, url) in corpus().into_iter().chain(own) {
        let made = api.endpoint("acme", &json!({ "url": url }));
        let changed = api.call("PATCH", &known, Some(&json!({ "url": url })));
        if kind != "refused" {
            assert_eq!((made.0, changed.0), (201, 200), "{url}: {made:?}");
            let shown = made.1["url"].as_str().unwrap();
            assert!(name.is_empty() || shown.starts_with(&format!("https://{name}/")));
            let id = made.1["id"].as_str().unwrap();
            api.call("DELETE", &format!("/v1/tenants/acme/endpoints/{id}"), None);
            continue;
        }
        assert_eq!(
            (made.0, changed.0),
            (422, 422),
            "{url}: {made:?} {changed:?}"
        );
        assert_eq!(made.1, changed.1, "{url}");
        assert_eq!(
            (&made.1["code"], &made.1["at"]),
            (&json!("url_refused"), &json!("/url")),
            "{url}"
        );
        if name == "host" {
            texts.insert(made.1.to_string());
        }
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn no_host_of_the_corpus_leads_to_a_server_of_this_machine() {
    let sentinel = Sentinel::start();
    let port = sentinel.port;
    let (_gate, api) = start_strict(&format!("  endpoints: {{ http: true, ports: [{port}] }}\n"));
    let names = ["localhost", "app.localhost", "localhost.", "LOCALHOST"];
    let own: Vec<String> = own_addresses().iter().map(host).collect();
    let of_corpus = corpus()
        .into_iter()
        .filter(|(kind, name, _)| *kind == "refused" && *name == "host")
        .filter_map(|(_, _, url)| {
            let host = url.strip_prefix("https://")?.strip_suffix('/')?;
            (!host.is_empty() && !host.contains('/')).then(|| host.to_owned())
        });
    let mut texts = BTreeSet::new();
    let mut count = 0;
    for host in of_corpus
        .chain(own)
        .chain(names.map(str::to_owned))
        .collect::<Vec<_>>()
    {
        let (status, answer) =
            api.endpoint("acme", &json!({ "url": format!("http://{host}:{port}/") }));
        assert_eq!(status, 422, "{host}: {answer}");
        texts.insert(answer.to_string());
        count += 1;
    }
    assert!(count > 70, "{count}");
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(api.publish("acme", "none").len(), 36);
    sentinel.saw_nothing();
}

#[test]
fn saved_addresses_are_judged_again_at_each_attempt() {
    let sentinel = Sentinel::start();
    let port = sentinel.port;
    let endpoints = format!("  endpoints: {{ http: true, ports: [{port}] }}\n");
    let (gate, api) = start_strict(&format!(
        "{endpoints}  egress: {{ allow: [0.0.0.0/0, '::/0'] }}\n"
    ));
    let own: Vec<String> = own_addresses().iter().map(host).collect();
    let spellings = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "127。0。0。1",
    ];
    let mut saved = Vec::new();
    for host in spellings.into_iter().map(str::to_owned).chain(own) {
        let url = format!("http://{host}:{port}/");
        let (status, answer) = api.endpoint("acme", &json!({ "url": url }));
        if status == 201 {
            saved.push((host, answer["id"].as_str().unwrap().to_owned()));
        }
    }
    assert!(saved.len() >= 6, "{saved:?}");
    // the operator takes the exception back
    let running = std::fs::read_to_string(gate.config_path()).unwrap();
    let allows = running
        .lines()
        .find(|line| line.contains("egress"))
        .unwrap();
    std::fs::write(
        gate.config_path(),
        running.replace(&format!("{allows}\n"), ""),
    )
    .unwrap();
    gate.reload();
    wait_for("the reload", || {
        let url = format!("http://127.0.0.1:{port}/");
        api.endpoint("acme", &json!({ "url": url })).0 == 422
    });
    api.publish("acme", "judged");
    for (host, id) in &saved {
        let attempt = api.attempt("acme", id, 1);
        assert_eq!(
            (&attempt["error"], &attempt["status"], &attempt["peer"]),
            (&json!("unreached_blocked"), &Value::Null, &Value::Null),
            "{host}: {attempt}"
        );
    }
    sentinel.saw_nothing();
}

//! The quarantine with real routes: what is written, what is read back, and what a broken disk does to it.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Method};

use super::*;
use crate::clock::{Clock as _, Now, SystemClock};
use crate::config::load::load;
use crate::request::{Body, Client, HeaderLines, Received, RequestHead};

/// Returns the webhook routes of a config with one route for each line.
fn routes(lines: &[&str]) -> Vec<Arc<WebhookRoute>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    let head = "listen: [{ address: 127.0.0.1:0 }]\nupstreams: { app: { url: http://127.0.0.1:9 } }\nroutes:\n";
    let rest = "verify: { provider: github, secrets: [{ insecure_inline: an-own-secret-of-some-bytes }] }, dedupe: {}, forward: { upstream: app }";
    let lines: String = lines
        .iter()
        .map(|line| format!("  - {{ {line}, {rest} }}\n"))
        .collect();
    std::fs::write(&path, format!("{head}{lines}")).unwrap();
    load(&path, &|_| None, None, 1, SystemClock.now())
        .unwrap_or_else(|refused| panic!("{}", refused.report.render(true)))
        .snapshot
        .webhooks
}

fn github(quarantine: &str) -> Vec<Arc<WebhookRoute>> {
    routes(&[&format!(
        "name: github, path: /github, quarantine: {quarantine}"
    )])
}

fn id(number: u128) -> RequestId {
    RequestId::from_u128(number)
}

/// A refused request of a client with the last number `client`.
fn refused(number: u128, client: u8, body: &[u8]) -> Refused {
    let line = |(name, value): (&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let headers = [
        ("x-hub-signature-256", "sha256=00"),
        ("x-github-delivery", "d-1"),
        ("authorization", "Bearer s3cret"),
        ("cookie", "session=s3cret"),
        ("content-type", "application/json"),
    ];
    Refused {
        why: NotAuthentic::SignatureMismatch,
        received: Received {
            head: RequestHead {
                request_id: id(number),
                method: Method::POST,
                target: Bytes::from_static(b"/github?a=1"),
                authority: "hooks.example.com".to_owned(),
                tls: true,
                headers: HeaderLines::from_iter(headers.map(line)),
                declared_size: None,
                client: Client {
                    ip: [198, 51, 100, client].into(),
                    own: true,
                    behind_trusted_proxy: true,
                },
                certificate: None,
                received: SystemClock.now(),
            },
            body: Body::from(Bytes::copy_from_slice(body)),
        },
    }
}

fn quarantine(file: Option<&Path>, routes: &[Arc<WebhookRoute>]) -> Quarantine {
    let made = Quarantine::new(file.map(Path::to_owned), Arc::new(SystemClock));
    made.follow(routes.iter());
    made
}

/// Waits until what was offered is written, or is not kept.
fn settle(quarantine: &Quarantine) {
    wait_until(|| quarantine.shared.is_idle());
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let begun = SystemClock.mono();
    while !condition() {
        assert!(
            SystemClock.mono() - begun < Duration::from_secs(30),
            "it never was"
        );
        std::thread::yield_now();
    }
}

fn not_kept(quarantine: &Quarantine, why: NotKept) -> u64 {
    let counts = quarantine.not_kept();
    counts
        .iter()
        .find(|(label, _)| *label == why.label())
        .map(|(_, count)| *count)
        .unwrap()
}

fn held(quarantine: &Quarantine) -> Vec<(String, u64)> {
    let sums = quarantine.sums().into_iter();
    sums.map(|(route, sum)| (route.to_string(), sum.requests))
        .collect()
}

#[tokio::test]
async fn kept_request_outlives_the_process_without_its_other_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let (file, routes) = (directory.path().join("q.db"), github("{}"));
    let first = quarantine(Some(&file), &routes);
    let params = Params(vec![("account".into(), "a1".into())]);
    let why = first.offer(&routes[0], &params, refused(1, 1, b"{\"a\":\xff}"));
    assert_eq!(why, NotAuthentic::SignatureMismatch);
    settle(&first);
    let sums = first.sums();
    drop(first);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"s3cret"));

    let second = quarantine(Some(&file), &routes);
    assert_eq!(second.sums(), sums, "what it holds counts after a restart");
    let kept = second.get(id(1)).await.unwrap().unwrap();
    assert_eq!(
        (&*kept.entry.route, &*kept.entry.code, kept.params),
        ("github", "signature_mismatch", params)
    );
    let Received { head, body } = kept.received;
    assert_eq!(&body.bytes()[..], b"{\"a\":\xff}");
    assert_eq!(
        (&head.target[..], &*head.authority, head.tls),
        (&b"/github?a=1"[..], "hooks.example.com", true)
    );
    let names: Vec<&str> = head.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["x-hub-signature-256", "x-github-delivery", "content-type"]
    );
    let now: Now = SystemClock.now();
    assert!(now.wall.duration_since(head.received.wall).unwrap() < Duration::from_secs(60));
    assert_eq!(
        kept.entry.until,
        kept.entry.received_at + Duration::from_secs(24 * 60 * 60)
    );
    assert!(second.get(id(2)).await.unwrap().is_none());
    assert!(second.remove(id(1)).await.unwrap());
    assert!(!second.remove(id(1)).await.unwrap());
    assert_eq!(second.sums(), []);
}

#[test]
fn nothing_is_kept_or_made_without_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("q.db");
    let routes = routes(&["name: github, path: /github"]);
    let quarantine = quarantine(Some(&file), &routes);
    quarantine.offer(&routes[0], &Params::default(), refused(1, 1, b"{}"));
    quarantine.sweep(SystemClock.now().wall);
    assert_eq!(quarantine.sums(), []);
    assert!(!file.exists());
}

#[tokio::test]
async fn full_route_and_full_client_keep_what_they_have() {
    // 64 KiB, and 4 KiB for a client
    let routes = github("{ max_bytes: 64KiB }");
    let quarantine = quarantine(None, &routes);
    let offer = |number, client, size: usize| {
        let body = vec![b'x'; size];
        quarantine.offer(
            &routes[0],
            &Params::default(),
            refused(number, client, &body),
        );
        settle(&quarantine);
    };
    offer(1, 1, 2000);
    offer(2, 1, 2000);
    assert_eq!(not_kept(&quarantine, NotKept::ClientFull), 1);
    for client in 2..40 {
        offer(u128::from(client) + 10, client, 2000);
    }
    assert!(not_kept(&quarantine, NotKept::RouteFull) > 0);
    let sum = quarantine.sums()[0].1;
    assert!(sum.bytes <= 64 * 1024 && sum.bytes > 60 * 1024, "{sum:?}");
    assert!(
        quarantine.get(id(1)).await.unwrap().is_some(),
        "the first one is not evicted"
    );
    let newest = quarantine
        .newest(Some("github".to_owned()), 2)
        .await
        .unwrap();
    assert!(newest[0].id > newest[1].id);
    assert!(
        quarantine
            .newest(Some("gitlab".to_owned()), 2)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn full_disk_keeps_nothing_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (file, routes) = (directory.path().join("q.db"), github("{}"));
    let quarantine = quarantine(Some(&file), &routes);
    let offer = |number| {
        let body = vec![b'x'; 20_000];
        quarantine.offer(&routes[0], &Params::default(), refused(number, 1, &body));
        settle(&quarantine);
    };
    offer(1);
    quarantine.shared.limit_pages(12);
    offer(2);
    offer(3);
    let full = not_kept(&quarantine, NotKept::Disk);
    assert!(full >= 1, "{:?}", quarantine.not_kept());
    assert_eq!(held(&quarantine), [("github".to_owned(), 3 - full)]);
    assert!(quarantine.get(id(1)).await.unwrap().is_some());
    quarantine.shared.limit_pages(1000);
    offer(4);
    assert!(quarantine.get(id(4)).await.unwrap().is_some());
    assert_eq!(held(&quarantine), [("github".to_owned(), 4 - full)]);
}

#[tokio::test]
async fn damaged_file_is_set_aside_and_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (file, routes) = (directory.path().join("q.db"), github("{}"));
    let damage = "no database at all ".repeat(999);
    std::fs::write(&file, &damage).unwrap();
    let quarantine = quarantine(Some(&file), &routes);
    quarantine.offer(&routes[0], &Params::default(), refused(1, 1, b"{}"));
    settle(&quarantine);
    assert!(quarantine.get(id(1)).await.unwrap().is_some());
    let aside = directory.path().join("q.db.damaged");
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), damage);

    // while it runs: everything but the beginning of the file; another count of changes lets SQLite read it again
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[24..28].fill(0x77);
    bytes[100..].fill(0xff);
    std::fs::write(&file, &bytes).unwrap();
    assert!(quarantine.get(id(1)).await.is_err());
    assert_eq!(quarantine.sums(), [], "what is lost does not count");
    quarantine.offer(&routes[0], &Params::default(), refused(2, 1, b"{}"));
    settle(&quarantine);
    assert!(quarantine.get(id(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn renamed_route_keeps_its_requests_and_a_new_age_applies() {
    let old = github("{ max_age: 1h }");
    let quarantine = quarantine(None, &old);
    quarantine.offer(&old[0], &Params::default(), refused(1, 1, b"{}"));
    settle(&quarantine);
    let new =
        routes(&["name: hub, previously: [github], path: /github, quarantine: { max_age: 3h }"]);
    quarantine.follow(new.iter());
    wait_until(|| held(&quarantine) == [("hub".to_owned(), 1)]);
    let entry = quarantine.newest(Some("hub".to_owned()), 1).await.unwrap();
    let received = entry[0].received_at;
    assert_eq!(entry[0].until, received + Duration::from_secs(3 * 3600));
    // a removed route keeps its requests until their time is over
    quarantine.follow(routes(&["name: other, path: /other"]).iter());
    quarantine
        .shared
        .sweep_at(received + Duration::from_secs(3 * 3600 - 1));
    assert_eq!(held(&quarantine), [("hub".to_owned(), 1)]);
    quarantine.sweep(received + Duration::from_secs(3 * 3600));
    wait_until(|| held(&quarantine).is_empty());
    assert!(quarantine.get(id(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn ids_are_paged_oldest_first() {
    let routes = github("{}");
    let quarantine = quarantine(None, &routes);
    for number in [3, 1, 2] {
        quarantine.offer(&routes[0], &Params::default(), refused(number, 1, b"{}"));
    }
    settle(&quarantine);
    let name: Arc<str> = "github".into();
    let page = async |after| {
        quarantine
            .ids_after(Arc::clone(&name), after, 2)
            .await
            .unwrap()
    };
    assert_eq!(page(None).await, [id(1), id(2)]);
    assert_eq!(page(Some(id(2))).await, [id(3)]);
    assert_eq!(page(Some(id(3))).await, []);
    let ids = [1, 9].map(|number| id(number).to_string()).to_vec();
    let until = quarantine.kept_until(ids).await.unwrap();
    assert_eq!(until.keys().collect::<Vec<_>>(), [&id(1).to_string()]);
}

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::*;
use crate::clock::{Clock, FrozenClock, Now, SystemClock};
use crate::config::load::load;
use crate::config::snapshot::{Breaker, UpstreamTls};
use crate::request::{Client, HeaderLines, Received, RequestId};
use crate::route::template::{PathPart, PathTemplate};
use crate::verify::{Locator, SecretLocations, Unverified};

fn upstream(host: &str, port: u16, tls: bool, own_host: bool) -> Upstream {
    Upstream {
        name: "app".into(),
        address: UpstreamAddress::Tcp {
            host: host.to_owned(),
            port,
            tls: tls.then(UpstreamTls::default),
        },
        connect_timeout: Duration::from_secs(1),
        timeout: None,
        idle_timeout: Duration::from_secs(4),
        own_host,
        breaker: Breaker {
            failures: 5,
            open: Duration::from_secs(5),
        },
    }
}

fn forward(path: Option<PathTemplate>, keep_query: bool, drop_query: Option<&str>) -> Forward {
    Forward {
        upstream: Arc::new(upstream("app", 80, false, false)),
        path,
        keep_query,
        dropped: drop_query.map_or_else(SecretLocations::default, |name| {
            SecretLocations::default().and(&Locator::Query(name.to_owned()))
        }),
        timeout: Duration::from_secs(10),
        resign: false,
        sign: None,
    }
}

fn head(target: &str, authority: &str) -> RequestHead {
    RequestHead {
        certificate: None,
        request_id: RequestId::from_u128(1),
        method: Method::POST,
        target: Bytes::copy_from_slice(target.as_bytes()),
        authority: authority.to_owned(),
        tls: true,
        headers: HeaderLines::default(),
        declared_size: Some(0),
        client: Client {
            ip: IpAddr::from([192, 0, 2, 1]),
            own: true,
            behind_trusted_proxy: false,
        },
        received: SystemClock.now(),
    }
}

#[test]
fn target_is_unchanged_except_for_the_routes_rules() {
    let template = || {
        Some(PathTemplate(vec![
            PathPart::Literal("/in/".to_owned()),
            PathPart::Parameter("account".to_owned()),
            PathPart::Literal("/x".to_owned()),
        ]))
    };
    let params = Params(vec![("account".into(), "a%2Fb".into())]);
    let table = [
        (
            "/hook/a%2Fb?x=1&y=%zz",
            None,
            true,
            None,
            "/hook/a%2Fb?x=1&y=%zz",
        ),
        ("/hook/a%2Fb?x=1", None, false, None, "/hook/a%2Fb"),
        ("/hook/a%2Fb", None, true, None, "/hook/a%2Fb"),
        ("/hook/a%2Fb?", None, true, None, "/hook/a%2Fb?"),
        ("/hook/a%2Fb?x=1", template(), true, None, "/in/a%2Fb/x?x=1"),
        ("/hook/a%2Fb?x=1", template(), false, None, "/in/a%2Fb/x"),
        (
            "/hook?x=1&token=t&y=2",
            None,
            true,
            Some("token"),
            "/hook?x=1&y=2",
        ),
        ("/hook?token=t", None, true, Some("token"), "/hook"),
        ("/hook?tok%65n=t&z", None, true, Some("token"), "/hook?z"),
        (
            "/hook?token=a&token=b&Token=c",
            None,
            true,
            Some("token"),
            "/hook?Token=c",
        ),
        (
            "/hook?a?token=b&x",
            None,
            true,
            Some("token"),
            "/hook?a?token=b&x",
        ),
        ("/hook?api+key=b&x", None, true, Some("api key"), "/hook?x"),
    ];
    for (sent, path, keep, drop, expected) in table {
        let target = target(&head(sent, "h"), &params, &forward(path, keep, drop));
        assert_eq!(std::str::from_utf8(&target).unwrap(), expected, "{sent}");
    }
}

#[test]
fn host_is_the_senders_unless_the_upstream_wants_its_own() {
    let table = [
        (
            "hooks.example:8443",
            upstream("app", 3000, false, false),
            "hooks.example:8443",
        ),
        (
            "hooks.example",
            upstream("app", 3000, false, true),
            "app:3000",
        ),
        ("hooks.example", upstream("app", 80, false, true), "app"),
        ("hooks.example", upstream("app", 443, true, true), "app"),
        ("hooks.example", upstream("::1", 80, true, true), "[::1]:80"),
        ("", upstream("app", 3000, false, false), "app:3000"),
        ("a\r\nb", upstream("app", 3000, false, false), "app:3000"),
    ];
    for (sent, upstream, expected) in table {
        assert_eq!(host(&head("/", sent), &upstream), expected, "{sent:?}");
    }
}

/// 2026-11-25 09:00 UTC.
const RECEIVED: u64 = 1_795_597_200;
const STRIPE: &str = r#"{"id":"evt_1","type":"invoice.paid"}"#;

/// Returns the webhook route of a config with one route, whose secrets are `SECRET` and the newer `NEW`.
fn webhook(route: &str) -> Arc<WebhookRoute> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let upstreams = "upstreams: { app: { url: 'http://127.0.0.1:3000' } }";
    std::fs::write(&path, format!("listen: [{{ address: '127.0.0.1:0' }}]\nstore: {{ path: store }}\n{upstreams}\nroutes:\n  - {route}\n"))
        .unwrap();
    let env = |name: &str| {
        Some(match name {
            "SECRET" => "whsec_bGV0IG1lIGluLCBJIGFtIGEga2V5".into(),
            "NEW" => "whsec_YW5vdGhlciBrZXkgb2YgdGhlIHNhbWU=".into(),
            _ => return None,
        })
    };
    let loaded = load(&path, &env, None, 1, clock(0).now())
        .unwrap_or_else(|refused| panic!("{}", refused.report.render(false)));
    Arc::clone(&loaded.snapshot.webhooks[0])
}

/// Returns a clock at so many seconds after the receipt.
fn clock(later: u64) -> FrozenClock {
    FrozenClock::at_unix(RECEIVED + later)
}

/// Receives a request on the route, signed at that time with its secret of that index, and with more headers.
fn received(
    webhook: &WebhookRoute,
    body: &'static str,
    secret: usize,
    more: &[(&'static str, &str)],
) -> Received {
    let mut head = RequestHead {
        received: clock(0).now(),
        ..head("/hook?a=1&b=%zz", "h")
    };
    for (name, value) in more {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        head.headers.append(&name, &value.parse().unwrap());
    }
    let verifier = webhook.verifier.as_ref().unwrap();
    let signed = verifier
        .sign(
            &head,
            &Params::default(),
            body.as_bytes(),
            secret,
            clock(0).0,
        )
        .unwrap();
    for (name, value) in signed.headers {
        head.headers.insert(&name, &value);
    }
    for (name, value) in signed.query {
        let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        head.target = format!("/hook?a=1&{name}={value}&b=%zz").into();
    }
    Received {
        head,
        body: Bytes::from_static(body.as_bytes()).into(),
    }
}

fn authentic(webhook: &WebhookRoute, received: Received) -> Delivery {
    let authentic = webhook
        .verifier
        .as_ref()
        .unwrap()
        .verify(received, &Params::default(), clock(0).now())
        .unwrap();
    Delivery::new(
        Arc::clone(&webhook.name),
        Params::default(),
        Cleared::Authentic(authentic),
    )
}

fn attempt(later: u64, inline: bool) -> AttemptContext {
    AttemptContext {
        number: 2,
        received_at: clock(0).0,
        budget: Duration::from_secs(1),
        at: clock(later).0,
        dates: crate::clock::Dates::at(clock(later).0),
        inline,
        id_unchecked: false,
    }
}

/// Returns the values of a header that is sent, and whether the request is authentic `later`.
fn sent(
    webhook: &WebhookRoute,
    delivery: &Delivery,
    attempt: &AttemptContext,
    name: &str,
) -> (Vec<String>, bool) {
    let (outgoing, stale) = super::delivery(delivery, webhook, attempt);
    assert_eq!(
        (outgoing.body.as_ref(), stale),
        (delivery.body().as_ref(), None)
    );
    let values = outgoing
        .headers
        .iter()
        .filter(|(known, _)| known.as_str() == name)
        .map(|(_, value)| value.to_str().unwrap().to_owned());
    let values = values.collect();
    let head = RequestHead {
        target: outgoing.target,
        headers: outgoing.headers.iter().collect(),
        ..head("/", "h")
    };
    let again = Received {
        head,
        body: outgoing.body.into(),
    };
    let now = Now {
        wall: attempt.at,
        mono: clock(0).now().mono,
    };
    (
        values,
        webhook
            .verifier
            .as_ref()
            .unwrap()
            .verify(again, &Params::default(), now)
            .is_ok(),
    )
}

const DAY: u64 = 86_400;

/// Returns the value of a header of a request.
fn presented(received: &Received, name: &'static str) -> String {
    let value = received.head.headers.get(&HeaderName::from_static(name));
    String::from_utf8(value.unwrap().to_vec()).unwrap()
}

#[test]
fn only_queued_deliveries_are_signed_again() {
    let route = |action: &str| {
        let verify = "verify: { provider: stripe, secrets: [{ env: NEW }, { env: SECRET }] }";
        webhook(&format!(
            "{{ name: a, path: /hook, {verify}, dedupe: {{}}, {action} }}"
        ))
    };
    let resigning = route("forward: { upstream: app, on_failure: queue, resign: true }");
    let original = presented(&received(&resigning, STRIPE, 1, &[]), "stripe-signature");
    let delivery = authentic(&resigning, received(&resigning, STRIPE, 1, &[]));
    assert_eq!(
        sent(&resigning, &delivery, &attempt(0, true), "stripe-signature"),
        (vec![original.clone()], true)
    );
    let resigned =
        "t=1795683600,v1=e656ffdd14a33b25f5161f01cbf840fb2c82b966494841ed6ef9edc5203d5b2f"
            .to_owned();
    assert_eq!(
        sent(
            &resigning,
            &delivery,
            &attempt(DAY, false),
            "stripe-signature"
        ),
        (vec![resigned], true)
    );
    let plain = route("queue: { upstream: app }");
    assert_eq!(
        sent(&plain, &delivery, &attempt(DAY, false), "stripe-signature"),
        (vec![original.clone()], false)
    );
    let unproved = Delivery::new(
        "a".into(),
        Params::default(),
        Cleared::Unverified(Unverified::by_config(received(&resigning, STRIPE, 1, &[]))),
    );
    assert_eq!(
        sent(
            &resigning,
            &unproved,
            &attempt(DAY, false),
            "stripe-signature"
        ),
        (vec![original], false)
    );
}

/// The secret of the delivery's own signature is used if it is still accepted, else the newest that is.
#[test]
fn new_signature_uses_an_accepted_secret() {
    let route = |secrets: &str| {
        let verify = format!("verify: {{ provider: stripe, secrets: [{secrets}] }}");
        webhook(&format!(
            "{{ name: a, path: /hook, {verify}, dedupe: {{}}, queue: {{ upstream: app, resign: true }} }}"
        ))
    };
    let with = |webhook: &WebhookRoute| {
        let delivery = authentic(
            &route("{ env: SECRET }"),
            received(&route("{ env: SECRET }"), STRIPE, 0, &[]),
        );
        let (outgoing, stale) = super::delivery(&delivery, webhook, &attempt(DAY, false));
        let lines: Vec<_> = outgoing
            .headers
            .iter()
            .filter(|(name, _)| name == "stripe-signature")
            .collect();
        assert_eq!(lines.len(), 1);
        (lines[0].1.to_str().unwrap().to_owned(), stale)
    };
    let (own, new) = (
        "t=1795683600,v1=e656ffdd14a33b25f5161f01cbf840fb2c82b966494841ed6ef9edc5203d5b2f"
            .to_owned(),
        "t=1795683600,v1=8a3537b86018287de4de6eb79542947b296ed931f74fae87e0adf6ed6dc41175"
            .to_owned(),
    );
    assert_eq!(
        with(&route(
            "{ env: NEW }, { env: SECRET, name: other-than-before }"
        )),
        (own, None)
    );
    assert_eq!(with(&route("{ env: NEW }")), (new.clone(), None));
    let expired = "{ env: SECRET, expires: \"2026-11-25T10:00:00Z\" }";
    assert_eq!(
        with(&route(&format!("{{ env: NEW, name: n }}, {expired}"))),
        (new, None)
    );
    let (as_it_came, why) = with(&route(expired));
    assert!(
        as_it_came.starts_with(&format!("t={RECEIVED},")) && why == Some(CannotSign::NoSecret),
        "{as_it_came} {why:?}"
    );
}

#[test]
fn new_signature_replaces_every_header_of_the_old() {
    let svix = webhook(
        "{ name: a, path: /hook, verify: { provider: svix, secrets: [{ env: SECRET }] }, queue: { upstream: app, resign: true } }",
    );
    let both = [
        ("webhook-id", "m-1"),
        ("svix-id", "m-1"),
        ("webhook-timestamp", "1795597200"),
        ("svix-timestamp", "1795597200"),
    ];
    let mut received = received(&svix, "{}", 0, &both);
    let signature = presented(&received, "svix-signature");
    received.head.headers.insert(
        &HeaderName::from_static("webhook-signature"),
        &signature.parse().unwrap(),
    );
    let delivery = authentic(&svix, received);
    for name in ["svix-signature", "webhook-signature"] {
        let (values, accepted) = sent(&svix, &delivery, &attempt(DAY, false), name);
        assert!(
            accepted && values.len() == 1 && values[0] != signature,
            "{name} {values:?}"
        );
    }
    for name in ["svix-timestamp", "webhook-timestamp"] {
        assert_eq!(
            sent(&svix, &delivery, &attempt(DAY, false), name).0,
            ["1795683600"]
        );
    }
    let scheme = "scheme: hmac, algorithm: sha256, signature: { query: sig, encoding: base64 }, signed_content: \"{timestamp}.{body}\"";
    let route =
        format!("{{ {scheme}, timestamp: {{ header: X-Time }}, secrets: [{{ env: SECRET }}] }}");
    let query = webhook(&format!(
        "{{ name: a, path: /hook, verify: {route}, queue: {{ upstream: app, query: keep, resign: true }} }}"
    ));
    let delivery = authentic(&query, self::received(&query, "{}", 0, &[]));
    let (outgoing, _) = super::delivery(&delivery, &query, &attempt(DAY, false));
    let target = String::from_utf8(outgoing.target.to_vec()).unwrap();
    assert!(
        target.starts_with("/hook?a=1&b=%zz&sig=") && target.matches("sig=").count() == 1,
        "{target}"
    );
    assert_eq!(
        sent(&query, &delivery, &attempt(DAY, false), "x-time"),
        (vec!["1795683600".to_owned()], true)
    );
}

#[test]
fn only_authentic_deliveries_get_the_gateways_signature() {
    let verify = "verify: { provider: stripe, secrets: [{ env: SECRET }] }, dedupe: {}";
    let signing = webhook(&format!(
        "{{ name: a, path: /hook, {verify}, forward: {{ upstream: app, sign: {{ secret: {{ env: NEW }} }} }} }}"
    ));
    let forged = [
        ("webhook-id", "forged"),
        ("webhook_signature", "v1,forged"),
        ("HTTP_Webhook-Timestamp", "1"),
        ("webhook-idea", "theirs"),
    ];
    let request = || received(&signing, STRIPE, 0, &forged);
    let lines = |delivery: &Delivery, at: u64| {
        let (outgoing, _) = super::delivery(delivery, &signing, &attempt(at, true));
        let ours = outgoing
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().contains("webhook"));
        ours.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let theirs = line("webhook-idea", "theirs");
    let signed = [
        line("webhook-id", "evt_1"),
        line("webhook-timestamp", "1795683600"),
        line(
            "webhook-signature",
            "v1,seF8ZXXMtC3G9yyVl7HghfXuLSD4EvOJVnz/FLPFphQ=",
        ),
    ];
    assert_eq!(
        lines(&authentic(&signing, request()), DAY),
        [vec![theirs.clone()], signed.to_vec()].concat()
    );
    let unproved = Delivery::new(
        "a".into(),
        Params::default(),
        Cleared::Unverified(Unverified::by_config(request())),
    );
    assert_eq!(lines(&unproved, DAY), [theirs]);
    // without an ID of the provider's the request's own stands for it: it stays the same over all tries
    let no_id = authentic(&signing, received(&signing, "{}", 0, &[]));
    assert_eq!(
        lines(&no_id, 0)[0],
        line("webhook-id", no_id.head().request_id.as_str())
    );
}

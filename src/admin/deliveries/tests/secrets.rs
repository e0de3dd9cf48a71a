//! No view of a stored delivery shows a secret, whatever provider sent it and wherever the secret is.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::config::load::load;
use crate::config::presets::Catalogue;
use crate::config::snapshot::WebhookRoute;
use crate::verify::{Signed, Unverified};

/// Texts of which each preset takes one; none of them is a part of anything else in a request.
const SECRETS: [&str; 4] = [
    "whsec_UTBRMVEyUTNRNFE1UTZRN1E4UTlRQVFC",
    "hidden-user:hidden-password-0123456789",
    "UTBRMVEyUTNRNFE1UTZRN1E4UTlRQVFC",
    "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2",
];

/// Compiles a route with a secret. `None` if its provider does not accept such a secret.
fn webhook(route: &str, secret: &str) -> Option<Arc<WebhookRoute>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\nupstreams:\n  app: {{ url: http://127.0.0.1:9 }}\nroutes:\n  - {}\n",
        route.replace("SECRET", secret)
    );
    std::fs::write(&path, yaml).unwrap();
    let loaded = load(&path, &|_| None, None, 1, SystemClock.now()).ok()?;
    loaded.snapshot.webhooks.first().cloned()
}

/// Puts a signed delivery of the route into the store. Returns its ID and what its sender presented as proof.
async fn store(
    api: &TestApi,
    webhook: &WebhookRoute,
    lines: &[(&str, &str)],
    target: &str,
    body: &'static str,
) -> (DeliveryRef, Signed) {
    let mut received = received(target, lines, Bytes::from_static(body.as_bytes()));
    let verifier = webhook.verifier.as_ref().unwrap();
    let signed = verifier.sign(
        &received.head,
        &Params::default(),
        body.as_bytes(),
        0,
        SystemClock.now().wall,
    );
    // a time or signature inside the body cannot be made: nothing of such a request is the secret itself
    let signed = signed.unwrap_or_default();
    for (name, value) in &signed.headers {
        received.head.headers.append(name, value);
    }
    for (name, value) in &signed.query {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, value)
            .finish();
        received.head.target = [&received.head.target[..], b"?", query.as_bytes()]
            .concat()
            .into();
    }
    let cleared = Cleared::Unverified(Unverified::by_config(received));
    let delivery = crate::delivery::Delivery::new(webhook.name.clone(), Params::default(), cleared);
    let accept = Accept {
        record: stored::record(
            &delivery,
            &webhook.forward.dropped,
            &webhook.secret_locations,
            &[],
        ),
        body: body.into(),
        ..api.delivery(0, "id", Start::Anyone)
    };
    let id = accept.id;
    api.deliveries
        .store
        .accept(Arc::new(accept), Dedupe::None)
        .await
        .unwrap();
    (id, signed)
}

/// Reads all views of a delivery: without a token, and with one.
async fn views(api: &TestApi, id: DeliveryRef) -> [String; 2] {
    let open = api
        .raw(&format!("GET /-/deliveries/{id}"), false, None)
        .await
        .1;
    let mut read = String::new();
    for tail in ["", "/body", "/body?raw=true", "/http"] {
        let (status, answer) = api
            .raw(&format!("GET /-/deliveries/{id}{tail}"), true, None)
            .await;
        assert_eq!(status, 200, "{tail}: {answer}");
        read.push_str(&answer);
    }
    [open, read]
}

#[tokio::test]
async fn no_view_shows_a_secret_of_any_preset() {
    let api = TestApi::new().await;
    let (mut presets, mut kept_tokens) = (0, 0);
    for provider in Catalogue::built_in().names() {
        let route = format!(
            "{{ name: it, path: /in, public_url: 'https://hooks.example.com/in', handshake: none, verify: {{ provider: {provider}, MORE secrets: [{{ insecure_inline: \"SECRET\" }}] }}, forward: {{ upstream: app, keep_token: true, query: keep }} }}"
        );
        let routes = [
            route.replace("MORE", ""),
            route.replace("MORE", "signature: { header: X-Hook-Auth },"),
        ];
        let found = routes.iter().find_map(|route| {
            SECRETS
                .iter()
                .find_map(|secret| Some((webhook(route, secret)?, *secret)))
        });
        let (webhook, secret) = found.unwrap_or_else(|| panic!("no secret suits {provider}"));
        presets += 1;
        let (id, signed) = store(&api, &webhook, &[], "/in", "{\"id\":\"evt_1\"}").await;
        let [open, read] = views(&api, id).await;
        for shown in [&open, &read] {
            assert!(
                !shown.contains(secret) && !shown.contains(&STANDARD.encode(secret)),
                "{provider}: {shown}"
            );
        }
        for (name, value) in &signed.headers {
            let value = value.to_str().unwrap();
            if webhook.secret_locations.has_header(name.as_str()) {
                kept_tokens += 1;
                assert!(
                    open.contains(name.as_str()) && read.contains(name.as_str()),
                    "{provider}: the header itself is gone"
                );
                assert!(
                    !open.contains(value) && !read.contains(value),
                    "{provider}: {name}"
                );
            } else if webhook.secret_locations.signatures.contains(name) && value.len() > 20 {
                // the usual names of credentials are hidden in any case
                let shown = read.contains(value) || name == http::header::AUTHORIZATION;
                assert!(!open.contains(value) && shown, "{provider}: {name}");
            }
        }
    }
    assert!(
        presets >= 182 && kept_tokens >= 24,
        "{presets} presets, {kept_tokens} tokens"
    );
}

/// A scheme of one's own has names that nobody can know: the declaration alone tells.
#[tokio::test]
async fn no_view_shows_a_secret_of_a_custom_scheme() {
    let api = TestApi::new().await;
    let secret = "hidden-0123456789abcdef";
    let actions = "forward: { upstream: app, keep_token: true, query: keep }";
    for signature in [
        "{ header: X-Plain }",
        "{ header: [X-Plain, X-Other] }",
        "{ header: X-Plain, prefix: 'Key ' }",
        "{ query: k }",
        "{ query: 'a b' }",
    ] {
        let route = format!(
            "{{ name: it, path: /in, verify: {{ scheme: token, signature: {signature}, secrets: [{{ insecure_inline: \"SECRET\" }}] }}, {actions} }}"
        );
        let webhook = webhook(&route, secret).unwrap();
        // an app behind CGI takes the one for the other
        let decoy = [("x_plain", secret)];
        let decoy = if signature.contains("header") {
            &decoy[..]
        } else {
            &[]
        };
        let (id, signed) = store(&api, &webhook, decoy, "/in", "{}").await;
        assert!(!signed.headers.is_empty() || !signed.query.is_empty());
        for shown in views(&api, id).await {
            assert!(!shown.contains("hidden"), "{signature}: {shown}");
        }
    }
}

/// The second secret of a handshake may stand in the body of each delivery.
#[tokio::test]
async fn no_view_shows_a_secret_in_the_body() {
    let api = TestApi::new().await;
    let handshake = "handshake: { when: { json: /type, is: url_verification }, token: { json: /challenge }, guard: { json: /token }, answer: { text: '{token}' }, verify_token: { insecure_inline: hidden-0123456789abcdef } }";
    let route = format!(
        "{{ name: it, path: /in, {handshake}, verify: {{ provider: github, secrets: [{{ insecure_inline: SECRET }}] }}, forward: {{ upstream: app }} }}"
    );
    let webhook = webhook(&route, "another-0123456789abcdef").unwrap();
    let body = "{ \"type\": \"event\", \"token\": \"hidden-0123456789abcdef\", \"n\": 1 }";
    let (id, _) = store(&api, &webhook, &[], "/in", body).await;
    let [open, read] = views(&api, id).await;
    assert!(
        !open.contains("hidden") && !read.contains("hidden"),
        "{open} {read}"
    );
    assert!(
        read.contains("{ \"type\": \"event\", \"token\": \"[redacted]\", \"n\": 1 }"),
        "{read}"
    );
}

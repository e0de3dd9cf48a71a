//! Requests of odd shapes to the API of the app: each error has the documented form.
use super::support::gate::Gate;
use super::support::http;
use super::support::outbound::{TOKEN, config};

fn start(dir: &tempfile::TempDir) -> Gate {
    let yaml = config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", "[443]");
    Gate::in_process(&yaml)
}

#[test]
fn odd_requests_get_the_documented_form_of_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let gate = start(&dir);
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let ask = |method: &str, path: &str, body: &str| {
        let address = gate.address("outbound");
        let answer = http::request(address, method, path, &headers, body.as_bytes());
        let json = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let code = json["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            answer.status < 400 || json["error"].is_string() && json["help"].is_string(),
            "{method} {path}: {}",
            answer.text()
        );
        (answer.status, code)
    };
    assert_eq!(ask("PUT", "/v1/tenants/acme", "{}").0, 200);
    #[rustfmt::skip]
    let table = [
        ("GET", "/v1/tenants/%ff", "", 400, "bad_request"),
        ("PUT", "/v1/tenants/%c3%28", "{}", 400, "bad_request"),
        ("GET", "/v1/tenants/acme/endpoints/%80", "", 400, "bad_request"),
        ("POST", "/v1/tenants/%ff/events", "{}", 400, "bad_request"),
        ("PUT", "/v1/tenants/.", "{}", 422, "invalid"),
        ("PUT", "/v1/tenants/%2e%2e", "{}", 422, "invalid"),
        ("PUT", "/v1/tenants/a%2Fb", "{}", 422, "invalid"),
        ("PUT", "/v1/tenants/acme/endpoints/..", "{\"url\": \"https://hooks.example.com/\"}", 422, "invalid"),
        ("DELETE", "/v1/tenants/acme?purge=true", "", 400, "bad_request"),
        ("GET", "/v1/tenants/acme?limit=1", "", 400, "bad_request"),
        ("GET", "/v1/tenants?limt=1", "", 400, "bad_request"),
        ("POST", "/v1/tenants/acme/events?dryrun=true", "{}", 400, "bad_request"),
        ("PUT", "/v1/tenants/acme", "[]", 400, "bad_request"),
        ("POST", "/v1/tenants/acme/events", "{\"type\": \"a.b\", \"id\": \"1\", \"data\": {\"a\": 1, \"a\": 2}}", 400, "repeated_key"),
        ("POST", "/v1/tenants", "{}", 405, "method"),
        ("GET", "/v1/nothing", "", 404, "no_call"),
    ];
    let mut wrong = Vec::new();
    for (method, path, body, status, code) in table {
        let got = ask(method, path, body);
        if got != (status, code.to_owned()) {
            wrong.push(format!("{method} {path} {body}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

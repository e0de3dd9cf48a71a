//! A gateway that sends.
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::gate::{Gate, wait_for};
use super::http::{self, Answer};

/// The token of the app, with all rights.
pub const TOKEN: &str = "outbound-token-of-the-app-0123456789";
/// A token that may publish alone.
pub const PUBLISHER: &str = "outbound-token-of-billing-0123456789";
/// 32 bytes as base64.
pub const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A config that sends to loopback.
pub fn config(more: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE, key: {{ insecure_inline: \"{KEY}\" }} }}
upstreams: {{ app: {{ url: http://127.0.0.1:9 }} }}
routes: [{{ name: a, path: /a, verify: none, forward: {{ upstream: app }} }}]
outbound:
  listen: {{ address: 127.0.0.1:0 }}
  tokens:
    - {{ name: app, insecure_inline: {TOKEN}, allow: [publish, read, manage] }}
    - {{ name: billing, insecure_inline: {PUBLISHER} }}
  retry: {{ schedule: [1s, 1s, 1s] }}
  egress: {{ allow: [127.0.0.0/8] }}
  endpoints: {{ http: true, ports: PORTS }}
{more}"
    )
}

/// Returns the config of a gateway that sends, with these lines in place of the exception for loopback.
fn strict_config(dir: &tempfile::TempDir, lines: &str) -> String {
    config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("  egress: { allow: [127.0.0.0/8] }\n", "")
        .replace("  endpoints: { http: true, ports: PORTS }\n", lines)
}

/// Starts such a gateway, with a tenant `acme`.
pub fn start_strict(lines: &str) -> (Gate, Api) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = strict_config(&dir, lines);
    let gate = Gate::in_process_in(dir, &yaml);
    let api = Api::of(&gate);
    api.tenant("acme");
    (gate, api)
}

/// The API of a gateway that sends, as the app calls it.
pub struct Api {
    address: SocketAddr,
}

impl Api {
    /// Returns the API of a gateway.
    pub fn of(gate: &Gate) -> Self {
        Self {
            address: gate.address("outbound"),
        }
    }

    /// Sends a request.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let authorization = format!("Bearer {TOKEN}");
        let mut headers = vec![("authorization", authorization.as_str())];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        http::request(self.address, method, path, &headers, body.as_bytes())
    }

    /// Sends a request. Returns the status of its answer, and the JSON in it.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let answer = self.ask(method, path, body);
        let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, json)
    }

    /// Makes a tenant.
    #[track_caller]
    pub fn tenant(&self, uid: &str) {
        let (status, answer) = self.call("PUT", &format!("/v1/tenants/{uid}"), Some(&json!({})));
        assert_eq!(status, 200, "{answer}");
    }

    /// Makes an endpoint of a tenant with these fields. Returns the answer.
    pub fn endpoint(&self, tenant: &str, fields: &Value) -> (u16, Value) {
        self.call(
            "POST",
            &format!("/v1/tenants/{tenant}/endpoints"),
            Some(fields),
        )
    }

    /// Publishes an event of a tenant. Returns its ID.
    #[track_caller]
    pub fn publish(&self, tenant: &str, key: &str) -> String {
        let event = json!({ "type": "invoice.paid", "id": key, "data": { "key": key } });
        let (status, answer) = self.call(
            "POST",
            &format!("/v1/tenants/{tenant}/events"),
            Some(&event),
        );
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Waits for attempt number `number` to an endpoint, and returns what is recorded of it.
    #[track_caller]
    pub fn attempt(&self, tenant: &str, endpoint: &str, number: usize) -> Value {
        let path = format!("/v1/tenants/{tenant}/endpoints/{endpoint}/attempts?limit=500");
        let mut found = Value::Null;
        wait_for("an attempt", || {
            let (_, page) = self.call("GET", &path, None);
            let attempts = page["attempts"].as_array().unwrap();
            // the newest is first
            let index = attempts.len().checked_sub(number);
            found = index.map_or(Value::Null, |index| attempts[index].clone());
            !found.is_null()
        });
        found
    }
}

//! Tenants are kept apart: every call answers to the ID of another tenant's endpoint, event or secret as to one that was never given.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::support::app::App;
use super::support::gate::Gate;
use super::support::outbound::{Api, config};

const TENANT: &str = "/v1/tenants/{tenant}/";
const NO_ENDPOINT: &str = "ep_00000000000000000000000000000000";
const NO_EVENT: &str = "msg_00000000000000000000000000000000";
/// A name that no endpoint and no secret has.
const NO_NAME: &str = "never-given";

/// A call of the OpenAPI document for a tenant, with an ID in its path.
struct Call {
    method: String,
    /// The path behind the tenant.
    path: String,
    /// The names of the IDs in the path, in their order.
    ids: Vec<String>,
    has_body: bool,
}

/// Returns the calls of the document that have an ID in their path.
fn calls(api: &Api) -> Vec<Call> {
    let (_, document) = api.call("GET", "/v1/openapi.json", None);
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix(TENANT) else {
            continue;
        };
        let id = |segment: &str| {
            let name = segment.strip_prefix('{')?.strip_suffix('}')?;
            Some(name.to_owned())
        };
        let ids: Vec<String> = path.split('/').filter_map(id).collect();
        for (method, call) in methods.as_object().unwrap() {
            if !ids.is_empty() {
                calls.push(Call {
                    method: method.to_uppercase(),
                    path: path.to_owned(),
                    ids: ids.clone(),
                    has_body: call["requestBody"].is_object(),
                });
            }
        }
    }
    calls
}

impl Call {
    /// Returns the path for a tenant with these IDs.
    fn of(&self, tenant: &str, ids: &[String]) -> String {
        let mut path = TENANT.replace("{tenant}", tenant) + &self.path;
        for (name, id) in self.ids.iter().zip(ids) {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        path
    }

    /// Returns a body that is accepted for an ID of the tenant's own. `url` is one that an endpoint may have.
    fn body(&self, url: &str) -> Option<Value> {
        let last = self.path.rsplit('/').next().unwrap();
        let body = match (&*self.method, last) {
            ("PUT", "{endpoint}") => json!({ "url": url }),
            ("POST", "recover") => json!({ "what": "failed", "since": "2026-01-01T00:00:00Z" }),
            _ => json!({}),
        };
        self.has_body.then_some(body)
    }
}

/// An endpoint of a tenant, with its events and secrets.
struct Owned {
    id: String,
    uid: String,
    events: Vec<String>,
    /// The names of the secrets, in their order.
    secrets: Vec<String>,
}

impl Owned {
    /// Makes an endpoint with `secrets` secrets, and begins to recover the events at it.
    fn new(
        api: &Api,
        tenant: &str,
        (app, uid): (&App, &str),
        secrets: usize,
        events: &[String],
    ) -> Self {
        let endpoints = format!("/v1/tenants/{tenant}/endpoints");
        let fields = json!({ "url": app.url(), "uid": uid });
        let (status, made) = api.call("POST", &endpoints, Some(&fields));
        assert_eq!(status, 201, "{made}");
        let path = format!("{endpoints}/{uid}");
        for _ in 1..secrets {
            let (status, answer) = api.call("POST", &format!("{path}/rotate"), Some(&json!({})));
            assert_eq!(status, 200, "{answer}");
        }
        let recover = json!({ "what": "ids", "ids": events, "rate": 1 });
        let (status, plan) = api.call("POST", &format!("{path}/recover"), Some(&recover));
        assert_eq!(
            (status, &plan["count"]),
            (202, &json!(events.len())),
            "{plan}"
        );
        let (_, listed) = api.call("GET", &format!("{path}/secrets"), None);
        let listed = listed["secrets"].as_array().unwrap().iter();
        let mut secrets: Vec<String> = listed
            .map(|secret| secret["name"].as_str().unwrap().to_owned())
            .collect();
        secrets.sort();
        Self {
            id: made["id"].as_str().unwrap().to_owned(),
            uid: uid.to_owned(),
            events: events.to_vec(),
            secrets,
        }
    }

    /// Returns the IDs that it has under the name of a path, each with one of the same form that was never given.
    fn ids(&self, name: &str) -> Vec<(String, String)> {
        let pair = |id: &String, never: &str| (id.clone(), never.to_owned());
        match name {
            "endpoint" => vec![pair(&self.id, NO_ENDPOINT), pair(&self.uid, NO_NAME)],
            "event" => vec![pair(&self.events[0], NO_EVENT)],
            "name" => vec![pair(self.secrets.last().unwrap(), NO_NAME)],
            new => panic!("write which `{new}` a tenant has, so that this test covers the call"),
        }
    }
}

/// An answer: the status, the headers but for the date, and the body.
type Shown = (u16, BTreeSet<(String, String)>, String);

fn shown((api, app): (&Api, &App), call: &Call, path: &str) -> Shown {
    let answer = api.ask(&call.method, path, call.body(&app.url()).as_ref());
    let text = answer.text();
    let headers = answer.headers.into_iter();
    let headers = headers.filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
    (answer.status, headers.collect(), text)
}

/// Returns an endpoint as it is shown, but for what its job does meanwhile.
fn endpoint(api: &Api, tenant: &str, owned: &Owned) -> Value {
    let path = format!("/v1/tenants/{tenant}/endpoints/{}", owned.uid);
    let (status, mut shown) = api.call("GET", &path, None);
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["job"]["stop_reason"], Value::Null, "{shown}");
    for changing in ["job", "health"] {
        shown.as_object_mut().unwrap().remove(changing);
    }
    shown
}

/// Publishes events of a tenant that no endpoint has got.
fn events(api: &Api, tenant: &str) -> Vec<String> {
    let keys = (0..8).map(|number| format!("{tenant}-{number}"));
    keys.map(|key| api.publish(tenant, &key)).collect()
}

fn start(app: &App) -> (Gate, Api) {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", &format!("[{}, 443]", app.address.port()));
    let gate = Gate::in_process_in(dir, &yaml);
    let api = Api::of(&gate);
    for tenant in ["acme", "other"] {
        api.tenant(tenant);
    }
    (gate, api)
}

/// The document lists the calls, so a new one is covered by itself, or this test says what it needs for it.
#[test]
fn every_call_answers_to_ids_of_another_tenant_as_to_unknown_ones() {
    let app = App::start();
    let (_gate, api) = start(&app);
    let (of_acme, of_other) = (events(&api, "acme"), events(&api, "other"));
    let own = Owned::new(&api, "other", (&app, "own"), 1, &of_other);
    let mut covered = BTreeSet::new();
    for (number, call) in calls(&api).iter().enumerate() {
        let uid = format!("theirs-{number}");
        let theirs = Owned::new(&api, "acme", (&app, &uid), 2, &of_acme);
        let before = endpoint(&api, "acme", &theirs);
        // the first IDs are the tenant's own, the others are another's
        for first in 0..call.ids.len() {
            let mut paths = vec![(Vec::new(), Vec::new())];
            for (position, name) in call.ids.iter().enumerate() {
                let choices = if position < first {
                    let (id, _) = own.ids(name).swap_remove(0);
                    vec![(id.clone(), id)]
                } else {
                    theirs.ids(name)
                };
                let longer = |(ids, never): &(Vec<String>, Vec<String>)| {
                    let (ids, never) = (ids.clone(), never.clone());
                    let add = |(id, unknown): &(String, String)| {
                        let ids = [ids.clone(), vec![id.clone()]].concat();
                        (ids, [never.clone(), vec![unknown.clone()]].concat())
                    };
                    choices.iter().map(add).collect::<Vec<_>>()
                };
                paths = paths.iter().flat_map(longer).collect();
            }
            // with a name of its own, a tenant makes an endpoint by PUT
            paths.retain(|(ids, _)| call.method != "PUT" || !ids.contains(&uid));
            for (ids, never) in paths {
                let path = call.of("other", &ids);
                let got = shown((&api, &app), call, &path);
                assert_eq!(got.0, 404, "{} {path}: {}", call.method, got.2);
                let unknown = shown((&api, &app), call, &call.of("other", &never));
                assert_eq!(got, unknown, "{} {path}", call.method);
            }
        }
        assert_eq!(endpoint(&api, "acme", &theirs), before, "{}", call.path);
        // the IDs exist: their tenant gets another answer
        let ids = call
            .ids
            .iter()
            .map(|name| theirs.ids(name).swap_remove(0).0);
        let path = call.of("acme", &ids.collect::<Vec<_>>());
        let (status, _, text) = shown((&api, &app), call, &path);
        let is_found = (200..300).contains(&status) || status == 409;
        assert!(is_found, "{} {path}: {status} {text}", call.method);
        covered.extend(call.ids.iter().cloned());
    }
    let covered: Vec<&str> = covered.iter().map(String::as_str).collect();
    assert_eq!(covered, ["endpoint", "event", "name"]);
}

#[test]
fn ids_of_another_tenant_in_a_query_or_a_body_find_nothing() {
    let app = App::start();
    let (_gate, api) = start(&app);
    let (of_acme, of_other) = (events(&api, "acme"), events(&api, "other"));
    let own = Owned::new(&api, "other", (&app, "own"), 1, &of_other);
    let list = |key: &str| {
        let path = format!("/v1/tenants/other/events?key={key}");
        api.call("GET", &path, None)
    };
    assert_eq!(list("acme-0"), list(NO_NAME));
    assert_eq!(list("acme-0").1["events"], json!([]));
    assert_eq!(list("other-0").1["events"].as_array().unwrap().len(), 1);
    let plan = |id: &str| {
        let path = format!("/v1/tenants/other/endpoints/{}/recover", own.id);
        let body = json!({ "what": "ids", "ids": [id], "dry_run": true });
        api.call("POST", &path, Some(&body))
    };
    assert_eq!(plan(&of_acme[0]), plan(NO_EVENT));
    assert_eq!(
        (plan(&of_acme[0]).0, &plan(&of_acme[0]).1["count"]),
        (200, &json!(0))
    );
    assert_eq!(plan(&of_other[0]).1["count"], 1);
}

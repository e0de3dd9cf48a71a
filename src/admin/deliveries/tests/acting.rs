//! Replays, cancelling, purging, forgetting.
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::{ClaimResult, Token};

const SOON: Duration = Duration::from_secs(60);

impl TestApi {
    /// Delivers what is due, as `answers` says, until it is aborted.
    fn deliver(
        &self,
        answers: impl Fn(&str) -> u16 + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let (store, target) = (
            Arc::clone(&self.deliveries.store),
            TargetId(self.numbers[0]),
        );
        tokio::spawn(async move {
            loop {
                for leased in store
                    .lease(&[LeaseRequest::of(target, 9)], LEASE, 0)
                    .await
                    .unwrap()
                {
                    assert_eq!(leased.cause, Cause::Replay);
                    let status = answers(leased.stored.delivery_id.as_deref().unwrap());
                    let next = if status == 200 {
                        Next::Delivered
                    } else {
                        Next::RetryIn(Duration::from_secs(3600))
                    };
                    let attempt = Attempt {
                        cause: leased.cause,
                        started: SystemClock.now().wall,
                        took: Duration::from_millis(1),
                        connect: None,
                        first_byte: None,
                        status: Some(status),
                        error: None,
                        peer: None,
                        head: Bytes::new(),
                        body: Bytes::new(),
                        facts: Bytes::new(),
                    };
                    assert_eq!(
                        store
                            .settle(leased.lease, Some(attempt), next)
                            .await
                            .unwrap(),
                        Ownership::Owned
                    );
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }

    /// Waits until a replay is what `is` says.
    async fn until(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = SystemClock.mono() + SOON;
        loop {
            let shown = self.get(&format!("/-/replays/{id}")).await;
            if is(&shown) {
                return shown;
            }
            assert!(SystemClock.mono() < deadline, "{shown}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn begin(&self, body: Value) -> String {
        let (status, answer) = self.post("/-/deliveries/replay", body).await;
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_replay_is_in_the_audit_log_with_its_token() {
    let api = TestApi::new().await;
    let dead = api.dead("evt_1").await;
    let done = api.attempted(0, "evt_2", 200, Next::Delivered).await;
    assert_eq!(
        api.ask(
            &format!("POST /-/deliveries/{dead}/replay"),
            false,
            Some(&json!({}))
        )
        .await
        .0,
        401
    );
    let (status, answer) = api
        .post(
            "/-/deliveries/evt_1/replay",
            json!({ "reason": "app was down" }),
        )
        .await;
    assert_eq!(
        (status, answer),
        (200, json!({ "id": dead.to_string(), "done": 1 }))
    );
    assert_eq!(api.list("state=pending").await, ["evt_1"]);
    let (status, answer) = api.post("/-/deliveries/evt_2/replay", json!({})).await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (409, Some("there is nothing to replay"))
    );
    let (status, answer) = api
        .post(
            &format!("/-/deliveries/{done}/replay"),
            json!({ "include_delivered": true }),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        api.post("/-/deliveries/nobody/replay", json!({})).await.0,
        404
    );
    let audit = api.get("/-/audit").await;
    let first = &audit["audit"][2];
    assert_eq!(
        (
            &first["who"],
            &first["action"],
            &first["reason"],
            &first["done"]
        ),
        (
            &json!("anna"),
            &json!("replay"),
            &json!("app was down"),
            &json!(1)
        )
    );
}

#[tokio::test]
async fn a_duplicate_is_replayed_only_with_bypass_dedupe() {
    let api = TestApi::new().await;
    // dead, then forgotten, then sent again and delivered
    api.dead("evt_1").await;
    let (status, answer) = api
        .post("/-/forget", json!({ "route": "stripe", "id": "evt_1" }))
        .await;
    assert_eq!((status, answer), (200, json!({ "forgotten": true })));
    assert!(!api.source.forgotten.lock().is_empty());
    let first = api
        .deliveries
        .store
        .page(
            crate::store::archive::Scope::All,
            &Default::default(),
            Default::default(),
            None,
            9,
            crate::store::archive::UnitsShown::All,
        )
        .await
        .unwrap();
    let first = first.rows[0].id;
    api.attempted(0, "evt_1", 200, Next::Delivered).await;
    let shown = api.get("/-/deliveries/evt_1").await;
    assert_eq!(
        (
            &shown["same_id_count"],
            shown["id"] == json!(first.to_string())
        ),
        (&json!(1), false),
        "the newest"
    );
    let (status, answer) = api
        .post(&format!("/-/deliveries/{first}/replay"), json!({}))
        .await;
    assert_eq!(
        (
            status,
            answer["error"].as_str().unwrap().contains("same ID")
        ),
        (409, true)
    );
    let plan = api.begin(json!({ "filter": { "state": ["dead"] } })).await;
    let over = api
        .until(&plan, |replay| replay["state"] != "running")
        .await;
    assert_eq!(
        (
            &over["state"],
            &over["planned"],
            &over["skipped"],
            &over["not_attempted"]
        ),
        (&json!("done"), &json!(1), &json!(1), &json!(0))
    );
    let (status, _) = api
        .post(
            &format!("/-/deliveries/{first}/replay"),
            json!({ "bypass_dedupe": true }),
        )
        .await;
    assert_eq!(status, 200);
}

/// Checks that for a recorded delivery the ledger knows whether its sender's retry was delivered.
#[tokio::test]
async fn a_delivery_whose_retry_was_delivered_is_not_replayed() {
    let api = TestApi::new().await;
    for id in ["evt_1", "evt_2"] {
        let accept = api.delivery(0, id, Start::Over(Some(Reason::Attempts)));
        api.deliveries
            .store
            .accept(Arc::new(accept), Dedupe::None)
            .await
            .unwrap();
    }
    let key = api.deliveries.key("evt_1");
    assert_eq!(
        api.deliveries
            .store
            .claim(key, Token(1), LEASE)
            .await
            .unwrap(),
        ClaimResult::Fresh
    );
    assert_eq!(
        api.deliveries
            .store
            .commit(key, Token(1), WINDOW)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        api.post("/-/deliveries/evt_1/replay", json!({})).await.0,
        409
    );
    assert_eq!(
        api.post("/-/deliveries/evt_2/replay", json!({})).await.0,
        200
    );
    assert_eq!(
        api.deliveries
            .store
            .claim(api.deliveries.key("evt_2"), Token(1), LEASE)
            .await
            .unwrap(),
        ClaimResult::Fresh,
        "asking took nothing"
    );
}

#[tokio::test]
async fn a_plan_changes_nothing_and_a_replay_delivers_all() {
    let api = TestApi::new().await;
    for number in 0..12 {
        api.dead(&format!("evt_{number}")).await;
    }
    api.put(0, "waits", Start::In(WINDOW)).await;
    let asked = json!({ "filter": { "route": "stripe" }, "dry_run": true });
    let (status, plan) = api.post("/-/deliveries/replay", asked).await;
    assert_eq!(
        (status, &plan["count"], &plan["complete"], &plan["types"]),
        (
            200,
            &json!(12),
            &json!(true),
            &json!({ "invoice.paid": 12 })
        )
    );
    assert_eq!(
        (
            plan["sample"].as_array().unwrap().len(),
            &plan["sample"][0]["delivery_id"]
        ),
        (5, &json!("evt_0"))
    );
    assert!(
        plan["bytes"].as_u64() > Some(12 * 20)
            && plan["first_at"].as_str() <= plan["last_at"].as_str()
    );
    assert_eq!(api.list("state=dead").await.len(), 12);
    let delivering = api.deliver(|id| if id == "evt_3" { 503 } else { 200 });
    let id = api.begin(json!({ "filter": { "route": "stripe" }, "rate": 500, "stop_after": 2, "reason": "the migration" })).await;
    let over = api.until(&id, |replay| replay["state"] != "running").await;
    delivering.abort();
    let counts = [
        "planned",
        "done",
        "delivered",
        "failed",
        "skipped",
        "not_attempted",
    ]
    .map(|name| over[name].as_u64().unwrap());
    assert_eq!(
        (over["state"].as_str(), counts),
        (Some("done"), [12, 12, 11, 1, 0, 0]),
        "{over}"
    );
    assert_eq!(api.list("state=delivered").await.len(), 11);
    assert_eq!(api.list("state=retrying").await, ["evt_3"]);
    let audit = api.get("/-/audit").await;
    let rows = audit["audit"].as_array().unwrap();
    assert_eq!(
        (
            rows.len(),
            &rows[0]["done"],
            &rows[0]["reason"],
            &rows[0]["who"]
        ),
        (1, &json!(12), &json!("the migration"), &json!("anna"))
    );
    assert_eq!(api.get("/-/replays").await["replays"][0]["id"], json!(id));
    assert_eq!(
        api.post(&format!("/-/replays/{id}/resume"), json!({}))
            .await
            .0,
        409
    );
    assert_eq!(
        api.post(&format!("/-/replays/{id}/stop"), json!({}))
            .await
            .0,
        409
    );
}

#[tokio::test]
async fn failures_in_a_row_stop_a_replay_that_can_be_resumed() {
    let api = TestApi::new().await;
    for number in 0..30 {
        api.dead(&format!("evt_{number}")).await;
    }
    let is_back = Arc::new(AtomicBool::new(false));
    let is_answering = Arc::clone(&is_back);
    let answer = move |_: &str| {
        if is_answering.load(Ordering::Relaxed) {
            200
        } else {
            503
        }
    };
    let delivering = api.deliver(answer);
    let id = api
        // at this rate eight are under way at most, so it has not restarted all of them before it knows of three failures
        .begin(json!({ "filter": { "state": ["dead"] }, "rate": 4, "stop_after": 3 }))
        .await;
    let stopped = api.until(&id, |replay| replay["state"] != "running").await;
    assert_eq!(stopped["state"], "stopped", "{stopped}");
    assert!(
        stopped["stop_reason"]
            .as_str()
            .unwrap()
            .ends_with("failures in a row, the last: 503"),
        "{stopped}"
    );
    let failed = stopped["failed"].as_u64().unwrap();
    assert!(
        (3..30).contains(&failed) && stopped["not_attempted"].as_u64() == Some(30 - failed),
        "{stopped}"
    );
    is_back.store(true, Ordering::Relaxed);
    let (status, answer) = api
        .post(&format!("/-/replays/{id}/resume"), json!({ "rate": 1000 }))
        .await;
    assert_eq!(
        (status, &answer["state"], &answer["rate"]),
        (202, &json!("running"), &json!(1000.0))
    );
    let over = api.until(&id, |replay| replay["state"] != "running").await;
    delivering.abort();
    assert_eq!(
        (&over["state"], &over["done"], &over["stop_reason"]),
        (&json!("done"), &json!(30), &Value::Null),
        "{over}"
    );
    // one that was on its way when it stopped may have failed after that
    assert_eq!(
        over["delivered"].as_u64().unwrap() + over["failed"].as_u64().unwrap(),
        30,
        "{over}"
    );
}

#[tokio::test]
async fn a_replay_can_be_stopped_and_four_run_at_once() {
    let api = TestApi::new().await;
    for number in 0..5 {
        api.dead(&format!("evt_{number}")).await;
    }
    let mut begun = Vec::new();
    for number in 0..4 {
        begun.push(
            api.begin(json!({ "filter": { "id": format!("evt_{number}") }, "rate": 0.01 }))
                .await,
        );
    }
    let (status, answer) = api
        .post(
            "/-/deliveries/replay",
            json!({ "filter": { "id": "evt_4" } }),
        )
        .await;
    assert_eq!(
        (status, answer["error"].as_str()),
        (429, Some("4 replays are already running"))
    );
    let (status, _) = api
        .post(&format!("/-/replays/{}/stop", begun[0]), json!({}))
        .await;
    assert_eq!(status, 200);
    let stopped = api
        .until(&begun[0], |replay| replay["state"] != "running")
        .await;
    assert_eq!(
        (&stopped["state"], &stopped["stop_reason"]),
        (&json!("cancelled"), &json!("stopped by anna"))
    );
    api.begin(json!({ "filter": { "id": "evt_4" } })).await;
    assert_eq!(api.ask("GET /-/replays/r_nobody", false, None).await.0, 404);
}

#[tokio::test]
async fn cancel_and_purge_return_the_number_of_deliveries() {
    let api = TestApi::new().await;
    let waits = api.put(0, "waits", Start::Anyone).await.0;
    api.dead("dead").await;
    api.attempted(0, "done", 200, Next::Delivered).await;
    let purge = async |body: Value| api.post("/-/deliveries/purge", body).await;
    let all = json!({ "route": "stripe" });
    let (_, plan) = purge(json!({ "filter": all, "dry_run": true })).await;
    assert_eq!(plan["count"], 2, "what waits is spared");
    assert_eq!(
        purge(json!({ "filter": all, "dry_run": true, "include_waiting": true }))
            .await
            .1["count"],
        3
    );
    assert_eq!(
        purge(json!({ "filter": all, "reason": "gdpr" })).await,
        (200, json!({ "done": 2, "more": false }))
    );
    assert_eq!(api.list("").await, ["waits"]);
    let (status, answer) = api
        .post(
            "/-/deliveries/cancel",
            json!({ "ids": [waits.to_string()] }),
        )
        .await;
    assert_eq!((status, answer), (200, json!({ "done": 1, "more": false })));
    let audit = api.get("/-/audit").await;
    assert_eq!(
        (
            &audit["audit"][1]["selection"],
            &audit["audit"][0]["selection"]
        ),
        (&json!(r#"{"route":"stripe"}"#), &json!(waits.to_string()))
    );
    assert_eq!(api.list("state=cancelled").await, ["waits"]);
    assert_eq!(
        api.post("/-/deliveries/cancel", json!({ "filter": all }))
            .await
            .1["done"],
        0
    );
    api.put(0, "more", Start::Anyone).await;
    assert_eq!(
        purge(json!({ "filter": all, "include_waiting": true }))
            .await
            .1["done"],
        2
    );
    assert_eq!(api.list("").await.len(), 0);
    for body in [
        json!({}),
        json!({ "filter": {} }),
        json!({ "ids": ["x"] }),
        json!({ "ids": [], "filter": all }),
        json!({ "all": true }),
        json!([]),
    ] {
        assert_eq!(purge(body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(
        api.post("/-/deliveries/replay", json!({ "filter": {} }))
            .await
            .0,
        400
    );
    assert_eq!(
        api.post("/-/deliveries/replay", json!({ "filter": all, "rate": 0 }))
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn an_id_that_cannot_be_forgotten_is_an_error() {
    let api = TestApi::new().await;
    let forget = async |body: Value| api.post("/-/forget", body).await;
    assert_eq!(
        forget(json!({ "route": "stripe", "id": "evt_1" })).await,
        (200, json!({ "forgotten": false }))
    );
    assert_eq!(
        forget(json!({ "route": "github", "id": "evt_1" })).await.0,
        409,
        "its key is made of the body"
    );
    assert_eq!(
        forget(json!({ "route": "nobody", "id": "evt_1" })).await.0,
        404
    );
    assert_eq!(
        forget(json!({ "route": "stripe", "id": "evt_1", "params": { "a": "b" } }))
            .await
            .0,
        400
    );
    assert_eq!(forget(json!({ "route": "stripe" })).await.0, 400);
    // the stored one knows its key
    api.attempted(1, "evt_2", 200, Next::Delivered).await;
    assert_eq!(
        forget(json!({ "route": "github", "id": "evt_2", "reason": "re\0do" })).await,
        (200, json!({ "forgotten": true }))
    );
    let key = api.deliveries.key("evt_2");
    assert_eq!(
        api.deliveries
            .store
            .claim(key, Token(1), LEASE)
            .await
            .unwrap(),
        ClaimResult::Fresh
    );
    let audit = api.get("/-/audit?limit=1").await;
    assert_eq!(audit["audit"][0]["selection"], "route github id `evt_2`");
    assert_eq!(audit["audit"][0]["reason"], "re\u{fffd}do");
}

#[tokio::test]
async fn a_drain_with_now_attempts_waiting_deliveries() {
    let api = TestApi::new().await;
    api.attempted(0, "evt_1", 503, Next::RetryIn(WINDOW)).await;
    let due = async || {
        api.deliveries
            .store
            .lease(&[LeaseRequest::of(TargetId(api.numbers[0]), 9)], LEASE, 0)
            .await
            .unwrap()
            .len()
    };
    let (status, _) = api.post("/-/drain", json!({ "accept": false })).await;
    assert_eq!((status, due().await), (200, 0));
    let (status, left) = api
        .post("/-/drain", json!({ "accept": false, "now": true }))
        .await;
    assert_eq!((status, &left["accepting"]), (200, &json!(false)));
    assert_eq!(due().await, 1);
    let audit = api.get("/-/audit").await;
    assert_eq!(
        (&audit["audit"][0]["action"], &audit["audit"][0]["done"]),
        (&json!("attempt_now"), &json!(1))
    );
}

/// Forgets a recorded delivery, which has its ledger key, by the provider's ID and by its own.
#[tokio::test]
async fn a_recorded_delivery_is_forgotten_by_either_id() {
    let api = TestApi::new().await;
    let store = &api.deliveries.store;
    for by_own in [false, true] {
        let key = Key([7; 16]);
        assert_eq!(
            store.claim(key, Token(1), LEASE).await.unwrap(),
            ClaimResult::Fresh
        );
        assert_eq!(
            store.commit(key, Token(1), WINDOW).await.unwrap(),
            Ownership::Owned
        );
        let recorded = Accept {
            key: Some(key),
            ..api.delivery(1, "evt_body", Start::Over(None))
        };
        assert!(matches!(
            store
                .accept(Arc::new(recorded.clone()), Dedupe::None)
                .await
                .unwrap(),
            Accepted::New(_)
        ));
        let id = if by_own {
            recorded.id.to_string()
        } else {
            "evt_body".to_owned()
        };
        let (status, answer) = api
            .post("/-/forget", json!({ "route": "github", "id": id }))
            .await;
        assert_eq!(
            (status, answer),
            (200, json!({ "forgotten": true })),
            "own: {by_own}"
        );
        assert_eq!(
            store.claim(key, Token(2), LEASE).await.unwrap(),
            ClaimResult::Fresh,
            "the provider's redelivery is new"
        );
        store.release_soon(key, Token(2));
    }
}

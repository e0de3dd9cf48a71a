//! A gateway that notifies the app of its endpoints is killed again and again: the app gets each notification, and each has one ID.
//!
//! `HOOKGATE_KILLS` makes this test longer: a round for each 40 kills.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::gate::wait_at_most;
use super::support::killed::{Killed, kills};
use super::support::queue::waiting;

const PATIENCE: Duration = Duration::from_secs(180);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// So many that what is done for all of them is often cut off.
const ENDPOINTS: usize = 8;
/// The kills of each part of a round.
const KILLS: usize = 2;
const HOUR_MS: i64 = 3_600_000;

const FAILING: &str = "hookgate.endpoint.failing";
const PAUSED: &str = "hookgate.endpoint.paused";
const GONE: &str = "hookgate.endpoint.gone";
const RECOVERED: &str = "hookgate.endpoint.recovered";
const RECOVERY_DONE: &str = "hookgate.recovery.done";

/// The notifications about an endpoint, by its ID and their type.
type ByKind<T> = BTreeMap<(String, String), T>;

/// A gateway that is killed, its endpoints, and the app that is notified of them.
struct Notifying {
    killed: Killed,
    ops: App,
    endpoints: Vec<String>,
    /// How many notifications there must be.
    expected: ByKind<usize>,
    /// The number of times that events were published.
    published: usize,
}

impl Notifying {
    fn start() -> Self {
        let ops = App::answering(|_, _| Act::status(204));
        let url = ops.url();
        let more = format!(
            "  notices: {{ url: \"{url}/hook\", secret: {{ insecure_inline: {SECRET} }} }}
egress: {{ allow: [127.0.0.0/8] }}
"
        );
        let killed = Killed::new("notifications", "100ms", &more);
        let paths = (0..ENDPOINTS).map(|number| format!("/{number}"));
        let endpoints = paths.map(|path| killed.endpoint(&path)).collect();
        Self {
            killed,
            ops,
            endpoints,
            expected: BTreeMap::new(),
            published: 0,
        }
    }

    /// Publishes some events to all endpoints.
    fn publish(&mut self) {
        self.published += 1;
        self.killed.publish(&format!("time-{}", self.published), 3);
    }

    /// Publishes events that become dead at all endpoints.
    fn publish_dead(&mut self) {
        self.killed.answer(500);
        self.publish();
        self.wait_until_sent();
    }

    /// Waits until nothing waits to be sent, neither events nor notifications.
    fn wait_until_sent(&self) {
        wait_at_most(PATIENCE, "all to be sent", || {
            waiting(self.killed.dir.path()) == 0
        });
    }

    /// Starts it again and again, and kills it about when it looks at the failures, which is when it starts.
    fn kill_while_starting(&mut self) {
        self.killed.kill();
        for _ in 0..KILLS {
            self.killed.start_and_kill_within(40);
        }
        self.killed.start();
    }

    fn are_all(&self, state: &str) -> bool {
        let mut endpoints = self.endpoints.iter();
        endpoints.all(|id| self.killed.state(id) == state)
    }

    /// Resumes all endpoints, and cancels what waited for them.
    fn resume(&self) {
        for id in &self.endpoints {
            self.killed.set(id, "resume", &json!({ "waiting": "none" }));
        }
        wait_at_most(PATIENCE, "the end of the resumes", || {
            self.are_all("active")
        });
    }

    /// Kills it, and lets the failures of all endpoints be many, and this old.
    fn age_failures(&mut self, hours: i64) {
        self.killed.kill();
        let update = "update health set since = last - ?1, hours = 100, failures = 100";
        let database = self.killed.database();
        let changed = database.execute(update, [hours * HOUR_MS]).unwrap();
        assert_eq!(changed, ENDPOINTS);
    }

    fn expect(&mut self, id: &str, kind: &str) {
        let key = (id.to_owned(), kind.to_owned());
        *self.expected.entry(key).or_default() += 1;
    }

    /// Waits until the app has one more notification of this kind about each endpoint, and checks that it got no others.
    fn expect_of_all(&mut self, kind: &str) {
        for id in self.endpoints.clone() {
            self.expect(&id, kind);
        }
        self.check(kind);
    }

    /// Waits until the app has all notifications, and checks that it got no others.
    fn check(&self, what: &str) {
        let counts = || -> ByKind<usize> {
            let notified = self.notified().into_iter();
            notified.map(|(key, ids)| (key, ids.len())).collect()
        };
        let has_all = || {
            let counts = counts();
            let mut expected = self.expected.iter();
            expected.all(|(key, count)| counts.get(key) >= Some(count))
        };
        wait_at_most(PATIENCE, what, has_all);
        assert_eq!(counts(), self.expected, "{what}");
    }

    /// Returns the IDs of the notifications that the app got. A repeated one has the ID and the body that it had.
    fn notified(&self) -> ByKind<BTreeSet<String>> {
        let (mut found, mut bodies) = (ByKind::<BTreeSet<String>>::new(), BTreeMap::new());
        for seen in self.ops.seen() {
            let id = seen.header("webhook-id").unwrap().to_owned();
            let known = bodies
                .entry(id.clone())
                .or_insert_with(|| seen.body.clone());
            assert_eq!(*known, seen.body, "{id}");
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let key = (text(&body["data"]["endpoint"]), text(&body["type"]));
            found.entry(key).or_default().insert(id);
        }
        found
    }

    /// The endpoints answer 410 and are paused by it.
    fn pauses_by_410(&mut self) {
        self.killed.answer(410);
        for _ in 0..KILLS {
            self.publish();
            self.killed.kill_within(30);
        }
        // an attempt that ended just before a kill is made again when the next event comes
        self.publish();
        wait_at_most(PATIENCE, "the pauses", || self.are_all("paused"));
        self.expect_of_all(GONE);
        self.resume();
    }

    /// Recoveries end, or stop because the endpoint fails.
    fn recoveries(&mut self, status: u16, limits: &Value) {
        self.publish_dead();
        self.killed.answer(status);
        for number in 0..KILLS {
            let id = self.endpoints[number % ENDPOINTS].clone();
            let mut recover = json!({ "what": "failed", "since": "2026-01-01T00:00:00Z" });
            let fields = limits.as_object().unwrap().clone();
            recover.as_object_mut().unwrap().extend(fields);
            let path = format!("/v1/tenants/acme/endpoints/{id}/recover");
            let (begun, plan) = self.killed.api().call("POST", &path, Some(&recover));
            assert_eq!(begun, 202, "{plan}");
            self.killed
                .kill_within(if status == 200 { 30 } else { 500 });
            let is_over = || self.killed.shown(&id)["job"]["state"] != "running";
            wait_at_most(PATIENCE, "the end of the recovery", is_over);
            self.expect(&id, RECOVERY_DONE);
        }
        self.check(RECOVERY_DONE);
    }

    /// The endpoints fail for a day, for three days, and for so long that they are paused. The gateway looks at that when it starts.
    fn failures(&mut self) {
        self.publish_dead();
        for (hours, kind) in [(25, FAILING), (73, FAILING), (121, PAUSED)] {
            self.age_failures(hours);
            self.kill_while_starting();
            self.expect_of_all(kind);
        }
        assert!(self.are_all("paused"));
        self.resume();
    }

    /// The endpoints fail for a day, and then accept an event.
    fn successes(&mut self) {
        self.publish_dead();
        self.age_failures(25);
        self.killed.start();
        self.expect_of_all(FAILING);
        self.killed.answer(200);
        self.publish();
        self.wait_until_sent();
        self.kill_while_starting();
        self.expect_of_all(RECOVERED);
    }

    /// Returns the IDs of the notifications that are stored.
    fn stored(&self) -> BTreeSet<String> {
        let database = self.killed.database();
        let all = "select delivery_id from delivery where event_type like 'hookgate.%'";
        let mut statement = database.prepare(all).unwrap();
        let ids = statement.query_map([], |row| row.get(0)).unwrap();
        ids.collect::<Result<_, _>>().unwrap()
    }
}

#[test]
fn each_notification_has_one_id_however_often_the_gateway_is_killed() {
    let mut notifying = Notifying::start();
    for _ in 0..kills(1, 40) {
        notifying.pauses_by_410();
        notifying.recoveries(200, &json!({ "rate": 1000 }));
        notifying.recoveries(500, &json!({ "rate": 5, "stop_after": 1 }));
        notifying.failures();
        notifying.successes();
    }
    notifying.wait_until_sent();
    notifying.check("all notifications");
    let arrived: BTreeSet<String> = notifying.notified().into_values().flatten().collect();
    assert_eq!(arrived, notifying.stored());
    notifying.killed.finish();
}

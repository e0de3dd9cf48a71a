//! The health of endpoints follows their attempts.
use super::*;
use crate::retry::Reason;
use crate::store::contract::events::{event, own};
use crate::store::contract::queue::{attempt, new};
use crate::store::queue::{
    Accept, Attempt, DeliveryRef, FIRST_ENDPOINT, FIRST_TENANT, Next, Queue as _, Start,
};
use crate::tenant::health::Notified;

const SOON: Duration = Duration::from_millis(1);

/// A row of `health`, without times: failures, hours, status, cause, the first event, and how far the app was notified.
type Row = (u32, u32, Option<u16>, Option<String>, DeliveryRef, u8);

struct Api {
    directory: tempfile::TempDir,
    clock: Arc<HandClock>,
    store: Embedded,
}

impl Api {
    /// Opens a store with the endpoint 1.
    fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
        let store = open(directory.path(), &clock);
        let api = Self {
            directory,
            clock,
            store,
        };
        let insert =
            "insert into endpoint (number, id, tenant, edition, state, since, url, settings)
            values (?1, 'ep_1', ?2, 1, 0, 0, 'https://hooks.example/in', '{}')";
        api.file()
            .execute(insert, [FIRST_ENDPOINT + 1, FIRST_TENANT + 1])
            .unwrap();
        api
    }

    fn file(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("hookgate.db")).unwrap()
    }

    fn health(&self) -> Option<Row> {
        let all = "select failures, hours, status, cause, first, notified from health where endpoint = ?1";
        let mut found = self.file();
        let found = found.transaction().unwrap();
        let mut statement = found.prepare(all).unwrap();
        let mut rows = statement
            .query_map([FIRST_ENDPOINT + 1], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            })
            .unwrap();
        rows.next().map(Result::unwrap)
    }

    /// Makes one attempt of a new event.
    async fn attempt(&self, attempt: Option<Attempt>, next: Next) -> Accept {
        let id = DeliveryRef::draw().to_string();
        let one = event(1, 1, &id, Start::Mine(LEASE));
        let accepted = self.store.accept(Arc::new(one.clone()), own(1)).await;
        let lease = new(accepted.unwrap())[0];
        for _ in 0..2 {
            let settled = self.store.settle(lease, attempt.clone(), next).await;
            assert_eq!(settled.unwrap(), Ownership::Owned);
        }
        one
    }
}

fn failed(error: &str) -> Attempt {
    Attempt {
        status: None,
        error: Some(error.into()),
        ..attempt(500)
    }
}

#[tokio::test]
async fn failures_are_counted_until_a_success() {
    let api = Api::new();
    api.attempt(Some(attempt(200)), Next::Delivered).await;
    api.attempt(None, Next::Later(SOON)).await;
    assert_eq!(api.health(), None);
    let first = api
        .attempt(Some(attempt(500)), Next::RetryIn(SOON))
        .await
        .id;
    assert_eq!(api.health(), Some((1, 1, Some(500), None, first, 0)));
    api.attempt(Some(failed("ambiguous_timeout")), Next::Later(SOON))
        .await;
    let cause = Some("ambiguous_timeout".to_owned());
    assert_eq!(api.health(), Some((2, 1, None, cause.clone(), first, 0)));
    api.clock.advance(Duration::from_secs(3600));
    let dead = Next::Dead(Reason::Attempts);
    api.attempt(Some(failed("ambiguous_timeout")), dead).await;
    api.attempt(Some(failed("ambiguous_timeout")), dead).await;
    assert_eq!(api.health(), Some((4, 2, None, cause, first, 0)));
    api.attempt(None, Next::GiveBack).await;
    assert_eq!(api.health().map(|row| row.0), Some(4));
    api.attempt(Some(attempt(200)), Next::Delivered).await;
    assert_eq!(api.health(), None);
}

#[tokio::test]
async fn end_of_failures_is_kept_for_an_app_that_was_notified() {
    let api = Api::new();
    let next = Next::RetryIn(SOON);
    api.attempt(Some(attempt(500)), next).await;
    let notified = "update health set notified = 2";
    api.file().execute(notified, []).unwrap();
    let first = api.attempt(Some(attempt(503)), next).await;
    assert_ne!(api.health().unwrap().4, first.id);
    for _ in 0..2 {
        api.attempt(Some(attempt(200)), Next::Delivered).await;
        assert_eq!(api.health().unwrap().5, Notified::Over.number());
    }
    let first = api.attempt(Some(attempt(502)), next).await.id;
    let before = Notified::Before.number();
    assert_eq!(api.health(), Some((1, 1, Some(502), None, first, before)));
}

#[tokio::test]
async fn removed_endpoint_has_no_health() {
    let api = Api::new();
    let in_flight = event(1, 1, "in flight", Start::Mine(LEASE));
    let accepted = api.store.accept(Arc::new(in_flight), own(1)).await;
    let lease = new(accepted.unwrap())[0];
    api.file()
        .execute("update endpoint set state = 6", [])
        .unwrap();
    let settled = api
        .store
        .settle(lease, Some(attempt(500)), Next::RetryIn(SOON));
    assert_eq!(settled.await.unwrap(), Ownership::Owned);
    assert_eq!(api.health(), None);
}

//! The call that tests an endpoint: an example is sent at once, past pause and circuit breaker.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::access::{Caller, Right};
use super::attempts::ShownAttempt;
use super::endpoints::find;
use super::faults;
use super::state::Api;
use crate::activity::InFlight;
use crate::clock::unix_ms;
use crate::deliver::{DATA_AT, Rules, TEST, TestFault, VERSION, send_test};
use crate::event::catalogue::version_for;
use crate::event::{EventType, envelope};
use crate::queue::stored::RECEIVED_AT;
use crate::store::address_book::Endpoint;
use crate::store::archive::AttemptShown;
use crate::store::queue::{Accept, Attempt, Dedupe, DeliveryRef, NewUnit, OriginId, Start, Stored};
use crate::store::record::{Pairs, Record};
use crate::store::repeated;
use crate::tenant::Invalid;
use crate::tenant::settings::EndpointSettings;
use crate::web::input::JsonBody;
use crate::web::problem::Problem;

/// The data of a test without a type.
const EXAMPLE: &str = r#"{"message":"This is a test. Nothing happened."}"#;

/// A test of an endpoint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TestBody {
    /// The type of the event (default: `hookgate.test`, which nobody can publish).
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// The version of the data (default: the one that the endpoint gets; 1 without a catalogue).
    version: Option<u16>,
    /// The data (default: the example of the catalogue, or a text that says that this is a test).
    #[schemars(with = "Option<serde_json::Value>")]
    data: Option<Box<RawValue>>,
}

/// Sends an example to an endpoint. The answer is the attempt, whether it failed or not.
pub(super) async fn test(
    State(api): State<Api>,
    caller: Caller,
    Path((uid, name)): Path<(String, String)>,
    JsonBody(body): JsonBody<TestBody>,
) -> Result<Json<ShownAttempt>, Problem> {
    caller.may(Right::Manage)?;
    let in_flight = InFlight::begin(api.stays()?);
    let tenant = api.tenant(&uid).await?;
    let row = find(&api, &tenant, &name).await?;
    let rules = api.rules()?;
    let known = of_catalogue(&body, &row, &rules)?;
    let stored = event(&body, known, tenant.origin, api.clock().now().wall)?;
    let permit = api
        .tests()
        .take(tenant.origin, row.target, api.clock().mono())?;
    let (id, names) = (
        stored.id,
        HashMap::from([(row.target.0, Arc::clone(&row.id))]),
    );
    // the attempt is recorded also if nobody waits for the answer any more
    let (sender, target) = (api.clone(), row.target);
    let sending = tokio::spawn(async move {
        let _held = (in_flight, permit);
        send_and_record(&sender, row, stored).await
    });
    let attempt = sending.await.map_err(|_| faults::internal())??;
    let shown = AttemptShown {
        target,
        number: 1,
        late: false,
        attempt,
    };
    Ok(Json(ShownAttempt::of(id, &shown, &names)))
}

/// A version of the catalogue, with its example if it has one.
type Known = (u16, Option<Box<RawValue>>);

/// Returns the version that an endpoint gets of the type of a test, if the catalogue has the type.
///
/// # Errors
/// The test names a version that the type does not have.
fn of_catalogue(body: &TestBody, row: &Endpoint, rules: &Rules) -> Result<Option<Known>, Problem> {
    let event_type = body.event_type.as_deref();
    let event_type = event_type.and_then(|text| EventType::new(text).ok());
    let entry = event_type.as_ref().and_then(|event_type| {
        let events = rules.outbound.events.as_ref()?;
        events.catalogue.get(event_type)
    });
    let (Some(event_type), Some(entry)) = (event_type, entry) else {
        return Ok(None);
    };
    let settings = EndpointSettings::from_json(&row.settings).unwrap_or_default();
    let version = match body.version.map(u32::from) {
        Some(named) if !entry.versions.contains_key(&named) => {
            return Err(faults::unknown_version(named));
        }
        Some(named) => Some(named),
        None => {
            let pin = settings.versions.get(&event_type).copied();
            version_for(pin.map(u32::from), entry.versions.keys().copied())
        }
    };
    let known = version.and_then(|version| {
        let example = entry.versions.get(&version)?.example.clone();
        Some((u16::try_from(version).ok()?, example))
    });
    Ok(known)
}

/// Makes the event of a test.
fn event(
    body: &TestBody,
    known: Option<Known>,
    origin: OriginId,
    now: SystemTime,
) -> Result<Stored, Problem> {
    let event_type = match &body.event_type {
        Some(text) => EventType::new(text).map_err(|wrong| {
            faults::invalid(Invalid::new("/type", wrong.to_string(), "leave it out"))
        })?,
        None => EventType::test(),
    };
    let (version, example) = known.unwrap_or((body.version.unwrap_or(1), None));
    let data = data(body, example)?;
    let body = envelope::render(&event_type, now, &data);
    let fact = |name: &'static str, value: String| {
        (Bytes::from_static(name.as_bytes()), Bytes::from(value))
    };
    let facts: Pairs = vec![
        fact(RECEIVED_AT, unix_ms(now).to_string()),
        fact(VERSION, version.to_string()),
        fact(DATA_AT, body.data_at.to_string()),
        fact(TEST, "1".to_owned()),
    ];
    Ok(Stored {
        id: DeliveryRef::draw(),
        origin,
        key: None,
        delivery_id: None,
        event_type: Some(event_type.as_str().into()),
        record: Record {
            facts,
            ..Record::default()
        },
        body: body.bytes,
    })
}

/// Returns the data of a test: those of the request, or an example.
fn data(body: &TestBody, example: Option<Box<RawValue>>) -> Result<Box<RawValue>, Problem> {
    match body.data.clone().or(example) {
        Some(data) => Ok(data),
        None => RawValue::from_string(EXAMPLE.to_owned()).map_err(|_| {
            let error = "there is no example of this type";
            faults::invalid(Invalid::new("/data", error, "add `data`"))
        }),
    }
}

/// Sends an event, and records the attempt as that of an event which is over.
async fn send_and_record(api: &Api, row: Endpoint, stored: Stored) -> Result<Attempt, Problem> {
    let target = row.target;
    let sent = send_test(api.worker(), row, &stored).await;
    let (attempt, outcome) = sent.map_err(not_sent)?;
    let is_success = outcome.status().is_some_and(|status| status.is_success());
    let accept = Arc::new(Accept {
        id: stored.id,
        origin: stored.origin,
        delivery_id: None,
        key: None,
        event_type: stored.event_type,
        to: vec![NewUnit {
            target,
            lane: None,
            start: if is_success {
                Start::Over(None)
            } else {
                Start::Cancelled
            },
            attempts: vec![attempt.clone()],
        }],
        record: stored.record,
        body: stored.body,
        versions: Vec::new(),
    });
    let accepting = repeated(|| api.store().accept(Arc::clone(&accept), Dedupe::None));
    api.ask(Box::pin(accepting)).await?;
    Ok(attempt)
}

/// Makes the error of a test that was not made.
fn not_sent(fault: TestFault) -> Problem {
    match fault {
        TestFault::Off => faults::off(),
        TestFault::Short => faults::overloaded(),
        TestFault::Unusable(part) => cannot_be_sent(&part.to_string()),
        TestFault::Unsigned => cannot_be_sent("no secret of the endpoint can sign"),
    }
}

fn cannot_be_sent(error: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "state",
        error,
        "GET the endpoint and its secrets, and change what cannot be used",
    )
}

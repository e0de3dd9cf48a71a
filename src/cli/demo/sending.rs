//! The second part of the demo: a gateway that sends. An event is published, and a receiver in place of a customer verifies it.
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::aborted::Aborted;
use super::child::Gate;
use crate::cli::context;
use crate::cli::echo;
use crate::cli::error::Error;
use crate::cli::outbound_client::{OutboundArgs, OutboundClient, Request, Right, within};
use crate::cli::policy::quoted;
use crate::cli::receive::rehearsal::{self, Line};
use crate::cli::term::{self, BOLD, DIM, GREEN, Look, RED, Sign};
use crate::random;

/// The tenant of the demo.
const TENANT: &str = "demo";
/// The name of its endpoint.
const ENDPOINT: &str = "demo";
/// The type of the event.
const TYPE: &str = "invoice.paid";
/// The longest time until the event is received.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// A gateway that sends, and a receiver in place of a customer. Both end when it is dropped.
pub(super) struct Sending {
    gate: Gate,
    receiver: Receiver,
    client: OutboundClient,
    /// The address of the outbound listener.
    listens: String,
}

/// The receiver.
struct Receiver {
    _task: Aborted<Result<(), Error>>,
    address: SocketAddr,
    lines: mpsc::UnboundedReceiver<Line>,
}

impl Receiver {
    /// Waits for an event. Skips those of an earlier demo, which ended before it recorded that they were received.
    async fn receive(&mut self, id: &str) -> Option<Line> {
        loop {
            let line = self.lines.recv().await?;
            if line.id.as_deref() == Some(id) {
                return Some(line);
            }
        }
    }
}

/// An endpoint that was made.
#[derive(Deserialize)]
struct Made {
    secret: String,
}

impl Sending {
    /// Starts the gateway of a config, makes a tenant with an endpoint on this machine, and starts its receiver.
    pub(super) async fn start(config: &Path, look: &Look) -> Result<Self, Error> {
        let loaded = context::load(config)?;
        let snapshot = &loaded.snapshot;
        let outbound = snapshot.outbound.as_ref().ok_or_else(|| {
            Error::usage("the config does not send")
                .at(config.display().to_string())
                .hint("--sending demo/config.yaml")
        })?;
        let listener = bind(&outbound.endpoints.ports).await?;
        let address = listener.local_addr()?;
        let gate = Gate::start(config, snapshot).await?;
        let client = OutboundArgs::of_config(config).client()?;
        let secret = customer(&client, &format!("http://{address}/in")).await?;
        let (show, lines) = mpsc::unbounded_channel();
        let task = rehearsal::serve(listener, secret, look.clone(), show)?;
        let receiver = Receiver {
            _task: Aborted(tokio::spawn(task)),
            address,
            lines,
        };
        Ok(Self {
            gate,
            receiver,
            client,
            listens: outbound.listener.address.to_string(),
        })
    }

    /// Publishes an event, waits until it is received, and prints both. Returns whether the receiver accepted it.
    pub(super) async fn play(&mut self, config: &str, look: &Look) -> Result<bool, Error> {
        let sign = look.sign(Sign::Good);
        let listens = format!("http://{}", self.listens);
        let customer = format!("http://{}", self.receiver.address);
        term::print(&format!(
            "\n  {sign} sending    {listens:<23} {}, a second gateway: your app publishes there\n  {sign} customer   {customer:<23} hookgate receive, in place of your customer\n\n",
            term::clean(config)
        ))?;
        let id = publish(&self.client).await?;
        let received = timeout(DELIVERY_TIMEOUT, self.receiver.receive(&id)).await;
        let line = received.ok().flatten();
        let is_right = line.as_ref().is_some_and(|line| line.is_accepted);
        if let Some(line) = &line {
            term::print_line(&format!("  {}", line.text))?;
        }
        term::print_line(&if is_right {
            format!("\n  {GREEN}1 event published, received and verified, as expected.{GREEN:#}")
        } else {
            format!("\n  {RED}The event was published, but not received as expected.{RED:#}")
        })?;
        Ok(is_right)
    }

    /// Prints the log of the gateway and what the receiver gets, until the gateway ends.
    pub(super) async fn show(&mut self) -> Result<(), Error> {
        let lines = &mut self.receiver.lines;
        let received = async {
            while let Some(line) = lines.recv().await {
                term::say(&line.text);
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = self.gate.show_log() => ended,
            ended = received => ended,
        }
    }
}

/// The data of another event, as a person writes it. The catalogue of the demo accepts it.
const OTHER_DATA: &str = r#"{"id": "in_2", "amount": {"value": 4200, "currency": "EUR"}, "status": "paid", "paid_at": "2026-11-25T09:14:00Z"}"#;

/// Renders the command that publishes another event.
pub(super) fn tail(config: &str) -> String {
    let program = std::env::args_os().next().map_or_else(
        || "hookgate".into(),
        |program| program.to_string_lossy().into_owned(),
    );
    format!(
        "    {BOLD}{} publish --config {} --tenant {TENANT} --type {TYPE} --data '{OTHER_DATA}'{BOLD:#}     {DIM}sends another event{DIM:#}\n",
        term::clean(&program),
        term::clean(&quoted(config))
    )
}

/// Binds the receiver to a port of this machine that URLs of endpoints may have.
async fn bind(ports: &[u16]) -> Result<TcpListener, Error> {
    let hint = "endpoints: { http: true, ports: [4000, 443] }";
    let port = ports.iter().find(|port| **port > 1024).ok_or_else(|| {
        Error::usage("the demo needs a port above 1024 for its receiver").hint(hint)
    })?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
    echo::bind(address).await.map_err(|error| {
        error.hint("end that process, or give `outbound.endpoints.ports` another port")
    })
}

/// Makes the tenant and its endpoint. Returns the secret.
async fn customer(client: &OutboundClient, url: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let tenant = within(TENANT, &[]);
    let body = json!({ "name": "A customer of the demo" });
    client
        .change::<Box<RawValue>>(Method::PUT, &tenant, &body)
        .await?;
    // one of an earlier demo: its secret is not known any more
    let endpoint = within(TENANT, &["endpoints", ENDPOINT]);
    if client
        .find::<Value>(&endpoint, "no_endpoint")
        .await?
        .is_some()
    {
        client.delete(&endpoint).await?;
    }
    let body = json!({ "uid": ENDPOINT, "url": url, "types": ["invoice.*"] });
    let endpoints = within(TENANT, &["endpoints"]);
    let made: Made = client.change(Method::POST, &endpoints, &body).await?;
    Ok(Zeroizing::new(made.secret.into_bytes()))
}

/// An event that was published.
#[derive(Deserialize)]
struct Published {
    id: String,
}

/// Publishes an event. Returns its ID.
async fn publish(client: &OutboundClient) -> Result<String, Error> {
    let data = json!({
        "id": "in_7Q2M",
        "amount": { "value": 1250, "currency": "EUR" },
        "status": "paid",
        "paid_at": "2026-11-24T13:04:33Z",
    });
    let id = format!("demo-{:032x}", random::wide());
    let body = json!({ "type": TYPE, "id": id, "data": data });
    let request = Request {
        right: Right::Publish,
        method: Method::POST,
        target: within(TENANT, &["events"]),
        body: Bytes::from(body.to_string()),
    };
    let sent = client.send(&request).await?;
    let reply = sent.map_err(|error| client.unreached(&error))?;
    if !reply.status.is_success() {
        return Err(client.refused(&request.target, &reply));
    }
    let published: Published = client.parse(&reply.body)?;
    Ok(published.id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::events::source;
    use crate::event::EventType;
    use crate::event::catalogue::{Given, Policy};

    #[test]
    fn the_catalogue_of_the_demo_accepts_another_event() {
        let catalogue = source::load(Path::new("demo/events")).unwrap();
        let data: Box<RawValue> = serde_json::from_str(OTHER_DATA).unwrap();
        let event_type = EventType::new(TYPE).unwrap();
        let given = Given::One(None, &data);
        let published = catalogue.publish(&event_type, &given, &BTreeSet::new(), Policy::default());
        assert!(published.unwrap().faults.is_empty());
        assert!(tail("demo/config.yaml").contains(OTHER_DATA));
    }
}

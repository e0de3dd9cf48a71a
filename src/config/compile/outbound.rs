//! Compiles `outbound`: the rules for endpoints, and the limits of sending.
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::config::compile::context::Context;
use crate::config::compile::{
    alarms, event_catalogue, outbound_app, outbound_pause, proof, retry, routes, verify,
};
use crate::config::diagnostic::{Place, did_you_mean, shown};
use crate::config::file;
use crate::config::snapshot::{
    Egress, EndpointRules, Keep, Outbound, OutboundLimits, STANDARD, Store,
};
use crate::limit::Quota;
use crate::retry::Schedule;
use crate::units::Rate;
use crate::verify::{NotResignable, Shape};

const MIB: usize = 1024 * 1024;
/// The largest `limits.body`.
const MAX_BODY: usize = 16 * MIB;
const DAY: Duration = Duration::from_secs(86_400);
/// The largest number of endpoints of a tenant: an event and its units are one write.
const MAX_PER_TENANT: u32 = 1_000;
/// The default waits between attempts: ten attempts in 75 hours.
const WAITS: [&str; 9] = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"];
/// The default share by which waits are longer or shorter.
const JITTER: &str = "20%";
/// The default time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest time for one attempt.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// The default of `limits.publish`.
const PUBLISH: Rate = Rate {
    count: NonZeroU32::MIN.saturating_add(1_999),
    per: Duration::from_secs(1),
};

/// Compiles `outbound`. `general` is the egress policy of the gateway, whose `deny` holds for endpoints, too.
pub(super) fn compile(
    written: Option<file::Outbound>,
    general: &Egress,
    store: &Store,
    root: &Place,
    cx: &mut Context<'_>,
) -> Option<Outbound> {
    // No `..`: a new field must be dealt with here.
    let file::Outbound {
        listen,
        tokens,
        events,
        retry,
        sign,
        schemes,
        endpoints,
        egress,
        limits,
        keep,
        user_agent,
        pause,
        notices,
    } = written?;
    let place = &root.key("outbound");
    cx.needs_store(place, "`outbound`");
    let has_fault = ["key", "path"]
        .iter()
        .any(|key| cx.problems.is_faulty(&Place::root(0).key("store").key(key)));
    if store.keys.is_none() && !has_fault {
        let help = "add `key: { file: /run/secrets/store-key }` to `store`; `openssl rand -base64 32` makes one".to_owned();
        let message = "`outbound` needs `store.key`, which seals the secrets of your customers";
        cx.problems.error_at_key(place, message, help);
    }
    let listener = outbound_app::listener(listen, &place.key("listen"), place, cx);
    let tokens = outbound_app::tokens(tokens, place, cx);
    let events = event_catalogue::events(events, &place.key("events"), cx);
    let retry = self::retry(retry.unwrap_or_default(), &place.key("retry"), cx);
    let schemes = self::schemes(schemes, &place.key("schemes"), cx);
    let sign = default_scheme(sign, &schemes, &place.key("sign"), cx);
    let endpoints = self::endpoints(endpoints.unwrap_or_default(), &place.key("endpoints"), cx);
    let egress = self::egress(
        egress.unwrap_or_default(),
        general,
        &place.key("egress"),
        cx,
    );
    let pause = outbound_pause::policy(pause.unwrap_or_default(), &place.key("pause"), cx);
    let notices = outbound_pause::notices(notices, &place.key("notices"), cx);
    let (schedule, timeout) = retry?;
    Some(Outbound {
        pause,
        notices,
        listener: listener?,
        tokens,
        events,
        schedule,
        timeout,
        sign,
        schemes: schemes
            .into_iter()
            .filter_map(|(name, shape)| Some((name, shape?)))
            .collect(),
        endpoints,
        egress: Arc::new(egress),
        limits: self::limits(limits.unwrap_or_default(), &place.key("limits"), cx),
        keep: self::keep(keep.unwrap_or_default(), &place.key("keep"), cx),
        user_agent: self::user_agent(user_agent.as_deref(), &place.key("user_agent"), cx),
    })
}

/// Compiles the schemes; one with an error is `None`, so that a reference to it is not reported as well.
fn schemes(
    written: BTreeMap<String, file::Verify>,
    place: &Place,
    cx: &mut Context<'_>,
) -> BTreeMap<Arc<str>, Option<Arc<Shape>>> {
    let mut schemes = BTreeMap::new();
    for (name, block) in written {
        let place = place.key(&name);
        if !routes::is_name(&name) || name == STANDARD {
            let help = "use at most 63 lower-case letters, digits and `-`; begin with a letter or digit; `standard` is taken".to_owned();
            cx.problems
                .error_at_key(&place, "this is not a valid name of a scheme", help);
        }
        let shape = scheme(&block, &place, cx);
        schemes.insert(Arc::from(name), shape.map(Arc::new));
    }
    schemes
}

/// Compiles one scheme.
fn scheme(block: &file::Verify, place: &Place, cx: &mut Context<'_>) -> Option<Shape> {
    for (key, is_written) in [
        ("secrets", block.secrets.is_some()),
        ("tolerance", block.tolerance.is_some()),
    ] {
        if is_written {
            let help = "leave it out: each endpoint has its own secrets".to_owned();
            cx.problems.error_at_key(
                &place.key(key),
                format!("`{key}` has no effect on a scheme that signs"),
                help,
            );
        }
    }
    let provider = proof::provider(block.provider.as_deref(), place, cx);
    if block.provider.is_some() && provider.is_none() {
        return None;
    }
    let preset = provider.as_ref().map(|preset| &preset.provider);
    let shape = verify::compile(block, preset, place, &mut cx.problems)?;
    let keep = "keep `standard` for these endpoints".to_owned();
    let message = match shape.resignable() {
        Err(NotResignable::SignsNothing) => {
            Some("this scheme cannot sign events: it has no signature, only a token")
        }
        Err(NotResignable::SignatureInBody) => {
            Some("this scheme cannot sign events: its signature is in the body")
        }
        Err(NotResignable::TimeInBody) => {
            Some("this scheme cannot sign events: its time is in the body")
        }
        Ok(()) if shape.signs_in_query() => {
            Some("this scheme cannot sign events: its signature is in the query")
        }
        Ok(()) => None,
    };
    if let Some(message) = message {
        cx.problems.error_at_key(place, message, keep);
        return None;
    }
    Some(shape)
}

/// Compiles the name of the scheme that endpoints have by default.
fn default_scheme(
    written: Option<file::OutboundSign>,
    schemes: &BTreeMap<Arc<str>, Option<Arc<Shape>>>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Arc<str> {
    let file::OutboundSign { default } = written.unwrap_or_default();
    let Some(name) = default else {
        return Arc::from(STANDARD);
    };
    if name != STANDARD && !schemes.contains_key(&*name) {
        let known = schemes.keys().map(|name| &**name).chain([STANDARD]);
        let help = did_you_mean(&name, known)
            .unwrap_or_else(|| "write `standard`, or a name of `schemes`".to_owned());
        cx.problems.error(
            &place.key("default"),
            format!("no scheme has the name `{}`", shown(&name)),
            help,
        );
    }
    Arc::from(name)
}

/// Compiles the schedule of attempts, and the time for one.
fn retry(
    written: file::OutboundRetry,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<(Schedule, Duration)> {
    let file::OutboundRetry {
        schedule,
        jitter,
        retry_after_max,
        timeout,
    } = written;
    let timeout = cx.duration(timeout.as_deref(), &place.key("timeout"), TIMEOUT);
    if timeout > MAX_TIMEOUT {
        cx.problems.error(
            &place.key("timeout"),
            "an attempt must not take longer than 30 seconds",
            "write `30s` or less".to_owned(),
        );
    }
    let written = file::Retry {
        schedule: if schedule.is_empty() {
            WAITS.map(str::to_owned).to_vec()
        } else {
            schedule
        },
        jitter: Some(jitter.unwrap_or_else(|| JITTER.to_owned())),
        retry_after_max,
        ..file::Retry::default()
    };
    Some((retry::schedule(written, place, cx)?, timeout))
}

/// Compiles the rules for endpoints.
fn endpoints(written: file::Endpoints, place: &Place, cx: &mut Context<'_>) -> EndpointRules {
    let file::Endpoints {
        http,
        ports,
        concurrency,
        per_tenant,
    } = written;
    let http = http.unwrap_or(false);
    if http {
        cx.problems.warning(
            &place.key("http"),
            "customers' URLs may be http: whoever is between can read their events",
            "leave it out, so that only https is accepted".to_owned(),
        );
    }
    if ports.contains(&0) {
        cx.problems.error_at_key(
            &place.key("ports"),
            "0 is not a port",
            "write ports such as `[443, 8443]`".to_owned(),
        );
    }
    let ports = if ports.is_empty() { vec![443] } else { ports };
    EndpointRules {
        http,
        ports,
        concurrency: at_least_one(concurrency, 4, 1_000, &place.key("concurrency"), cx),
        per_tenant: at_least_one(per_tenant, 50, MAX_PER_TENANT, &place.key("per_tenant"), cx),
    }
}

/// Checks that a number is between 1 and `most`, or returns the default.
fn at_least_one(
    written: Option<u32>,
    default: u32,
    most: u32,
    place: &Place,
    cx: &mut Context<'_>,
) -> u32 {
    if written.is_some_and(|number| !(1..=most).contains(&number)) {
        cx.problems
            .error(place, format!("this must be between 1 and {most}"), None);
    }
    written.unwrap_or(default)
}

/// Compiles the egress policy of endpoints: its own `allow`, and its `deny` together with that of the gateway.
fn egress(written: file::Egress, general: &Egress, place: &Place, cx: &mut Context<'_>) -> Egress {
    let has_allowed = !written.allow.is_empty();
    let own = alarms::egress(written, place, cx);
    if has_allowed {
        cx.problems.warning(
            &place.key("allow"),
            "every customer can send requests to these networks",
            "leave it out, unless all customers are your own services".to_owned(),
        );
    }
    Egress {
        allow: own.allow,
        deny: [own.deny, general.deny.clone()].concat(),
    }
}

/// Compiles the limits.
fn limits(written: file::OutboundLimits, place: &Place, cx: &mut Context<'_>) -> OutboundLimits {
    let file::OutboundLimits {
        attempts,
        body,
        publish,
        waiting,
    } = written;
    let publish = publish
        .and_then(|text| cx.rate(&text, &place.key("publish")))
        .unwrap_or(PUBLISH);
    if waiting == Some(0) {
        cx.problems
            .error(&place.key("waiting"), "this must be at least 1", None);
    }
    let body_place = place.key("body");
    let body = cx.size(body.as_deref(), &body_place, MIB);
    if body > MAX_BODY {
        cx.problems
            .error(&body_place, "this must not be larger than 16MiB", None);
    }
    OutboundLimits {
        attempts: at_least_one(attempts, 512, 65_536, &place.key("attempts"), cx),
        body,
        publish: Quota {
            rate: publish,
            burst: publish.count,
        },
        waiting: waiting.unwrap_or(1_000_000),
    }
}

/// Compiles the retention of one tenant's events.
fn keep(written: file::OutboundKeep, place: &Place, cx: &mut Context<'_>) -> Keep {
    let file::OutboundKeep {
        age,
        dead,
        bytes_per_tenant,
    } = written;
    let age = cx.duration(age.as_deref(), &place.key("age"), 30 * DAY);
    if age < DAY {
        let message = "the key of a publish is forgotten with its event, so one that is repeated after that is delivered twice";
        cx.problems
            .warning(&place.key("age"), message, "write `7d` or more".to_owned());
    }
    let bytes = cx.size(
        bytes_per_tenant.as_deref(),
        &place.key("bytes_per_tenant"),
        1024 * MIB,
    );
    Keep {
        age,
        dead: cx.duration(dead.as_deref(), &place.key("dead"), 30 * DAY),
        bytes: u64::try_from(bytes).ok(),
    }
}

/// Compiles the name that endpoints see.
fn user_agent(written: Option<&str>, place: &Place, cx: &mut Context<'_>) -> HeaderValue {
    let default = HeaderValue::from_static(concat!("hookgate/", env!("CARGO_PKG_VERSION")));
    let Some(text) = written else { return default };
    let value = HeaderValue::from_str(text)
        .ok()
        .filter(|value| !value.is_empty() && value.to_str().is_ok() && value.len() <= 256);
    if value.is_none() {
        let help = "write visible ASCII characters, such as `Acme-Webhooks/1.0`".to_owned();
        cx.problems
            .error(place, "this is not a valid `User-Agent`", help);
    }
    value.unwrap_or(default)
}

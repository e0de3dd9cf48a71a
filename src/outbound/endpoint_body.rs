//! The body by which an endpoint is made or changed.
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderName, StatusCode};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::faults;
use super::names::is_name;
use crate::config::snapshot::{EventCatalogue, Outbound, STANDARD};
use crate::event::catalogue::OnFault;
use crate::tenant::Invalid;
use crate::tenant::headers::OwnHeaders;
use crate::tenant::pins::{self, Pins};
use crate::tenant::secret::{Secret, SecretKind};
use crate::tenant::settings::{EndpointSettings, MAX_VERSIONS};
use crate::tenant::url::{EndpointUrl, UrlRules};
use crate::verify::standard;
use crate::web::problem::Problem;

/// The settings of an endpoint. `url` is required for a new one.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `EndpointFields` reads")]
pub(super) struct EndpointBody {
    /// The URL: `https`, a public host, port 443 unless the config allows others.
    url: Option<String>,
    /// Your own name of the endpoint, 1 to 128 letters, digits and `.`, `_`, `:`, `-`.
    uid: Option<String>,
    /// The types of events that it gets: `invoice.paid`, `invoice.*` (one more word or several), `*` (all; default).
    types: Option<Vec<String>>,
    /// The version of a type that it gets, by type. Types that are not named keep theirs; a type that is new to it gets its newest. `null`: all get their newest.
    versions: Option<BTreeMap<String, u16>>,
    /// `envelope` (default: type, timestamp and data) or `raw` (the data alone).
    payload: Option<String>,
    /// `standard`, or a scheme of the config (default: `outbound.sign.default`).
    sign: Option<String>,
    /// Headers that it gets beside those of the gateway, by name. Their values are sealed and never shown.
    headers: Option<BTreeMap<String, String>>,
    /// The rate of attempts, such as `10/s`.
    rate: Option<String>,
    /// The largest number of attempts at the same time.
    concurrency: Option<u32>,
    /// Whether it gets its events one after the other, in the order in which they were published.
    ordered: Option<bool>,
    /// The reaction to an event that runs out of attempts: `continue` (default) or `pause`.
    on_dead: Option<String>,
    /// The time for one attempt in seconds, 1 to 30.
    timeout: Option<u64>,
    /// A text for people.
    description: Option<String>,
    /// The secret of a new endpoint: `whsec_` and base64, or a text for a scheme of the config. Without it the gateway makes one and returns it.
    secret: Option<String>,
}

/// The fields of a request that makes or changes an endpoint.
pub(super) struct EndpointFields {
    pub(super) url: Option<EndpointUrl>,
    pub(super) uid: Option<Arc<str>>,
    pub(super) settings: EndpointSettings,
    /// None: they stay as they are.
    pub(super) headers: Option<OwnHeaders>,
    pub(super) secret: Option<Secret>,
}

/// The kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given<'a> {
    /// All settings, and those of the endpoint that is there already, as this stored text.
    Whole(Option<&'a str>),
    /// Some settings; the others are as in this stored text.
    Change(&'a str),
}

impl EndpointFields {
    /// Reads the fields.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub(super) fn read(
        mut body: Map<String, Value>,
        given: Given<'_>,
        rules: &Outbound,
    ) -> Result<Self, Problem> {
        let url = body
            .remove("url")
            .map(|url| self::url(&url, rules))
            .transpose()?;
        let uid = body.remove("uid").filter(|uid| !uid.is_null());
        let uid = uid.map(|uid| self::uid(&uid)).transpose()?;
        let headers = body.remove("headers");
        let secret = body.remove("secret").filter(|secret| !secret.is_null());
        let before = given.before().map_err(faults::invalid)?;
        let settings = match (given, &before) {
            (Given::Change(_), Some(before)) => before.changed(&body),
            (Given::Whole(_) | Given::Change(_), _) => {
                body.entry("sign")
                    .or_insert_with(|| rules.sign.as_ref().into());
                EndpointSettings::read(&body)
            }
        };
        let mut settings = settings.map_err(faults::invalid)?;
        settings.versions = versions(&body, before.as_ref(), &settings, rules)?;
        let sign = settings.sign.name();
        if sign != STANDARD && !rules.schemes.contains_key(sign) {
            let known = rules.schemes.keys().map(|name| format!("`{name}`"));
            let known: Vec<String> = [format!("`{STANDARD}`")].into_iter().chain(known).collect();
            let help = format!("write {}", known.join(" or "));
            let invalid = Invalid::new("/sign", "no scheme has this name", help);
            return Err(faults::invalid(invalid));
        }
        let kind = kind(sign);
        let secret = match secret {
            Some(Value::String(text)) => Some(Secret::parse(kind, &text).map_err(|wrong| {
                let error = "this cannot be the secret";
                faults::invalid(Invalid::new("/secret", error, wrong.to_string()))
            })?),
            Some(_) => {
                let invalid = Invalid::new(
                    "/secret",
                    "this must be a string",
                    "leave it out and one is made",
                );
                return Err(faults::invalid(invalid));
            }
            None => None,
        };
        let signed = signed_headers(sign, rules);
        let headers = headers
            .map(|headers| {
                if headers.is_null() {
                    return Ok(OwnHeaders::default());
                }
                OwnHeaders::read(&headers, "/headers", &signed)
            })
            .transpose()
            .map_err(faults::invalid)?;
        Ok(Self {
            url,
            uid,
            settings,
            headers,
            secret,
        })
    }
}

impl Given<'_> {
    /// Returns the settings of the endpoint before the request, if it was there.
    fn before(self) -> Result<Option<EndpointSettings>, Invalid> {
        match self {
            Self::Whole(stored) => {
                Ok(stored.and_then(|stored| EndpointSettings::from_json(stored).ok()))
            }
            Self::Change(stored) => EndpointSettings::from_json(stored).map(Some).map_err(|_| {
                let error = "the settings of the endpoint cannot be read";
                Invalid::new("", error, "replace all of them with PUT")
            }),
        }
    }
}

/// Returns the pins of an endpoint. `null` pins it anew, as a new endpoint.
fn versions(
    body: &Map<String, Value>,
    before: Option<&EndpointSettings>,
    settings: &EndpointSettings,
    rules: &Outbound,
) -> Result<Pins, Problem> {
    let given = match body.get("versions") {
        Some(Value::Object(_)) => settings.versions.clone(),
        Some(_) | None => Pins::new(),
    };
    let before = before.filter(|_| !body.get("versions").is_some_and(Value::is_null));
    let events = rules.events.as_ref();
    if let Some(EventCatalogue { catalogue, policy }) = events
        && policy.unknown == OnFault::Refuse
        && let Err((event_type, fault)) = pins::check(before, &given, catalogue)
    {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Problem::new(status, fault.code(), fault.to_string(), fault.help());
        return Err(problem.at(format!("/versions/{event_type}")));
    }
    let catalogue = events.map(|events| &*events.catalogue);
    let pins = pins::pins(before, settings, &given, catalogue);
    if pins.len() > MAX_VERSIONS {
        let help = format!("an endpoint has at most {MAX_VERSIONS}");
        let invalid = Invalid::new("/versions", "there are too many versions", help);
        return Err(faults::invalid(invalid));
    }
    Ok(pins)
}

/// Returns the headers that a scheme writes.
pub(super) fn signed_headers(sign: &str, rules: &Outbound) -> Vec<HeaderName> {
    match rules.schemes.get(sign) {
        Some(shape) => shape.signed_headers(),
        None => standard::NAMES.to_vec(),
    }
}

/// Returns the form of the secrets of a scheme.
pub(super) fn kind(sign: &str) -> SecretKind {
    if sign == STANDARD {
        SecretKind::Standard
    } else {
        SecretKind::Text
    }
}

/// Reads the URL.
fn url(value: &Value, rules: &Outbound) -> Result<EndpointUrl, Problem> {
    let text = value.as_str().ok_or_else(|| {
        let help = "write a URL such as `https://hooks.example.com/path`";
        faults::invalid(Invalid::new("/url", "this must be a string", help))
    })?;
    let url_rules = UrlRules {
        http: rules.endpoints.http,
        ports: &rules.endpoints.ports,
        allow: &rules.egress.allow,
        deny: &rules.egress.deny,
    };
    EndpointUrl::parse(text, &url_rules).map_err(|refused| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "url_refused",
            refused.to_string(),
            refused.help(),
        )
        .at("/url")
    })
}

/// Reads the app's name of an endpoint.
fn uid(value: &Value) -> Result<Arc<str>, Problem> {
    let found = value
        .as_str()
        .filter(|uid| is_name(uid) && !uid.starts_with("ep_"));
    found.map(Arc::from).ok_or_else(|| {
        let help =
            "write 1 to 128 letters, digits and `.`, `_`, `:`, `-`, not beginning with `ep_`, and not `.` or `..` alone";
        faults::invalid(Invalid::new("/uid", "this cannot be a `uid`", help))
    })
}

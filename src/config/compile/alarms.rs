//! Compiles `alarms` and `egress`.
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use ipnet::IpNet;

use crate::alarm::{Policy, Share};
use crate::config::compile::context::Context;
use crate::config::compile::sign;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{AlarmWebhook, Alarms, Egress, WebAddress};

/// The fix for a wrong URL.
const URL: &str = "write `https://HOST/PATH`";

/// Compiles `alarms`.
pub(super) fn alarms(alarms: file::Alarms, place: &Place, cx: &mut Context<'_>) -> Alarms {
    // No `..`: a new field must be dealt with here.
    let file::Alarms {
        webhook,
        disk_free,
        store_size,
    } = alarms;
    let default = Policy::default();
    let disk_free = disk_free
        .and_then(|text| share(&text, &place.key("disk_free"), cx))
        .unwrap_or(default.disk_free);
    let store_size = store_size.map(|text| cx.size(Some(&text), &place.key("store_size"), 1));
    let policy = Policy {
        disk_free,
        store_size: store_size.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX)),
    };
    let webhook =
        webhook.and_then(|webhook| self::webhook(webhook, &ALARMS, &place.key("webhook"), cx));
    Alarms {
        policy,
        webhook: webhook.map(Arc::new),
    }
}

/// Parses a percentage or a size.
fn share(text: &str, place: &Place, cx: &mut Context<'_>) -> Option<Share> {
    let Some(percent) = text.strip_suffix('%') else {
        let size = cx.size(Some(text), place, 1);
        return u64::try_from(size).ok().map(Share::Bytes);
    };
    let percent = percent
        .trim()
        .parse()
        .ok()
        .filter(|percent| (1..=99).contains(percent));
    if percent.is_none() {
        cx.problems.error(
            place,
            "this is not a valid percentage",
            "write `1%` to `99%`, or a size such as `5GiB`".to_owned(),
        );
    }
    percent.map(Share::Percent)
}

/// The purpose of a webhook, for its messages.
pub(super) struct Purpose {
    /// The owner and the name of its secret.
    pub(super) owner: (&'static str, &'static str),
    /// The name of its secret in a message.
    pub(super) secret: &'static str,
    /// The name of the webhook in a message.
    pub(super) webhook: &'static str,
    /// The warning about a URL without TLS.
    pub(super) sent: &'static str,
}

/// The webhook of the gateway's alarms.
const ALARMS: Purpose = Purpose {
    owner: ("alarms", "webhook"),
    secret: "the secret of the alarm webhook",
    webhook: "the alarm webhook",
    sent: "the alarms are sent unencrypted",
};

/// Compiles a webhook that gets the gateway's own messages.
pub(super) fn webhook(
    webhook: file::AlarmWebhook,
    purpose: &Purpose,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<AlarmWebhook> {
    let file::AlarmWebhook { url, secret } = webhook;
    cx.needs_store(place, purpose.webhook);
    let to = match url {
        Some(url) => address(&url, purpose.sent, &place.key("url"), cx),
        None => {
            cx.problems.missing(
                place,
                "url",
                "the webhook has no URL",
                "add `url: https://HOST/PATH`".to_owned(),
            );
            None
        }
    };
    let Some(secret) = secret else {
        let help = "add `secret: { file: /run/secrets/NAME }`".to_owned();
        cx.problems
            .missing(place, "secret", "the webhook has no secret", help);
        return None;
    };
    let keys = sign::keys(
        &secret,
        purpose.owner,
        purpose.secret,
        &place.key("secret"),
        cx,
    )?;
    Some(AlarmWebhook { to: to?, keys })
}

/// Parses the URL of the webhook.
fn address(url: &str, sent: &str, place: &Place, cx: &mut Context<'_>) -> Option<WebAddress> {
    let uri: Option<Uri> = url.parse().ok();
    let parts = uri
        .as_ref()
        .and_then(|uri| Some((uri.scheme()?, uri.authority()?, uri)));
    let Some((scheme, authority, uri)) =
        parts.filter(|(scheme, ..)| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))
    else {
        cx.problems
            .error(place, "this is not an http or https URL", URL.to_owned());
        return None;
    };
    if authority.as_str().contains('@') || url.contains('#') {
        cx.problems.error(
            place,
            "the URL must not contain credentials or a fragment",
            URL.to_owned(),
        );
        return None;
    }
    let tls = *scheme == Scheme::HTTPS;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let after_host = authority
        .as_str()
        .rsplit_once(']')
        .map_or(authority.as_str(), |(_, rest)| rest);
    let port = match after_host.rsplit_once(':') {
        Some((_, port)) => port.parse().ok().filter(|port| *port > 0),
        None => Some(if tls { 443 } else { 80 }),
    };
    let Some(port) = port.filter(|_| !host.is_empty()) else {
        cx.problems
            .error(place, "this is not an http or https URL", URL.to_owned());
        return None;
    };
    if !tls {
        cx.problems
            .warning(place, sent, "write `https://`".to_owned());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    Some(WebAddress {
        tls,
        host,
        port,
        authority: authority.to_string(),
        target: target.into(),
    })
}

/// Compiles `egress`.
pub(super) fn egress(egress: file::Egress, place: &Place, cx: &mut Context<'_>) -> Egress {
    // No `..`: a new field must be dealt with here.
    let file::Egress { allow, deny } = egress;
    let mut networks = |written: &[String], place: &Place| -> Vec<IpNet> {
        written
            .iter()
            .enumerate()
            .filter_map(|(index, text)| cx.network(text, "", &place.index(index)))
            .collect()
    };
    Egress {
        allow: networks(&allow, &place.key("allow")),
        deny: networks(&deny, &place.key("deny")),
    }
}

//! Failures of endpoints in words that a customer understands.
use std::sync::Arc;
use std::time::Duration;

use super::rules::Rules;
use crate::store::address_book::Endpoint;
use crate::store::queue::{Attempt, CUT_OFF};
use crate::store::record::parse_headers;
use crate::tenant::Cause;
use crate::tenant::health::Streak;
use crate::tenant::message::About;
use crate::tenant::secret::SecretEntry;
use crate::tenant::settings::EndpointSettings;
use crate::tenant::url::EndpointUrl;

/// The fact of an attempt that says where it was sent.
pub(super) const URL: &str = "url";
/// The header that says where a redirect leads.
const LOCATION: &[u8] = b"location";

/// Describes a failed attempt to an endpoint; `None` if it succeeded.
pub(crate) fn attempt_message(attempt: &Attempt) -> Option<String> {
    if attempt
        .status
        .is_some_and(|status| (200..300).contains(&status))
    {
        return None;
    }
    if attempt.error.as_deref() == Some(CUT_OFF) {
        let message = "the sender was stopped during the attempt, so its outcome is not known";
        return Some(message.to_owned());
    }
    let cause = Cause::from_stored(attempt.status, attempt.error.as_deref());
    let value = |pairs: &bytes::Bytes, name: &[u8]| {
        let pairs = parse_headers(pairs.clone()).ok()?;
        let (_, value) = pairs.into_iter().find(|(known, _)| known == name)?;
        String::from_utf8(value.to_vec()).ok()
    };
    let url = EndpointUrl::restore(&value(&attempt.facts, URL.as_bytes())?).ok()?;
    let location = value(&attempt.head, LOCATION);
    let about = About {
        url: &url,
        // an attempt that ran out of time took all of it
        timeout: attempt.took.max(Duration::from_secs(1)),
    };
    Some(about.failure(cause, location.as_deref()))
}

/// Describes the end of an endpoint's failures.
pub(super) fn recovered_message(row: &Endpoint, streak: &Streak) -> String {
    let url = EndpointUrl::restore(&row.url).ok();
    let timeout = Duration::ZERO;
    url.map_or_else(String::new, |url| {
        About { url: &url, timeout }.recovered(streak)
    })
}

/// Describes the failures of an endpoint. `waiting` is the number of events that wait for it.
pub(crate) fn streak_message(
    row: &Endpoint,
    streak: &Streak,
    rules: &Rules,
    waiting: u64,
) -> String {
    let settings = EndpointSettings::from_json(&row.settings).unwrap_or_default();
    let entry = |secret: &crate::store::address_book::SecretRow| SecretEntry {
        n: secret.n,
        name: Arc::clone(&secret.name),
        created: secret.created,
        ends: secret.ends,
    };
    let secrets: Vec<SecretEntry> = row.secrets.iter().map(entry).collect();
    let Ok(url) = EndpointUrl::restore(&row.url) else {
        return String::new();
    };
    let timeout = settings.timeout.map(Duration::from_secs);
    let about = About {
        url: &url,
        timeout: timeout.unwrap_or(rules.outbound.timeout),
    };
    about.streak(streak, &secrets, waiting)
}

#[cfg(test)]
mod tests;

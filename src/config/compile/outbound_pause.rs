//! Compiles the rules by which endpoints are paused, and the webhook that is notified of that.
use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::alarms::{self, Purpose};
use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{AlarmWebhook, PausePolicy};
use crate::tenant::health::PauseRules;

const DAY: Duration = Duration::from_secs(86_400);
/// The default of `after`.
const AFTER: Duration = Duration::from_secs(5 * 86_400);
/// The default of `failures`.
const FAILURES: u32 = 20;

/// Compiles the rules.
pub(super) fn policy(
    written: file::OutboundPause,
    place: &Place,
    cx: &mut Context<'_>,
) -> PausePolicy {
    let file::OutboundPause {
        after,
        failures,
        keep,
    } = written;
    if failures == Some(0) {
        cx.problems
            .error(&place.key("failures"), "this must be at least 1", None);
    }
    let after = cx.duration(after.as_deref(), &place.key("after"), AFTER);
    let rules = PauseRules::new(after, failures.unwrap_or(FAILURES));
    let keep = cx.duration(keep.as_deref(), &place.key("keep"), 30 * DAY);
    if keep < DAY {
        let message = "events for a paused endpoint are dead after less than a day, which is little time to repair it";
        cx.problems
            .warning(&place.key("keep"), message, "write `30d`".to_owned());
    }
    PausePolicy { rules, keep }
}

/// Compiles the webhook.
pub(super) fn notices(
    written: Option<file::AlarmWebhook>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<AlarmWebhook>> {
    let purpose = Purpose {
        owner: ("outbound", "notices"),
        secret: "the secret of `notices`",
        webhook: "the webhook of `notices`",
        sent: "the notifications are sent unencrypted",
    };
    alarms::webhook(written?, &purpose, place, cx).map(Arc::new)
}

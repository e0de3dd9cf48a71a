//! The findings about a store that gateways share.
use std::time::Duration;

use super::finding::Finding;
use super::gateway::HOLD;
use super::observation::FleetObservation;
use crate::alarm::Code;
use crate::alarm::latch::Level;

/// The days ahead for which there must be tables. Gateways keep seven.
const DAYS_AHEAD: u32 = 3;
/// The time for which configs may differ while a change rolls out.
const ROLLOUT: Duration = Duration::from_secs(600);

/// Returns the findings about the shared store. None are bad if the store is this gateway's own.
pub(super) fn findings(fleet: Option<&FleetObservation>) -> Vec<(Code, Finding)> {
    let none = FleetObservation::default();
    let FleetObservation {
        down,
        standby_ignored,
        days_ahead,
        configs,
    } = fleet.unwrap_or(&none);
    let level = |is_bad| if is_bad { Level::Bad } else { Level::Good };
    let text_of_days = format!(
        "there are tables for {} days ahead only: a delivery of a day without one waits until it is made",
        days_ahead.unwrap_or_default()
    );
    let text_of_configs = format!(
        "the gateways that share the store run {configs} different configs: compare `common_hash` in the status of each"
    );
    vec![
        (
            Code::StoreDown,
            Finding(
                level(down.is_some()),
                HOLD,
                down.clone().unwrap_or_default(),
            ),
        ),
        (
            Code::StoreStandbyIgnored,
            Finding(
                level(standby_ignored.is_some()),
                HOLD,
                standby_ignored.unwrap_or_default().to_owned(),
            ),
        ),
        (
            Code::StoreDays,
            Finding(
                level(days_ahead.is_some_and(|days| days < DAYS_AHEAD)),
                HOLD,
                text_of_days,
            ),
        ),
        (
            Code::StoreConfigsDiffer,
            Finding(level(*configs > 1), ROLLOUT, text_of_configs),
        ),
    ]
}

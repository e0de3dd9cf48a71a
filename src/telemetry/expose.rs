//! Metrics as text. Labels are names from the config and closed sets, never data from a request.
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prometheus::TextEncoder;

use super::Telemetry;
use super::counters::NO_ROUTE;
use crate::alarm::Code;

mod families;
mod requests;
mod sending;
mod shared_store;
mod state;

use families::{Families, float};
pub use sending::SendingGauges;
pub use shared_store::{Distribution, FleetGauges, SharedStoreGauges};
pub use state::{Gauges, QuarantineGauges, SecretGauge};

impl Telemetry {
    /// Returns all metrics as text. `gauges` are the values that only the caller knows.
    pub fn metrics_text(&self, gauges: &Gauges) -> String {
        let mut families = Families(Vec::new());
        requests::add(self, &mut families);
        state::add(gauges, &mut families);
        sending::add(self, gauges.sending.as_ref(), &mut families);
        shared_store::add(gauges.shared_store.as_ref(), &mut families);
        add_alarms(self, gauges, &mut families);
        add_config(self, gauges, &mut families);
        let mut families = families.0;
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        TextEncoder::new()
            .encode_to_string(&families)
            .unwrap_or_default()
    }
}

/// Adds every alarm that exists, so that one that was never raised is 0.
fn add_alarms(telemetry: &Telemetry, gauges: &Gauges, families: &mut Families) {
    let raised = telemetry.alarms();
    let is_raised = |code, route: Option<&str>| {
        raised
            .iter()
            .any(|alarm| alarm.code == code && alarm.route.as_deref() == route)
    };
    let values = Code::ALL.iter().copied().flat_map(|code| {
        let routes = gauges
            .enforcing
            .iter()
            .filter(move |_| code.is_of_route())
            .map(|(name, _)| Some(&**name));
        let gate = (!code.is_of_route()).then_some(None);
        routes.chain(gate).map(move |route| (code, route))
    });
    families.gauge(
        "hookgate_alarm",
        "1 while the alarm is raised.",
        &["code", "route"],
        values.map(|(code, route)| {
            (
                vec![code.code(), route.unwrap_or(NO_ROUTE)],
                float(u64::from(is_raised(code, route))),
            )
        }),
    );
}

fn add_config(telemetry: &Telemetry, gauges: &Gauges, families: &mut Families) {
    let config = &telemetry.config;
    let reloads = [
        (vec!["accepted"], &config.accepted),
        (vec!["refused"], &config.refused),
    ];
    let reloads = reloads.map(|(labels, count)| (labels, count.load(Ordering::Relaxed)));
    families.counter(
        "hookgate_reloads_total",
        "Reloads of the config, by result.",
        &["result"],
        reloads,
    );
    families.gauge(
        "hookgate_config_info",
        "The hash over all files and variables of the config.",
        &["hash"],
        [(vec![&*gauges.hash], 1.0)],
    );
    families.level(
        "hookgate_config_generation",
        "The generation of the config in use.",
        config.generation.load(Ordering::Relaxed),
    );
    let loaded =
        std::time::Duration::from_millis(config.loaded_ms.load(Ordering::Relaxed)).as_secs_f64();
    families.gauge(
        "hookgate_config_loaded_timestamp_seconds",
        "Unix time at which the config in use was loaded.",
        &[],
        [(vec![], loaded)],
    );
    let succeeded = u64::from(!config.last_failed.load(Ordering::Relaxed));
    families.level(
        "hookgate_config_last_reload_success",
        "0 if the last reload was refused.",
        succeeded,
    );
    families.level(
        "hookgate_secret_stale",
        "Secret files without a usable secret. Their last good secret stays in use.",
        gauges.stale_secrets,
    );
    families.level(
        "hookgate_certificate_stale",
        "Certificates whose files have no valid pair. The last good pair stays in use.",
        gauges.stale_certificates,
    );
    let seconds = |end: SystemTime| {
        end.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    families.gauge(
        "hookgate_certificate_not_after_seconds",
        "Unix time at which the certificate in use expires.",
        &["certificate"],
        gauges
            .certificates
            .iter()
            .map(|(label, end)| (vec![label.as_str()], seconds(*end))),
    );
}

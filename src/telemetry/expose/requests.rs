//! Metrics of requests and attempts.
use std::sync::atomic::Ordering;

use super::families::Families;
use crate::telemetry::counters::{NO_ROUTE, RouteCounters};
use crate::telemetry::histograms::Histograms;
use crate::telemetry::{Telemetry, log};

/// The counters of a route, under its name.
type Named<'a> = (&'a str, &'a RouteCounters);

pub(super) fn add(telemetry: &Telemetry, families: &mut Families) {
    let routes = telemetry.routes.read();
    let named = routes.iter().map(|(name, counters)| (&**name, &**counters));
    let all: Vec<Named<'_>> = named.chain([(NO_ROUTE, &telemetry.unrouted)]).collect();
    add_outcomes(&all, families);
    add_secrets(&all, families);
    add_late_retries(&all, families);
    add_unchecked_ids(&all, families);
    add_would_refuse(&all, families);
    add_histograms(telemetry, families);
    add_skew(telemetry, families);
    add_totals(telemetry, families);
    add_attempts(telemetry, families);
}

fn add_outcomes(all: &[Named<'_>], families: &mut Families) {
    let values = all.iter().flat_map(|(route, counters)| {
        // refusals that never happened would be hundreds of lines
        let counters = counters
            .totals()
            .filter(|(outcome, total)| *total > 0 || (!outcome.is_refusal() && *route != NO_ROUTE));
        counters
            .map(|(outcome, total)| (vec![*route, outcome.label()], total))
            .collect::<Vec<_>>()
    });
    families.counter(
        "hookgate_requests_total",
        "Requests by outcome.",
        &["route", "outcome"],
        values,
    );
}

fn add_secrets(all: &[Named<'_>], families: &mut Families) {
    let secrets: Vec<_> = all
        .iter()
        .flat_map(|(route, counters)| {
            counters
                .secrets()
                .into_iter()
                .map(|(name, counters)| (*route, name, counters.matches))
        })
        .collect();
    families.counter(
        "hookgate_secret_matches_total",
        "Authentic requests by the secret that matched.",
        &["route", "secret"],
        secrets
            .iter()
            .map(|(route, name, matches)| (vec![*route, &**name], *matches)),
    );
}

fn add_late_retries(all: &[Named<'_>], families: &mut Families) {
    let values = all
        .iter()
        .filter(|(route, _)| *route != NO_ROUTE)
        .map(|(route, counters)| (vec![*route], counters.late_retries()));
    families.counter(
        "hookgate_late_retries_total",
        "Retries that were accepted although their signed time was older than the tolerance.",
        &["route"],
        values,
    );
}

fn add_unchecked_ids(all: &[Named<'_>], families: &mut Families) {
    let values = all
        .iter()
        .filter(|(route, _)| *route != NO_ROUTE)
        .map(|(route, counters)| (vec![*route], counters.ids_unchecked()));
    families.counter(
        "hookgate_dedupe_passed_total",
        "Deliveries that were forwarded while the shared store could not be asked for their IDs.",
        &["route"],
        values,
    );
}

fn add_would_refuse(all: &[Named<'_>], families: &mut Families) {
    let values: Vec<_> = all
        .iter()
        .flat_map(|(route, counters)| {
            counters
                .would_refuse()
                .into_iter()
                .map(|(code, count)| (vec![*route, code], count))
        })
        .collect();
    families.counter(
        "hookgate_would_refuse_total",
        "Requests that a route with `mode: observe` let through and would have refused.",
        &["route", "code"],
        values,
    );
}

fn add_histograms(telemetry: &Telemetry, families: &mut Families) {
    let Histograms {
        request_seconds,
        verify_seconds,
        signature_age,
        upstream_seconds,
    } = &telemetry.histograms;
    for histogram in [
        request_seconds,
        verify_seconds,
        signature_age,
        upstream_seconds,
    ] {
        families.collect(histogram);
    }
}

fn add_skew(telemetry: &Telemetry, families: &mut Families) {
    let skew = telemetry.skew();
    families.gauge(
        "hookgate_clock_skew_seconds",
        "Median distance of recent signed times from the gateway's clock. Negative: they are ahead.",
        &[],
        (skew.samples > 0).then_some((vec![], skew.seconds)),
    );
}

fn add_totals(telemetry: &Telemetry, families: &mut Families) {
    let totals = [
        (
            "hookgate_malformed_total",
            "Requests that the proxy library refused as malformed before the gateway saw them.",
            log::malformed(),
        ),
        (
            "hookgate_library_warnings_total",
            "Warnings and errors of libraries. Their text is not logged.",
            log::silenced(),
        ),
        (
            "hookgate_lost_claims_total",
            "Deliveries that took so long that a duplicate was forwarded as well.",
            telemetry.lost_claims.load(Ordering::Relaxed),
        ),
        (
            "hookgate_not_recorded_total",
            "Deliveries that `record` asks for and that could not be stored.",
            telemetry.unrecorded.load(Ordering::Relaxed),
        ),
        (
            "hookgate_log_lines_dropped_total",
            "Log lines dropped because they were not read in time.",
            telemetry.lines.dropped(),
        ),
    ];
    for (name, help, value) in totals {
        families.total(name, help, value);
    }
}

fn add_attempts(telemetry: &Telemetry, families: &mut Families) {
    let tables = [
        (
            "hookgate_attempts_total",
            "Attempts of queued deliveries, by outcome.",
            "outcome",
            telemetry.attempts.by_outcome(),
        ),
        (
            "hookgate_attempts_settled_total",
            "Attempts of queued deliveries, by the next step.",
            "after",
            telemetry.attempts.by_after(),
        ),
        (
            "hookgate_attempt_errors_total",
            "Attempts of queued deliveries without an answer, by error code.",
            "error",
            telemetry.attempts.by_error(),
        ),
    ];
    for (name, help, label, counts) in tables {
        let values = counts
            .iter()
            .map(|((route, word), count)| (vec![&**route, *word], *count));
        families.counter(name, help, &["route", label], values);
    }
}

//! The distance of the gateway's clock from those of the senders.

/// The largest clock skew that needs no attention: providers allow five minutes, some five seconds.
pub(super) const MAX_SKEW_SECONDS: f64 = 30.0;

/// Describes the clock skew: `0.2 s behind the senders`.
pub(super) fn drift(skew: f64) -> String {
    if skew.abs() < 0.05 {
        return "in step with the senders".to_owned();
    }
    format!(
        "{:.1} s {} the senders",
        skew.abs(),
        if skew > 0.0 { "ahead of" } else { "behind" }
    )
}

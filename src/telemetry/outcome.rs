//! The closed set of outcomes of a request: metric label and index in every counter.
use super::record::{Acceptance, Cut, Ended};
use crate::delivery::Shortage;
use crate::refusal::Refusal;
use crate::verify::NotAuthentic;

const REFUSALS: usize = Refusal::ALL.len();

/// The number of outcomes.
pub(super) const OUTCOMES: usize = REFUSALS + Outcome::OTHERS.len();

/// The conclusion that an outcome allows about a request and the response to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The request verified, and the sender got a 2xx.
    Succeeded,
    /// The request verified, and the sender got something else.
    Failed,
    /// The request did not verify.
    NotAuthentic,
    /// None: the request was not verified, or not by its signature alone, or got no response.
    Unknown,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The request was not let through, or the upstream gave no response.
    Refused(Refusal),
    /// The upstream answered 2xx.
    Forwarded,
    /// The upstream answered 3xx.
    Upstream3xx,
    /// The upstream answered 4xx.
    Upstream4xx,
    /// The upstream answered with any other status.
    Upstream5xx,
    /// The delivery was a duplicate of one that was delivered.
    Duplicate,
    /// The request was dropped before its end.
    Abandoned,
    /// The gateway answered a handshake.
    Handshake,
    /// A stream switched protocols, and ended.
    Passed1xx,
    /// A stream was answered 2xx, and ended.
    Passed2xx,
    /// A stream was answered 3xx, and ended.
    Passed3xx,
    /// A stream was answered 4xx, and ended.
    Passed4xx,
    /// A stream was answered 5xx, and ended.
    Passed5xx,
    /// The sender left a stream before its end.
    PassedSenderLeft,
    /// The upstream broke off a stream.
    PassedBrokenOff,
    /// A stream was idle for too long.
    PassedIdle,
    /// The delivery was stored, because its route queues.
    Queued,
    /// The delivery was stored, because the upstream could not take it.
    Spilled,
    /// The delivery was a duplicate of one that was dead or cancelled, which is attempted again.
    Revived,
}

impl Outcome {
    /// The outcomes that are no refusal, in the order of their indexes, which follow those of [`Refusal::ALL`].
    const OTHERS: [Self; 18] = [
        Self::Forwarded,
        Self::Upstream3xx,
        Self::Upstream4xx,
        Self::Upstream5xx,
        Self::Duplicate,
        Self::Abandoned,
        Self::Handshake,
        Self::Passed1xx,
        Self::Passed2xx,
        Self::Passed3xx,
        Self::Passed4xx,
        Self::Passed5xx,
        Self::PassedSenderLeft,
        Self::PassedBrokenOff,
        Self::PassedIdle,
        Self::Queued,
        Self::Spilled,
        Self::Revived,
    ];

    /// Returns the outcome of a request that ended like this.
    pub(super) fn of(ended: Ended) -> Self {
        match ended {
            Ended::Forwarded(status) if status.is_success() => Self::Forwarded,
            Ended::Forwarded(status) if status.is_redirection() => Self::Upstream3xx,
            Ended::Forwarded(status) if status.is_client_error() => Self::Upstream4xx,
            Ended::Forwarded(_) => Self::Upstream5xx,
            Ended::Duplicate(_) => Self::Duplicate,
            Ended::Accepted(_, Acceptance::Queued) => Self::Queued,
            Ended::Accepted(_, Acceptance::Spilled) => Self::Spilled,
            Ended::Accepted(_, Acceptance::Revived) => Self::Revived,
            Ended::Handshake => Self::Handshake,
            Ended::Passed(status) => match status.as_u16() / 100 {
                0 | 1 => Self::Passed1xx,
                2 => Self::Passed2xx,
                3 => Self::Passed3xx,
                4 => Self::Passed4xx,
                _ => Self::Passed5xx,
            },
            Ended::Cut(_, Cut::SenderLeft) => Self::PassedSenderLeft,
            Ended::Cut(_, Cut::BrokenOff) => Self::PassedBrokenOff,
            Ended::Cut(_, Cut::Idle) => Self::PassedIdle,
            Ended::Refused { refusal, .. } => Self::Refused(refusal),
            Ended::Abandoned => Self::Abandoned,
        }
    }

    /// Returns all outcomes, in the order of their indexes.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let refusals = Refusal::ALL.iter().copied().map(Self::Refused);
        refusals.chain(Self::OTHERS)
    }

    /// Returns the index in a counter.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Refused(refusal) => index_of(refusal),
            Self::Forwarded => REFUSALS,
            Self::Upstream3xx => REFUSALS + 1,
            Self::Upstream4xx => REFUSALS + 2,
            Self::Upstream5xx => REFUSALS + 3,
            Self::Duplicate => REFUSALS + 4,
            Self::Abandoned => REFUSALS + 5,
            Self::Handshake => REFUSALS + 6,
            Self::Passed1xx => REFUSALS + 7,
            Self::Passed2xx => REFUSALS + 8,
            Self::Passed3xx => REFUSALS + 9,
            Self::Passed4xx => REFUSALS + 10,
            Self::Passed5xx => REFUSALS + 11,
            Self::PassedSenderLeft => REFUSALS + 12,
            Self::PassedBrokenOff => REFUSALS + 13,
            Self::PassedIdle => REFUSALS + 14,
            Self::Queued => REFUSALS + 15,
            Self::Spilled => REFUSALS + 16,
            Self::Revived => REFUSALS + 17,
        }
    }

    /// Returns whether the delivery was stored and acknowledged.
    pub(super) fn is_accepted(self) -> bool {
        matches!(self, Self::Queued | Self::Spilled | Self::Revived)
    }

    /// Returns whether the outcome is a refusal.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Returns the conclusion that the outcome allows.
    pub(super) fn judged(self) -> Judged {
        match self {
            Self::Refused(refusal) => judged(refusal),
            Self::Forwarded | Self::Duplicate | Self::Queued | Self::Spilled | Self::Revived => {
                Judged::Succeeded
            }
            Self::Upstream3xx | Self::Upstream4xx | Self::Upstream5xx => Judged::Failed,
            Self::Abandoned
            | Self::Handshake
            | Self::Passed1xx
            | Self::Passed2xx
            | Self::Passed3xx
            | Self::Passed4xx
            | Self::Passed5xx
            | Self::PassedSenderLeft
            | Self::PassedBrokenOff
            | Self::PassedIdle => Judged::Unknown,
        }
    }

    /// Returns the metric label; for a refusal, its code.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Forwarded => "forwarded",
            Self::Upstream3xx => "upstream_3xx",
            Self::Upstream4xx => "upstream_4xx",
            Self::Upstream5xx => "upstream_5xx",
            Self::Duplicate => "duplicate",
            Self::Abandoned => "abandoned",
            Self::Handshake => "handshake",
            Self::Passed1xx => "passed_1xx",
            Self::Passed2xx => "passed_2xx",
            Self::Passed3xx => "passed_3xx",
            Self::Passed4xx => "passed_4xx",
            Self::Passed5xx => "passed_5xx",
            Self::PassedSenderLeft => "passed_sender_left",
            Self::PassedBrokenOff => "passed_broken_off",
            Self::PassedIdle => "passed_idle",
            Self::Queued => "queued",
            Self::Spilled => "spilled",
            Self::Revived => "revived",
        }
    }
}

/// Returns the index of a refusal in [`Refusal::ALL`].
fn index_of(refusal: Refusal) -> usize {
    match refusal {
        Refusal::Malformed => 0,
        Refusal::TargetTooLong => 1,
        Refusal::HeadTooLarge => 2,
        Refusal::NoRoute => 3,
        Refusal::Loop => 4,
        Refusal::PathGuarded => 5,
        Refusal::MethodNotAllowed => 6,
        Refusal::ClientNotAllowed => 7,
        Refusal::BodyTooLarge => 8,
        Refusal::BodyTimeout => 9,
        Refusal::NotAuthentic(NotAuthentic::SignatureMissing) => 10,
        Refusal::NotAuthentic(NotAuthentic::SignatureMalformed) => 11,
        Refusal::NotAuthentic(NotAuthentic::SignatureMismatch) => 12,
        Refusal::NotAuthentic(NotAuthentic::TimestampMissing) => 13,
        Refusal::NotAuthentic(NotAuthentic::TimestampMalformed) => 14,
        Refusal::NotAuthentic(NotAuthentic::TimestampStale) => 15,
        Refusal::NotAuthentic(NotAuthentic::TimestampFuture) => 16,
        Refusal::RateLimited { .. } => 17,
        Refusal::Overloaded => 18,
        Refusal::InFlight => 19,
        Refusal::StoreUnavailable => 20,
        Refusal::StoreFull => 21,
        Refusal::Draining => 22,
        Refusal::UpstreamOpen { .. } => 23,
        Refusal::UpstreamUnreachable => 24,
        Refusal::UpstreamReset => 25,
        Refusal::UpstreamMalformed => 26,
        Refusal::UpstreamTimeout => 27,
        Refusal::OutOf(Shortage::Descriptors) => 28,
        Refusal::OutOf(Shortage::Ports) => 29,
        Refusal::OutOf(Shortage::Memory) => 30,
        Refusal::Internal => 31,
    }
}

/// Returns the conclusion that a refusal allows.
fn judged(refusal: Refusal) -> Judged {
    match refusal {
        Refusal::NotAuthentic(_) => Judged::NotAuthentic,
        Refusal::InFlight
        | Refusal::StoreUnavailable
        | Refusal::StoreFull
        | Refusal::UpstreamOpen { .. }
        | Refusal::UpstreamUnreachable
        | Refusal::UpstreamReset
        | Refusal::UpstreamMalformed
        | Refusal::UpstreamTimeout
        | Refusal::OutOf(_) => Judged::Failed,
        Refusal::Malformed
        | Refusal::TargetTooLong
        | Refusal::HeadTooLarge
        | Refusal::NoRoute
        | Refusal::Loop
        | Refusal::PathGuarded
        | Refusal::MethodNotAllowed
        | Refusal::ClientNotAllowed
        | Refusal::BodyTooLarge
        | Refusal::BodyTimeout
        | Refusal::RateLimited { .. }
        | Refusal::Overloaded
        | Refusal::Draining
        | Refusal::Internal => Judged::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_outcome_has_its_own_index() {
        assert_eq!(Outcome::all().count(), OUTCOMES);
        for (index, outcome) in Outcome::all().enumerate() {
            assert_eq!(outcome.index(), index, "{}", outcome.label());
        }
    }

    #[test]
    fn every_end_of_a_request_has_its_label() {
        for refusal in Refusal::ALL {
            let outcome = Outcome::of(Ended::Refused {
                refusal: *refusal,
                status: refusal.status(),
            });
            assert_eq!(
                (outcome.label(), outcome.is_refusal()),
                (refusal.code(), true)
            );
        }
        let labels = [200, 302, 404, 500].map(|status| {
            Outcome::of(Ended::Forwarded(StatusCode::from_u16(status).unwrap())).label()
        });
        assert_eq!(
            labels,
            ["forwarded", "upstream_3xx", "upstream_4xx", "upstream_5xx"]
        );
        assert_eq!(
            Outcome::of(Ended::Duplicate(StatusCode::OK)).label(),
            "duplicate"
        );
        assert_eq!(Outcome::of(Ended::Abandoned).label(), "abandoned");
        assert_eq!(Outcome::of(Ended::Handshake).label(), "handshake");
        let labels = [101, 200, 304, 404, 503].map(|status| {
            Outcome::of(Ended::Passed(StatusCode::from_u16(status).unwrap())).label()
        });
        assert_eq!(
            labels,
            [
                "passed_1xx",
                "passed_2xx",
                "passed_3xx",
                "passed_4xx",
                "passed_5xx"
            ]
        );
        for cut in [Cut::SenderLeft, Cut::BrokenOff, Cut::Idle] {
            assert_eq!(
                Outcome::of(Ended::Cut(StatusCode::OK, cut)).label(),
                format!("passed_{}", cut.code())
            );
        }
        for acceptance in [Acceptance::Queued, Acceptance::Spilled, Acceptance::Revived] {
            let outcome = Outcome::of(Ended::Accepted(StatusCode::OK, acceptance));
            assert_eq!(
                (outcome.label(), outcome.is_accepted()),
                (acceptance.code(), true)
            );
        }
    }

    #[test]
    fn outcomes_are_judged_by_verdict_and_response() {
        let judged = |judged| {
            Outcome::all()
                .filter(|outcome| outcome.judged() == judged)
                .map(Outcome::label)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            judged(Judged::Succeeded),
            ["forwarded", "duplicate", "queued", "spilled", "revived"]
        );
        assert_eq!(
            judged(Judged::Failed)[8..11],
            ["out_of_descriptors", "out_of_ports", "out_of_memory"]
        );
        assert_eq!(
            judged(Judged::Failed)[11..],
            ["upstream_3xx", "upstream_4xx", "upstream_5xx"]
        );
        assert!(judged(Judged::NotAuthentic).contains(&"signature_mismatch"));
    }
}

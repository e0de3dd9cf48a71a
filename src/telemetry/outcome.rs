//! The closed set of outcomes: metric label and place in every counter.
use super::record::{Cut, Ended, Taken};
use crate::refusal::Refusal;

/// Outcomes that are no refusal; they come after those of [`Refusal::ALL`].
const OTHERS: [&str; 18] = [
    "forwarded",
    "upstream_3xx",
    "upstream_4xx",
    "upstream_5xx",
    "duplicate",
    "abandoned",
    "handshake",
    "passed_1xx",
    "passed_2xx",
    "passed_3xx",
    "passed_4xx",
    "passed_5xx",
    "passed_sender_left",
    "passed_broken_off",
    "passed_idle",
    "queued",
    "spilled",
    "revived",
];
const REFUSALS: usize = Refusal::ALL.len();

/// How many there are.
pub(super) const OUTCOMES: usize = REFUSALS + OTHERS.len();

/// What an outcome says of a request and of what its sender got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It verified, and the sender got a 2xx.
    Succeeded,
    /// It verified, and the sender got something else.
    Failed,
    /// It did not verify.
    NotAuthentic,
    /// It was not judged, or not by its signature alone, or nobody was answered.
    Unknown,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome(usize);

impl Outcome {
    /// A forwarded request: the upstream answered 2xx.
    pub(super) const FORWARDED: Self = Self(REFUSALS);
    /// A duplicate.
    pub(super) const DUPLICATE: Self = Self(REFUSALS + 4);
    const ABANDONED: Self = Self(REFUSALS + 5);
    const HANDSHAKE: Self = Self(REFUSALS + 6);
    /// The first of those of streams, by class of status from 1xx to 5xx.
    const PASSED: usize = REFUSALS + 7;
    const CUT: usize = Self::PASSED + 5;
    const TAKEN: usize = Self::CUT + 3;

    /// The outcome of a request that ended like this.
    pub(super) fn of(ended: Ended) -> Self {
        match ended {
            Ended::Forwarded(status) if status.is_success() => Self::FORWARDED,
            Ended::Forwarded(status) if status.is_redirection() => Self(REFUSALS + 1),
            Ended::Forwarded(status) if status.is_client_error() => Self(REFUSALS + 2),
            Ended::Forwarded(_) => Self(REFUSALS + 3),
            Ended::Duplicate(_) => Self::DUPLICATE,
            Ended::Taken(_, Taken::Queued) => Self(Self::TAKEN),
            Ended::Taken(_, Taken::Spilled) => Self(Self::TAKEN + 1),
            Ended::Taken(_, Taken::Revived) => Self(Self::TAKEN + 2),
            Ended::Handshake => Self::HANDSHAKE,
            Ended::Passed(status) => {
                Self(Self::PASSED + usize::from(status.as_u16() / 100).clamp(1, 5) - 1)
            }
            Ended::Cut(_, Cut::SenderLeft) => Self(Self::CUT),
            Ended::Cut(_, Cut::BrokenOff) => Self(Self::CUT + 1),
            Ended::Cut(_, Cut::Idle) => Self(Self::CUT + 2),
            Ended::Refused { code, .. } => Refusal::ALL
                .iter()
                .position(|refusal| refusal.code() == code)
                .map_or(Self(REFUSALS - 1), Self),
            Ended::Abandoned => Self::ABANDONED,
        }
    }

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..OUTCOMES).map(Self)
    }

    /// Its place in a counter.
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// Returns whether the delivery was stored and acknowledged.
    pub(super) fn is_accepted(self) -> bool {
        (Self::TAKEN..Self::TAKEN + 3).contains(&self.0)
    }

    /// Whether it is a refusal.
    pub(super) fn is_refusal(self) -> bool {
        self.0 < REFUSALS
    }

    /// What it says.
    pub(super) fn judged(self) -> Judged {
        if let Some(refusal) = Refusal::ALL.get(self.0) {
            return match refusal {
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
            };
        }
        match self {
            Self::FORWARDED | Self::DUPLICATE => Judged::Succeeded,
            Self(taken) if (Self::TAKEN..Self::TAKEN + 3).contains(&taken) => Judged::Succeeded,
            Self(forwarded) if (REFUSALS + 1..REFUSALS + 4).contains(&forwarded) => Judged::Failed,
            _ => Judged::Unknown,
        }
    }

    /// Its metric label; of a refusal, its code.
    pub(super) fn label(self) -> &'static str {
        let other = || {
            self.0
                .checked_sub(REFUSALS)
                .and_then(|index| OTHERS.get(index).copied())
        };
        Refusal::ALL
            .get(self.0)
            .map(Refusal::code)
            .or_else(other)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_end_has_its_label() {
        for refusal in Refusal::ALL {
            let outcome = Outcome::of(Ended::Refused {
                code: refusal.code(),
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
        for taken in [Taken::Queued, Taken::Spilled, Taken::Revived] {
            let outcome = Outcome::of(Ended::Taken(StatusCode::OK, taken));
            assert_eq!(
                (outcome.label(), outcome.is_accepted()),
                (taken.code(), true)
            );
        }
        assert_eq!(Outcome::all().count(), OUTCOMES);
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

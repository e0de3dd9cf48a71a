//! The validity of the config's certificates, and the choice between two pairs.
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::Dates;

/// The time before the end of a certificate at which it should be renewed, or a quarter of its life, if that is shorter.
const RENEWAL: Duration = Duration::from_secs(14 * 86_400);

/// The time range in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The begin.
    pub from: SystemTime,
    /// The end.
    pub to: SystemTime,
}

impl Validity {
    /// Parses the validity; `None` if it is not a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let at = |seconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        let validity = certificate.validity();
        Some(Self {
            from: at(validity.not_before.timestamp()),
            to: at(validity.not_after.timestamp()),
        })
    }

    /// Returns whether the certificate is valid now.
    pub fn holds(&self, dates: &Dates) -> bool {
        dates.has_begun(self.from) && !dates.has_ended(self.to)
    }

    /// Returns the trouble with a certificate that is not valid now or expires soon.
    pub fn trouble(&self, dates: &Dates) -> Option<String> {
        let life = self.to.duration_since(self.from).unwrap_or_default();
        let soon = self
            .to
            .checked_sub(RENEWAL.min(life / 4))
            .unwrap_or(self.to);
        if dates.has_ended(self.to) {
            Some(format!("expired at {}", shown(self.to)))
        } else if !dates.has_begun(self.from) {
            Some(format!("is not valid before {}", shown(self.from)))
        } else {
            dates
                .has_begun(soon)
                .then(|| format!("expires at {}", shown(self.to)))
        }
    }

    /// Returns whether a certificate with this validity replaces the one in use: unless only that one is valid.
    pub fn takes_over(&self, in_use: &Self, dates: &Dates) -> bool {
        self.holds(dates) || !in_use.holds(dates)
    }
}

/// Returns a time as RFC 3339, to the second.
fn shown(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map(|at| at.to_string())
        .unwrap_or_default()
}

/// The certificates of one key in the config: of a pair, or of a file of authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateUse {
    /// The name in status, metrics and logs: `listen[0]`, `upstreams.app.ca`.
    pub label: String,
    /// The validity of the certificates in use: one of a pair, all of a file of authorities.
    pub in_use: Vec<Validity>,
    /// The validity of the pair in the files, if it is not in use because it is not valid.
    pub waiting: Option<Validity>,
}

impl CertificateUse {
    /// Returns whether the waiting certificate should be in use by now.
    pub fn should_change(&self, dates: &Dates) -> bool {
        let in_use = self.in_use.first();
        self.waiting
            .as_ref()
            .zip(in_use)
            .is_some_and(|(waiting, in_use)| waiting.takes_over(in_use, dates))
    }

    /// Returns the trouble that needs attention. Of several authorities one must be valid.
    pub fn trouble(&self, dates: &Dates) -> Option<String> {
        let best = self.in_use.iter().max_by_key(|validity| validity.to);
        let in_use = best
            .and_then(|best| best.trouble(dates))
            .map(|what| format!("the certificate of {} {what}", self.label));
        let waiting = self.waiting.and_then(|waiting| waiting.trouble(dates));
        let waiting = waiting.map(|what| {
            format!(
                "the files of {} contain a certificate that {what}; the last good one stays in use",
                self.label
            )
        });
        in_use.or(waiting)
    }

    /// Returns a label and the end of each certificate in use.
    pub fn ends(&self) -> impl Iterator<Item = (String, SystemTime)> {
        let only = self.in_use.len() == 1;
        let label = move |index: usize| {
            if only {
                self.label.clone()
            } else {
                format!("{}[{index}]", self.label)
            }
        };
        self.in_use
            .iter()
            .enumerate()
            .map(move |(index, validity)| (label(index), validity.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(day: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * day
    }

    fn valid(from: u32, to: u32) -> Validity {
        Validity {
            from: at(from),
            to: at(to),
        }
    }

    #[test]
    fn invalid_pair_does_not_replace_a_valid_one() {
        let dates = Dates::at(at(100));
        let (good, expired, early) = (valid(50, 200), valid(0, 99), valid(101, 300));
        for (offered, in_use, takes_over) in [
            (good, good, true),
            (good, expired, true),
            (expired, good, false),
            (early, good, false),
            (early, expired, true),
            (expired, early, true),
        ] {
            assert_eq!(
                offered.takes_over(&in_use, &dates),
                takes_over,
                "{offered:?} {in_use:?}"
            );
        }
        let one = CertificateUse {
            label: "listen[0]".to_owned(),
            in_use: vec![good],
            waiting: Some(early),
        };
        assert!(
            !one.should_change(&dates) && one.should_change(&Dates::at(at(101))),
            "it is judged again"
        );
        assert!(
            one.trouble(&dates).unwrap().starts_with(
                "the files of listen[0] contain a certificate that is not valid before"
            )
        );
    }

    #[test]
    fn expiry_warns_in_time_to_renew() {
        for (validity, day, expected) in [
            (valid(0, 365), 350, None),
            (valid(0, 365), 351, Some("expires at 1971-01-01T00:00:00Z")),
            (valid(0, 8), 5, None),
            (valid(0, 8), 6, Some("expires at 1970-01-09T00:00:00Z")),
            (valid(0, 8), 8, Some("expired at 1970-01-09T00:00:00Z")),
            (
                valid(2, 8),
                1,
                Some("is not valid before 1970-01-03T00:00:00Z"),
            ),
        ] {
            assert_eq!(
                validity.trouble(&Dates::at(at(day))).as_deref(),
                expected,
                "{validity:?} on day {day}"
            );
        }
        let authorities = CertificateUse {
            label: "ca".to_owned(),
            in_use: vec![valid(0, 10), valid(0, 1000)],
            waiting: None,
        };
        assert_eq!(
            authorities.trouble(&Dates::at(at(100))),
            None,
            "one that is good is enough"
        );
        assert!(authorities.trouble(&Dates::at(at(1001))).is_some());
        let labels: Vec<String> = authorities.ends().map(|(label, _)| label).collect();
        assert_eq!(labels, ["ca[0]", "ca[1]"]);
    }
}

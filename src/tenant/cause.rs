//! The cause of a failed attempt, as the health of an endpoint keeps it.
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::delivery::{Fault, Outcome};

/// The separator between a code and the date that belongs to it.
const DATE: char = '@';

/// The cause of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The endpoint answered with this status.
    Status(u16),
    /// There was no answer.
    Fault(Fault),
    /// The cause was not recorded, or by another version.
    Unknown,
}

impl Cause {
    /// Returns the status of the answer, if there was one.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Fault(_) | Self::Unknown => None,
        }
    }

    /// Returns the error code with its date, as the store keeps it; `None` for a status.
    pub fn code(self) -> Option<Cow<'static, str>> {
        let Self::Fault(fault) = self else {
            return None;
        };
        let (code, _) = fault.codes();
        let seconds = |date: SystemTime| date.duration_since(UNIX_EPOCH).ok();
        Some(match fault.date().and_then(seconds) {
            Some(since) => format!("{code}{DATE}{}", since.as_secs()).into(),
            None => code.into(),
        })
    }

    /// Restores a cause from a status and from a code, with or without its date.
    pub fn from_stored(status: Option<u16>, code: Option<&str>) -> Self {
        if let Some(status) = status {
            return Self::Status(status);
        }
        let code = code.unwrap_or_default();
        let (code, date) = code.split_once(DATE).unwrap_or((code, ""));
        let date = date.parse().ok().map(Duration::from_secs);
        let date = date.and_then(|since| UNIX_EPOCH.checked_add(since));
        Fault::of_code(code, date).map_or(Self::Unknown, Self::Fault)
    }
}

impl From<Outcome> for Cause {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered(status) => Self::Status(status.as_u16()),
            Outcome::Unreached(fault) | Outcome::Ambiguous(fault) => Self::Fault(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::TlsFault;

    #[test]
    fn causes_survive_the_store() {
        let date = UNIX_EPOCH + Duration::from_secs(1_793_664_000);
        let dated = Fault::Tls(TlsFault::Expired(Some(date)));
        let causes = Fault::ALL.iter().copied().chain([dated]).map(Cause::Fault);
        for cause in causes.chain([Cause::Status(503), Cause::Unknown]) {
            let code = cause.code();
            let again = Cause::from_stored(cause.status(), code.as_deref());
            assert_eq!(again, cause);
        }
        assert_eq!(
            Cause::Fault(dated).code().unwrap(),
            "unreached_tls_expired@1793664000"
        );
        for code in [
            "cut_off",
            "unreached_tls_expired@x",
            "@",
            "unreached_later@1",
        ] {
            let cause = Cause::from_stored(None, Some(code));
            let expired = Cause::Fault(Fault::Tls(TlsFault::Expired(None)));
            assert!(cause == Cause::Unknown || cause == expired, "{code}");
        }
    }
}

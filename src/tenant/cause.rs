//! The cause of a failed attempt, as the health of an endpoint keeps it.
use std::borrow::Cow;

use crate::delivery::{Fault, Outcome};

/// The cause of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The endpoint answered with this status.
    Status(u16),
    /// The endpoint did not get the request.
    Unreached(Fault),
    /// The endpoint may have got the request, but gave no answer.
    Ambiguous(Fault),
    /// The cause was not recorded, or by another version.
    Unknown,
}

impl Cause {
    /// Returns the status of the answer, if there was one.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Unreached(_) | Self::Ambiguous(_) | Self::Unknown => None,
        }
    }

    /// Returns the error code; `None` for a status.
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Self::Unreached(fault) => Some(fault.codes().0),
            Self::Ambiguous(fault) => Some(fault.codes().1),
            Self::Status(_) | Self::Unknown => None,
        }
    }

    /// Returns the error as the store keeps it, for this as for an attempt: the code with its date; `None` for a status.
    pub fn stored(self) -> Option<Cow<'static, str>> {
        let (Self::Unreached(fault) | Self::Ambiguous(fault)) = self else {
            return None;
        };
        self.code().map(|code| fault.stored(code))
    }

    /// Restores a cause from a status and from a stored error.
    pub fn from_stored(status: Option<u16>, error: Option<&str>) -> Self {
        match (status, error.and_then(Fault::of_stored)) {
            (Some(status), _) => Self::Status(status),
            (None, Some((fault, true))) => Self::Ambiguous(fault),
            (None, Some((fault, false))) => Self::Unreached(fault),
            (None, None) => Self::Unknown,
        }
    }
}

impl From<Outcome> for Cause {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered(status) => Self::Status(status.as_u16()),
            Outcome::Unreached(fault) => Self::Unreached(fault),
            Outcome::Ambiguous(fault) => Self::Ambiguous(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::delivery::TlsFault;

    #[test]
    fn causes_survive_the_store() {
        let date = UNIX_EPOCH + Duration::from_secs(1_793_664_000);
        let dated = Fault::Tls(TlsFault::Expired(Some(date)));
        let faults = Fault::ALL.iter().copied().chain([dated]);
        let causes = faults.flat_map(|fault| [Cause::Unreached(fault), Cause::Ambiguous(fault)]);
        for cause in causes.chain([Cause::Status(503), Cause::Unknown]) {
            let stored = cause.stored();
            let again = Cause::from_stored(cause.status(), stored.as_deref());
            assert_eq!(again, cause);
        }
        assert_eq!(
            Cause::Unreached(dated).stored().unwrap(),
            "unreached_tls_expired 2026-11-03T00:00:00.000Z"
        );
        for error in [
            "cut_off",
            "unreached_tls_expired x",
            " ",
            "unreached_later 1",
        ] {
            let cause = Cause::from_stored(None, Some(error));
            let expired = Cause::Unreached(Fault::Tls(TlsFault::Expired(None)));
            assert!(cause == Cause::Unknown || cause == expired, "{error}");
        }
    }
}

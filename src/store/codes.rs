//! The numbers for causes, reasons and kinds of names in the rows of every store: a delivery that is carried from one store to another keeps them.
use crate::retry::Reason;
use crate::store::names::Kind;
use crate::store::queue::Cause;

/// Returns the number of a reason: for a status, the status.
pub(crate) fn of_reason(reason: Reason) -> i64 {
    match reason {
        Reason::Attempts => 1,
        Reason::Age => 2,
        Reason::Paused => 3,
        Reason::Removed => 4,
        Reason::Status(status) => i64::from(status.as_u16()),
    }
}

/// Returns the reason with a number. One that a newer version wrote is shown as the end of the attempts.
pub(crate) fn to_reason(number: i64) -> Reason {
    let status = u16::try_from(number)
        .ok()
        .and_then(|status| http::StatusCode::from_u16(status).ok());
    match (number, status) {
        (2, _) => Reason::Age,
        (3, _) => Reason::Paused,
        (4, _) => Reason::Removed,
        (_, Some(status)) => Reason::Status(status),
        (_, None) => Reason::Attempts,
    }
}

/// Returns the number of a cause.
pub(crate) fn of_cause(cause: Cause) -> i64 {
    match cause {
        Cause::Schedule => 0,
        Cause::Replay => 1,
        Cause::Test => 2,
        Cause::Probe => 3,
    }
}

/// Returns the cause with a number. One that a newer version wrote is shown as the schedule.
pub(crate) fn to_cause(number: i64) -> Cause {
    match number {
        1 => Cause::Replay,
        2 => Cause::Test,
        3 => Cause::Probe,
        _ => Cause::Schedule,
    }
}

/// Returns the number of a kind of name.
pub(crate) fn of_kind(kind: Kind) -> i64 {
    match kind {
        Kind::Route => 0,
        Kind::Alarm => 1,
        Kind::Pass => 2,
    }
}

/// Returns the kind of name with a number; none for one that a newer version wrote.
pub(crate) fn to_kind(number: i64) -> Option<Kind> {
    match number {
        0 => Some(Kind::Route),
        1 => Some(Kind::Alarm),
        2 => Some(Kind::Pass),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        let gone = Reason::Status(http::StatusCode::GONE);
        let reasons = [
            Reason::Attempts,
            Reason::Age,
            Reason::Paused,
            Reason::Removed,
            gone,
        ];
        assert_eq!(reasons.map(of_reason), [1, 2, 3, 4, 410]);
        assert_eq!(reasons.map(of_reason).map(to_reason), reasons);
        let causes = [Cause::Schedule, Cause::Replay, Cause::Test, Cause::Probe];
        assert_eq!(causes.map(of_cause), [0, 1, 2, 3]);
        assert_eq!(causes.map(of_cause).map(to_cause), causes);
        let kinds = [Kind::Route, Kind::Alarm, Kind::Pass];
        assert_eq!(kinds.map(of_kind), [0, 1, 2]);
        assert_eq!(kinds.map(of_kind).map(to_kind), kinds.map(Some));
    }

    #[test]
    fn numbers_of_newer_versions_are_read() {
        assert_eq!(to_reason(99), Reason::Attempts);
        assert_eq!(to_cause(99), Cause::Schedule);
        assert_eq!(to_kind(99), None);
    }
}

//! Classifies pingora's errors of a stream.
use pingora::{Error, ErrorSource, ErrorType};

use crate::delivery::Fault;
use crate::telemetry::Cut;
use crate::upstream::client::connect_fault;

/// Returns what ended a stream after the head of the response.
pub(super) fn cut(error: &Error) -> Cut {
    match (error.esource(), error.etype()) {
        (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Cut::Idle,
        (ErrorSource::Downstream, _) => Cut::SenderLeft,
        (ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset, _) => Cut::BrokenOff,
    }
}

/// Returns whether the error means that the sender has left.
pub(super) fn is_gone(error: &ErrorType) -> bool {
    let broken = matches!(
        error,
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed
    );
    broken
        || matches!(
            error,
            ErrorType::H2Error | ErrorType::ReadTimedout | ErrorType::WriteTimedout
        )
}

/// Returns the fault that an error on the upstream's side stands for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "pingora defines the kinds of errors, and all others mean a malformed response"
)]
pub(super) fn fault(error: &Error) -> Fault {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Fault::ConnectTimeout,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => connect_fault(error),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Fault::Timeout,
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => Fault::Reset,
        _ => Fault::Malformed,
    }
}

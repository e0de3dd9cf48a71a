//! The meaning of an error of the server, or of the connection to it, for a call.
use tokio_postgres::error::DbError;

use crate::store::StoreError;

/// The number of times that a call is made whose rows change at the moment.
pub(super) const MAX_CALLS: u32 = 3;

/// The reason for which a call has no answer, and what is done about it.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It was rolled back because of other calls: it is made once more.
    Again(StoreError),
    /// A row of it cannot be stored: its rows are sent one by one, so that the others are.
    Row(StoreError),
    /// There is no table for a day of it: the table is made, and the call is made once more.
    NoDay(StoreError),
    /// The server refused it.
    Refused(StoreError),
    /// The connection is not used again.
    Lost(StoreError),
}

impl Fault {
    /// Returns the answer for the caller.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Again(error)
            | Self::Row(error)
            | Self::NoDay(error)
            | Self::Refused(error)
            | Self::Lost(error) => error,
        }
    }

    /// Returns the fault of a call whose connection was lost. It is unknown whether a call that writes was done, if it was sent.
    pub(super) fn lost(why: &str, writes: bool, was_sent: bool) -> Self {
        Self::Lost(if writes && was_sent {
            StoreError::Unknown(why.into())
        } else {
            StoreError::Unavailable(why.into())
        })
    }
}

/// Returns the meaning of an error of a call that was sent.
pub(super) fn fault_of(error: &tokio_postgres::Error, writes: bool) -> Fault {
    let Some(error) = error.as_db_error() else {
        let text = shown(error);
        // a parameter could not be encoded, so that nothing was sent
        if text.starts_with("error serializing parameter") {
            return Fault::Row(StoreError::Unavailable(text.into()));
        }
        return Fault::lost(&text, writes, true);
    };
    let code = error.code().code();
    let unavailable = || StoreError::Unavailable(message(error).into());
    let class = code.get(..2).unwrap_or_default();
    match (code, class) {
        ("40001" | "40P01" | "55P03" | "57014", _) => Fault::Again(unavailable()),
        ("23514", _) => Fault::NoDay(unavailable()),
        // numbers are used up
        ("2200H", _) => Fault::Refused(unavailable()),
        // also what is too large for an index, or for the server's memory
        (_, "21" | "22" | "23" | "54" | "P0") | ("XX000", _) => Fault::Row(unavailable()),
        ("53100", _) => Fault::Refused(StoreError::Full),
        ("XX001" | "XX002", _) => Fault::Refused(StoreError::Corrupted(message(error).into())),
        // the server says that nothing was done, and serves this connection no longer
        ("25006", _) => Fault::Lost(unavailable()),
        ("57P01" | "57P02" | "57P03", _) | (_, "08") => Fault::lost(&message(error), writes, true),
        _ => Fault::Refused(unavailable()),
    }
}

/// The reason for which there is no connection. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConnection {
    /// No server answered, or it is not ready to.
    #[error("the database cannot be reached: {0}")]
    Away(String),
    /// The server answered, and does not let this role into this database.
    #[error("the database refuses the login: {0}")]
    Login(String),
    /// This side does not go on: a file cannot be used, the server does not prove who it is, or the schema does not fit.
    #[error("{0}")]
    Unusable(String),
}

impl NoConnection {
    /// Returns the reason, without the words for its kind.
    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Away(detail) | Self::Login(detail) | Self::Unusable(detail) => detail,
        }
    }
}

/// Returns the reason for which a connection could not be made.
pub(super) fn no_connection(error: &tokio_postgres::Error) -> NoConnection {
    let text = shown(error);
    if let Some(error) = error.as_db_error() {
        let code = error.code().code();
        // a wrong password or role, no such database, no right to connect
        let is_login = code.starts_with("28")
            || matches!(code, "3D000" | "42501")
            || (code == "08P01" && is_login_at_pgbouncer(error.message()));
        return if is_login {
            NoConnection::Login(text)
        } else {
            NoConnection::Away(text)
        };
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        let inner = cause.downcast_ref::<std::io::Error>();
        let inner = inner.and_then(|error| error.get_ref()?.downcast_ref::<rustls::Error>());
        if matches!(inner, Some(rustls::Error::InvalidCertificate(_))) {
            return NoConnection::Unusable(format!("the server does not prove who it is: {text}"));
        }
        if cause_text == "server does not support TLS" {
            return NoConnection::Unusable("the server does not support TLS".to_owned());
        }
        if cause_text == "database does not allow writes" {
            let why = "the server does not allow writes: it is a standby, or read-only";
            return NoConnection::Unusable(why.to_owned());
        }
        if cause_text == "password missing" {
            return NoConnection::Login("the server asks for a password".to_owned());
        }
        source = cause.source();
    }
    NoConnection::Away(text)
}

/// Returns whether PgBouncer refuses a login. Older versions have one code for this and for a server that they cannot reach.
fn is_login_at_pgbouncer(message: &str) -> bool {
    // as in its client.c: "password authentication failed", "no such user", "no such database: x", "auth_query …"
    ["auth", "password", "no such"]
        .iter()
        .any(|word| message.contains(word))
}

/// Returns an error as it may be logged: the server's code and message, never its DETAIL, which may hold values.
pub(super) fn shown(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return message(error);
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn message(error: &DbError) -> String {
    format!("{} ({})", error.message(), error.code().code())
}

/// Returns the error of a call whose rows others change all the time.
pub(super) fn contended() -> StoreError {
    StoreError::Unavailable("other gateways change the same at this moment".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_at_an_older_pgbouncer_is_told_from_a_server_that_it_cannot_reach() {
        for login in [
            "password authentication failed",
            "no such user: hookgate",
            "no such database: hooks",
            "auth failed",
        ] {
            assert!(is_login_at_pgbouncer(login), "{login}");
        }
        for away in [
            "server conn crashed?",
            "pgbouncer cannot connect to server",
            "client_login_timeout (server down)",
            "no more connections allowed (max_client_conn)",
        ] {
            assert!(!is_login_at_pgbouncer(away), "{away}");
        }
    }
}

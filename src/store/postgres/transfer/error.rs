//! The reasons for which a store is not moved.
use crate::store::StoreError;
use crate::store::embedded::sqlite::OpenError;
use crate::store::postgres::errors::{NoConnection, shown};

/// The reason for which a store was not moved.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransferError {
    /// A gateway uses the directory.
    #[error("{0}")]
    Held(String),
    /// The store, the schema or the server does not allow it. Nothing was moved.
    #[error("{0}")]
    Refused(String),
    /// No server answers any more. Nothing was moved.
    #[error("{0}")]
    NotReachable(String),
    /// The answer to the commit was lost.
    #[error("{0}")]
    Unknown(String),
}

impl From<OpenError> for TransferError {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        if matches!(error, OpenError::InUse { .. }) {
            Self::Held(text)
        } else {
            Self::Refused(text)
        }
    }
}

impl From<NoConnection> for TransferError {
    fn from(error: NoConnection) -> Self {
        let text = error.to_string();
        match error {
            NoConnection::Away(_) => Self::NotReachable(text),
            NoConnection::Login(_) | NoConnection::Unusable(_) => Self::Refused(text),
        }
    }
}

impl From<rusqlite::Error> for TransferError {
    fn from(error: rusqlite::Error) -> Self {
        let cause = error.to_string().into();
        Self::Refused(StoreError::Unavailable(cause).to_string())
    }
}

impl From<tokio_postgres::Error> for TransferError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = shown(&error);
        let Some(code) = error.as_db_error().map(|error| error.code().code()) else {
            return Self::NotReachable(text);
        };
        Self::Refused(match code {
            // each table of a day is locked, with its indexes
            "53200" => {
                format!("{text}: raise `max_locks_per_transaction` of the server for the move")
            }
            "55P03" => format!("{text}: a gateway uses the schema; stop it for the move"),
            _ => text,
        })
    }
}

//! The settings of the log: the format of a line, and the requests that get one.

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// The requests that get a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRequests {
    /// Every one.
    All,
    /// Requests that were not let through.
    Refused,
    /// None; metrics count them.
    None,
}

/// The settings of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    /// The format of a line.
    pub format: LogFormat,
    /// The requests that get one.
    pub requests: LogRequests,
}

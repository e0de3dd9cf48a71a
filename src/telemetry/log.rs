//! The gateway's log about itself. The log records of libraries are counted and dropped, since they contain parts of requests.
use std::fmt::{self, Write};
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

use super::event_line::EventLines;
use super::log_policy::LogFormat;
use super::sink::Sink;

/// The variable that says what is logged, such as `debug` or `hookgate::config=debug`.
const FILTER: &str = "HOOKGATE_LOG";
/// The modules of the proxy library that log, at `debug`, that they refused a request before any hook of the gateway.
const REFUSING_MODULES: [&str; 2] = ["pingora_proxy", "pingora_core::protocols::http::v2::server"];
/// The beginnings of such a record.
const REFUSED: [&str; 3] = [
    "Fail to proxy: Downstream InvalidHTTPHeader",
    "rejecting downstream h2 request",
    "Rejecting H2 request",
];
/// Bytes of a record that are looked at.
const LOOKED_AT: usize = 64;

/// The longest wait for a reader of the log at the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// The sink of stderr. A reader that does not read its pipe must not hold up the gateway.
static SINK: OnceLock<Arc<Sink>> = OnceLock::new();
static MALFORMED: AtomicU64 = AtomicU64::new(0);
static SILENCED: AtomicU64 = AtomicU64::new(0);

/// Requests that the proxy library refused as malformed, since the start.
pub fn malformed() -> u64 {
    MALFORMED.load(Ordering::Relaxed)
}

/// Warnings and errors of libraries that were dropped, since the start.
pub fn silenced() -> u64 {
    SILENCED.load(Ordering::Relaxed)
}

/// Logs to stderr from now on, at `info` or what `HOOKGATE_LOG` says. Libraries are not heard at any level: they show what senders wrote.
///
/// # Errors
/// If the filter cannot be read, or something logs already.
pub fn init(format: LogFormat) -> Result<(), CannotLog> {
    let filter = match std::env::var(FILTER) {
        Ok(text) => {
            EnvFilter::try_new(text).map_err(|error| CannotLog(format!("{FILTER}: {error}")))?
        }
        Err(_) => EnvFilter::new("info"),
    };
    let sink = Sink::spawn(stderr(), |_, _| false).map_err(|error| CannotLog(error.to_string()))?;
    let sink = Arc::clone(SINK.get_or_init(|| Arc::new(sink)));
    let ours = filter_fn(|metadata| is_ours(metadata.target()));
    let lines = EventLines {
        sink,
        format,
        is_coloured: stderr().is_terminal(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(ours)
        .with(lines);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| CannotLog(error.to_string()))?;
    log::set_boxed_logger(Box::new(Bridge)).map_err(|error| CannotLog(error.to_string()))?;
    // the proxy library logs malformed requests at this level
    log::set_max_level(LevelFilter::Debug);
    Ok(())
}

/// Returns a log at `info` that writes to `out`, for a gateway that shares its process with others. It holds for the threads whose default it is.
///
/// # Errors
/// If no thread can be started.
pub fn to(
    format: LogFormat,
    out: impl std::io::Write + Send + 'static,
) -> Result<tracing::dispatcher::Dispatch, CannotLog> {
    let sink = Sink::spawn(out, |_, _| false).map_err(|error| CannotLog(error.to_string()))?;
    let lines = EventLines {
        sink: Arc::new(sink),
        format,
        is_coloured: false,
    };
    let subscriber = tracing_subscriber::registry()
        .with(EnvFilter::new("info"))
        .with(filter_fn(|metadata| is_ours(metadata.target())))
        .with(lines);
    Ok(tracing::dispatcher::Dispatch::new(subscriber))
}

/// Waits, for a few seconds at most, until all that was logged is written.
pub fn flush() {
    if let Some(sink) = SINK.get() {
        sink.flush(FLUSH_LIMIT);
    }
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix(env!("CARGO_CRATE_NAME"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot log: {0}")]
pub struct CannotLog(String);

/// Counts the records of libraries and drops their text.
struct Bridge;

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || REFUSING_MODULES.contains(&metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if REFUSING_MODULES.contains(&record.target()) && tells_of_a_refusal(record) {
            MALFORMED.fetch_add(1, Ordering::Relaxed);
        } else if record.level() <= Level::Warn {
            SILENCED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn tells_of_a_refusal(record: &Record<'_>) -> bool {
    // there is a fixed text for every request that is not refused
    if let Some(text) = record.args().as_str() {
        return REFUSED.iter().any(|refused| text.starts_with(refused));
    }
    let mut start = Start([0; LOOKED_AT], 0);
    // an error here says that enough was seen
    write!(start, "{}", record.args()).unwrap_or_default();
    let Start(bytes, length) = start;
    let text = bytes.get(..length).unwrap_or_default();
    REFUSED
        .iter()
        .any(|refused| text.starts_with(refused.as_bytes()))
}

/// Copies the first bytes of a text, then stops the formatter with an error.
struct Start([u8; LOOKED_AT], usize);

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.0.get_mut(self.1..).unwrap_or_default();
        let taken = room.len().min(text.len());
        for (slot, byte) in room.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        self.1 += taken;
        if taken < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(target: &str, level: Level, text: &str) -> (u64, u64) {
        let before = (malformed(), silenced());
        Bridge.log(
            &Record::builder()
                .target(target)
                .level(level)
                .args(format_args!("{text}"))
                .build(),
        );
        (malformed() - before.0, silenced() - before.1)
    }

    #[test]
    fn only_refusals_count_as_malformed() {
        let long = format!(
            "Fail to proxy: Downstream InvalidHTTPHeader {}",
            "x".repeat(5000)
        );
        assert_eq!(log("pingora_proxy", Level::Debug, &long), (1, 0));
        assert_eq!(
            log(
                "pingora_core::protocols::http::v2::server",
                Level::Debug,
                "rejecting downstream h2 request: x"
            ),
            (1, 0)
        );
        assert_eq!(
            log(
                "pingora_proxy",
                Level::Debug,
                "Successfully get a new request"
            ),
            (0, 0)
        );
        assert_eq!(
            log(
                "pingora_proxy",
                Level::Error,
                "Fail to proxy: Downstream ReadError"
            ),
            (0, 1)
        );
        assert_eq!(
            log(
                "pingora_core::listeners",
                Level::Error,
                "Fail to proxy: Downstream InvalidHTTPHeader"
            ),
            (0, 1)
        );
        assert_eq!(log("pingora_core::listeners", Level::Debug, "x"), (0, 0));
    }
}

//! What the gate says of itself, and the bridge that keeps the proxy library's records out of it: they hold pieces of requests.
use std::fmt::{self, Write};
use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracing_log::LogTracer;
use tracing_subscriber::EnvFilter;

use super::LogFormat;

/// The variable that says what is logged, such as `debug` or `hookgate::config=debug`.
const FILTER: &str = "HOOKGATE_LOG";
/// Where the proxy library tells, at `debug`, that it refused a request before any hook of ours.
const REFUSING: [&str; 2] = ["pingora_proxy", "pingora_core::protocols::http::v2::server"];
/// How such a record begins.
const REFUSED: [&str; 3] = ["Fail to proxy: Downstream InvalidHTTPHeader", "rejecting downstream h2 request", "Rejecting H2 request"];
/// Bytes of a record that are looked at.
const LOOKED_AT: usize = 64;

static MALFORMED: AtomicU64 = AtomicU64::new(0);
static SILENCED: AtomicU64 = AtomicU64::new(0);

/// Requests that the proxy library refused as malformed, since the start.
pub fn malformed() -> u64 {
    MALFORMED.load(Ordering::Relaxed)
}

/// Warnings and errors of the proxy library that were dropped, since the start.
pub fn silenced() -> u64 {
    SILENCED.load(Ordering::Relaxed)
}

/// Logs to stderr from now on, at `info` or what `HOOKGATE_LOG` says.
///
/// # Errors
/// If the filter cannot be read, or something logs already.
pub fn init(format: LogFormat) -> Result<(), CannotLog> {
    let filter = match std::env::var(FILTER) {
        Ok(text) => EnvFilter::try_new(text).map_err(|error| CannotLog(format!("{FILTER}: {error}")))?,
        Err(_) => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    let set = match format {
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
        LogFormat::Pretty => tracing::subscriber::set_global_default(builder.finish()),
    };
    set.map_err(|error| CannotLog(error.to_string()))?;
    log::set_boxed_logger(Box::new(Bridge(LogTracer::new()))).map_err(|error| CannotLog(error.to_string()))?;
    // malformed requests are told at this level
    log::set_max_level(LevelFilter::Debug);
    Ok(())
}

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot log: {0}")]
pub struct CannotLog(String);

/// Counts the proxy library's records and drops their text; passes warnings and errors of other libraries on.
struct Bridge(LogTracer);

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || REFUSING.contains(&metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !is_proxy(record.target()) {
            return self.0.log(record);
        }
        if REFUSING.contains(&record.target()) && tells_of_a_refusal(record) {
            MALFORMED.fetch_add(1, Ordering::Relaxed);
        } else if record.level() <= Level::Warn {
            SILENCED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn is_proxy(target: &str) -> bool {
    target.starts_with("pingora")
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
    REFUSED.iter().any(|refused| text.starts_with(refused.as_bytes()))
}

/// Takes the first bytes of a text, then stops whoever writes it.
struct Start([u8; LOOKED_AT], usize);

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.0.get_mut(self.1..).unwrap_or_default();
        let taken = room.len().min(text.len());
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.1 += taken;
        if taken < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(target: &str, level: Level, text: &str) -> (u64, u64) {
        let before = (malformed(), silenced());
        Bridge(LogTracer::new()).log(&Record::builder().target(target).level(level).args(format_args!("{text}")).build());
        (malformed() - before.0, silenced() - before.1)
    }

    #[test]
    fn only_refusals_count_as_malformed() {
        let long = format!("Fail to proxy: Downstream InvalidHTTPHeader {}", "x".repeat(5000));
        assert_eq!(log("pingora_proxy", Level::Debug, &long), (1, 0));
        assert_eq!(log("pingora_core::protocols::http::v2::server", Level::Debug, "rejecting downstream h2 request: x"), (1, 0));
        assert_eq!(log("pingora_proxy", Level::Debug, "Successfully get a new request"), (0, 0));
        assert_eq!(log("pingora_proxy", Level::Error, "Fail to proxy: Downstream ReadError"), (0, 1));
        assert_eq!(log("pingora_core::listeners", Level::Error, "Fail to proxy: Downstream InvalidHTTPHeader"), (0, 1));
        assert_eq!(log("pingora_core::listeners", Level::Debug, "x"), (0, 0));
    }
}

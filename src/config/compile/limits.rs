//! Compiles `limits`, `shutdown`, `store` and `log`.
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::compile::context::Context;
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Engine, Limits, Shutdown, Store};
use crate::limit::Quota;
use crate::mount::{self, Storage};
use crate::telemetry::{LogFormat, LogPolicy, LogRequests};
use crate::tenant::seal::SealKeys;
use crate::units::Rate;
use crate::verify::SecretText;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The default of `refused_per_client`.
const REFUSED: Rate = Rate {
    count: NonZeroU32::MIN.saturating_add(49),
    per: Duration::from_secs(1),
};

/// Compiles `limits`.
pub(super) fn limits(limits: Option<file::Limits>, place: &Place, cx: &mut Context<'_>) -> Limits {
    let file::Limits {
        in_flight_bytes,
        refused_per_client,
        header_timeout,
        idle_timeout,
        header_bytes,
        body_timeout,
        connections,
        connections_per_client,
    } = limits.unwrap_or_default();
    let refused = refused_per_client
        .and_then(|text| cx.rate(&text, &place.key("refused_per_client")))
        .unwrap_or(REFUSED);
    let burst = refused
        .count
        .saturating_mul(NonZeroU32::MIN.saturating_add(9));
    let connections = count(connections, &place.key("connections"), 10_000, cx);
    Limits {
        in_flight_bytes: cx.size(
            in_flight_bytes.as_deref(),
            &place.key("in_flight_bytes"),
            64 * MIB,
        ),
        refused_per_client: Quota {
            rate: refused,
            burst,
        },
        header_timeout: cx.duration(
            header_timeout.as_deref(),
            &place.key("header_timeout"),
            Duration::from_secs(5),
        ),
        idle_timeout: cx.duration(
            idle_timeout.as_deref(),
            &place.key("idle_timeout"),
            Duration::from_secs(60),
        ),
        header_bytes: cx.size(
            header_bytes.as_deref(),
            &place.key("header_bytes"),
            32 * KIB,
        ),
        body_timeout: cx.duration(
            body_timeout.as_deref(),
            &place.key("body_timeout"),
            Duration::from_secs(10),
        ),
        connections,
        connections_per_client: count(
            connections_per_client,
            &place.key("connections_per_client"),
            1_000,
            cx,
        )
        .min(connections),
    }
}

/// Checks that a number is not 0, or returns the default.
fn count(written: Option<u32>, place: &Place, default: usize, cx: &mut Context<'_>) -> usize {
    if written == Some(0) {
        cx.problems.error(place, "this must be at least 1", None);
    }
    written.map_or(default, |count| {
        usize::try_from(count).unwrap_or(usize::MAX)
    })
}

/// Compiles `shutdown`.
pub(super) fn shutdown(
    shutdown: Option<file::Shutdown>,
    place: &Place,
    cx: &mut Context<'_>,
) -> Shutdown {
    let file::Shutdown { delay, grace } = shutdown.unwrap_or_default();
    let mut time = |written: Option<String>, key: &str, default| match written.as_deref() {
        // No time at all is allowed here: `0`, `0s`, `0ms`.
        Some(text) if text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic()) == "0" => {
            Duration::ZERO
        }
        written => cx.duration(written, &place.key(key), default),
    };
    Shutdown {
        delay: time(delay, "delay", Duration::from_secs(5)),
        grace: time(grace, "grace", Duration::from_secs(25)),
    }
}

/// Compiles `store`.
pub(super) fn store(store: Option<file::Store>, place: &Place, cx: &mut Context<'_>) -> Store {
    let is_written = store.is_some();
    let file::Store {
        path,
        ledger_entries,
        key,
        old_keys,
    } = store.unwrap_or_default();
    if is_written
        && path.as_ref().is_none_or(String::is_empty)
        && ledger_entries.is_none()
        && key.is_none()
    {
        cx.problems.missing(
            place,
            "path",
            "the store has no path",
            "add `path: DIRECTORY`, or leave `store` out to keep state in memory".to_owned(),
        );
    }
    if ledger_entries == Some(0) {
        cx.problems.error(
            &place.key("ledger_entries"),
            "this must be at least 1",
            None,
        );
    }
    let path = path.filter(|path| !path.is_empty());
    Store {
        engine: path.map_or(Engine::Memory, |path| {
            Engine::Directory(cx.loader.base.join(path))
        }),
        ledger_entries: ledger_entries.map_or(10_000_000, |entries| {
            usize::try_from(entries).unwrap_or(usize::MAX)
        }),
        keys: keys(key.as_ref(), &old_keys, place, cx),
    }
}

/// Compiles the keys that seal secrets.
fn keys(
    key: Option<&file::Secret>,
    old: &[file::Secret],
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<Arc<SealKeys>> {
    let Some(key) = key else {
        if !old.is_empty() {
            let help = "add `key: { file: /run/secrets/store-key }`".to_owned();
            cx.problems
                .missing(place, "key", "`old_keys` need a `key` beside them", help);
        }
        return None;
    };
    let place_of_old = place.key("old_keys");
    let count = old.len();
    let old: Vec<SecretText> = old
        .iter()
        .enumerate()
        .filter_map(|(index, secret)| {
            seal_key(
                secret,
                &format!("old-key-{}", index + 1),
                &place_of_old.index(index),
                cx,
            )
        })
        .collect();
    let current = seal_key(key, "key", &place.key("key"), cx)?;
    if old.len() < count {
        return None;
    }
    let keys = SealKeys::parse(&current.text, old.iter().map(|key| key.text.as_slice()));
    keys.ok().map(Arc::new)
}

/// Loads a key that seals secrets, and checks it.
fn seal_key(
    secret: &file::Secret,
    name: &str,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SecretText> {
    let path = format!("store/{name}");
    let text = cx
        .loader
        .one(secret, name, &path, place, &mut cx.problems)?;
    if let Err((_, wrong)) = SealKeys::parse(&text.text, []) {
        let message = wrong.to_string();
        let (message, help) = message.split_once("; ").unwrap_or((&message, ""));
        let help = (!help.is_empty()).then(|| help.to_owned());
        cx.problems.error_at_key(place, message, help);
        return None;
    }
    Some(text)
}

/// Warns if the directory of the store would not survive a restart.
pub(super) fn note_disk(path: Option<&Path>, place: &Place, cx: &mut Context<'_>) {
    let Some(path) = path else { return };
    let mounts = cx.mounts;
    let (message, help) = match mount::storage(&mount::real(path), mounts) {
        Storage::Memory(kind) => {
            (format!("this directory is in memory ({kind}): a restart loses acknowledged deliveries"), "use a persistent disk")
        }
        Storage::EmptyDir => {
            ("this directory is an emptyDir: acknowledged deliveries are lost when the Pod is deleted".to_owned(), "use a persistentVolumeClaim")
        }
        // if the directory does not exist, the config is checked on another machine than the gateway's
        Storage::Container if path.exists() => {
            ("this directory is in the container's own layer: acknowledged deliveries are lost with the container".to_owned(), "mount a volume there")
        }
        Storage::Network(kind) => (format!("this directory is on a network disk ({kind}), where file locks are not reliable"), "put it on a local disk"),
        Storage::Container | Storage::Disk(_) | Storage::Unknown => return,
    };
    cx.problems.warning(place, message, help.to_owned());
}

/// Compiles `log`.
pub(super) fn log(log: Option<file::Log>, place: &Place, cx: &mut Context<'_>) -> LogPolicy {
    let file::Log { format, requests } = log.unwrap_or_default();
    let formats = [("json", LogFormat::Json), ("pretty", LogFormat::Pretty)];
    let kinds = [
        ("all", LogRequests::All),
        ("refused", LogRequests::Refused),
        ("none", LogRequests::None),
    ];
    LogPolicy {
        format: cx
            .word(format.as_deref(), &place.key("format"), &formats)
            .unwrap_or(LogFormat::Json),
        requests: cx
            .word(requests.as_deref(), &place.key("requests"), &kinds)
            .unwrap_or(LogRequests::All),
    }
}

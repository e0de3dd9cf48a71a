//! Compiles the storage of the gateway.
use std::path::Path;
use std::sync::Arc;

use crate::config::compile::context::Context;
use crate::config::compile::{dedupe, postgres};
use crate::config::diagnostic::Place;
use crate::config::file;
use crate::config::snapshot::{Engine, SpoolDirectory, Store};
use crate::mount::{self, Storage};
use crate::tenant::seal::SealKeys;
use crate::verify::SecretText;

/// The size of a spool, unless the config says it.
const SPOOL_BYTES: usize = 1 << 30;

/// Compiles `store`, and notes what the rest of the config must know of it.
pub(super) fn store(store: Option<file::Store>, place: &Place, cx: &mut Context<'_>) -> Store {
    let on_store_down = store.as_ref().and_then(|store| store.on_store_down.clone());
    let store = opened(store, place, cx);
    let is_faulty = cx.problems.has_error_at(place);
    cx.has_store =
        store.engine.is_durable() || is_faulty || cx.problems.is_spoiled(&place.key("path"));
    cx.is_shared = store.engine.postgres().is_some() || is_faulty;
    let place = place.key("on_store_down");
    cx.on_store_down = dedupe::on_store_down(on_store_down.as_deref(), &place, cx);
    store
}

fn opened(store: Option<file::Store>, place: &Place, cx: &mut Context<'_>) -> Store {
    let is_written = store.is_some();
    let file::Store {
        path,
        postgres,
        spool,
        ledger_entries,
        on_store_down: _,
        key,
        old_keys,
    } = store.unwrap_or_default();
    if is_written
        && path.as_ref().is_none_or(String::is_empty)
        && postgres.is_none()
        && !cx.problems.is_spoiled(&place.key("postgres"))
        && ledger_entries.is_none()
        && key.is_none()
    {
        cx.problems.missing(
            place,
            "path",
            "the store has no path",
            "add `path: DIRECTORY` or `postgres: { url: … }`, or leave `store` out to keep state in memory".to_owned(),
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
    if let (Some(_), Some(_)) = (&path, &postgres) {
        cx.problems.clash(
            &place.key("postgres"),
            &place.key("path"),
            "a store is either a directory or PostgreSQL",
            "keep one of the two: `path` is for a single gateway, `postgres` for several"
                .to_owned(),
        );
    }
    let spool = spool.and_then(|spool| {
        let place = place.key("spool");
        if postgres.is_none() && !cx.problems.is_spoiled(&place) {
            let help = "leave it out: `path` is on this gateway's disk already".to_owned();
            cx.problems
                .error_at_key(&place, "a spool is for a store on PostgreSQL", help);
        }
        self::spool(spool, &place, cx)
    });
    let postgres = postgres.map(|postgres| postgres::engine(postgres, &place.key("postgres"), cx));
    let engine = match (path, postgres) {
        (_, Some(Some(postgres))) => Engine::Postgres(Box::new(postgres)),
        (Some(path), None) => Engine::Directory(cx.loader.base.join(path)),
        (None, None) | (_, Some(None)) => Engine::Memory,
    };
    Store {
        engine,
        spool,
        ledger_entries: ledger_entries.map_or(10_000_000, |entries| {
            usize::try_from(entries).unwrap_or(usize::MAX)
        }),
        keys: keys(key.as_ref(), &old_keys, place, cx),
    }
}

/// Compiles `spool`.
fn spool(
    spool: file::SpoolDirectory,
    place: &Place,
    cx: &mut Context<'_>,
) -> Option<SpoolDirectory> {
    let file::SpoolDirectory { path, bytes } = spool;
    let bytes = cx.size(bytes.as_deref(), &place.key("bytes"), SPOOL_BYTES);
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        let help = "add `path: /var/lib/hookgate`".to_owned();
        cx.problems
            .missing(place, "path", "the spool has no path", help);
        return None;
    };
    let path = cx.loader.base.join(path);
    note_disk(Some(&path), &place.key("path"), cx);
    Some(SpoolDirectory {
        path,
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
    })
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

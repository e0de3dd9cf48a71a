//! The list of an endpoint's secrets: which of them sign now, and how it is rotated.
//!
//! Standard Webhooks has room for a signature by each secret, so all live ones sign. A scheme of the config has room for one: there the oldest
//! live secret signs until it ends, so that customers can install the new one before it is used.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::tenant::texts::format_time;

/// The longest time that old secrets stay valid after a rotation.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most secrets of an endpoint that are valid at the same time: each one adds a signature to a header.
pub const MAX_LIVE: usize = 5;
/// The number of the secret that an endpoint is made with.
pub const FIRST: u32 = 1;
/// The longest name of a secret.
const MAX_NAME: usize = 64;

/// A secret without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEntry {
    /// Its number among those of the endpoint. It is never reused.
    pub n: u32,
    /// Its name.
    pub name: Arc<str>,
    /// The time at which it was made.
    pub created: SystemTime,
    /// The time from which on it is no longer valid.
    pub ends: Option<SystemTime>,
}

impl SecretEntry {
    /// Returns whether it is valid at `now`.
    pub fn is_live(&self, now: SystemTime) -> bool {
        self.ends.is_none_or(|ends| now < ends)
    }
}

/// The secrets that sign at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signers {
    /// All live ones: Standard Webhooks.
    All,
    /// The oldest live one: a scheme of the config.
    Oldest,
}

/// The reason why a list of secrets cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The overlap is too long.
    #[error("the overlap is too long; write 0 to {} seconds", MAX_OVERLAP.as_secs())]
    Overlap,
    /// There are enough live secrets.
    #[error("the endpoint has {MAX_LIVE} valid secrets already; end one of them first")]
    TooMany,
    /// Another secret has the name.
    #[error("another secret of the endpoint has this name; choose another one, or leave it out")]
    Taken,
    /// The name has another character, or is too long.
    #[error("the name of a secret is 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`")]
    Name,
    /// There is no live secret with the name.
    #[error("the endpoint has no valid secret with this name")]
    Missing,
    /// It is the only live secret.
    #[error(
        "this is the only valid secret of the endpoint; rotate it with an overlap of 0 instead"
    )]
    Last,
}

/// A list of secrets after a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// All secrets, the new one last. Secrets that had ended before are as they were.
    pub entries: Vec<SecretEntry>,
    /// The number of the new secret.
    pub n: u32,
    /// The time from which on the new secret signs.
    pub signs_from: SystemTime,
    /// The time at which the last of the old secrets ends; `None` without one that was live.
    pub old_until: Option<SystemTime>,
}

impl Rotation {
    /// Returns the new secret.
    pub fn added(&self) -> Option<&SecretEntry> {
        self.entries.last()
    }
}

/// Returns the secrets that sign at `now`, newest first. None means that nothing may be sent.
pub fn signing(entries: &[SecretEntry], signers: Signers, now: SystemTime) -> Vec<&SecretEntry> {
    let live = entries.iter().filter(|entry| entry.is_live(now));
    match signers {
        Signers::All => {
            let mut all: Vec<&SecretEntry> = live.collect();
            all.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.n));
            all
        }
        Signers::Oldest => live.min_by_key(|entry| entry.n).into_iter().collect(),
    }
}

/// Returns the first secret of an endpoint.
///
/// # Errors
/// The name cannot be one.
pub fn first(name: Option<&str>, now: SystemTime) -> Result<SecretEntry, ListError> {
    Ok(SecretEntry {
        n: FIRST,
        name: chosen_name(&[], name, now)?,
        created: now,
        ends: None,
    })
}

/// Adds a secret, and ends all others after `overlap` at the latest.
///
/// # Errors
/// The overlap or the name cannot be used, or there are too many live secrets.
pub fn rotate(
    entries: &[SecretEntry],
    name: Option<&str>,
    signers: Signers,
    now: SystemTime,
    overlap: Duration,
) -> Result<Rotation, ListError> {
    if overlap > MAX_OVERLAP {
        return Err(ListError::Overlap);
    }
    let end = now.checked_add(overlap).ok_or(ListError::Overlap)?;
    let name = chosen_name(entries, name, now)?;
    let mut entries = entries.to_vec();
    entries.sort_unstable_by_key(|entry| entry.n);
    let mut old_until = None;
    for entry in entries.iter_mut().filter(|entry| entry.is_live(now)) {
        let until = entry.ends.map_or(end, |until| until.min(end));
        entry.ends = Some(until);
        old_until = old_until.max(Some(until));
    }
    let live = entries.iter().filter(|entry| entry.is_live(now)).count();
    if live >= MAX_LIVE {
        return Err(ListError::TooMany);
    }
    let n = entries.last().map_or(1, |last| last.n.saturating_add(1));
    entries.push(SecretEntry {
        n,
        name,
        created: now,
        ends: None,
    });
    let signs_from = match signers {
        Signers::All => now,
        Signers::Oldest => old_until.unwrap_or(now),
    };
    Ok(Rotation {
        entries,
        n,
        signs_from,
        old_until,
    })
}

/// Ends a live secret at `now`.
///
/// # Errors
/// There is none with the name, or no other one that lasts.
pub fn end(
    entries: &[SecretEntry],
    name: &str,
    now: SystemTime,
) -> Result<Vec<SecretEntry>, ListError> {
    let is_meant = |entry: &SecretEntry| entry.is_live(now) && *entry.name == *name;
    if !entries.iter().any(is_meant) {
        return Err(ListError::Missing);
    }
    // one that ends by itself is no replacement
    let stays = |entry: &SecretEntry| entry.ends.is_none() && *entry.name != *name;
    if !entries.iter().any(stays) {
        return Err(ListError::Last);
    }
    let mut entries = entries.to_vec();
    for entry in entries.iter_mut().filter(|entry| is_meant(entry)) {
        entry.ends = Some(now);
    }
    Ok(entries)
}

/// Returns the numbers of secrets whose rows can be removed. The highest number stays, so that none is reused.
pub fn expired(entries: &[SecretEntry], now: SystemTime) -> Vec<u32> {
    let highest = entries.iter().map(|entry| entry.n).max();
    entries
        .iter()
        .filter(|entry| !entry.is_live(now) && Some(entry.n) != highest)
        .map(|entry| entry.n)
        .collect()
}

/// Returns the name for a new secret: the given one, or the month.
fn chosen_name(
    entries: &[SecretEntry],
    name: Option<&str>,
    now: SystemTime,
) -> Result<Arc<str>, ListError> {
    let taken: BTreeSet<&str> = entries.iter().map(|entry| &*entry.name).collect();
    if let Some(name) = name {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) {
            return Err(ListError::Name);
        }
        return if taken.contains(name) {
            Err(ListError::Taken)
        } else {
            Ok(name.into())
        };
    }
    let month = Some(format_time(now, "%Y-%m"))
        .filter(|month| !month.is_empty())
        .unwrap_or_else(|| "secret".to_owned());
    let numbered = (2_u32..).map(|number| format!("{month}-{number}"));
    let free = std::iter::once(month.clone())
        .chain(numbered)
        .find(|name| !taken.contains(&**name));
    Ok(free.unwrap_or(month).into())
}

//! Decides what to say about a secret: whether it is in use, safe to remove, or the only one that matches and about to expire. Pure.
use std::time::{Duration, SystemTime};

use super::SecretUse;
use crate::clock::rfc3339;

/// The time without a match after which a secret is silent.
const SILENT_AFTER: Duration = Duration::from_secs(72 * 3600);
/// The time without a match after which a secret that ends soon needs no attention.
const USED_NOW: Duration = Duration::from_secs(86_400);
/// The time before its end in which a secret that matches needs attention.
const EXPIRES_SOON: Duration = Duration::from_secs(7 * 86_400);

/// A secret of a route, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Secret<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The time from which on it is active, if that is not over.
    pub(crate) begins: Option<SystemTime>,
    /// The time at which it ends, and whether it has ended.
    pub(crate) ends: Option<(SystemTime, bool)>,
    /// Its matches.
    pub(crate) used: SecretUse,
}

/// The state of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not active yet.
    NotYetActive,
    /// It is no longer active.
    Expired,
    /// It matched lately.
    InUse,
    /// No other secret matched lately, and it ends soon.
    OnlyMatch,
    /// It has not matched for long while another did.
    Removable,
    /// It has not matched for a while.
    Silent,
    /// It has not matched at all.
    NeverMatched,
}

/// The verdict on a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    /// One sentence.
    pub(crate) text: String,
    /// Whether a person has to do something.
    pub(crate) needs_attention: bool,
}

impl State {
    /// Returns the stable code.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::NotYetActive => "not_yet_active",
            Self::Expired => "expired",
            Self::InUse => "in_use",
            Self::OnlyMatch => "only_match",
            Self::Removable => "removable",
            Self::Silent => "silent",
            Self::NeverMatched => "never_matched",
        }
    }
}

impl Secret<'_> {
    fn is_active(&self) -> bool {
        self.begins.is_none() && !self.ends.is_some_and(|(_, ended)| ended)
    }

    /// Returns whether it matched within the time after which a secret is silent.
    fn matches(&self) -> bool {
        self.used.last.is_some_and(|last| last < SILENT_AFTER)
    }

    /// Returns whether it is active, and matched within this time.
    fn matched_within(&self, time: Duration) -> bool {
        self.is_active() && self.used.last.is_some_and(|last| last <= time)
    }
}

/// Decides about the secret at `index` among those of its route. `now` is the time by which `ends` are told.
pub(crate) fn judge(secrets: &[Secret<'_>], index: usize, now: SystemTime) -> Option<Verdict> {
    let one = secrets.get(index)?;
    let others = || {
        let all = secrets.iter().enumerate();
        all.filter(move |(at, _)| *at != index)
            .map(|(_, other)| other)
    };
    if let Some(from) = one.begins {
        return Some(said(
            State::NotYetActive,
            format!("active from {}", rfc3339(from)),
        ));
    }
    if let Some((at, true)) = one.ends {
        let since = now.duration_since(at).unwrap_or_default();
        let is_replaced = others().any(|other| other.matched_within(since));
        return Some(expired(one, &rfc3339(at), secrets, is_replaced));
    }
    let matching = others().find(|other| other.is_active() && other.matches());
    let Some(last) = one.used.last else {
        return Some(never(one, matching));
    };
    let is_latest = others().all(|other| other.used.last.is_none_or(|of_other| of_other > last));
    if let Some(left) = soon(one, now).filter(|_| matching.is_none() && is_latest) {
        let text = format!(
            "only this secret matches, and it expires in {}: give the sender the new one",
            age(left)
        );
        return Some(Verdict {
            needs_attention: true,
            ..said(State::OnlyMatch, text)
        });
    }
    if let Some(left) = soon(one, now).filter(|_| last < USED_NOW) {
        let text = format!(
            "in use, and it expires in {}: give the sender the new one",
            age(left)
        );
        return Some(Verdict {
            needs_attention: true,
            ..said(State::InUse, text)
        });
    }
    Some(if last < SILENT_AFTER {
        said(State::InUse, "in use".to_owned())
    } else {
        silent(one, last, matching, now)
    })
}

/// Says that a secret has expired `at`. `is_replaced`: an active one has matched since.
fn expired(one: &Secret<'_>, at: &str, all: &[Secret<'_>], is_replaced: bool) -> Verdict {
    let (text, needs_attention) = if !all.iter().any(Secret::is_active) {
        let text =
            format!("expired at {at}, and no secret of the route is active: add the new one");
        (text, true)
    } else if one.matches() && !is_replaced {
        let text = format!("expired at {at}, and the sender used it: give the sender the new one");
        (text, true)
    } else {
        (format!("expired at {at}: remove it from the config"), false)
    };
    Verdict {
        needs_attention,
        ..said(State::Expired, text)
    }
}

/// Says that a secret has not matched for as long as `last`. `matching` is another one that did: both must have been watched for as long as silence
/// takes, and the other one must not end soon.
fn silent(
    one: &Secret<'_>,
    last: Duration,
    matching: Option<&Secret<'_>>,
    now: SystemTime,
) -> Verdict {
    let Some(other) = matching else {
        let text = format!(
            "silent for {}, like the other secrets of the route",
            age(last)
        );
        return said(State::Silent, text);
    };
    let watched = one.used.watched.min(other.used.watched);
    if watched < SILENT_AFTER {
        let text = format!(
            "silent while {} matches, but both were watched only for {}",
            other.name,
            age(watched)
        );
        return said(State::Silent, text);
    }
    if let Some(left) = soon(other, now) {
        let text = format!(
            "silent while {} matches, but that expires in {}",
            other.name,
            age(left)
        );
        return said(State::Silent, text);
    }
    let silence = age(last.min(one.used.watched));
    let text = format!(
        "silent for {silence} while {} matches: safe to remove",
        other.name
    );
    said(State::Removable, text)
}

/// Says that a secret has not matched at all.
fn never(one: &Secret<'_>, matching: Option<&Secret<'_>>) -> Verdict {
    let watched = age(one.used.watched);
    let text = match matching {
        Some(other) => format!("never matched in {watched}, the sender uses {}", other.name),
        None => format!("never matched in {watched}"),
    };
    said(State::NeverMatched, text)
}

/// Returns the time until a secret ends, if that is soon.
fn soon(one: &Secret<'_>, now: SystemTime) -> Option<Duration> {
    let (at, _) = one.ends?;
    let left = at.duration_since(now).unwrap_or_default();
    (left < EXPIRES_SOON).then_some(left)
}

fn said(state: State, text: String) -> Verdict {
    Verdict {
        state,
        text,
        needs_attention: false,
    }
}

/// Writes a duration in its largest unit: `3 d`, `5 h`, `12 m`, `4 s`. Two days are still told in hours.
fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    /// Returns a secret that matched `last` seconds ago, watched for `watched` seconds, ending in `ends` seconds.
    fn secret(name: &str, last: Option<u64>, watched: u64, ends: Option<u64>) -> Secret<'_> {
        Secret {
            name,
            begins: None,
            ends: ends.map(|ends| (now() + Duration::from_secs(ends), ends == 0)),
            used: SecretUse {
                matches: u64::from(last.is_some()),
                last: last.map(Duration::from_secs),
                watched: Duration::from_secs(watched),
            },
        }
    }

    #[track_caller]
    fn check(old: Secret<'_>, new: Option<Secret<'_>>, state: State, text: &str) {
        let all: Vec<Secret<'_>> = std::iter::once(old).chain(new).collect();
        let verdict = judge(&all, 0, now()).unwrap();
        assert_eq!((verdict.state, verdict.text.as_str()), (state, text));
        let asks = [
            "give the sender the new one",
            "no secret of the route is active",
        ];
        let needs = asks.iter().any(|words| text.contains(words));
        assert_eq!(verdict.needs_attention, needs);
    }

    #[test]
    fn verdict_follows_matches_of_both_secrets() {
        use State::*;
        let old = |last, watched| secret("old", last, watched, None);
        let new = |last| Some(secret("new", last, 90 * DAY, None));
        check(old(Some(5), DAY), None, InUse, "in use");
        check(old(Some(71 * HOUR), DAY), new(Some(1)), InUse, "in use");
        check(
            old(Some(72 * HOUR), 9 * DAY),
            new(Some(1)),
            Removable,
            "silent for 3 d while new matches: safe to remove",
        );
        check(
            old(Some(9 * DAY), 72 * HOUR),
            new(Some(71 * HOUR)),
            Removable,
            "silent for 3 d while new matches: safe to remove",
        );
        check(
            old(Some(9 * DAY), 71 * HOUR),
            new(Some(1)),
            Silent,
            "silent while new matches, but both were watched only for 2 d",
        );
        check(
            old(Some(9 * DAY), 0),
            new(Some(1)),
            Silent,
            "silent while new matches, but both were watched only for 0 s",
        );
        check(
            old(Some(9 * DAY), 90 * DAY),
            new(Some(72 * HOUR)),
            Silent,
            "silent for 9 d, like the other secrets of the route",
        );
        check(
            old(Some(9 * DAY), 90 * DAY),
            new(None),
            Silent,
            "silent for 9 d, like the other secrets of the route",
        );
        check(
            old(Some(9 * DAY), 90 * DAY),
            None,
            Silent,
            "silent for 9 d, like the other secrets of the route",
        );
        check(
            old(None, 90 * DAY),
            new(Some(1)),
            NeverMatched,
            "never matched in 90 d, the sender uses new",
        );
        check(
            old(None, 5 * HOUR),
            new(None),
            NeverMatched,
            "never matched in 5 h",
        );
    }

    /// A secret that has ended, ends soon or is new replaces no other yet.
    #[test]
    fn only_a_secret_that_lasts_makes_another_removable() {
        let old = || secret("old", Some(9 * DAY), 90 * DAY, None);
        let new = |last, watched, ends| Some(secret("new", Some(last), watched, ends));
        check(
            old(),
            new(5, DAY, None),
            State::Silent,
            "silent while new matches, but both were watched only for 24 h",
        );
        check(
            old(),
            new(5, 90 * DAY, Some(3 * DAY)),
            State::Silent,
            "silent while new matches, but that expires in 3 d",
        );
        check(
            old(),
            new(5, 90 * DAY, Some(0)),
            State::Silent,
            "silent for 9 d, like the other secrets of the route",
        );
    }

    #[test]
    fn dates_decide_before_matches() {
        use State::*;
        let ends = |last, ends| secret("old", last, 90 * DAY, Some(ends));
        let new = |last| Some(secret("new", last, 90 * DAY, None));
        let only = "only this secret matches, and it expires in 3 d: give the sender the new one";
        check(ends(Some(5), 3 * DAY), new(None), OnlyMatch, only);
        check(ends(Some(5), 3 * DAY), None, OnlyMatch, only);
        check(ends(Some(9 * DAY), 3 * DAY), new(None), OnlyMatch, only);
        check(
            ends(Some(9 * DAY), 3 * DAY),
            new(Some(8 * DAY)),
            Silent,
            "silent for 9 d, like the other secrets of the route",
        );
        let in_use = "in use, and it expires in 3 d: give the sender the new one";
        check(ends(Some(5), 3 * DAY), new(Some(60)), InUse, in_use);
        check(ends(Some(DAY), 3 * DAY), new(Some(60)), InUse, "in use");
        check(ends(Some(5), 7 * DAY), new(None), InUse, "in use");
        check(
            ends(None, 3 * DAY),
            None,
            NeverMatched,
            "never matched in 90 d",
        );
        let over = "expired at 2026-01-01T00:00:00.000Z";
        let used = format!("{over}, and the sender used it: give the sender the new one");
        check(ends(Some(5), 0), new(None), Expired, &used);
        check(ends(Some(5), 0), new(Some(9)), Expired, &used);
        check(
            ends(Some(5), 0),
            new(Some(0)),
            Expired,
            &format!("{over}: remove it from the config"),
        );
        check(
            ends(Some(5), 0),
            None,
            Expired,
            &format!("{over}, and no secret of the route is active: add the new one"),
        );
        let mut waits = secret("old", None, 0, None);
        waits.begins = Some(now());
        check(
            waits,
            new(Some(1)),
            NotYetActive,
            "active from 2026-01-01T00:00:00.000Z",
        );
    }
}

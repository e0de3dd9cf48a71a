//! The matches of a value, over reloads and calls of the store.
use super::*;
use crate::clock::FrozenClock;

fn name(secret: &str) -> Name {
    ("github".into(), secret.into())
}

fn keys(all: &[(&str, u8)]) -> BTreeMap<Name, Key> {
    let of = |(secret, key): &(&str, u8)| (name(secret), Key([*key; 16]));
    all.iter().map(of).collect()
}

/// Returns a time in seconds after the start, on both clocks.
fn at(start: Now, seconds: u64) -> Now {
    let passed = Duration::from_secs(seconds);
    Now {
        wall: start.wall + passed,
        mono: start.mono + passed,
    }
}

fn counted(matches: u64, last: Now) -> impl Fn(&Name) -> Option<SecretCounters> {
    move |_| {
        (matches > 0).then_some(SecretCounters {
            matches,
            last_at: last.wall,
            last_mono: last.mono,
        })
    }
}

#[test]
fn store_gets_the_difference_and_adds_what_others_count() {
    let (mut state, start) = (State::default(), FrozenClock::at_unix(1_000_000).now());
    let (key, seconds) = (Key([1; 16]), Duration::from_secs);
    state.follow(&keys(&[("a", 1)]), start, counted(0, start));
    let later = at(start, 10);
    let counts = counted(3, at(start, 8));
    let sent = state.to_send(later, &counts);
    let matches: Vec<SecretMatches> = sent.iter().map(|sent| sent.matches).collect();
    let due = |count, last: Option<u64>| SecretMatches {
        key,
        count,
        last: last.map(seconds),
    };
    assert_eq!(matches, [due(3, Some(2))]);
    assert_eq!(
        state.to_send(later, &counts)[0].matches,
        due(3, Some(2)),
        "it was not told yet"
    );
    let of_fleet = SecretTotals {
        count: 20,
        last: Some(seconds(1)),
        watched: seconds(500),
    };
    state.sent(&sent, &[of_fleet], later.mono);
    assert_eq!(state.to_send(later, &counts)[0].matches, due(0, None));
    let seen = |state: &State, now, counts: &dyn Fn(&Name) -> Option<SecretCounters>, durable| {
        state.secrets[&name("a")].seen(now, counts(&name("a")), durable)
    };
    let (now, used) = (at(start, 30), |matches, last: u64, watched| SecretUse {
        matches,
        last: Some(seconds(last)),
        watched: seconds(watched),
    });
    assert_eq!(seen(&state, now, &counts, true), used(20, 21, 520));
    let more = counted(4, at(start, 29));
    assert_eq!(seen(&state, now, &more, true), used(21, 1, 520));
}

#[test]
fn replaced_value_begins_anew_and_owes_its_matches() {
    let (mut state, start) = (State::default(), FrozenClock::at_unix(1_000_000).now());
    state.follow(&keys(&[("a", 1)]), start, counted(0, start));
    let counts = counted(3, start);
    state.follow(&keys(&[("a", 2)]), at(start, 10), &counts);
    let sent = state.to_send(at(start, 10), &counts);
    let counted_for: Vec<_> = sent
        .iter()
        .map(|sent| (sent.matches.key.0[0], sent.matches.count))
        .collect();
    assert_eq!(counted_for, [(1, 3), (2, 0)]);
    state.sent(&sent, &[SecretTotals::default(); 2], start.mono);
    assert!(state.owed.is_empty());
    // without a store, only the matches of this value count
    let watched = &state.secrets[&name("a")];
    let more = counted(5, at(start, 12))(&name("a"));
    let used = watched.seen(at(start, 15), more, false);
    assert_eq!((used.matches, used.last), (2, Some(Duration::from_secs(3))));
    // the name leaves the config and comes back
    let counts = counted(5, at(start, 12));
    state.follow(&keys(&[]), at(start, 20), &counts);
    assert_eq!(
        state.to_send(at(start, 20), &counts).len(),
        1,
        "what is owed alone"
    );
    state.follow(&keys(&[("a", 2)]), at(start, 30), &counts);
    let sent = state.to_send(at(start, 30), &counts);
    assert_eq!(sent.len(), 1, "each key once");
}

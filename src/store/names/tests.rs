use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Parses a config: `b<a` is a route `b` that was `a`; several former names are separated by `+`.
fn config(text: &str) -> Vec<Named> {
    let named = |word: &str| {
        let (name, before) = word.split_once('<').unwrap_or((word, ""));
        let previously = before
            .split('+')
            .filter(|name| !name.is_empty())
            .map(Box::from)
            .collect();
        Named {
            kind: Kind::Route,
            name: name.into(),
            previously,
        }
    };
    text.split_whitespace().map(named).collect()
}

/// Runs one config after the other; for each, the numbers of each of its routes.
fn run(configs: &[&str]) -> Vec<Vec<(u32, Vec<u32>, String)>> {
    let mut rows = Vec::new();
    let of = |numbers: Numbers| (numbers.number, numbers.others, numbers.ledger.to_string());
    configs
        .iter()
        .map(|text| {
            assign(&mut rows, &config(text))
                .into_iter()
                .map(of)
                .collect()
        })
        .collect()
}

fn one(number: u32, ledger: &str) -> (u32, Vec<u32>, String) {
    (number, Vec::new(), ledger.to_owned())
}

#[test]
fn new_route_with_old_name_gets_a_new_number() {
    let all = run(&["a", "b<a", "b a", "a b", "a"]);
    assert_eq!(all[1], [one(1, "a")], "renamed");
    assert_eq!(
        all[2],
        [one(1, "a"), one(2, "a/2")],
        "another route, with a ledger of its own"
    );
    assert_eq!(all[3], [one(2, "a/2"), one(1, "a")]);
    assert_eq!(
        all[4],
        [one(2, "a/2")],
        "what `b` left behind is not sent to the other `a`"
    );
}

#[test]
fn rolled_back_rename_returns_the_number() {
    let all = run(&["a", "b<a", "a", "b<a", "b", "c<b", "a"]);
    assert!(
        all.iter().all(|numbers| *numbers == [one(1, "a")]),
        "{all:?}"
    );
}

#[test]
fn merged_route_owns_both_numbers() {
    let all = run(&["a b", "b<a", "b", "c<b"]);
    let both = [(2, vec![1], "b".to_owned())];
    assert_eq!(all[1..], [both.clone(), both.clone(), both].map(Vec::from));
    assert_eq!(
        run(&["a b", "b<a", "a"])[2],
        [one(1, "a")],
        "a rollback to `a` alone leaves what was always `b`'s"
    );
}

#[test]
fn rolled_back_merge_returns_each_number() {
    let two = [one(1, "a"), one(2, "b")];
    for merge in [
        &["b<a"][..],
        &["b<a", "b"],
        &["b<a", "b", "b<a"],
        &["b<a", "c<b", "c", "b"],
        &["b<a", "b", "a b", "b<a"],
    ] {
        let configs = [&["a b"], merge, &["a b"]].concat();
        assert_eq!(run(&configs).last().unwrap()[..], two, "{configs:?}");
    }
    // the route that others are merged into was renamed itself: its ledger's name is an older one
    let renamed = ["a c", "a b<c", "a b", "b<a", "b", "a b"];
    assert_eq!(
        run(&renamed)[4..],
        [
            vec![(2, vec![1], "c".to_owned())],
            vec![one(1, "a"), one(2, "c")]
        ]
    );
    // merged twice, and undone one by one
    let twice = ["a b d", "b<a d", "b d", "d<b", "d"];
    let all = |last: &[&str]| run(&[&twice, last].concat()).pop().unwrap();
    assert_eq!(all(&[]), [(3, vec![1, 2], "d".to_owned())]);
    assert_eq!(all(&["b d"]), [(2, vec![1], "b".to_owned()), one(3, "d")]);
    assert_eq!(
        all(&["b d", "a b d"]),
        [one(1, "a"), one(2, "b"), one(3, "d")]
    );
    assert_eq!(all(&["a b d"]), [one(1, "a"), one(2, "b"), one(3, "d")]);
    assert_eq!(
        all(&["x<a d"]),
        [one(1, "a"), (3, vec![2], "d".to_owned())],
        "rolled back under another name"
    );
}

#[test]
fn merged_route_keeps_what_it_accepted_itself() {
    // `b` is a renamed `a`, and `c` is merged into it
    let all = run(&["a c", "b<a c", "b<c", "b", "a b"]);
    assert_eq!(all[3], [(1, vec![2], "a".to_owned())]);
    assert_eq!(
        all[4],
        [one(3, "a/3"), (1, vec![2], "a".to_owned())],
        "a new `a` gets nothing of `b`"
    );
    // `c` stores new deliveries under `b`'s number
    let all = run(&["a b", "c<a+b", "b c", "a c"]);
    assert_eq!(all[1], [(2, vec![1], "b".to_owned())]);
    assert_eq!(all[2], [one(3, "b/3"), (2, vec![1], "b".to_owned())]);
    assert_eq!(all[3], [one(1, "a"), one(2, "b")]);
    // `c` was a name of the route that `a` was merged into: nothing was accepted as `c` under `a`'s number
    assert_eq!(
        run(&["a b", "b<a", "c<b", "b<c", "b c"])[4],
        [(2, vec![1], "b".to_owned()), one(3, "c")]
    );
}

#[test]
fn two_that_swap_names_keep_their_numbers() {
    // two steps, since one config cannot claim a name twice
    assert_eq!(
        run(&["a b", "x<a b", "x a<b", "b<x a"])[3],
        [one(1, "a"), one(2, "b")]
    );
}

#[test]
fn kinds_share_no_numbers_and_no_names() {
    let mut rows = Vec::new();
    let of = |kind| Named {
        kind,
        name: "a".into(),
        previously: Vec::new(),
    };
    let numbers = assign(
        &mut rows,
        &[of(Kind::Route), of(Kind::Pass), of(Kind::Alarm)],
    );
    assert_eq!(
        numbers
            .iter()
            .map(|numbers| numbers.number)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(numbers.iter().all(|numbers| *numbers.ledger == *"a"));
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Draws a config: each name is absent, a route, or a former name of one of the routes.
fn configs() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(0_u8..8, NAMES.len()), 1..12)
}

fn named(choice: &[u8]) -> Vec<Named> {
    let at = |index: usize| NAMES[index % NAMES.len()];
    let is_route = |choice: u8| (1..4).contains(&choice);
    let mut names: Vec<Named> = (0..NAMES.len())
        .filter(|index| is_route(choice[*index]))
        .map(|index| Named {
            kind: Kind::Route,
            name: at(index).into(),
            previously: Vec::new(),
        })
        .collect();
    for (index, choice) in choice
        .iter()
        .enumerate()
        .filter(|(_, choice)| **choice >= 4)
    {
        let count = names.len();
        if let Some(owner) = names.get_mut(usize::from(choice - 4) % count.max(1)) {
            owner.previously.push(at(index).into());
        }
    }
    names
}

proptest! {
    /// Each delivery has the name that it was accepted under. A reload moves it as the config says, and nothing else does.
    #[test]
    fn deliveries_follow_their_route_over_any_reloads(choices in configs()) {
        let mut rows: Vec<NumberRow> = Vec::new();
        // by number: the route that its deliveries belong to, by the rules of docs/queue.md
        let mut belongs: HashMap<u32, String> = HashMap::new();
        // the numbers that were merged into the route that they belong to
        let mut merged: HashSet<u32> = HashSet::new();
        for choice in choices {
            let names = named(&choice);
            let before = rows.clone();
            let numbers = assign(&mut rows, &names);
            let all: Vec<u32> = numbers.iter().flat_map(Numbers::all).collect();
            prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "two routes share a number");
            let ledgers: HashSet<_> = numbers.iter().map(|numbers| &numbers.ledger).collect();
            prop_assert_eq!(ledgers.len(), numbers.len(), "two routes share a ledger");
            let routes: Vec<(&Named, &Numbers)> = names.iter().zip(&numbers).collect();
            for (number, name) in &mut belongs {
                let now = routes.iter().find(|(_, numbers)| numbers.all().any(|own| own == *number)).map(|(named, _)| *named);
                let says = |named: &Named| *named.name == **name || named.previously.iter().any(|old| **old == **name);
                match (names.iter().find(|named| says(named)), now) {
                    // the merge is undone: a route has a name again that the number had before
                    (Some(expected), Some(now)) if merged.contains(number) && now != expected => {
                        let row = before.iter().find(|row| row.number == *number).unwrap();
                        prop_assert!(row.owners().any(|(old, _)| *old == *now.name || now.previously.iter().any(|name| **name == *old)));
                    }
                    (Some(expected), now) => prop_assert_eq!(now, Some(expected), "{} of {}", number, name),
                    // its route is gone: only a route that takes up one of its former names may have it, as after a rollback
                    (None, Some(now)) => {
                        let row = before.iter().find(|row| row.number == *number).unwrap();
                        prop_assert!(row.owners().any(|(old, _)| *old == *now.name || now.previously.iter().any(|name| **name == *old)));
                    }
                    (None, None) => {}
                }
                if let Some(now) = now {
                    *name = now.name.to_string();
                }
            }
            for (named, numbers) in routes {
                merged.extend(&numbers.others);
                merged.remove(&numbers.number);
                belongs.insert(numbers.number, named.name.to_string());
            }
            // the same config again changes nothing, as after a restart
            let settled = rows.clone();
            prop_assert_eq!(&assign(&mut rows, &names), &numbers);
            prop_assert_eq!(&rows, &settled);
        }
    }

    /// One route is merged into another, and the config is rolled back: each route has its numbers and its ledger again.
    #[test]
    fn rolled_back_merge_changes_nothing(mut choices in configs(), from in 0_usize..5, by in 0_usize..4, drops_previously: bool) {
        // at least two routes
        choices.last_mut().unwrap()[..2].fill(1);
        let mut rows: Vec<NumberRow> = Vec::new();
        let mut before = Vec::new();
        for choice in &choices {
            before = assign(&mut rows, &named(choice));
        }
        let names = named(choices.last().unwrap());
        let from = from % names.len();
        let into = (from + 1 + by % (names.len() - 1)) % names.len();
        let mut merge = names.clone();
        merge[into].previously.push(names[from].name.as_ref().into());
        merge.remove(from);
        assign(&mut rows, &merge);
        if drops_previously {
            merge.iter_mut().for_each(|named| named.previously.clear());
            assign(&mut rows, &merge);
        }
        prop_assert_eq!(assign(&mut rows, &names), before);
    }

    /// A number that was once another route's is not given to a route that only shares a former name with it.
    #[test]
    fn ledger_names_are_never_given_twice(choices in configs()) {
        let mut rows: Vec<NumberRow> = Vec::new();
        for choice in choices {
            assign(&mut rows, &named(&choice));
            let ledgers: HashSet<_> = rows.iter().map(|row| (row.kind, Arc::clone(&row.ledger))).collect();
            prop_assert_eq!(ledgers.len(), rows.len());
        }
    }
}

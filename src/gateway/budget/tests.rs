use proptest::prelude::*;

use super::*;

const MIB: usize = 1024 * 1024;

fn owner(client: Option<u8>, route: &str, one_body: usize) -> Owner {
    Owner {
        client: client.map(|last| IpAddr::from([192, 0, 2, last])),
        route: route.into(),
        one_body,
    }
}

#[test]
fn client_has_a_quarter_and_route_has_half() {
    let budget = Budget::new(64 * MIB);
    let grow = |client, route, bytes| {
        let mut account = budget.open(owner(client, route, MIB));
        account.grow_to(bytes).map(|()| account)
    };
    let first = grow(Some(1), "a", 16 * MIB).unwrap();
    assert_eq!(
        grow(Some(1), "b", 1).unwrap_err(),
        BudgetExceeded,
        "the client has its quarter"
    );
    let second = grow(Some(2), "a", 16 * MIB).unwrap();
    assert_eq!(
        grow(Some(3), "a", 1).unwrap_err(),
        BudgetExceeded,
        "the route has its half"
    );
    let third = grow(None, "b", 32 * MIB).unwrap();
    assert_eq!(
        grow(Some(3), "c", 1).unwrap_err(),
        BudgetExceeded,
        "nothing is left"
    );
    let (held, share) = first.split();
    drop((second, share));
    assert_eq!(budget.held(), 48 * MIB);
    let more = grow(Some(1), "a", 16 * MIB).unwrap();
    drop((held, third, more));
    assert_eq!(budget.held(), 0);
    assert!(budget.lock().by_client.is_empty() && budget.lock().by_route.is_empty());
}

#[test]
fn share_is_never_smaller_than_one_body() {
    let budget = Budget::new(64 * MIB);
    let mut large = budget.open(owner(Some(1), "a", 40 * MIB));
    large.grow_to(40 * MIB).unwrap();
    assert_eq!(large.grow_to(40 * MIB + 1), Err(BudgetExceeded));
    assert_eq!(
        budget.fits(&owner(Some(1), "b", MIB), 1),
        Err(BudgetExceeded)
    );
    assert_eq!(budget.fits(&owner(Some(2), "b", MIB), 16 * MIB), Ok(()));
}

#[test]
fn spare_mappings_yield_to_bodies() {
    let map = |bytes| MmapMut::map_anon(bytes).unwrap();
    let budget = Budget::new(16 * MIB);
    let spare = || budget.spare().bytes();
    budget.put_spare(map(MIB));
    budget.put_spare(map(3 * MIB));
    assert_eq!((budget.held(), spare()), (0, 4 * MIB));
    assert!(budget.spare().take(MIB * 4 / 5).is_none(), "too large");
    assert!(budget.spare().take(4 * MIB).is_none(), "too small");
    assert_eq!(budget.spare().take(MIB - 1).map(|map| map.len()), Some(MIB));
    budget.put_spare(map(6 * MIB));
    assert_eq!(spare(), 3 * MIB, "it is beyond the most bytes");
    let held = budget.hold(13 * MIB).unwrap();
    assert_eq!(spare(), 3 * MIB);
    let more = budget.hold(3 * MIB).unwrap();
    assert_eq!(spare(), 0, "a body needs the bytes");
    budget.put_spare(map(MIB));
    assert_eq!(spare(), 0, "the budget is full");
    drop((held, more));
    budget.put_spare(map(MIB));
    budget.spare().tick();
    let used = budget.spare().take(MIB).unwrap();
    budget.put_spare(used);
    budget.spare().tick();
    assert_eq!(spare(), MIB);
    budget.spare().tick();
    assert_eq!(spare(), 0, "it was not used for two ticks");
}

#[test]
fn body_verified_at_once_needs_no_share() {
    let budget = Budget::new(MIB);
    let mut waiting = budget.open(owner(Some(1), "a", 0));
    waiting.grow_to(MIB / 4).unwrap();
    let held = budget.hold(MIB * 3 / 4).unwrap();
    assert_eq!(budget.hold(1).unwrap_err(), BudgetExceeded);
    drop(held);
    assert_eq!(budget.held(), MIB / 4);
}

#[derive(Clone, Debug)]
enum Step {
    Open {
        client: Option<u8>,
        route: u8,
        bytes: usize,
    },
    Grow {
        which: usize,
        bytes: usize,
    },
    Prove(usize),
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (prop::option::of(0..3_u8), 0..3_u8, 0..600_usize).prop_map(|(client, route, bytes)| {
            Step::Open {
                client,
                route,
                bytes,
            }
        }),
        (0..20_usize, 0..900_usize).prop_map(|(which, bytes)| Step::Grow { which, bytes }),
        (0..20_usize).prop_map(Step::Prove),
        (0..20_usize).prop_map(Step::End),
    ]
}

/// Returns the bytes of a share, counted from its holders.
fn held_by(
    holders: &[(Owner, Option<Account>, Option<MemoryPermit>)],
    is: impl Fn(&Owner) -> bool,
) -> usize {
    holders
        .iter()
        .filter(|(owner, ..)| is(owner))
        .filter_map(|(_, account, _)| Some(account.as_ref()?.held.bytes))
        .sum()
}

proptest! {
    /// Checks that no share is exceeded, that what fits is not refused, and that all is free in the end.
    #[test]
    fn no_share_is_ever_exceeded(limit in 1000..4000_usize, one_body in 0..1500_usize, steps in prop::collection::vec(step(), 0..80)) {
        let budget = Budget::new(limit);
        let mut holders: Vec<(Owner, Option<Account>, Option<MemoryPermit>)> = Vec::new();
        for step in steps {
            let count = holders.len();
            match step {
                Step::Open { client, route, bytes } => {
                    let owner = owner(client, &route.to_string(), one_body);
                    let fits = budget.fits(&owner, bytes);
                    let mut account = budget.open(owner.clone());
                    prop_assert_eq!(account.grow_to(bytes), fits);
                    holders.push((owner, Some(account), None));
                }
                Step::Grow { which, bytes } if count > 0 => {
                    let total = held_by(&holders, |_| true) + holders.iter().filter_map(|(_, _, held)| Some(held.as_ref()?.bytes)).sum::<usize>();
                    let mine = holders[which % count].0.clone();
                    let of_client = held_by(&holders, |owner| mine.client.is_some() && owner.client == mine.client);
                    let of_route = held_by(&holders, |owner| owner.route == mine.route);
                    if let Some(account) = &mut holders[which % count].1 {
                        let more = bytes.saturating_sub(account.held.bytes);
                        let fits = more == 0
                            || total + more <= limit
                                && of_route + more <= (limit / 2).max(one_body)
                                && (mine.client.is_none() || of_client + more <= (limit / 4).max(one_body));
                        prop_assert_eq!(account.grow_to(bytes).is_ok(), fits);
                    }
                }
                Step::Prove(which) if count > 0 => {
                    let (_, account, held) = &mut holders[which % count];
                    if let Some(account) = account.take() {
                        *held = Some(account.split().0);
                    }
                }
                Step::End(which) if count > 0 => drop(holders.swap_remove(which % count)),
                Step::Grow { .. } | Step::Prove(_) | Step::End(_) => {}
            }
            prop_assert!(budget.held() <= limit);
            for holder in holders.iter().map(|(owner, ..)| owner) {
                prop_assert!(held_by(&holders, |owner| owner.route == holder.route) <= (limit / 2).max(one_body));
                prop_assert!(holder.client.is_none() || held_by(&holders, |owner| owner.client == holder.client) <= (limit / 4).max(one_body));
            }
        }
        drop(holders);
        prop_assert_eq!(budget.held(), 0);
        prop_assert!(budget.lock().by_client.is_empty() && budget.lock().by_route.is_empty());
    }
}

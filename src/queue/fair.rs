//! Chooses among tenants whose endpoints have due events. Pure.
//!
//! Places for attempts are given in rounds over the tenants: in each round a tenant gets one attempt, for the next of its endpoints. So a tenant
//! with a hundred thousand due events gets no more than one with a single event while both wait. Three bounds keep a bad endpoint from taking
//! all places: half of the places are never given to suspects, a tenant has an eighth of them at most, and an endpoint what its own state permits.
use std::collections::{BTreeMap, HashMap};

use crate::store::queue::{OriginId, TargetId};

/// An endpoint with due events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The endpoint.
    pub target: TargetId,
    /// Its tenant.
    pub tenant: OriginId,
    /// Whether its last attempt had no answer, or a slow one.
    pub is_suspect: bool,
    /// The attempts that its own slots, rate and pause let begin now.
    pub count: u32,
}

/// The places that are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// For any endpoint.
    pub any: u32,
    /// For suspects, which are among `any`.
    pub suspects: u32,
    /// The most places that one tenant has.
    pub per_tenant: u32,
    /// The places that tenants have now.
    pub taken: HashMap<OriginId, u32>,
}

/// Gives places to wishes, beginning with the tenant after `last`. Returns the attempts of each endpoint, none of them 0, in the order in which
/// they were given, and the last tenant that got one.
pub fn share(
    wishes: &[Wish],
    mut places: Places,
    last: Option<OriginId>,
) -> (Vec<(TargetId, u32)>, Option<OriginId>) {
    let mut tenants = BTreeMap::<OriginId, Vec<Wish>>::new();
    for wish in wishes.iter().filter(|wish| wish.count > 0) {
        tenants.entry(wish.tenant).or_default().push(*wish);
    }
    let after: Vec<OriginId> = tenants
        .keys()
        .copied()
        .filter(|tenant| last.is_some_and(|last| *tenant > last))
        .collect();
    let up_to: Vec<OriginId> = tenants
        .keys()
        .copied()
        .filter(|tenant| last.is_none_or(|last| *tenant <= last))
        .collect();
    let order: Vec<OriginId> = if last.is_some() {
        after.into_iter().chain(up_to).collect()
    } else {
        up_to
    };
    let mut given = Vec::<(TargetId, u32)>::new();
    let mut at = HashMap::<TargetId, usize>::new();
    let mut latest = last;
    let mut turn = 0;
    loop {
        let mut progressed = false;
        for tenant in &order {
            let Some(queue) = tenants.get_mut(tenant) else {
                continue;
            };
            let Some(target) = next(queue, turn, tenant, &mut places) else {
                continue;
            };
            progressed = true;
            latest = Some(*tenant);
            let index = *at.entry(target).or_insert_with(|| {
                given.push((target, 0));
                given.len() - 1
            });
            if let Some((_, count)) = given.get_mut(index) {
                *count += 1;
            }
        }
        turn += 1;
        if !progressed {
            return (given, latest);
        }
    }
}

/// Takes one attempt of a tenant, for the endpoint whose turn it is or the next one that may have a place.
fn next(
    queue: &mut [Wish],
    turn: usize,
    tenant: &OriginId,
    places: &mut Places,
) -> Option<TargetId> {
    let taken = places.taken.get(tenant).copied().unwrap_or(0);
    if places.any == 0 || taken >= places.per_tenant || queue.is_empty() {
        return None;
    }
    let count = queue.len();
    let suspects = places.suspects;
    let index = (0..count).map(|step| (turn + step) % count).find(|index| {
        queue
            .get(*index)
            .is_some_and(|wish| wish.count > 0 && (!wish.is_suspect || suspects > 0))
    })?;
    let wish = queue.get_mut(index)?;
    wish.count -= 1;
    places.any -= 1;
    if wish.is_suspect {
        places.suspects -= 1;
    }
    places.taken.insert(*tenant, taken + 1);
    Some(wish.target)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn wishes() -> impl Strategy<Value = Vec<Wish>> {
        let one = (0..6_u32, any::<bool>(), 0..20_u32);
        prop::collection::vec(one, 0..30).prop_map(|all| {
            let made = all.into_iter().enumerate();
            made.map(|(index, (tenant, is_suspect, count))| Wish {
                target: TargetId(u32::try_from(index).unwrap()),
                tenant: OriginId(tenant),
                is_suspect,
                count,
            })
            .collect()
        })
    }

    fn places() -> impl Strategy<Value = Places> {
        (
            0..40_u32,
            0..20_u32,
            1..10_u32,
            prop::collection::hash_map(0..6_u32, 0..8_u32, 0..4),
        )
            .prop_map(|(any, suspects, per_tenant, taken)| Places {
                any,
                suspects: suspects.min(any),
                per_tenant,
                taken: taken
                    .into_iter()
                    .map(|(tenant, count)| (OriginId(tenant), count))
                    .collect(),
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn nobody_gets_more_than_its_bounds_and_no_place_is_wasted(wishes in wishes(), places in places(), last in prop::option::of(0..6_u32)) {
            let (given, _) = share(&wishes, places.clone(), last.map(OriginId));
            let of: HashMap<TargetId, &Wish> = wishes.iter().map(|wish| (wish.target, wish)).collect();
            let total: u32 = given.iter().map(|(_, count)| count).sum();
            let suspects: u32 = given.iter().filter(|(target, _)| of[target].is_suspect).map(|(_, count)| count).sum();
            prop_assert!(total <= places.any && suspects <= places.suspects);
            let mut by_tenant: HashMap<OriginId, u32> = HashMap::new();
            for (target, count) in &given {
                prop_assert!(*count > 0 && *count <= of[target].count);
                *by_tenant.entry(of[target].tenant).or_default() += count;
            }
            for (tenant, count) in &by_tenant {
                let before = places.taken.get(tenant).copied().unwrap_or(0);
                prop_assert!(before + count <= places.per_tenant);
            }
            // whoever still wants a place and could have one did not miss it
            let distinct: HashSet<TargetId> = given.iter().map(|(target, _)| *target).collect();
            prop_assert_eq!(distinct.len(), given.len());
            for wish in &wishes {
                let got = given.iter().find(|(target, _)| *target == wish.target).map_or(0, |(_, count)| *count);
                let tenant = places.taken.get(&wish.tenant).copied().unwrap_or(0) + by_tenant.get(&wish.tenant).copied().unwrap_or(0);
                let is_open = total < places.any && tenant < places.per_tenant && (!wish.is_suspect || suspects < places.suspects);
                prop_assert!(got == wish.count || !is_open, "{:?} got {} although there was room", wish, got);
            }
        }

        #[test]
        fn tenants_with_enough_wishes_get_equal_shares(count in 1..6_u32, any in 1..60_u32) {
            let wishes: Vec<Wish> = (0..count).map(|tenant| Wish { target: TargetId(tenant), tenant: OriginId(tenant), is_suspect: false, count: 100 * (tenant + 1) }).collect();
            let places = Places { any, suspects: any, per_tenant: 100, taken: HashMap::new() };
            let (given, _) = share(&wishes, places, None);
            let counts: Vec<u32> = (0..count).map(|tenant| given.iter().find(|(target, _)| target.0 == tenant).map_or(0, |(_, count)| *count)).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
        }

        #[test]
        fn every_tenant_has_a_turn(count in 1..40_u32, any in 1..5_u32) {
            let wishes: Vec<Wish> = (0..count).map(|tenant| Wish { target: TargetId(tenant), tenant: OriginId(tenant), is_suspect: false, count: 100 }).collect();
            let places = Places { any, suspects: any, per_tenant: 100, taken: HashMap::new() };
            let (mut last, mut served) = (None, HashSet::new());
            for _ in 0..count.div_ceil(any) {
                let (given, latest) = share(&wishes, places.clone(), last);
                served.extend(given.into_iter().map(|(target, _)| target));
                last = latest;
            }
            prop_assert_eq!(served.len(), usize::try_from(count).unwrap());
        }
    }
}

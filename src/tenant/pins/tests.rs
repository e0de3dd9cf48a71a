use proptest::prelude::*;

use super::*;
use crate::event::Pattern;
use crate::event::catalogue::{Files, version_for};

/// Returns a catalogue of types with the versions 1 to a number.
fn catalogue(types: &[(&str, u32)]) -> Catalogue {
    let mut files = Files::new();
    for (name, newest) in types {
        for version in 1..=*newest {
            files.insert(format!("{name}/{version}.schema.json"), b"{}".to_vec());
        }
    }
    Catalogue::compile(&files).0
}

fn settings(types: &[&str], versions: &[(&str, u16)]) -> EndpointSettings {
    EndpointSettings {
        types: types.iter().map(|one| Pattern::new(one).unwrap()).collect(),
        versions: of(versions),
        ..EndpointSettings::default()
    }
}

fn of(pins: &[(&str, u16)]) -> Pins {
    let pin = |(name, version): &(&str, u16)| (EventType::new(name).unwrap(), *version);
    pins.iter().map(pin).collect()
}

#[test]
fn new_endpoint_is_pinned_to_the_newest_versions() {
    let known = catalogue(&[("a.b", 3), ("a.c", 1), ("d", 2)]);
    let now = settings(&["a.*"], &[]);
    assert_eq!(
        pins(None, &now, &Pins::new(), Some(&known)),
        of(&[("a.b", 3)])
    );
    assert_eq!(
        pins(None, &now, &of(&[("a.b", 1), ("d", 1)]), Some(&known)),
        of(&[("a.b", 1), ("d", 1)]),
        "given pins win"
    );
    assert_eq!(pins(None, &now, &of(&[("x", 7)]), None), of(&[("x", 7)]));
}

#[test]
fn only_types_that_are_added_are_pinned() {
    let known = catalogue(&[("a.b", 3), ("d", 2), ("young", 2)]);
    let before = settings(&["a.*", "young"], &[("a.b", 2)]);
    let pinned = |types: &[&str], given: &[(&str, u16)]| {
        pins(
            Some(&before),
            &settings(types, &[]),
            &of(given),
            Some(&known),
        )
    };
    assert_eq!(pinned(&["a.*", "young"], &[]), of(&[("a.b", 2)]));
    assert_eq!(pinned(&["*"], &[]), of(&[("a.b", 2), ("d", 2)]));
    assert_eq!(pinned(&["d"], &[]), of(&[("d", 2)]), "a.b is not wanted");
    assert_eq!(
        pinned(&["a.b"], &[("young", 1)]),
        of(&[("a.b", 2), ("young", 1)])
    );
}

#[test]
fn pins_of_a_request_are_checked_against_the_catalogue() {
    let known = catalogue(&[("a.b", 2)]);
    let before = settings(&["*"], &[("lost", 4), ("a.b", 9)]);
    let code = |given: &[(&str, u16)]| {
        let checked = check(Some(&before), &of(given), &known);
        checked.map_err(|(event_type, fault)| (event_type.to_string(), fault.code()))
    };
    assert_eq!(code(&[("a.b", 1), ("a.b", 2)]), Ok(()));
    assert_eq!(
        code(&[("lost", 4), ("a.b", 9)]),
        Ok(()),
        "it has them already"
    );
    assert_eq!(
        code(&[("lost", 5)]),
        Err(("lost".to_owned(), "unknown_type"))
    );
    assert_eq!(
        code(&[("a.b", 3)]),
        Err(("a.b".to_owned(), "unknown_version"))
    );
}

/// The types of the random catalogues.
const TYPES: [&str; 5] = ["a", "a.b", "a.c", "d", "d.e.f"];

fn random_catalogue() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..4_u32, TYPES.len())
}

fn random_types() -> impl Strategy<Value = Vec<&'static str>> {
    let patterns = ["*", "a.*", "d.*", "a", "a.b", "d", "d.e.f"];
    prop::sample::subsequence(patterns.to_vec(), 1..4)
}

fn built(newest: &[u32]) -> Catalogue {
    let types: Vec<(&str, u32)> = TYPES.into_iter().zip(newest.iter().copied()).collect();
    catalogue(&types)
}

proptest! {
    /// However an endpoint and the catalogue change, a type keeps the version that the endpoint gets, as long as it gets the type.
    #[test]
    fn version_of_an_endpoint_moves_only_by_request(
        first in random_catalogue(),
        steps in prop::collection::vec((random_types(), prop::collection::vec(0..2_u32, TYPES.len())), 1..6),
        begin in random_types(),
    ) {
        let mut newest = first;
        let mut before = settings(&begin, &[]);
        before.versions = pins(None, &before, &Pins::new(), Some(&built(&newest)));
        for (types, grown) in steps {
            let got: Vec<(EventType, Option<u32>)> = TYPES.iter().zip(&newest)
                .filter(|(_, newest)| **newest > 0)
                .map(|(name, newest)| {
                    let event_type = EventType::new(name).unwrap();
                    let pin = before.versions.get(&event_type).copied().map(u32::from);
                    (event_type, version_for(pin, 1..=*newest))
                })
                .collect();
            for (newest, grown) in newest.iter_mut().zip(&grown) {
                *newest += grown;
            }
            let known = built(&newest);
            let mut now = settings(&types, &[]);
            now.versions = pins(Some(&before), &now, &Pins::new(), Some(&known));
            for (event_type, version) in got {
                let newest = known.get(&event_type).unwrap().newest();
                let pin = now.versions.get(&event_type).copied().map(u32::from);
                if !now.wants(&event_type) {
                    prop_assert!(pin.is_none());
                } else if before.wants(&event_type) {
                    prop_assert_eq!(version_for(pin, 1..=newest.unwrap()), version);
                } else {
                    prop_assert_eq!(version_for(pin, 1..=newest.unwrap()), newest);
                }
            }
            before = now;
        }
    }

    /// The version that an endpoint gets is its pin, the nearest lower one, or else the lowest.
    #[test]
    fn version_is_the_nearest_that_is_not_above_the_pin(
        there_are in prop::collection::btree_set(1..12_u32, 1..6),
        pin in prop::option::of(1..12_u32),
    ) {
        let found = version_for(pin, there_are.iter().copied()).unwrap();
        let lowest = *there_are.first().unwrap();
        prop_assert!(there_are.contains(&found));
        match pin {
            None => prop_assert_eq!(found, lowest),
            Some(pin) if pin < lowest => prop_assert_eq!(found, lowest),
            Some(pin) => {
                prop_assert!(found <= pin);
                prop_assert!(there_are.iter().all(|other| *other <= found || *other > pin));
            }
        }
    }
}

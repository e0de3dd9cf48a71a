//! Every preset with golden vectors, run through the real verifier. Where we differ stands in `deviations.yaml`, with its reason.
use std::collections::BTreeSet;
use std::time::Duration;

use hookgate::clock::Now;
use hookgate::config::presets::Catalogue;
use hookgate::verify::NotAuthentic;

use crate::support::vectors::{deviations, files, load, shape};

/// How many providers have golden vectors at least.
const PROVEN: usize = 25;

#[test]
fn every_vector_comes_out_as_judged_or_as_deviations_say() {
    let deviations = deviations();
    let (mut cases, mut providers, mut wrong) = (0, Vec::new(), Vec::new());
    let files = files();
    let mut unused: BTreeSet<_> = deviations
        .iter()
        .flat_map(|(name, cases)| cases.keys().map(move |case| (name.as_str(), case.clone())))
        .collect();
    assert!(
        deviations
            .values()
            .flat_map(|cases| cases.values())
            .all(|deviation| !deviation.reason.trim().is_empty())
    );
    for (name, path) in &files {
        let preset = Catalogue::built_in()
            .get(name)
            .unwrap_or_else(|| panic!("{name}"));
        let shape = shape(name, &preset.provider);
        for case in load(path) {
            cases += 1;
            if case.verdict(&shape).is_ok() != case.valid {
                unused.remove(&(name.as_str(), case.name.clone()));
            }
            wrong.extend(
                case.disagrees(&shape, deviations.get(name))
                    .map(|how| format!("{} {how}", path.display())),
            );
        }
        providers.push(name);
    }
    providers.dedup();
    eprintln!(
        "{cases} cases of {} providers in {} files",
        providers.len(),
        files.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unused.is_empty(), "these do not differ: {unused:?}");
    assert!(providers.len() >= PROVEN, "{providers:?}");
}

/// Checks that a request that is signed anew after a month is one that its provider could have sent then.
#[test]
fn an_authentic_vector_that_is_signed_anew_is_authentic_a_month_later() {
    let deviations = deviations();
    let (mut fresh, mut stale, mut not) = (0, 0, BTreeSet::new());
    for (name, path) in &files() {
        let shape = shape(name, &Catalogue::built_in().get(name).unwrap().provider);
        for case in load(path)
            .into_iter()
            .filter(|case| case.due(deviations.get(name)))
        {
            let Now { wall, mono } = case.now();
            let later = Now {
                wall: wall + Duration::from_secs(30 * 86_400),
                mono,
            };
            match (shape.resignable(), case.resigned(&shape, later)) {
                (Ok(()), Ok([anew, as_it_came])) => {
                    assert_eq!(anew, Ok(()), "{name} {}", case.name);
                    let due = if shape.tolerance().is_some() {
                        Err(NotAuthentic::TimestampStale)
                    } else {
                        Ok(())
                    };
                    assert_eq!(as_it_came, due, "{name} {}", case.name);
                    fresh += 1;
                    stale += usize::from(due.is_err());
                }
                (Err(_), Err(_)) => {
                    not.insert(name.clone());
                }
                (resignable, made) => panic!("{name} {}: {resignable:?} {made:?}", case.name),
            }
        }
    }
    eprintln!("{fresh} signed anew, {stale} of them stale as they came; not: {not:?}");
    assert!(
        fresh >= 150 && stale >= 80 && !not.is_empty(),
        "{fresh} {stale} {not:?}"
    );
}

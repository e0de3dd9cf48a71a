//! The committed counts, and their comparison with those of this run.
use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/spine/baseline.json");
const RENEW: &str = "make bench-baseline";
/// The part of the baseline by which a count may differ from it.
const TOLERANCE: f64 = 0.05;

/// The costs of all cases by name.
pub(crate) type Baseline = BTreeMap<String, Cost>;

/// The cost of one request. A count is `None` if it was not taken.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) instructions: Option<f64>,
    /// Blocks of memory that it allocates. One that grows counts once.
    pub(crate) allocations: Option<f64>,
    /// The bytes of these blocks.
    pub(crate) allocated_bytes: Option<f64>,
}

impl Cost {
    pub(crate) const HEADING: &str =
        "| request | instructions | allocations | allocated bytes |\n|---|---|---|---|";

    fn counts(&self) -> [(&'static str, Option<f64>); 3] {
        [
            ("instructions", self.instructions),
            ("allocations", self.allocations),
            ("allocated bytes", self.allocated_bytes),
        ]
    }

    /// Returns the row of a table.
    pub(crate) fn row(&self, name: &str) -> String {
        let cells: String = self
            .counts()
            .iter()
            .map(|(_, count)| count.map_or_else(|| " – |".to_owned(), |n| format!(" {n} |")))
            .collect();
        format!("| {name} |{cells}")
    }
}

/// Compares the counts with the baseline. Fails if one of them is above it by more than the tolerance, or not in it.
pub(crate) fn check(measured: &Baseline) -> ExitCode {
    let text = std::fs::read_to_string(PATH).unwrap_or_else(|error| panic!("{PATH}: {error}"));
    let baseline: Baseline =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{PATH}: {error}"));
    let (mut worse, mut better) = (Vec::new(), Vec::new());
    for (case, cost) in measured {
        let Some(before) = baseline.get(case) else {
            worse.push(format!("{case}: not in the baseline"));
            continue;
        };
        for ((count, now), (_, before)) in cost.counts().into_iter().zip(before.counts()) {
            let (now, before) = (now.unwrap(), before.unwrap());
            let change = now / before - 1.0;
            let line = format!(
                "{case}: {before} → {now} {count} ({:+.1} %)",
                change * 100.0
            );
            if change > TOLERANCE {
                worse.push(line);
            } else if change < -TOLERANCE {
                better.push(line);
            }
        }
    }
    report("less than in the baseline", &better);
    report("MORE than in the baseline", &worse);
    if !worse.is_empty() {
        println!(
            "\nA request costs over 5 % more. Make it cheaper, or say in the commit why it is worth that, and renew the baseline: {RENEW}"
        );
        return ExitCode::FAILURE;
    }
    if !better.is_empty() {
        println!("\nRenew the baseline, so that this is not lost again: {RENEW}");
    }
    ExitCode::SUCCESS
}

fn report(what: &str, lines: &[String]) {
    if !lines.is_empty() {
        println!("\n{what}:\n  {}", lines.join("\n  "));
    }
}

/// Makes the counts the baseline.
pub(crate) fn write(measured: &Baseline) -> ExitCode {
    let text = serde_json::to_string_pretty(measured).unwrap();
    std::fs::write(PATH, text + "\n").unwrap_or_else(|error| panic!("{PATH}: {error}"));
    println!("\nwritten to {PATH}");
    ExitCode::SUCCESS
}

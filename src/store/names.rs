//! Decides which numbers of the store belong to which names of a config. Pure: rows and names in, rows and numbers out.
//!
//! A number belongs to one name at a time and remembers the names that it had before. When a config renames a route, the number changes hands;
//! when the config is rolled back, the number goes back. A name that a new route takes is no longer a former name of any other route's number,
//! so a new route never gets the deliveries of a route that was once called like it.
use std::collections::HashMap;
use std::sync::Arc;

use super::queue::Kind;

/// A name of a config, with the names that it had before, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The kind of thing that has the name.
    pub kind: Kind,
    /// The name.
    pub name: Arc<str>,
    /// The names that it had before.
    pub previously: Vec<Box<str>>,
}

/// The numbers of a name, for one config generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The number that new deliveries are stored under.
    pub number: u32,
    /// The numbers of routes that were merged into this one: their deliveries are its own.
    pub others: Vec<u32>,
    /// The name that its ledger entries are kept under. No other number of the kind ever has it.
    pub ledger: Arc<str>,
}

impl Numbers {
    /// Returns all of its numbers.
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(self.number).chain(self.others.iter().copied())
    }
}

/// A number of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NumberRow {
    /// The number; never used again.
    pub(crate) number: u32,
    /// The kind of thing that it stands for.
    pub(crate) kind: Kind,
    /// The name of its ledger, unique within the kind.
    pub(crate) ledger: Arc<str>,
    /// The names that it had, the newest last; empty in a row that a version before 3 wrote, whose only known name is `ledger`.
    pub(crate) owners: Vec<Box<str>>,
}

impl NumberRow {
    fn owners(&self) -> impl DoubleEndedIterator<Item = &str> {
        let only = self.owners.is_empty().then_some(&*self.ledger);
        self.owners.iter().map(|owner| &**owner).chain(only)
    }

    /// Returns the newest of its names.
    pub(crate) fn owner(&self) -> &str {
        self.owners().next_back().unwrap_or(&self.ledger)
    }
}

/// Gives each name of a config its numbers. Changes `rows` and adds to them; their order stays.
pub(crate) fn assign(rows: &mut Vec<NumberRow>, names: &[Named]) -> Vec<Numbers> {
    let mut claims: HashMap<(Kind, &str), usize> = HashMap::new();
    for (index, named) in names.iter().enumerate() {
        claims.insert((named.kind, &named.name), index);
    }
    for (index, named) in names.iter().enumerate() {
        for name in &named.previously {
            claims.entry((named.kind, name)).or_insert(index);
        }
    }
    let owner_of = |row: &NumberRow| row.owners().rev().find_map(|name| claims.get(&(row.kind, name))).copied();
    let mut owned: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
    for (at, row) in rows.iter().enumerate() {
        if let Some(places) = owner_of(row).and_then(|index| owned.get_mut(index)) {
            places.push(at);
        }
    }
    let mut numbers = Vec::with_capacity(names.len());
    for (index, (named, places)) in names.iter().zip(&mut owned).enumerate() {
        if places.is_empty() {
            places.push(rows.len());
            rows.push(fresh(rows, named));
        }
        let alone = places.len() == 1;
        for at in &*places {
            let Some(row) = rows.get(*at) else { continue };
            let ledger = if row.owners.is_empty() { ledger_before_3(rows, row, named) } else { Arc::clone(&row.ledger) };
            let foreign = |name: &str| claims.get(&(named.kind, name)).is_some_and(|other| *other != index);
            let owners = inherited(row, named, alone, foreign);
            if let Some(row) = rows.get_mut(*at) {
                (row.ledger, row.owners) = (ledger, owners);
            }
        }
        numbers.push(chosen(rows, places, named));
    }
    numbers
}

/// Makes a number that was never used, for a name that has none.
fn fresh(rows: &[NumberRow], named: &Named) -> NumberRow {
    let number = rows.iter().map(|row| row.number).max().unwrap_or(0).saturating_add(1);
    let taken = is_taken(rows, named.kind, &named.name, number);
    // no name of a config holds a slash
    let ledger = if taken { format!("{}/{number}", named.name).into() } else { Arc::clone(&named.name) };
    NumberRow { number, kind: named.kind, ledger, owners: Vec::new() }
}

fn is_taken(rows: &[NumberRow], kind: Kind, ledger: &str, but: u32) -> bool {
    rows.iter().any(|row| row.kind == kind && *row.ledger == *ledger && row.number != but)
}

/// Returns the ledger name of a row without owners. Before version 3 a route kept its entries under the oldest name of its config.
fn ledger_before_3(rows: &[NumberRow], row: &NumberRow, named: &Named) -> Arc<str> {
    let oldest = named.previously.first().filter(|oldest| *row.ledger == *named.name && !is_taken(rows, row.kind, oldest, row.number));
    oldest.map_or_else(|| Arc::clone(&row.ledger), |oldest| Arc::from(&**oldest))
}

/// Returns the names of a number that belongs to `named` now. Names that another route of the config claims are dropped.
fn inherited(row: &NumberRow, named: &Named, alone: bool, foreign: impl Fn(&str) -> bool) -> Vec<Box<str>> {
    let known: Vec<&str> = if row.owners.is_empty() { Vec::new() } else { row.owners().collect() };
    // what the config says of the past counts where the store knows nothing of it; after a merge each number has a past of its own
    let said = named.previously.iter().map(|name| &**name).filter(|name| alone && row.owners.is_empty() && !known.contains(name));
    let before = said.chain(known.iter().copied()).filter(|name| **name != *named.name && !foreign(name));
    let mut owners: Vec<Box<str>> = before.map(Box::from).collect();
    owners.push(Box::from(&*named.name));
    owners
}

/// Chooses the number that new deliveries are stored under: that of its own name, else of the last name that it had, else the oldest.
fn chosen(rows: &[NumberRow], places: &[usize], named: &Named) -> Numbers {
    let mine: Vec<&NumberRow> = places.iter().filter_map(|at| rows.get(*at)).collect();
    let names = std::iter::once(&*named.name).chain(named.previously.iter().rev().map(|name| &**name));
    let mut by_name = names.filter_map(|name| mine.iter().find(|row| *row.ledger == *name));
    let Some(first) = by_name.next().or(mine.first()) else {
        return Numbers { number: 0, others: Vec::new(), ledger: Arc::clone(&named.name) };
    };
    let others = mine.iter().map(|row| row.number).filter(|number| *number != first.number).collect();
    Numbers { number: first.number, others, ledger: Arc::clone(&first.ledger) }
}

#[cfg(test)]
mod tests;

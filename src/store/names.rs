//! Decides which numbers of the store belong to which names of a config. Pure: rows and names in, rows and numbers out.
//!
//! A number belongs to one name at a time and remembers the names that it had before. When a config renames a route, the number changes hands;
//! when the config is rolled back, the number goes back. A name that a new route takes is no longer a former name of any other route's number,
//! so a new route never gets the deliveries of a route that was once called like it.
//!
//! A route that others were merged into has several numbers and stores new deliveries under one of them. Each other number holds only what was
//! accepted before the merge, and remembers that: it goes back to its former name when a route has that name again.
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// The kind of thing that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A webhook route of the config: an origin and a target in one.
    Route,
    /// A route that passes traffic through. No delivery has its number.
    Pass,
    /// The gateway's own alarms: an origin and a target in one.
    Alarm,
}

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
    /// The name under which its ledger entries are stored. No other number of the kind ever has it.
    pub ledger: Arc<str>,
}

impl Numbers {
    /// Returns all of its numbers.
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::once(self.number).chain(self.others.iter().copied())
    }
}

/// A name that a number had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    name: Box<str>,
    /// Whether no delivery was stored under the number while it had this name, because the route of this name had another number for that.
    merged: bool,
}

impl Owner {
    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(text: &str) -> Self {
        let name = text.strip_prefix('/');
        Self {
            name: name.unwrap_or(text).into(),
            merged: name.is_some(),
        }
    }
}

/// The form in the store: the name, with `/` before it if `merged`. No name of a config holds a slash.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.merged { "/" } else { "" }, self.name)
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
    /// The names that it had, the newest last.
    pub(crate) owners: Vec<Owner>,
}

impl NumberRow {
    /// Returns its names, each with whether it was merged then; the newest is last.
    fn owners(&self) -> impl DoubleEndedIterator<Item = (&str, bool)> {
        self.owners.iter().map(|owner| (&*owner.name, owner.merged))
    }

    /// Returns the newest of its names.
    pub(crate) fn owner(&self) -> &str {
        self.owners()
            .next_back()
            .map_or(&self.ledger, |(name, _)| name)
    }

    /// Returns whether deliveries were stored under it while it had this name; none if it never had it.
    fn accepted_as(&self, name: &str) -> Option<bool> {
        self.owners()
            .find(|(owner, _)| *owner == name)
            .map(|(_, merged)| !merged)
    }

    /// Returns the names of a config that claim one of its names, those of the newest first, each with whether it was merged then.
    fn claimants(&self, claims: &Claims<'_>) -> impl Iterator<Item = (usize, bool)> {
        self.owners()
            .rev()
            .filter_map(|(name, merged)| Some((*claims.get(&(self.kind, name))?, merged)))
    }
}

/// The names of a config, by each name that they have or had.
type Claims<'a> = HashMap<(Kind, &'a str), usize>;

/// Gives each name of a config its numbers. Changes `rows` and adds to them; their order stays.
pub(crate) fn assign(rows: &mut Vec<NumberRow>, names: &[Named]) -> Vec<Numbers> {
    let mut claims = Claims::new();
    for (index, named) in names.iter().enumerate() {
        claims.insert((named.kind, &named.name), index);
    }
    for (index, named) in names.iter().enumerate() {
        for name in &named.previously {
            claims.entry((named.kind, name)).or_insert(index);
        }
    }
    let mut owned: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
    for (at, owner) in owners(rows, &claims).into_iter().enumerate() {
        if let Some(places) = owner.and_then(|index| owned.get_mut(index)) {
            places.push(at);
        }
    }
    let mut numbers = Vec::with_capacity(names.len());
    for (index, (named, places)) in names.iter().zip(&mut owned).enumerate() {
        if places.is_empty() {
            places.push(rows.len());
            rows.push(fresh(rows, named));
        }
        let chosen = chosen(rows, places, named);
        let alone = places.len() == 1;
        let foreign = |name: &str| {
            claims
                .get(&(named.kind, name))
                .is_some_and(|other| *other != index)
        };
        for at in &*places {
            let Some(row) = rows.get_mut(*at) else {
                continue;
            };
            row.owners = inherited(row, named, alone, row.number == chosen.number, foreign);
        }
        numbers.push(chosen);
    }
    numbers
}

/// Returns the name of the config that each number belongs to: the one that claims its newest name, unless a merge is undone.
fn owners(rows: &[NumberRow], claims: &Claims<'_>) -> Vec<Option<usize>> {
    let newest: Vec<Option<usize>> = rows
        .iter()
        .map(|row| row.claimants(claims).next().map(|(index, _)| index))
        .collect();
    let served: HashSet<usize> = newest.iter().flatten().copied().collect();
    // the former names of a number that was merged into its newest name
    let former = |row: &NumberRow| {
        let mut claimants: Vec<(usize, bool)> = row.claimants(claims).collect();
        if !claimants.first().is_some_and(|(_, merged)| *merged) {
            claimants.clear();
        }
        claimants.into_iter().skip(1)
    };
    let stored_for = |row: &NumberRow| {
        former(row)
            .find(|(index, merged)| !merged && !served.contains(index))
            .map(|(index, _)| index)
    };
    let back: Vec<Option<usize>> = rows.iter().map(stored_for).collect();
    // a route that comes back brings what had been merged into it
    let returned: HashSet<usize> = back.iter().flatten().copied().collect();
    let brought = |row: &NumberRow| {
        former(row)
            .map(|(index, _)| index)
            .find(|index| returned.contains(index))
    };
    rows.iter()
        .zip(back)
        .zip(newest)
        .map(|((row, back), newest)| back.or_else(|| brought(row)).or(newest))
        .collect()
}

/// Makes a number that was never used, for a name that has none.
fn fresh(rows: &[NumberRow], named: &Named) -> NumberRow {
    let number = rows
        .iter()
        .map(|row| row.number)
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    let taken = is_taken(rows, named.kind, &named.name, number);
    // no name of a config holds a slash
    let ledger = if taken {
        format!("{}/{number}", named.name).into()
    } else {
        Arc::clone(&named.name)
    };
    NumberRow {
        number,
        kind: named.kind,
        ledger,
        owners: Vec::new(),
    }
}

fn is_taken(rows: &[NumberRow], kind: Kind, ledger: &str, but: u32) -> bool {
    rows.iter()
        .any(|row| row.kind == kind && *row.ledger == *ledger && row.number != but)
}

/// Returns the names of a number that belongs to `named` now. Names that another route of the config claims are dropped.
fn inherited(
    row: &NumberRow,
    named: &Named,
    alone: bool,
    is_chosen: bool,
    foreign: impl Fn(&str) -> bool,
) -> Vec<Owner> {
    let is_new = row.owners.is_empty();
    let owner = |(name, merged): (&str, bool)| Owner {
        name: name.into(),
        merged,
    };
    // what the config says of the past counts where the store knows nothing of it; after a merge each number has a past of its own
    let former = named
        .previously
        .iter()
        .filter(|_| alone && is_new)
        .map(|name| (&**name, false));
    let known = row.owners().filter(|_| !is_new);
    let mut owners: Vec<Owner> = former
        .chain(known)
        .filter(|(name, _)| **name != *named.name && !foreign(name))
        .map(owner)
        .collect();
    let has_accepted = !is_new && row.accepted_as(&named.name) == Some(true);
    owners.push(owner((&named.name, !is_chosen && !has_accepted)));
    owners
}

/// Chooses the number that new deliveries are stored under: the one that they were stored under before, else that of the last name that it had,
/// else the oldest.
fn chosen(rows: &[NumberRow], places: &[usize], named: &Named) -> Numbers {
    let mine: Vec<&NumberRow> = places.iter().filter_map(|at| rows.get(*at)).collect();
    let names: Vec<&str> = std::iter::once(&*named.name)
        .chain(named.previously.iter().rev().map(|name| &**name))
        .collect();
    let rank = |row: &NumberRow| {
        let accepts = row.accepted_as(&named.name) == Some(true);
        let was_merged = row.accepted_as(row.owner()) == Some(false);
        (
            !accepts,
            was_merged,
            names
                .iter()
                .position(|name| *row.ledger == **name)
                .unwrap_or(names.len()),
        )
    };
    let Some(first) = mine.iter().min_by_key(|row| rank(row)) else {
        return Numbers {
            number: 0,
            others: Vec::new(),
            ledger: Arc::clone(&named.name),
        };
    };
    let others = mine
        .iter()
        .map(|row| row.number)
        .filter(|number| *number != first.number)
        .collect();
    Numbers {
        number: first.number,
        others,
        ledger: Arc::clone(&first.ledger),
    }
}

#[cfg(test)]
mod tests;

//! The secrets of a route, and the candidates among them for one request.
use std::sync::Arc;

use subtle::{Choice, ConditionallySelectable};

use super::candidate::Candidate;
use super::encoding::Encoding;
use super::error::SecretError;
use super::material::SecretKind;
use super::table::{KeyedBy, SecretTable, is_key};
use super::text::SecretText;
use crate::clock::Dates;
use crate::request::{Params, RequestHead};
use crate::verify::authentic::NotAuthentic;
use crate::verify::comparison::{Comparison, MatchedSecret};

/// A secret of a list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSecret {
    /// Its position in the list, counted from 0.
    pub index: usize,
    /// Its name.
    pub name: Arc<str>,
    /// Its fault.
    pub why: SecretError,
}

/// The secrets of a route.
#[derive(Clone, Debug)]
pub enum SecretSet {
    /// Candidates, newest first.
    List(Arc<[Candidate]>),
    /// Candidates by key.
    Table {
        /// The place of the key.
        by: KeyedBy,
        /// The entries.
        table: SecretTable,
        /// The candidates that stand in for an unknown key, so that it takes as long as a known one. They never match.
        decoy: Arc<[Candidate]>,
    },
}

/// The candidates for one request.
pub(in crate::verify) enum Candidates<'a> {
    Listed(&'a [Candidate]),
    Keyed {
        /// The key, which is in the table: the account.
        account: Box<str>,
        candidates: Arc<[Candidate]>,
    },
    /// Decoys, because the key is in no table. Held like those of a known key, so that both take as long.
    Decoy(Arc<[Candidate]>),
    /// None, because the header with the key occurs with different values.
    Repeated,
}

impl Candidates<'_> {
    /// Returns all candidates. The candidates of an unknown key are decoys.
    pub(in crate::verify) fn list(&self) -> &[Candidate] {
        match self {
            Self::Listed(list) => list,
            Self::Keyed {
                candidates: list, ..
            }
            | Self::Decoy(list) => list,
            Self::Repeated => &[],
        }
    }

    /// Returns whether the candidates may match at all.
    pub(in crate::verify) fn known(&self) -> bool {
        matches!(self, Self::Listed(_) | Self::Keyed { .. })
    }

    /// Returns the account whose secrets these are, if the route finds its secrets by key.
    pub(in crate::verify) fn account(&self) -> Option<&str> {
        match self {
            Self::Keyed { account, .. } => Some(account),
            Self::Listed(_) | Self::Decoy(_) | Self::Repeated => None,
        }
    }

    /// Checks that the request does not name two keys.
    pub(in crate::verify) fn require_one_key(&self) -> Result<(), NotAuthentic> {
        if matches!(self, Self::Repeated) {
            Err(NotAuthentic::SignatureMalformed)
        } else {
            Ok(())
        }
    }

    /// Returns whether an active candidate matches, and the index of the first that does. Looks at no result before all are compared.
    pub(in crate::verify) fn first_match(
        &self,
        hits: impl Iterator<Item = Choice>,
        dates: &Dates,
    ) -> (Choice, usize) {
        let known = Choice::from(u8::from(self.known()));
        let mut any = Choice::from(0);
        let mut first = 0_u32;
        for ((index, candidate), hit) in (0_u32..).zip(self.list()).zip(hits) {
            let counts = hit & known & Choice::from(u8::from(candidate.active(dates)));
            first.conditional_assign(&index, counts & !any);
            any |= counts;
        }
        (any, usize::try_from(first).unwrap_or(usize::MAX))
    }

    /// Returns the name of the candidate at an index that [`Self::first_match`] returned.
    pub(in crate::verify) fn name_of(&self, index: usize) -> Result<Arc<str>, NotAuthentic> {
        self.list()
            .get(index)
            .map(|candidate| Arc::clone(candidate.name()))
            .ok_or(NotAuthentic::SignatureMismatch)
    }

    /// Compares digests of presented texts with all candidates.
    pub(in crate::verify) fn compare_texts(
        &self,
        presented: &[[u8; 32]],
        dates: &Dates,
    ) -> Result<Comparison, NotAuthentic> {
        self.require_one_key()?;
        let compared = self.list().iter().map(|candidate| {
            presented.iter().fold(Choice::from(0), |hit, digest| {
                hit | candidate.is_text(digest)
            })
        });
        let (any, index) = self.first_match(compared, dates);
        if !bool::from(any) {
            return Err(NotAuthentic::SignatureMismatch);
        }
        Ok(Comparison::Fresh(MatchedSecret {
            name: self.name_of(index)?,
            signed_at: None,
        }))
    }
}

impl SecretSet {
    /// Makes a list of candidates, in the order of the secrets.
    ///
    /// # Errors
    /// Every secret that cannot be used.
    pub fn list(
        kind: SecretKind,
        defaults: &[Encoding],
        suffix: Option<&str>,
        secrets: &[SecretText],
    ) -> Result<Self, Vec<BadSecret>> {
        let mut made = Vec::with_capacity(secrets.len());
        let mut bad = Vec::new();
        for (index, secret) in secrets.iter().enumerate() {
            match Candidate::make(kind, defaults, suffix, secret) {
                Ok(candidates) => made.extend(candidates),
                Err(why) => bad.push(BadSecret {
                    index,
                    name: Arc::clone(&secret.name),
                    why,
                }),
            }
        }
        if bad.is_empty() {
            Ok(Self::List(made.into()))
        } else {
            Err(bad)
        }
    }

    /// Makes a table of candidates by key, each made by [`Candidate::entry`] with the same encodings.
    pub fn table(
        kind: SecretKind,
        encodings: &[Encoding],
        by: KeyedBy,
        table: SecretTable,
    ) -> Self {
        Self::Table {
            by,
            table,
            decoy: Candidate::decoys(kind, encodings).into(),
        }
    }

    /// Returns the candidates of a list, in its order; none for a table.
    pub fn listed(&self) -> &[Candidate] {
        match self {
            Self::List(list) => list,
            Self::Table { .. } => &[],
        }
    }

    /// Returns the place of the key of a table; `None` for a list.
    pub fn keyed_by(&self) -> Option<&KeyedBy> {
        match self {
            Self::List(_) => None,
            Self::Table { by, .. } => Some(by),
        }
    }

    /// Returns the names of the secrets; for a table, those of one account.
    pub fn names(&self, account: Option<&str>) -> Vec<Arc<str>> {
        let names = |candidates: &[Candidate]| {
            candidates
                .iter()
                .map(|candidate| Arc::clone(candidate.name()))
                .collect::<Vec<_>>()
        };
        let mut names = match self {
            Self::List(list) => names(list),
            Self::Table { table, .. } => account
                .and_then(|account| table.get(account))
                .map(|list| names(&list))
                .unwrap_or_default(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Finds the candidates for a request.
    pub(in crate::verify) fn find(&self, head: &RequestHead, params: &Params) -> Candidates<'_> {
        let (by, table, decoy) = match self {
            Self::List(list) => return Candidates::Listed(list),
            Self::Table { by, table, decoy } => (by, table, decoy),
        };
        let key = match by {
            KeyedBy::Param(name) => params.get(name),
            KeyedBy::Header(name) => match head.headers.single(name) {
                Ok(value) => value.and_then(|value| std::str::from_utf8(value).ok()),
                Err(_) => return Candidates::Repeated,
            },
        };
        let entry = key
            .filter(|key| is_key(key))
            .and_then(|key| Some((key, table.get(key).filter(|list| !list.is_empty())?)));
        match entry {
            Some((account, candidates)) => Candidates::Keyed {
                account: account.into(),
                candidates,
            },
            None => Candidates::Decoy(Arc::clone(decoy)),
        }
    }
}

//! Matches of secrets, on the store of one process.
use super::Embedded;
use super::archive::FINISHES_WORK;
use super::queue::at_once;
use crate::store::Answer;
use crate::store::embedded::sqlite::secret_match;
use crate::store::embedded::sqlite::writing::Writing;
use crate::store::secret_use::{SecretMatches, SecretTotals};

impl Embedded {
    /// Adds matches of secrets, and returns what is known of each.
    pub(super) fn add_matches(&self, matches: Vec<SecretMatches>) -> Answer<'_, Vec<SecretTotals>> {
        let add = move |writing: &Writing<'_>| secret_match::add(writing, &matches);
        match self.disk() {
            Ok(disk) => disk.write(FINISHES_WORK, add, |_| {}),
            Err(error) => at_once(Err(error)),
        }
    }
}

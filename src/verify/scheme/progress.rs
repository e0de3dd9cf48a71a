//! The state of a check between its beginning and its end, and the values that it is finished with.
use std::time::SystemTime;

use crate::clock::Dates;
use crate::verify::content::RequestView;
use crate::verify::hmac::Mac;
use crate::verify::secret::Candidates;

/// The state of a check between its beginning and its end.
pub(in crate::verify) enum Progress {
    /// One MAC for each candidate, fed up to here.
    Macs(Vec<Mac>),
    /// Nothing yet: the scheme computes everything from the complete request.
    Deferred,
}

/// The values that a check is finished with.
pub(in crate::verify) struct Inputs<'a> {
    pub(in crate::verify) request: RequestView<'a>,
    pub(in crate::verify) candidates: &'a Candidates<'a>,
    /// Whether the body could be a token whose MAC the gateway gives away.
    pub(in crate::verify) could_be_token: bool,
    /// The time by which signed times are judged.
    pub(in crate::verify) now: SystemTime,
    /// The dates by which secrets are judged.
    pub(in crate::verify) dates: &'a Dates,
}

impl Progress {
    /// Feeds the next bytes of the body.
    pub(in crate::verify) fn update(&mut self, chunk: &[u8]) {
        match self {
            Self::Macs(macs) => macs.iter_mut().for_each(|mac| mac.update(chunk)),
            Self::Deferred => {}
        }
    }
}

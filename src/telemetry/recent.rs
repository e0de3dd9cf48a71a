//! The last refusals, for people who ask why nothing arrives.
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::line::{METHOD_SHOWN, rfc3339};
use super::record::{Facts, shown};
use crate::request::RequestId;

/// Refusals remembered.
pub const REMEMBERED: usize = 256;

/// A request that was not let through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecentRefusal {
    /// When it ended, RFC 3339.
    pub at: String,
    /// The refusal's code.
    pub code: String,
    /// The HTTP status that the sender saw.
    pub status: u16,
    /// The route, if one was found.
    pub route: Option<String>,
    /// The gate's ID of the request.
    pub request_id: String,
    /// The client's address.
    pub client: IpAddr,
    /// The method.
    pub method: String,
    /// The path, fit for showing.
    pub path: String,
}

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    at: SystemTime,
    code: &'static str,
    status: StatusCode,
    route: Option<Arc<str>>,
    request_id: RequestId,
    client: IpAddr,
    method: Method,
    path: Box<str>,
}

impl Recent {
    pub(super) fn push(
        &self,
        facts: &Facts,
        code: &'static str,
        status: StatusCode,
        at: SystemTime,
    ) {
        let entry = Entry {
            at,
            code,
            status,
            route: facts.route.clone(),
            request_id: facts.request_id,
            client: facts.client.ip,
            method: facts.method.clone(),
            path: facts.path.clone(),
        };
        let mut entries = self.0.lock();
        if entries.len() >= REMEMBERED {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The last `limit`, newest first.
    pub(super) fn last(&self, limit: usize) -> Vec<RecentRefusal> {
        let entries = self.0.lock();
        entries.iter().rev().take(limit).map(Entry::shown).collect()
    }
}

impl Entry {
    fn shown(&self) -> RecentRefusal {
        RecentRefusal {
            at: rfc3339(self.at),
            code: self.code.to_owned(),
            status: self.status.as_u16(),
            route: self.route.as_deref().map(str::to_owned),
            request_id: self.request_id.to_string(),
            client: self.client,
            method: shown(self.method.as_str().as_bytes(), METHOD_SHOWN).into(),
            path: self.path.to_string(),
        }
    }
}

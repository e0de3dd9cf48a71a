//! The last refusals, for people who ask why nothing arrives.
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::line::METHOD_SHOWN;
use super::record::Facts;
use super::shown::shown;
use crate::request::RequestId;

/// Refusals remembered.
pub const REMEMBERED: usize = 256;

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    /// When the request ended.
    pub at: SystemTime,
    /// The refusal's code.
    pub code: &'static str,
    /// The status of the response.
    pub status: StatusCode,
    /// The exact reason behind the code, where it is known.
    pub why: Option<Arc<str>>,
    /// The route, if one was found.
    pub route: Option<Arc<str>>,
    /// The gateway's ID of the request.
    pub request_id: RequestId,
    /// The client's address.
    pub client: IpAddr,
    /// The method, fit for showing.
    pub method: Box<str>,
    /// The path, fit for showing.
    pub path: Box<str>,
}

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    at: SystemTime,
    code: &'static str,
    status: StatusCode,
    why: Option<Arc<str>>,
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
            why: facts.reason(),
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

    /// Returns the last `limit` refusals, newest first.
    pub(super) fn last(&self, limit: usize) -> Vec<RefusedRequest> {
        let entries = self.0.lock();
        entries.iter().rev().take(limit).map(Entry::shown).collect()
    }
}

impl Entry {
    fn shown(&self) -> RefusedRequest {
        RefusedRequest {
            at: self.at,
            code: self.code,
            status: self.status,
            why: self.why.clone(),
            route: self.route.clone(),
            request_id: self.request_id,
            client: self.client,
            method: shown(self.method.as_str().as_bytes(), METHOD_SHOWN),
            path: self.path.clone(),
        }
    }
}

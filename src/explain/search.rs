//! The search: one change at a time, then two, until a signature matches.
use std::borrow::Cow;

use http::header::AUTHORIZATION;

use super::address::{self, AddressChange};
use super::body::{self, BodyChange};
use super::cause::Cause;
use super::key::{Key, Keys, Owner};
use super::question::{Finding, Question, Subject, Tried};
use super::signs::{differences, is_test};
use crate::clock::Dates;
use crate::request::RequestHead;
use crate::verify::probe::{self, Found, Spelling};
use crate::verify::{Candidate, NotAuthentic, Shape};

/// The most bytes that are hashed in one step of the search: a tenth of a second or two.
const MAX_HASHED: usize = 64 << 20;

/// A search in progress.
struct Search<'q> {
    question: &'q Question<'q>,
    dates: &'q Dates,
    refused: NotAuthentic,
    tried: Tried,
    /// The bytes that may still be hashed.
    budget: usize,
}

/// A signature that matches.
struct Hit<'h> {
    key: &'h Key<'h>,
    /// The place and form of the signature, where they are not those of the scheme.
    elsewhere: Vec<Cause>,
}

/// Searches for the cause of a refusal.
pub(super) fn search(question: &Question<'_>, refused: NotAuthentic, dates: &Dates) -> Finding {
    let mut search = Search {
        question,
        dates,
        refused,
        tried: Tried::default(),
        budget: MAX_HASHED,
    };
    let own = question
        .route
        .verifier
        .candidates(&question.received.head, question.params);
    let Some(own) = own else {
        return search.finding(vec![Cause::UnknownAccount], None);
    };
    let keys = search.keys(&own);
    let (configured, more) = keys
        .0
        .split_at_checked(search.tried.own_secrets)
        .unwrap_or_default();
    if let Some(finding) = search.by_secrets(&keys.0) {
        return finding;
    }
    let addresses = search.addresses();
    let bodies = body::spellings(&question.received.head, question.received.body.bytes());
    search.tried.addresses = addresses.len();
    search.tried.bodies = bodies.len();
    // the secrets as they are, before other readings of them are tried together with other changes
    search
        .by_addresses(configured, &addresses)
        .or_else(|| search.by_bodies(configured, &bodies))
        .or_else(|| search.by_addresses(more, &addresses))
        .or_else(|| search.by_bodies(more, &bodies))
        .or_else(|| search.by_providers(&own))
        .unwrap_or_else(|| search.by_signs())
}

impl<'q> Search<'q> {
    fn shape(&self) -> &'q Shape {
        self.question.route.verifier.shape()
    }

    /// Returns all keys to try: those of the route, their other readings, those of other routes.
    fn keys(&mut self, own: &[Candidate]) -> Keys<'q> {
        let shape = self.shape();
        let mut keys = Keys::default();
        keys.add_configured(Owner::Own, own, shape);
        self.tried.own_secrets = keys.0.len();
        keys.add_readings(Owner::Own, own, shape);
        self.tried.readings = keys.0.len() - self.tried.own_secrets;
        let before = keys.0.len();
        for other in self.question.others {
            let secrets = other.verifier.secrets().listed();
            keys.add_configured(Owner::Other(other.name), secrets, shape);
        }
        self.tried.other_secrets = keys.0.len() - before;
        keys
    }

    /// Tries all keys on the request as it arrived.
    fn by_secrets(&mut self, keys: &[Key<'_>]) -> Option<Finding> {
        self.budget = MAX_HASHED;
        let question = self.question;
        let head = &question.received.head;
        let request = Spelling {
            head,
            body: question.received.body.bytes(),
            public_url: question.route.verifier.public_url(),
        };
        let shape = self.shape();
        if shape.algorithm().is_none() {
            let index = shape.presents_token(head, keys);
            let key = index.and_then(|index| keys.get(index))?;
            return Some(self.found(key, Vec::new()));
        }
        let hit = self.probe(shape, keys, request)?;
        Some(self.found(hit.key, hit.elsewhere))
    }

    /// Returns other spellings of the URL, where it is signed.
    fn addresses(&self) -> Vec<(AddressChange, RequestHead)> {
        let Subject { verifier, .. } = self.question.route;
        if !verifier.shape().covers_address() {
            return Vec::new();
        }
        address::spellings(&self.question.received.head, verifier.public_url())
    }

    /// Tries other spellings of the URL.
    fn by_addresses(
        &mut self,
        keys: &[Key<'_>],
        addresses: &[(AddressChange, RequestHead)],
    ) -> Option<Finding> {
        self.budget = MAX_HASHED;
        for (change, head) in addresses {
            let request = Spelling {
                head,
                body: self.question.received.body.bytes(),
                public_url: None,
            };
            if let Some(hit) = self.probe(self.shape(), keys, request) {
                let causes = [vec![Cause::Address(*change)], hit.elsewhere].concat();
                return Some(self.found(hit.key, causes));
            }
        }
        None
    }

    /// Tries other spellings of the body.
    fn by_bodies(
        &mut self,
        keys: &[Key<'_>],
        bodies: &[(BodyChange, Cow<'_, [u8]>)],
    ) -> Option<Finding> {
        self.budget = MAX_HASHED;
        let question = self.question;
        for (change, body) in bodies {
            let request = Spelling {
                head: &question.received.head,
                body,
                public_url: question.route.verifier.public_url(),
            };
            if let Some(hit) = self.probe(self.shape(), keys, request) {
                let causes = [vec![Cause::Body(*change)], hit.elsewhere].concat();
                return Some(self.found(hit.key, causes));
            }
        }
        None
    }

    /// Tries the schemes of other providers of which the request has a header.
    fn by_providers(&mut self, own: &[Candidate]) -> Option<Finding> {
        self.budget = MAX_HASHED;
        let question = self.question;
        let head = &question.received.head;
        for (name, shape) in self.other_providers() {
            self.tried.providers += 1;
            let mut keys = Keys::default();
            keys.add_configured(Owner::Own, own, shape);
            keys.add_readings(Owner::Own, own, shape);
            let request = Spelling {
                head,
                body: question.received.body.bytes(),
                public_url: question.route.verifier.public_url(),
            };
            let matched = match shape.algorithm() {
                None => shape
                    .presents_token(head, &keys.0)
                    .and_then(|index| keys.0.get(index)),
                Some(_) => self.probe(shape, &keys.0, request).map(|hit| hit.key),
            };
            if let Some(key) = matched {
                let cause = Cause::Provider {
                    name: name.clone(),
                    is_proven: true,
                };
                return Some(self.found(key, vec![cause]));
            }
        }
        None
    }

    /// Returns the providers other than that of the route whose signature header the request has.
    fn other_providers(&self) -> impl Iterator<Item = &'q (std::sync::Arc<str>, Shape)> + use<'q> {
        let question = self.question;
        let has = |shape: &Shape| {
            let mut names = shape.signature_headers().iter();
            names.any(|name| question.received.head.headers.contains(name))
        };
        question
            .providers
            .iter()
            .filter(move |(name, shape)| question.own_provider != Some(&**name) && has(shape))
    }

    /// Says what the request looks like, since nothing matches.
    fn by_signs(&self) -> Finding {
        let Question { received, .. } = self.question;
        let shape = self.shape();
        let (head, bytes) = (&received.head, received.body.bytes());
        let expected = shape.signature_headers();
        let has_own = expected.iter().any(|name| head.headers.contains(name));
        let mut causes = Vec::new();
        if !has_own && !expected.is_empty() {
            causes.extend(self.likely_provider());
            if causes.is_empty()
                && let [name, ..] = expected
            {
                causes.push(Cause::NoSignature {
                    expected: name.as_str().into(),
                });
            }
        }
        if matches!(
            self.refused,
            NotAuthentic::TimestampMissing | NotAuthentic::TimestampMalformed
        ) {
            causes.push(Cause::Time {
                is_other_unit: shape.time_is_in_other_unit(head, bytes),
            });
        }
        let sign = body::sign(head, bytes, shape.reads_json());
        causes.extend(sign.map(Cause::Rewritten));
        if is_test(bytes) {
            causes.push(Cause::TestMode);
        }
        causes.truncate(1);
        self.finding(causes, None)
    }

    /// Returns the provider that the headers name, if they are not those of several. `Authorization` names none.
    fn likely_provider(&self) -> Option<Cause> {
        let mut named = self
            .other_providers()
            .filter(|(_, shape)| !shape.signature_headers().contains(&AUTHORIZATION));
        let (name, _) = named.next().filter(|_| named.next().is_none())?;
        Some(Cause::Provider {
            name: name.clone(),
            is_proven: false,
        })
    }

    /// Returns the first key that gives a signature which the request presents, where the scheme expects it or elsewhere.
    fn probe<'k>(
        &mut self,
        shape: &Shape,
        keys: &'k [Key<'k>],
        request: Spelling<'_>,
    ) -> Option<Hit<'k>> {
        let own = shape.algorithm()?;
        let original = self.question.received.body.bytes();
        let official = shape.presented(request.head, original);
        let anywhere = probe::signatures_anywhere(&self.question.received.head);
        let mut algorithms = vec![own];
        for algorithm in anywhere.iter().filter_map(Found::algorithm) {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        let cost = request.body.len().max(1).saturating_mul(algorithms.len());
        let affordable = self.budget / cost;
        self.tried.is_cut |= affordable < keys.len();
        let keys = keys.get(..affordable.min(keys.len())).unwrap_or_default();
        self.budget = self.budget.saturating_sub(cost.saturating_mul(keys.len()));
        let time = shape.presented_time(request.head, original).ok()?;
        let time = time.unwrap_or_default();
        let computed = shape.compute(keys, &algorithms, request, &time).ok()?;
        let as_expected = computed.iter().find(|computed| {
            computed.algorithm == own && official.iter().any(|found| computed.is(found))
        });
        if let Some(computed) = as_expected {
            return Some(Hit {
                key: keys.get(computed.key)?,
                elsewhere: Vec::new(),
            });
        }
        let (computed, found) = computed.iter().find_map(|computed| {
            let found = anywhere.iter().find(|found| computed.is(found))?;
            Some((computed, found))
        })?;
        Some(Hit {
            key: keys.get(computed.key)?,
            elsewhere: differences(shape, found, (computed.algorithm, own), self.refused),
        })
    }

    /// Returns the finding for a key that matches after these causes are undone.
    fn found(&self, key: &Key<'_>, mut causes: Vec<Cause>) -> Finding {
        let question = self.question;
        let name = key.name.clone();
        let route = match key.owner {
            Owner::Own => question.route.name,
            Owner::Other(route) => route,
        };
        if let Owner::Other(route) = key.owner {
            causes.push(Cause::OtherRoute {
                route: route.into(),
                name: name.clone(),
            });
        } else if !key.changes.is_empty() {
            causes.push(Cause::Secret {
                name: name.clone(),
                changes: key.changes.clone(),
            });
        } else if let Some(from) = key.not_before.filter(|from| !self.dates.has_begun(*from)) {
            causes.push(Cause::NotYetActive {
                name: name.clone(),
                from,
            });
        } else if let Some(at) = key.expires.filter(|at| self.dates.has_ended(*at)) {
            causes.push(Cause::Expired {
                name: name.clone(),
                at,
            });
        }
        match self.clock() {
            // the signed time is judged whichever secret matches
            Some(clock) => causes.push(clock),
            None if causes.is_empty() => causes.push(Cause::Form(self.refused)),
            None => {}
        }
        self.finding(causes, Some((route.into(), name)))
    }

    /// Returns the cause that the signed time is too far from the time by which it is judged.
    fn clock(&self) -> Option<Cause> {
        let Question { received, now, .. } = self.question;
        let shape = self.shape();
        let signed_at = shape.signed_at(&received.head, received.body.bytes())?;
        let judged_at = now.wall;
        let apart = judged_at
            .duration_since(signed_at)
            .unwrap_or_else(|ahead| ahead.duration());
        (apart > shape.tolerance()?).then_some(Cause::Clock {
            signed_at,
            judged_at,
        })
    }

    fn finding(
        &self,
        causes: Vec<Cause>,
        matched: Option<(Box<str>, std::sync::Arc<str>)>,
    ) -> Finding {
        Finding {
            refused: Some(self.refused),
            causes,
            is_proven: matched.is_some(),
            matched,
            tried: self.tried,
        }
    }
}

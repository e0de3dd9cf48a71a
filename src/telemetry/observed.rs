//! The requests that a route with `mode: observe` would have refused: counts, the last time, and the senders. Memory is bounded, whatever
//! is sent.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::USER_AGENT;

use super::shown::shown;
use crate::request::HeaderLines;
use crate::verify::NotAuthentic;

/// Clients, and kinds of clients, that are distinguished for each code.
const MAX_DISTINCT: usize = 4;
/// Characters of a `User-Agent` that are shown.
const AGENT_SHOWN: usize = 40;
/// A word of a `User-Agent` that is as long and has digits among its letters may be anything, a key included.
const SUSPECT_LENGTH: usize = 20;
/// The names by which tools for manual requests identify themselves.
const TOOLS: [&str; 8] = [
    "curl",
    "Wget",
    "PostmanRuntime",
    "insomnia",
    "HTTPie",
    "python-requests",
    "Python-urllib",
    "axios",
];

/// The verdict about a request on a route that observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is authentic.
    Authentic,
    /// It would have been refused.
    WouldRefuse {
        /// The reason.
        why: NotAuthentic,
        /// The exact reason, if it is known.
        reason: Option<Arc<str>>,
        /// The sender's `User-Agent`, cleaned for showing.
        agent: Option<Box<str>>,
    },
}

impl Verdict {
    /// Returns the verdict on a request that is not authentic; without its headers, its sender has no name.
    pub fn refuse(
        why: NotAuthentic,
        reason: Option<Arc<str>>,
        headers: Option<&HeaderLines>,
    ) -> Self {
        Self::WouldRefuse {
            why,
            reason,
            agent: headers.and_then(agent),
        }
    }

    /// Returns the code of the refusal that it would have been.
    pub fn would_refuse(&self) -> Option<&'static str> {
        match self {
            Self::Authentic => None,
            Self::WouldRefuse { why, .. } => Some(why.code()),
        }
    }

    /// Returns the exact reason of the refusal that it would have been.
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Authentic => None,
            Self::WouldRefuse { reason, .. } => reason.as_ref(),
        }
    }
}

/// Returns the first word of `User-Agent`, cut to a length. Returns nothing if it could be a key.
fn agent(headers: &HeaderLines) -> Option<Box<str>> {
    let word = headers
        .get(&USER_AGENT)?
        .split(u8::is_ascii_whitespace)
        .find(|word| !word.is_empty())?;
    let is_suspect = |part: &[u8]| {
        part.len() >= SUSPECT_LENGTH
            && part.iter().any(u8::is_ascii_digit)
            && part.iter().any(u8::is_ascii_alphabetic)
    };
    if word.split(|byte| b"/-_.()".contains(byte)).any(is_suspect) {
        return Some("…".into());
    }
    Some(shown(word, AGENT_SHOWN))
}

/// The observation of a route since it observes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The time since which it observes; at the earliest the start of the gateway.
    pub since: SystemTime,
    /// Authentic requests.
    pub authentic: u64,
    /// The time of the last one.
    pub last_authentic_at: Option<SystemTime>,
    /// Requests that would have been refused, by code.
    pub refused: BTreeMap<&'static str, WouldRefuse>,
}

/// Requests that would have been refused with one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldRefuse {
    /// The number of requests.
    pub count: u64,
    /// The time of the last one.
    pub last_at: SystemTime,
    /// The reason for which the last one is not authentic, where it is known.
    pub last_why: Option<Arc<str>>,
    clients: LastValues<IpAddr>,
    agents: LastValues<Option<Box<str>>>,
}

impl WouldRefuse {
    /// Describes the senders in a few words.
    pub fn hint(&self, code: &str) -> String {
        let agent = match (self.agents.last.as_slice(), self.agents.more) {
            ([only], false) => Some(only.as_deref()),
            _ => None,
        };
        let mut hint = match (self.clients.last.as_slice(), self.clients.more) {
            ([only], false) => format!("all from {only}"),
            (few, false) => format!("from {} clients", few.len()),
            (_, true) => "from many clients".to_owned(),
        };
        hint.push_str(&match (agent, self.clients.last.len()) {
            (Some(Some(name)), 1) => format!(", User-Agent {name}"),
            (Some(Some(name)), _) => format!(" ({name})"),
            (Some(None), _) => ", no User-Agent".to_owned(),
            (None, _) => String::new(),
        });
        let agent = agent.flatten().unwrap_or_default();
        let is_tool = TOOLS.iter().any(|tool| {
            agent
                .get(..tool.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tool))
        });
        hint.push_str(match code {
            _ if is_tool => ": a test?",
            "signature_mismatch" => ": another secret?",
            "signature_malformed" | "timestamp_malformed" => ": another scheme?",
            "timestamp_stale" | "timestamp_future" => ": clocks apart?",
            _ => "",
        });
        hint
    }
}

/// The last few different values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LastValues<T> {
    last: Vec<T>,
    /// There were others before.
    more: bool,
}

impl<T: PartialEq> LastValues<T> {
    fn new() -> Self {
        Self {
            last: Vec::new(),
            more: false,
        }
    }

    fn add(&mut self, value: T) {
        if self.last.contains(&value) {
            return;
        }
        if self.last.len() >= MAX_DISTINCT {
            self.last.remove(0);
            self.more = true;
        }
        self.last.push(value);
    }
}

/// The observation of one route, while it observes.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Since the start, by code; never less than before.
    totals: BTreeMap<&'static str, u64>,
    /// While it observes.
    now: Option<Observation>,
}

impl Observed {
    /// Begins, unless it has.
    pub(super) fn begin(&mut self, at: SystemTime) {
        self.now.get_or_insert_with(|| Observation {
            since: at,
            authentic: 0,
            last_authentic_at: None,
            refused: BTreeMap::new(),
        });
    }

    /// Ends the observation: the route enforces.
    pub(super) fn end(&mut self) {
        self.now = None;
    }

    pub(super) fn count(&mut self, verdict: &Verdict, client: IpAddr, at: SystemTime) {
        if let Verdict::WouldRefuse { why, .. } = verdict {
            *self.totals.entry(why.code()).or_default() += 1;
        }
        // a request that began under the config before this one may still come
        let Some(now) = &mut self.now else { return };
        match verdict {
            Verdict::Authentic => {
                now.authentic += 1;
                now.last_authentic_at = Some(at);
            }
            Verdict::WouldRefuse { why, reason, agent } => {
                let fresh = || WouldRefuse {
                    count: 0,
                    last_at: at,
                    last_why: None,
                    clients: LastValues::new(),
                    agents: LastValues::new(),
                };
                let refused = now.refused.entry(why.code()).or_insert_with(fresh);
                refused.count += 1;
                refused.last_at = at;
                refused.last_why.clone_from(reason);
                refused.clients.add(client);
                refused.agents.add(agent.clone());
            }
        }
    }

    pub(super) fn totals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.totals.iter().map(|(code, count)| (*code, *count))
    }

    pub(super) fn observation(&self) -> Option<Observation> {
        self.now.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn shown_sender(text: &'static str) -> Option<String> {
        agent(&HeaderLines::from_iter([(
            USER_AGENT,
            HeaderValue::from_static(text),
        )]))
        .map(String::from)
    }

    #[test]
    fn only_one_safe_word_of_a_user_agent_is_kept() {
        assert_eq!(shown_sender("curl/8.5.0").as_deref(), Some("curl/8.5.0"));
        assert_eq!(
            shown_sender("Stripe/1.0 (+https://stripe.com/docs/webhooks)").as_deref(),
            Some("Stripe/1.0")
        );
        assert_eq!(
            shown_sender("GitHub-Hookshot/044aadd").as_deref(),
            Some("GitHub-Hookshot/044aadd")
        );
        assert_eq!(
            shown_sender("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").as_deref(),
            Some("…")
        );
        assert_eq!(
            shown_sender("agent/3f786850e387550fdab836ed7e6dc881").as_deref(),
            Some("…")
        );
        assert_eq!(shown_sender(" ").as_deref(), None);
        assert_eq!(agent(&HeaderLines::default()), None);
        let long = HeaderValue::from_bytes(&[b'a'; 900]).unwrap();
        assert!(
            agent(&HeaderLines::from_iter([(USER_AGENT, long)]))
                .unwrap()
                .chars()
                .count()
                <= AGENT_SHOWN + 1
        );
        let wild = HeaderValue::from_bytes(b"a\xff\xfe").unwrap();
        assert_eq!(
            agent(&HeaderLines::from_iter([(USER_AGENT, wild)])).as_deref(),
            Some("a\\xff\\xfe")
        );
    }

    #[test]
    fn sender_is_described_in_a_few_words() {
        let at = SystemTime::UNIX_EPOCH;
        #[track_caller]
        fn check(why: NotAuthentic, from: &[(u8, Option<&str>)], hint: &str) {
            let mut observed = Observed::default();
            observed.begin(SystemTime::UNIX_EPOCH);
            for (last, agent) in from {
                let verdict = Verdict::WouldRefuse {
                    why,
                    reason: None,
                    agent: agent.map(Box::from),
                };
                observed.count(&verdict, [10, 0, 9, *last].into(), SystemTime::UNIX_EPOCH);
            }
            let observation = observed.observation().unwrap();
            assert_eq!(observation.refused[why.code()].hint(why.code()), hint);
        }
        let [missing, mismatch] = [
            NotAuthentic::SignatureMissing,
            NotAuthentic::SignatureMismatch,
        ];
        check(
            missing,
            &[(4, Some("curl/8.5")), (4, Some("curl/8.5"))],
            "all from 10.0.9.4, User-Agent curl/8.5: a test?",
        );
        check(missing, &[(4, None)], "all from 10.0.9.4, no User-Agent");
        check(
            mismatch,
            &[(4, Some("Shopify")), (5, Some("Shopify"))],
            "from 2 clients (Shopify): another secret?",
        );
        check(
            mismatch,
            &[(4, Some("a")), (4, Some("b"))],
            "all from 10.0.9.4: another secret?",
        );
        let many: Vec<(u8, Option<&str>)> = (0..100).map(|last| (last, Some("x"))).collect();
        check(
            NotAuthentic::TimestampStale,
            &many,
            "from many clients (x): clocks apart?",
        );
        let mut observed = Observed::default();
        observed.count(&Verdict::Authentic, [10, 0, 0, 1].into(), at);
        assert_eq!(observed.observation(), None);
    }

    #[test]
    fn observation_starts_once_and_keeps_its_totals() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let refuse = Verdict::WouldRefuse {
            why: NotAuthentic::SignatureMissing,
            reason: Some("no header".into()),
            agent: None,
        };
        let mut observed = Observed::default();
        observed.begin(at(1));
        observed.begin(at(2));
        observed.count(&refuse, [1, 1, 1, 1].into(), at(3));
        observed.count(&Verdict::Authentic, [1, 1, 1, 1].into(), at(4));
        let observation = observed.observation().unwrap();
        let last_why = observation.refused["signature_missing"].last_why.as_deref();
        assert_eq!(last_why, Some("no header"));
        assert_eq!(
            (
                observation.since,
                observation.authentic,
                observation.last_authentic_at,
                observation.refused.len()
            ),
            (at(1), 1, Some(at(4)), 1)
        );
        observed.end();
        observed.begin(at(9));
        assert_eq!(
            (
                observed.observation().unwrap().since,
                observed.observation().unwrap().refused.len()
            ),
            (at(9), 0)
        );
        assert_eq!(
            observed.totals().collect::<Vec<_>>(),
            [("signature_missing", 1)]
        );
    }
}

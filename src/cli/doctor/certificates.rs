//! Checks when certificates expire: those of listeners and upstreams, and of authorities that the config names.
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::Finding;
use crate::cli::term;

/// The time before its end from which a certificate should be renewed.
const RENEW_SOON: Duration = Duration::from_secs(30 * 86_400);
/// The time before its end from which a certificate must be renewed.
const RENEW_NOW: Duration = Duration::from_secs(7 * 86_400);

/// A certificate and its validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) path: PathBuf,
    /// Its place in its file, counted from 1.
    pub(super) number: usize,
    pub(super) from: SystemTime,
    pub(super) to: SystemTime,
}

/// Returns whether a file has certificates in it.
pub(super) fn is_certificate(bytes: &[u8]) -> bool {
    holds(bytes, b"-----BEGIN CERTIFICATE-----")
}

/// Returns whether a file has a private key in it.
pub(super) fn is_key(bytes: &[u8]) -> bool {
    holds(bytes, b"PRIVATE KEY-----")
}

fn holds(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}

/// Reads the first certificate of a file and its chain. Whether others are used, such as those of a bundle of authorities, is unknown.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut issuer: Option<Vec<u8>> = None;
    for (number, der) in (1..).zip(CertificateDer::pem_slice_iter(bytes)) {
        let Ok(der) = der else { break };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
            break;
        };
        if issuer.is_some_and(|issuer| issuer != certificate.subject().as_raw()) {
            break;
        }
        let at = |seconds: i64| match u64::try_from(seconds) {
            Ok(seconds) => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            Err(_) => SystemTime::UNIX_EPOCH,
        };
        let validity = certificate.validity();
        facts.push(Fact {
            path: path.to_owned(),
            number,
            from: at(validity.not_before.timestamp()),
            to: at(validity.not_after.timestamp()),
        });
        issuer = Some(certificate.issuer().as_raw().to_owned());
    }
    facts
}

/// Judges the certificates.
pub(super) fn judge(facts: &[Fact], now: SystemTime) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts.iter().filter_map(|fact| trouble(fact, now)).collect();
    if let Some(first) = facts
        .iter()
        .map(|fact| fact.to)
        .min()
        .filter(|_| findings.is_empty())
    {
        let left = term::age(first.duration_since(now).unwrap_or_default());
        findings.push(Finding::good(
            "certificates",
            format!("all are valid for {left}"),
            format!("certificates ({left})"),
        ));
    }
    findings
}

fn trouble(fact: &Fact, now: SystemTime) -> Option<Finding> {
    let name = fact.path.display();
    let which = if fact.number > 1 {
        format!("certificate {} of {name}", fact.number)
    } else {
        name.to_string()
    };
    if fact.from > now {
        let until = term::age(fact.from.duration_since(now).unwrap_or_default());
        return Some(Finding::bad(
            "certificates",
            format!("{which} is not valid yet, for {until}"),
            "check the clock, or wait",
        ));
    }
    match fact.to.duration_since(now) {
        Err(past) => Some(Finding::bad(
            "certificates",
            format!("{which} expired {} ago", term::age(past.duration())),
            "renew it; the gateway reloads it",
        )),
        Ok(left) if left < RENEW_NOW => Some(Finding::bad(
            "certificates",
            format!("{which} expires in {}", term::age(left)),
            "renew it; the gateway reloads it",
        )),
        Ok(left) if left < RENEW_SOON => Some(Finding::warning(
            "certificates",
            format!("{which} expires in {}", term::age(left)),
            "renew it; the gateway reloads it",
        )),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

    use super::super::finding::Level;
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
    }

    fn days(count: u64) -> Duration {
        Duration::from_secs(count * 86_400)
    }

    #[test]
    fn expiry_of_a_certificate_is_judged() {
        #[track_caller]
        fn check(from: SystemTime, to: SystemTime, level: Level, words: &str) {
            let found = judge(
                &[Fact {
                    path: "/etc/tls.crt".into(),
                    number: 1,
                    from,
                    to,
                }],
                now(),
            );
            assert_eq!((found.len(), found[0].level), (1, level), "{found:?}");
            assert!(found[0].message.contains(words), "{found:?}");
        }
        check(
            now() - days(1),
            now() + days(61),
            Level::Good,
            "valid for 61 d",
        );
        check(
            now() - days(1),
            now() + days(29),
            Level::Warning,
            "/etc/tls.crt expires in 29 d",
        );
        check(
            now() - days(1),
            now() + days(6),
            Level::Bad,
            "expires in 6 d",
        );
        check(
            now() - days(9),
            now() - days(2),
            Level::Bad,
            "expired 2 d ago",
        );
        check(
            now() + days(1),
            now() + days(90),
            Level::Bad,
            "not valid yet",
        );
        assert!(judge(&[], now()).is_empty());
    }

    #[test]
    fn only_the_chain_of_a_bundle_is_read() {
        let named = |name: &str, year: i32| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params
        };
        let (ca_key, key, other) = (
            KeyPair::generate().unwrap(),
            KeyPair::generate().unwrap(),
            KeyPair::generate().unwrap(),
        );
        let ca = named("ca", 2040).self_signed(&ca_key).unwrap();
        let leaf = named("leaf", 2030)
            .signed_by(&key, &Issuer::new(named("ca", 2040), &ca_key))
            .unwrap();
        let stranger = named("stranger", 2001).self_signed(&other).unwrap();
        let text = format!("{}{}{}", leaf.pem(), ca.pem(), stranger.pem());
        let facts = read(Path::new("x"), text.as_bytes());
        assert_eq!(
            facts.iter().map(|fact| fact.number).collect::<Vec<_>>(),
            [1, 2]
        );
        assert!(facts[0].to < facts[1].to);
        assert!(
            is_certificate(text.as_bytes())
                && !is_key(text.as_bytes())
                && is_key(key.serialize_pem().as_bytes())
        );
        assert!(
            read(
                Path::new("x"),
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
            )
            .is_empty()
        );
    }
}

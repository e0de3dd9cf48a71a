use super::*;

#[test]
fn certificate_and_key_must_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        write(&format!("{name}.crt"), &made.cert.pem());
        write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }
    let try_pair = |certificate: &str, key: &str| {
        let listen = format!(
            "listen: [{{ address: '127.0.0.1:0', tls: {{ certificate: {certificate}, key: {key} }} }}]\n"
        );
        let routes = "routes: [{ name: a, path: /a, verify: none, forward: { upstream: app } }]";
        write(
            "config.yaml",
            &format!(
                "{listen}upstreams: {{ app: {{ url: 'https://localhost', ca: a.crt }} }}\n{routes}\n"
            ),
        );
        try_load(&folder.path().join("config.yaml"))
    };
    let loaded = try_pair("a.crt", "a.key").unwrap();
    let alpn = &loaded.snapshot.listeners[0]
        .tls
        .as_ref()
        .unwrap()
        .alpn_protocols;
    assert_eq!(alpn, &[b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(
        loaded.snapshot.files.len(),
        3,
        "{:?}",
        loaded.snapshot.files
    );
    let headline = try_pair("a.crt", "b.key").unwrap_err().report.headline();
    assert!(
        headline.ends_with("the certificate and the key do not match"),
        "{headline}"
    );
    assert!(try_pair("a.key", "a.crt").unwrap_err().report.errors() == 2);
}

/// A key on the curve P-521, with which the gateway cannot sign.
const P521: &str = "-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIBXwwG8kFiqhUFnZ4J
3Z1mfyVHtoFVZ1LV2eeYADKXKwKFpWZ1PihyUtbzmjz8QDe6rMyY6uC8U47fh9Os
muV9AUShgYkDgYYABAD4/sZTunU/Sz8jB3Jh+FEYbYOFT3FAnjut02T+aFpBEbsS
5qAKu315aFylGYvp4tLAZsq6hO6dUAH2YxtESErSfwF9XkiDIh6ZQ3QWQmd2HvcC
PCjOzckpkYbcBmkIAF7qMg0DoavJDCmsQekBPS4c+///ghiHa45DrSdd34dYH6nx
ow==
-----END PRIVATE KEY-----
";

#[test]
fn unusable_key_is_told_apart_from_one_of_another_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("a.crt"), made.cert.pem()).unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, TLS).unwrap();
    let encrypted = "the private key is encrypted";
    let table = [
        (
            P521.to_owned(),
            "the private key is damaged, or of a kind that is not supported",
        ),
        (P521.replace("PRIVATE", "ENCRYPTED PRIVATE"), encrypted),
        (
            P521.replace(
                "PRIVATE KEY-----\nMI",
                "PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMI",
            ),
            encrypted,
        ),
        ("no key".to_owned(), "the file contains no private key"),
    ];
    for (key, due) in table {
        std::fs::write(folder.path().join("a.key"), key).unwrap();
        let report = try_load(&path).unwrap_err().report;
        assert!(report.headline().ends_with(due), "{}", report.headline());
        assert_eq!(report.errors(), 2, "the listener's and the upstream's");
    }
}

/// Writes a certificate for `days` from `first` on (days after [`NOW`]) with its key into a folder, as `a.crt` and `a.key`.
fn renew(folder: &Path, first: i64, days: i64) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let at = |day: i64| {
        let seconds = NOW.checked_add_signed(day * 86_400).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (at(first), at(first + days));
    std::fs::write(
        folder.join("a.crt"),
        params.self_signed(&key).unwrap().pem(),
    )
    .unwrap();
    std::fs::write(folder.join("a.key"), key.serialize_pem()).unwrap();
}

const TLS: &str = "listen: [{ address: '127.0.0.1:0', tls: { certificate: a.crt, key: a.key, client_ca: a.crt } }]
upstreams: { app: { url: 'https://localhost', certificate: a.crt, key: a.key, ca: a.crt } }
routes: [{ name: a, path: /a, verify: { provider: stripe, secrets: [{ env: A }] }, forward: { upstream: app } }]\n";

#[test]
fn invalid_pair_does_not_replace_a_valid_one() {
    const DAY: u64 = 86_400;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, TLS).unwrap();
    let load =
        |previous: &Cache, day: u64| load_on(&[], &path, Some(previous), NOW + day * DAY).unwrap();
    let validity = |loaded: &Loaded| {
        let own = loaded
            .snapshot
            .certificates
            .iter()
            .find(|one| one.label == "listen[0]")
            .unwrap();
        (
            own.in_use[0]
                .to
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
                .saturating_sub(NOW)
                / DAY,
            own.waiting.is_some(),
        )
    };
    renew(folder.path(), -10, 100);
    let good = try_load(&path).unwrap();
    assert_eq!((validity(&good), good.report.warnings()), ((90, false), 0));
    for first in [-200, 5] {
        renew(folder.path(), first, 110);
        let second = load(&good.cache, 0);
        assert_eq!(validity(&second), (90, true), "{first}");
        assert_eq!(
            second.stale_certificates.len(),
            2,
            "of the listener, and of the upstream: {:?}",
            second.stale_certificates
        );
    }
    // the one from day 5 on waits
    let second = load(&good.cache, 0);
    assert_eq!(validity(&load(&second.cache, 4)), (90, true));
    let renewed = load(&second.cache, 5);
    assert_eq!(
        (validity(&renewed), renewed.stale_certificates.len()),
        ((115, false), 0)
    );
    renew(folder.path(), -300, 200);
    for file in ["crt", "key"] {
        std::fs::copy(
            folder.path().join(format!("a.{file}")),
            folder.path().join(format!("b.{file}")),
        )
        .unwrap();
    }
    std::fs::write(
        &path,
        TLS.replace(
            "a.crt, key: a.key, client_ca",
            "b.crt, key: b.key, client_ca",
        ),
    )
    .unwrap();
    let other = load_on(&[], &path, Some(&renewed.cache), NOW)
        .unwrap_err()
        .report
        .headline();
    assert!(
        other.contains("the certificate expired at"),
        "a pair of another name: {other}"
    );
    std::fs::write(&path, TLS).unwrap();
    assert_eq!(
        validity(&load(&renewed.cache, 200)),
        (0, false),
        "where neither is valid, that of the files is used"
    );
}

#[test]
fn certificate_outside_its_dates_warns_and_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, TLS).unwrap();
    for (first, days, expected) in [
        (-10, 100, None),
        (
            -110,
            100,
            Some("the certificate expired at 2026-11-08T11:06:40Z"),
        ),
        (
            10,
            100,
            Some("the certificate is not valid before 2026-11-28T11:06:40Z"),
        ),
        (
            -95,
            100,
            Some("the certificate expires at 2026-11-23T11:06:40Z"),
        ),
    ] {
        renew(folder.path(), first, days);
        let loaded = try_load(&path).unwrap();
        let expected: Vec<&str> = std::iter::repeat_n(expected, 4).flatten().collect();
        let messages: Vec<&str> = loaded
            .report
            .findings
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        assert_eq!(messages, expected, "{first}");
        let labels: Vec<&str> = loaded
            .snapshot
            .certificates
            .iter()
            .map(|one| one.label.as_str())
            .collect();
        assert_eq!(
            labels,
            [
                "listen[0].client_ca",
                "listen[0]",
                "upstreams.app.ca",
                "upstreams.app"
            ]
        );
    }
}

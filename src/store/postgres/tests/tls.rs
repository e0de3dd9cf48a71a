//! TLS to the server.
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::super::call::{Call, column};
use super::super::link::{Lane, Link};
use super::super::options::TlsMode;
use super::*;
use crate::store::StoreError;

/// Makes an authority, and writes its certificate.
fn authority(file: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}

/// Starts a server with TLS on an address of this process alone, under a certificate for `db.test`.
fn start(directory: &Path) -> (server::Server, IpAddr) {
    let issuer = authority(&directory.join("ca.pem"));
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["db.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (certificate_file, key_file) = (directory.join("server.pem"), directory.join("server.key"));
    std::fs::write(&certificate_file, certificate).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    server::give(&key_file);
    let [high, low] = [std::process::id() / 250 % 250, std::process::id() % 250];
    let address: IpAddr = format!("127.77.{high}.{}", low + 1).parse().unwrap();
    let more = format!(
        "-c fsync=off -c listen_addresses={address} -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
        certificate_file.display(),
        key_file.display()
    );
    (server::Server::start(&more), address)
}

#[tokio::test]
async fn server_must_prove_who_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (server, address) = start(directory.path());
    server.execute("postgres", "create database gate");
    migrate(&options(&server.database("gate")), &Migration::default())
        .await
        .unwrap();
    server.execute(
        "gate",
        "create function hookgate.is_tls() returns boolean language sql as 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'",
    );
    let (known, foreign) = (
        directory.path().join("ca.pem"),
        directory.path().join("foreign.pem"),
    );
    authority(&foreign);
    let call = async |host: &str, mode, ca: &Path| -> Result<bool, StoreError> {
        let mut config = Config::new();
        config
            .host(host)
            .hostaddr(address)
            .user("hookgate")
            .dbname("gate");
        let link = Link::new(Options {
            timeout: Duration::from_secs(3),
            tls: Tls {
                mode,
                ca: Some(ca.to_owned()),
                client: None,
            },
            ..options(&config)
        });
        link.open().await?;
        let rows = link.call(Lane::Looks, Call::look("is_tls")).await?;
        column(&rows[0], 0)
    };
    assert!(call("db.test", TlsMode::VerifyFull, &known).await.unwrap());
    assert!(call("other.test", TlsMode::VerifyCa, &known).await.unwrap());
    assert!(!call("db.test", TlsMode::Off, &known).await.unwrap());
    for (host, mode, ca, why) in [
        (
            "other.test",
            TlsMode::VerifyFull,
            &known,
            "not valid for name",
        ),
        (
            "db.test",
            TlsMode::VerifyFull,
            &foreign,
            "invalid peer certificate",
        ),
        (
            "db.test",
            TlsMode::VerifyCa,
            &foreign,
            "invalid peer certificate",
        ),
    ] {
        let error = call(host, mode, ca).await.unwrap_err().to_string();
        assert!(error.contains(why), "{host} {mode:?}: {error}");
    }
    let nowhere = directory.path().join("nowhere.pem");
    let error = call("db.test", TlsMode::VerifyFull, &nowhere).await;
    assert!(error.unwrap_err().to_string().contains("nowhere.pem"));
}

/// A file that is being replaced does not end the service.
#[test]
fn last_text_of_a_file_is_used_while_it_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    authority(&file);
    let tls = Tls {
        ca: Some(file.clone()),
        ..Tls::default()
    };
    let files = super::super::tls::TlsFiles::default();
    assert!(files.connector(&tls).unwrap().is_some());
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(files.connector(&tls).unwrap().is_some());
    }
    std::fs::remove_file(&file).unwrap();
    assert!(files.connector(&tls).unwrap().is_some());
    let others = super::super::tls::TlsFiles::default();
    let error = others.connector(&tls).err().unwrap();
    assert!(error.contains("ca.pem"), "{error}");
}

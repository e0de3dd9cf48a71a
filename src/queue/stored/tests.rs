use super::*;
use crate::clock::{Clock as _, SystemClock};

fn head(target: &'static str) -> RequestHead {
    let lines: [(&str, &[u8]); 5] = [
        ("host", b"hooks.example"),
        ("x-token", b"the secret itself"),
        ("x-twice", b"one"),
        ("accept", b"a"),
        ("x-twice", b"t\xffo"),
    ];
    RequestHead {
        request_id: RequestId::from_u128(77),
        method: Method::POST,
        target: Bytes::from_static(target.as_bytes()),
        authority: "hooks.example:8443".to_owned(),
        tls: true,
        headers: lines.into_iter().collect(),
        declared_size: None,
        client: Client {
            ip: "2001:db8::7".parse().unwrap(),
            own: true,
            behind_trusted_proxy: true,
        },
        certificate: None,
        received: SystemClock.now(),
    }
}

fn proof() -> StoredProof {
    let covers = Covers {
        body: true,
        timestamp: true,
        ..Covers::default()
    };
    let signed_at = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_000_000_123));
    StoredProof {
        secret: "2026-11".into(),
        signed_at,
        delivery_id: Some("evt_ä 1".into()),
        covers,
        account: Some("a1".into()),
    }
}

fn delivery(target: &'static str, proof: Option<StoredProof>) -> Delivery {
    let received = Received {
        head: head(target),
        body: Body::from(Bytes::from_static(b"{\"a\": 1}\n")),
    };
    let params = Params(vec![("account".into(), "a%20b".into())]);
    Delivery::new("acme".into(), params, Cleared::restored(received, proof))
}

#[test]
fn stored_delivery_is_restored_unchanged() {
    for proof in [
        None,
        Some(proof()),
        Some(StoredProof {
            account: None,
            signed_at: None,
            delivery_id: None,
            covers: Covers::default(),
            ..proof()
        }),
    ] {
        let before = delivery("/in/a%20b?x=1&token=t", proof.clone());
        let stored = Record::decode(
            record(
                &before,
                &SecretLocations::default(),
                &SecretLocations::default(),
                &[(ANSWERED, "202")],
            )
            .encode(),
        )
        .unwrap();
        assert_eq!(fact(&stored, ANSWERED), Some("202"));
        let later = SystemClock.now();
        let after = restore("acme".into(), &stored, before.body().clone(), later).unwrap();
        assert_eq!(after.cleared().stored_proof(), proof);
        assert_eq!(
            (after.params(), after.body()),
            (before.params(), before.body())
        );
        let (was, is) = (before.head(), after.head());
        assert_eq!(
            (&is.method, &is.target, &is.authority, is.tls),
            (&was.method, &was.target, &was.authority, was.tls)
        );
        assert_eq!((is.request_id, is.client), (was.request_id, was.client));
        assert_eq!(is.headers, was.headers);
        assert_eq!(unix_ms(is.received.wall), unix_ms(was.received.wall));
    }
}

#[test]
fn secrets_in_the_request_are_not_stored() {
    let name = HeaderName::from_static("x-token");
    let before = delivery("/in/a%20b?x=1&to%6ben=the+secret&y", Some(proof()));
    let secrets = SecretLocations {
        headers: vec![name.clone()],
        query: vec!["token".into()],
        ..SecretLocations::default()
    };
    let stored = record(&before, &secrets, &secrets, &[]);
    assert_eq!(secret_locations(&stored), secrets);
    let encoded = stored.encode();
    assert!(
        !encoded
            .windows(10)
            .any(|bytes| bytes == b"the secret" || bytes == b"the+secret")
    );
    let after = restore("acme".into(), &stored, Bytes::new(), SystemClock.now()).unwrap();
    assert!(!after.head().headers.contains(&name));
    assert_eq!(after.head().target, "/in/a%20b?x=1&y");
}

#[test]
fn foreign_records_are_refused() {
    let whole = record(
        &delivery("/in/a", None),
        &SecretLocations::default(),
        &SecretLocations::default(),
        &[],
    );
    let now = SystemClock.now();
    let bad = |change: fn(&mut Record)| {
        let mut record = whole.clone();
        change(&mut record);
        restore("acme".into(), &record, Bytes::new(), now).map(drop)
    };
    assert_eq!(
        bad(|record| record.method = Bytes::from_static(b"no method")),
        Err(Unreadable("method"))
    );
    assert_eq!(
        bad(|record| record
            .headers
            .push((Bytes::from_static(b"no name"), Bytes::new()))),
        Err(Unreadable("header"))
    );
    assert_eq!(
        bad(|record| record.authority = Bytes::from_static(b"\xff")),
        Err(Unreadable("authority"))
    );
    assert_eq!(
        bad(|record| record.facts.clear()),
        Err(Unreadable("request ID"))
    );
}

use proptest::prelude::*;

use super::*;

/// A header of version 2.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, rest].concat()
}

const V4: &[u8] = &[203, 0, 113, 9, 10, 0, 0, 1, 0xc8, 0x22, 0x01, 0xbb];

fn v6() -> Vec<u8> {
    let [source, destination] =
        ["2001:db8::9", "fd00::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
    [&source[..], &destination, &[0xc8, 0x22, 0x01, 0xbb]].concat()
}

#[track_caller]
fn assert_source(bytes: &[u8], address: Option<&str>) {
    assert_eq!(
        read(bytes),
        Ok(Progress::Done(
            address.map(|address| address.parse().unwrap())
        ))
    );
    // reading as many bytes as the parser asks for reads the header and nothing else
    let (mut taken, mut reads) = (0, 0);
    while let Ok(Progress::More(more)) = read(&bytes[..taken]) {
        assert!(more > 0);
        taken += more;
        reads += 1;
        assert!(taken <= bytes.len(), "a byte too many");
    }
    assert_eq!(taken, bytes.len());
    assert!(reads <= 50);
    for end in 0..bytes.len() {
        assert!(
            matches!(read(&bytes[..end]), Ok(Progress::More(more)) if end + more <= bytes.len()),
            "the first {end} bytes are a beginning"
        );
    }
    assert_eq!(
        read(&[bytes, b"G"].concat()),
        Err(NoHeader),
        "what follows is not looked at"
    );
}

#[track_caller]
fn no_header(bytes: &[u8]) {
    assert_eq!(read(bytes), Err(NoHeader));
}

#[test]
fn version_1_header_is_read() {
    assert_source(
        b"PROXY TCP4 203.0.113.9 10.0.0.1 51234 443\r\n",
        Some("203.0.113.9:51234"),
    );
    assert_source(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Some("255.255.255.255:65535"),
    );
    assert_source(
        b"PROXY TCP6 2001:db8::9 fd00::1 51234 443\r\n",
        Some("[2001:db8::9]:51234"),
    );
    assert_source(b"PROXY UNKNOWN\r\n", None);
    assert_source(
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        None,
    );
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 16));
    assert_eq!(longest.len(), MAX_LINE);
    assert_source(longest.as_bytes(), None);
}

#[test]
fn malformed_version_1_header_is_refused() {
    no_header(format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 15)).as_bytes());
    no_header(format!("PROXY UNKNOWN {}", "x".repeat(MAX_LINE)).as_bytes());
    for text in [
        "GET / HTTP/1.1\r\n",
        "proxy UNKNOWN\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP5 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4  203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n",
        "PROXY TCP4 203.0.113.09 10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113.9 2001:db8::1 1 2\r\n",
        "PROXY TCP4 2001:db8::9 2001:db8::1 1 2\r\n",
        "PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 fd00::1 1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 01 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 -2\r\n",
        "PROXY TCP4 app.example 10.0.0.1 1 2\r\n",
        "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\r\n",
        "PROXY TCP4\t203.0.113.9 10.0.0.1 1 2\r\n",
        "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n",
    ] {
        no_header(text.as_bytes());
    }
    no_header(b"PROXY TCP4 \xff\xff 10.0.0.1 1 2\r\n");
}

#[test]
fn version_2_header_is_read() {
    assert_source(&header(0x21, 0x11, V4), Some("203.0.113.9:51234"));
    assert_source(&header(0x21, 0x21, &v6()), Some("[2001:db8::9]:51234"));
    // what follows the addresses is skipped, whatever it is
    assert_source(
        &header(0x21, 0x11, &[V4, &[0x03, 0, 4, 1, 2, 3, 4]].concat()),
        Some("203.0.113.9:51234"),
    );
    assert_source(
        &header(0x21, 0x11, &[V4, &[0xff; 4000]].concat()),
        Some("203.0.113.9:51234"),
    );
    // a balancer that speaks for itself, and one that does not know
    assert_source(&header(0x20, 0x00, &[]), None);
    assert_source(&header(0x20, 0x11, V4), None);
    assert_source(&header(0x20, 0xff, &[1, 2, 3]), None);
    assert_source(&header(0x21, 0x00, &[]), None);
    assert_source(&header(0x21, 0x00, &[0; MAX_REST]), None);
    assert_source(&header(0x21, 0x31, &[b'x'; 216]), None);
}

#[test]
fn malformed_version_2_header_is_refused() {
    no_header(&header(0x21, 0x11, &V4[..11]));
    no_header(&header(0x21, 0x21, &v6()[..35]));
    no_header(&header(0x21, 0x31, &[0; 215]));
    no_header(&header(0x21, 0x00, &[0; MAX_REST + 1]));
    no_header(&header(0x21, 0x00, &[0; MAX_REST + 1])[..FIXED]);
    for command in [0x00, 0x11, 0x22, 0x2f, 0x31, 0xff] {
        no_header(&header(command, 0x11, V4));
    }
    for family in [0x01, 0x10, 0x12, 0x22, 0x32, 0x41, 0xff] {
        no_header(&header(0x21, family, &[0; 300]));
    }
    no_header(b"\r\n\r\nGET / HTTP/1.1");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for start in [&b""[..], WORD, b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"] {
            let whole = [start, &bytes].concat();
            if let Ok(Progress::More(more)) = read(&whole) {
                prop_assert!(more > 0 && more <= FIXED + MAX_REST);
            }
        }
    }

    #[test]
    fn every_address_comes_through(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in any::<u16>(), skipped in proptest::collection::vec(any::<u8>(), 0..64)) {
        let v4 = SocketAddr::new(Ipv4Addr::from(v4).into(), port);
        let v6 = SocketAddr::new(Ipv6Addr::from(v6).into(), port);
        let line = |family: &str, address: SocketAddr| format!("PROXY {family} {0} {0} {1} {1}\r\n", address.ip(), address.port());
        assert_source(line("TCP4", v4).as_bytes(), Some(&v4.to_string()));
        assert_source(line("TCP6", v6).as_bytes(), Some(&v6.to_string()));
        let octets = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        for (family, address) in [(0x11, v4), (0x21, v6)] {
            let rest = [octets(address), octets(address), port.to_be_bytes().to_vec(), port.to_be_bytes().to_vec(), skipped.clone()].concat();
            assert_source(&header(0x21, family, &rest), Some(&address.to_string()));
        }
    }
}

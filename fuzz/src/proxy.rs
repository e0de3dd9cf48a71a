//! The PROXY protocol, both versions: not a byte more than the header is asked for, and what was read does not change with what follows.
use hookgate::gateway::fuzzing::proxy;

pub fn run(bytes: &[u8]) {
    // as the listener reads: as many as are asked for, until it is one or none
    let mut len = 0;
    loop {
        match proxy(&bytes[..len]) {
            Some(Err(more)) => {
                assert!(more > 0);
                len += more;
                if len > bytes.len() {
                    return;
                }
            }
            Some(Ok(told)) => {
                assert!((15..=16 + 4096).contains(&len));
                // no beginning of a header is one, or none
                for shorter in 0..len {
                    let Some(Err(more)) = proxy(&bytes[..shorter]) else {
                        panic!("{shorter} of {len} bytes are enough")
                    };
                    assert!(
                        shorter + more <= len,
                        "{more} more than {shorter} goes past {len}"
                    );
                }
                if bytes.starts_with(b"PROXY TCP") {
                    let line = std::str::from_utf8(&bytes[..len]).unwrap();
                    let source = line.split(' ').nth(2).unwrap();
                    assert_eq!(
                        told.unwrap().ip(),
                        source.parse::<std::net::IpAddr>().unwrap()
                    );
                }
                return;
            }
            None => return,
        }
    }
}

//! The PROXY protocol, both versions: the parser asks for no byte beyond the header, and later bytes do not change the result.
use std::net::{IpAddr, SocketAddr};

use hookgate::listener::proxy_protocol::{Progress, read};

/// Parses the first bytes of a connection: the number of bytes that are missing, or the address; `None` if they are no header.
fn proxy(bytes: &[u8]) -> Option<Result<Option<SocketAddr>, usize>> {
    match read(bytes).ok()? {
        Progress::More(count) => Some(Err(count)),
        Progress::Done(address) => Some(Ok(address)),
    }
}

pub fn run(bytes: &[u8]) {
    // reads as the listener does: as many bytes as the parser asks for
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
            Some(Ok(address)) => {
                assert!((15..=16 + 4096).contains(&len));
                // a prefix of a header always asks for more
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
                    assert_eq!(address.unwrap().ip(), source.parse::<IpAddr>().unwrap());
                }
                return;
            }
            None => return,
        }
    }
}

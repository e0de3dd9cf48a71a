//! The PROXY protocol, versions 1 and 2: whom a balancer connects for. Pure: bytes in, an address out.
//!
//! The reader asks how many more bytes belong to the header for certain, and reads no more than that: what follows is TLS or HTTP, and
//! not a byte of it is taken. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What every header of version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// The shortest header of all: `PROXY UNKNOWN` and its line end.
const SHORTEST: usize = 15;
/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;
/// The fixed part of version 2.
const FIXED: usize = 16;
/// How long the rest of version 2 may say that it is. The addresses have at most 216 bytes, what follows them is skipped.
const LONGEST_REST: usize = 4096;

/// What the bytes so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// At least so many more bytes belong to the header.
    More(usize),
    /// They are the header. `None`: the balancer speaks for itself (a health check), or does not know the address.
    Done(Option<SocketAddr>),
}

/// The bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHeader;

/// Reads the beginning of a connection, as far as it is there.
///
/// # Errors
/// Whatever follows, this is no header.
pub(crate) fn read(bytes: &[u8]) -> Result<Progress, NoHeader> {
    if begins_as(bytes, SIGNATURE) {
        return if bytes.len() < SHORTEST {
            Ok(Progress::More(SHORTEST - bytes.len()))
        } else {
            version_2(bytes)
        };
    }
    if !begins_as(bytes, WORD) {
        return Err(NoHeader);
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end + 1 == bytes.len() && bytes.len() <= LONGEST_LINE => {
            version_1(bytes).map(Progress::Done)
        }
        Some(_) => Err(NoHeader),
        None if bytes.len() >= LONGEST_LINE => Err(NoHeader),
        None if bytes.len() < SHORTEST => Ok(Progress::More(SHORTEST - bytes.len())),
        None if bytes.ends_with(b"\r") => Ok(Progress::More(1)),
        None => Ok(Progress::More(2.min(LONGEST_LINE - bytes.len()))),
    }
}

/// Whether one is the beginning of the other.
fn begins_as(bytes: &[u8], with: &[u8]) -> bool {
    bytes
        .iter()
        .zip(with)
        .all(|(byte, expected)| byte == expected)
}

/// A whole line, its end included.
fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, NoHeader> {
    let text = line
        .strip_prefix(WORD)
        .and_then(|rest| rest.strip_suffix(b"\r\n"))
        .ok_or(NoHeader)?;
    let text = std::str::from_utf8(text).map_err(|_| NoHeader)?;
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut fields = text.split(' ');
    let mut field = || fields.next().ok_or(NoHeader);
    let (family, source, destination) = (field()?, field()?, field()?);
    // what is told of the gate's own side must be well-formed, and is of no other use
    let (source_port, _) = (port(field()?)?, port(field()?)?);
    if fields.next().is_some() {
        return Err(NoHeader);
    }
    let address = |text: &str| -> Result<IpAddr, NoHeader> {
        match family {
            "TCP4" => text
                .parse::<Ipv4Addr>()
                .map(IpAddr::from)
                .map_err(|_| NoHeader),
            "TCP6" => text
                .parse::<Ipv6Addr>()
                .map(IpAddr::from)
                .map_err(|_| NoHeader),
            _ => Err(NoHeader),
        }
    };
    let (source, _) = (address(source)?, address(destination)?);
    Ok(Some(SocketAddr::new(source, source_port)))
}

fn port(text: &str) -> Result<u16, NoHeader> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(NoHeader)
}

fn version_2(bytes: &[u8]) -> Result<Progress, NoHeader> {
    let Some((&[.., command, family, high, low], rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Progress::More(FIXED - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_REST || rest.len() > length {
        return Err(NoHeader);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoHeader),
    };
    let least = match family {
        _ if is_local => 0,
        // unspecified, and what is no TCP over IP: the address is not known
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ => return Err(NoHeader),
    };
    if length < least {
        return Err(NoHeader);
    }
    if rest.len() < length {
        return Ok(Progress::More(length - rest.len()));
    }
    let told = match family {
        0x11 if !is_local => version_4_of(rest),
        0x21 if !is_local => version_6_of(rest),
        _ => None,
    };
    Ok(Progress::Done(told))
}

fn version_4_of(rest: &[u8]) -> Option<SocketAddr> {
    let (&[a, b, c, d, _, _, _, _, high, low, _, _], _) = rest.split_first_chunk::<12>()?;
    Some(SocketAddr::new(
        Ipv4Addr::new(a, b, c, d).into(),
        u16::from_be_bytes([high, low]),
    ))
}

fn version_6_of(rest: &[u8]) -> Option<SocketAddr> {
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (_destination, rest) = rest.split_first_chunk::<16>()?;
    let (ports, _) = rest.split_first_chunk::<2>()?;
    Some(SocketAddr::new(
        Ipv6Addr::from(*source).into(),
        u16::from_be_bytes(*ports),
    ))
}

#[cfg(test)]
mod tests;

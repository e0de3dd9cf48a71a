//! Parses the PROXY protocol, versions 1 and 2, by which a balancer reports its client. Pure: bytes in, an address out.
//!
//! The parser says how many more bytes certainly belong to the header, and the caller reads no more than that, because what follows is TLS
//! or HTTP. <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first bytes of every header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The first bytes of every header of version 1.
const WORD: &[u8; 6] = b"PROXY ";
/// The shortest header, in bytes: `PROXY UNKNOWN` and its line end.
const MIN_HEADER: usize = 15;
/// The longest line of version 1, in bytes, with its end.
const MAX_LINE: usize = 107;
/// The length of the fixed part of version 2.
const FIXED: usize = 16;
/// The longest rest of version 2. The addresses have at most 216 bytes, and what follows them is skipped.
const MAX_REST: usize = 4096;

/// The result of parsing the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least this many more bytes belong to the header.
    More(usize),
    /// The bytes are the header, with the address of the client. `None`: the connection is the balancer's own (a health check), or it does
    /// not know the address.
    Done(Option<SocketAddr>),
}

/// An error: the bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

/// Parses the first bytes of a connection.
///
/// # Errors
/// The bytes cannot become a header, whatever follows.
pub fn read(bytes: &[u8]) -> Result<Progress, NoHeader> {
    if begins_as(bytes, SIGNATURE) {
        return if bytes.len() < MIN_HEADER {
            Ok(Progress::More(MIN_HEADER - bytes.len()))
        } else {
            version_2(bytes)
        };
    }
    if !begins_as(bytes, WORD) {
        return Err(NoHeader);
    }
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end + 1 == bytes.len() && bytes.len() <= MAX_LINE => {
            version_1(bytes).map(Progress::Done)
        }
        Some(_) => Err(NoHeader),
        None if bytes.len() >= MAX_LINE => Err(NoHeader),
        None if bytes.len() < MIN_HEADER => Ok(Progress::More(MIN_HEADER - bytes.len())),
        None if bytes.ends_with(b"\r") => Ok(Progress::More(1)),
        None => Ok(Progress::More(2.min(MAX_LINE - bytes.len()))),
    }
}

/// Returns whether one is a prefix of the other.
fn begins_as(bytes: &[u8], with: &[u8]) -> bool {
    bytes
        .iter()
        .zip(with)
        .all(|(byte, expected)| byte == expected)
}

/// Parses a line of version 1, with its end.
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
    // the destination must be well-formed, and is not used
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
    if length > MAX_REST || rest.len() > length {
        return Err(NoHeader);
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoHeader),
    };
    let least = match family {
        _ if is_local => 0,
        // an unspecified family, whose address is not known
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
    let client = match family {
        0x11 if !is_local => version_4_of(rest),
        0x21 if !is_local => version_6_of(rest),
        _ => None,
    };
    Ok(Progress::Done(client))
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

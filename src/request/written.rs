//! Numbers and addresses as text. Formatting them by `Display` costs some ten times as many instructions, several times a request.
use std::io::Write as _;
use std::net::IpAddr;

/// The most digits of a number.
const MAX_DIGITS: usize = 20;

/// Appends a number in decimal digits.
pub fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; MAX_DIGITS];
    let (mut first, mut left) = (0, number);
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = last_digit(left);
        left /= 10;
        if left == 0 {
            first = at;
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Appends an address.
pub fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    let IpAddr::V4(ip) = ip else {
        // writing to memory does not fail
        write!(out, "{ip}").unwrap_or_default();
        return;
    };
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(last_digit(u64::from(octet / 100)));
        }
        if octet >= 10 {
            out.push(last_digit(u64::from(octet / 10)));
        }
        out.push(last_digit(u64::from(octet)));
    }
}

fn last_digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(put: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"x".to_vec();
        put(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_are_written_as_they_are_shown(number in any::<u64>(), shift in 0..64, ip in any::<IpAddr>()) {
            for number in [number >> shift, number, 0, u64::MAX] {
                prop_assert_eq!(text(|out| put_number(out, number)), format!("x{number}"));
            }
            prop_assert_eq!(text(|out| put_ip(out, ip)), format!("x{ip}"));
        }
    }
}

//! Addresses in text: a verdict names some ten, and the standard library formats each part of one by itself.

use std::fmt::{Display, Error, Formatter, Result};
use std::net::SocketAddr;

/// The longest IPv4 address with its port.
const LONGEST: usize = "255.255.255.255:65535".len();

/// As the standard library shows it.
#[derive(Clone, Copy, Debug)]
pub struct Address(pub SocketAddr);

impl Display for Address {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let SocketAddr::V4(address) = self.0 else {
            return self.0.fmt(out);
        };
        let mut text = Text {
            bytes: [0; LONGEST],
            length: 0,
        };
        let [first, rest @ ..] = address.ip().octets();
        text.number(first.into());
        for part in rest {
            text.push(b'.');
            text.number(part.into());
        }
        text.push(b':');
        text.number(address.port());
        let text = text.bytes.get(..text.length).unwrap_or_default();
        out.pad(str::from_utf8(text).map_err(|_| Error)?)
    }
}

struct Text {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn number(&mut self, number: u16) {
        let mut unit = 10_000;
        while unit > 1 && number < unit {
            unit /= 10;
        }
        while unit > 0 {
            let digit = u8::try_from(number / unit % 10).unwrap_or_default();
            self.push(b'0' + digit);
            unit /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_the_standard_library_shows_it() {
        for text in [
            "0.0.0.0:0",
            "127.0.0.1:80",
            "10.20.100.9:1000",
            "255.255.255.255:65535",
            "192.168.0.101:10009",
            "[::1]:8080",
            "[fe80::1%3]:443",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address(address).to_string(), text);
            assert_eq!(
                format!("{:>24}", Address(address)),
                format!("{address:>24}")
            );
        }
    }
}

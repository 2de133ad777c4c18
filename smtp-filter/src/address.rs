//! Networks of peers, as `127.0.0.0/8` or `::1`. Never resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address range in CIDR form; a single address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in it. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |bits: u8| u32::from(bits - self.prefix.min(bits));
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let diff = net.to_bits() ^ ip.to_bits();
                diff.checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let diff = net.to_bits() ^ ip.to_bits();
                diff.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// The same range as it is mostly written: without what stands behind the prefix.
    #[must_use]
    pub fn base(&self) -> Self {
        let host = |bits: u8| u32::from(bits - self.prefix.min(bits));
        let address = match self.address {
            IpAddr::V4(net) => {
                let mask = u32::MAX.checked_shl(host(32)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(net.to_bits() & mask))
            }
            IpAddr::V6(net) => {
                let mask = u128::MAX.checked_shl(host(128)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(net.to_bits() & mask))
            }
        };
        Self { address, ..*self }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NetworkError)?,
            None => bits,
        };
        if prefix > bits {
            return Err(NetworkError);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The text is not an address or a CIDR range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or a CIDR range")]
pub struct NetworkError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_prefix_is_left_out() {
        for (written, base) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::1/0", "::/0"),
        ] {
            let network: Network = written.parse().unwrap();
            assert_eq!(network.base().to_string(), base, "{written}");
            assert_eq!(network.base() == network, network.to_string() == base);
        }
    }

    #[test]
    fn networks_contain_what_they_should() {
        let inside = |net: &str, ip: &str| {
            net.parse::<Network>()
                .unwrap()
                .contains(ip.parse().unwrap())
        };
        assert!(inside("127.0.0.0/8", "127.9.9.9"));
        assert!(!inside("127.0.0.0/8", "128.0.0.1"));
        assert!(inside("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(inside("::1", "::1"));
        assert!(!inside("::1", "::2"));
        assert!(inside("0.0.0.0/0", "192.0.2.1"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/33", "2001:db8:7fff::"));
        assert!(!inside("2001:db8::/33", "2001:db8:8000::"));
        assert!("192.0.2.1/33".parse::<Network>().is_err());
        assert!("host".parse::<Network>().is_err());
        assert!("::ffff:1.2.3.4/120".parse::<Network>().is_err());
    }
}

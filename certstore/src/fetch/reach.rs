//! Which addresses may be connected to: those that the whole internet reaches.
//!
//! A certificate's URL must not make the gateway talk to the machines around it, so a
//! special-purpose address is refused unless the administrator lists its network. It never resolves
//! a name: it judges what the resolver gave, and that very address is connected to.
//!
//! The registries: <https://www.rfc-editor.org/rfc/rfc6890>, kept at
//! <https://www.iana.org/assignments/iana-ipv4-special-registry> and its IPv6 sister.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses that may be connected to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    allow: Vec<Network>,
}

impl Reach {
    /// The public addresses, and those of the networks that the administrator lists.
    pub fn new(allow: Vec<Network>) -> Self {
        Self { allow }
    }

    /// Whether this address may be connected to.
    ///
    /// # Errors
    ///
    /// What the address is, when it may not.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        // An IPv4 address is judged as one however it is wrapped: it is where the packets go.
        let inner = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(outer) => embedded(outer).map_or(address, IpAddr::V4),
        };
        let listed = |one: IpAddr| self.allow.iter().any(|network| network.contains(one));
        if listed(inner) || listed(address) {
            return Ok(());
        }
        match special(inner) {
            Some(purpose) => Err(Forbidden { address, purpose }),
            None => Ok(()),
        }
    }

    /// Whether all of a name's addresses may be connected to. A name with one that may not is
    /// refused whole: its owner mixes in one of ours and waits until we pick it.
    ///
    /// # Errors
    ///
    /// The first address that may not.
    pub fn check_all(&self, addresses: &[IpAddr]) -> Result<(), Forbidden> {
        addresses.iter().try_for_each(|one| self.check(*one))
    }
}

/// An address that is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is not connected to: {purpose}; if an authority does answer there, list its network \
     in the fetch settings"
)]
pub struct Forbidden {
    /// Which.
    pub address: IpAddr,
    /// What addresses of its kind are for.
    pub purpose: &'static str,
}

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
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => same_v4(net, ip, self.prefix),
            (IpAddr::V6(net), IpAddr::V6(ip)) => same_v6(net, ip, self.prefix),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Text)?;
        let address = address.to_canonical();
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            // A sign would be read too.
            Some(digits) if digits.starts_with('+') => return Err(NetworkError::Text),
            Some(digits) => digits.parse().map_err(|_| NetworkError::Text)?,
            None => bits,
        };
        if prefix > bits {
            return Err(NetworkError::Text);
        }
        // Bits behind the prefix are a slip: somebody meant a smaller network, or one address.
        let below = match address {
            IpAddr::V4(ip) => rest_v4(ip, prefix) != 0,
            IpAddr::V6(ip) => rest_v6(ip, prefix) != 0,
        };
        if below {
            return Err(NetworkError::Bits);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Neither an address nor a range.
    #[error("not an IP address or a CIDR range; write 10.1.2.0/24 or 2001:db8::/32")]
    Text,
    /// An address within the range instead of its first.
    #[error("address bits behind the prefix; write the first address of the network, or no prefix")]
    Bits,
}

/// What an address is for, where it is not for the whole internet.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(ip) => V4
            .iter()
            .find(|(net, prefix, _)| same_v4(*net, ip, *prefix))
            .map(|(_, _, purpose)| *purpose),
        IpAddr::V6(ip) => V6
            .iter()
            .find(|(net, prefix, _)| same_v6(*net, ip, *prefix))
            .map(|(_, _, purpose)| *purpose)
            // What nobody has given out yet leads nowhere good.
            .or_else(|| (!same_v6(GLOBAL, ip, 3)).then_some("not global unicast")),
    }
}

/// The IPv4 address that packets to this one end at: IPv4-mapped, NAT64 (RFC 6052) or 6to4
/// (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(inner) = address.to_ipv4_mapped() {
        return Some(inner);
    }
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some(v4(a, b, c, d)),
        [0x20, 0x02, a, b, c, d, ..] => Some(v4(a, b, c, d)),
        _ => None,
    }
}

fn same_v4(net: Ipv4Addr, ip: Ipv4Addr, prefix: u8) -> bool {
    let shift = 32_u32.saturating_sub(u32::from(prefix));
    let differ = net.to_bits() ^ ip.to_bits();
    differ.checked_shr(shift).unwrap_or(0) == 0
}

fn same_v6(net: Ipv6Addr, ip: Ipv6Addr, prefix: u8) -> bool {
    let shift = 128_u32.saturating_sub(u32::from(prefix));
    let differ = net.to_bits() ^ ip.to_bits();
    differ.checked_shr(shift).unwrap_or(0) == 0
}

/// The bits behind the prefix.
fn rest_v4(ip: Ipv4Addr, prefix: u8) -> u32 {
    let shift = u32::from(prefix);
    ip.to_bits().checked_shl(shift).unwrap_or(0)
}

/// The bits behind the prefix.
fn rest_v6(ip: Ipv6Addr, prefix: u8) -> u128 {
    let shift = u32::from(prefix);
    ip.to_bits().checked_shl(shift).unwrap_or(0)
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// An IPv6 address whose last five groups are zero.
const fn v6(a: u16, b: u16, c: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

/// All that is given out lies in 2000::/3 (RFC 4291 §2.4).
const GLOBAL: Ipv6Addr = v6(0x2000, 0, 0);

const V4: &[(Ipv4Addr, u8, &str)] = &[
    (v4(0, 0, 0, 0), 32, "unspecified"),
    (v4(0, 0, 0, 0), 8, "this network (RFC 791)"),
    (v4(10, 0, 0, 0), 8, "private (RFC 1918)"),
    (
        v4(100, 64, 0, 0),
        10,
        "shared by a carrier's customers (RFC 6598)",
    ),
    (v4(127, 0, 0, 0), 8, "loopback"),
    // A public address that every machine of one cloud has its secrets from.
    (v4(168, 63, 129, 16), 32, "a cloud's metadata"),
    (v4(169, 254, 0, 0), 16, "link-local (RFC 3927)"),
    (v4(172, 16, 0, 0), 12, "private (RFC 1918)"),
    (v4(192, 0, 0, 0), 24, "protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0), 24, "documentation (RFC 5737)"),
    (v4(192, 88, 99, 0), 24, "6to4 relays (RFC 7526)"),
    (v4(192, 168, 0, 0), 16, "private (RFC 1918)"),
    (v4(198, 18, 0, 0), 15, "benchmarks (RFC 2544)"),
    (v4(198, 51, 100, 0), 24, "documentation (RFC 5737)"),
    (v4(203, 0, 113, 0), 24, "documentation (RFC 5737)"),
    (v4(224, 0, 0, 0), 4, "multicast"),
    (v4(255, 255, 255, 255), 32, "broadcast"),
    (v4(240, 0, 0, 0), 4, "reserved (RFC 1112)"),
];

/// Those of 2000::/3, and others that have a name of their own.
const V6: &[(Ipv6Addr, u8, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (v6(0x64, 0xff9b, 1), 48, "local translation (RFC 8215)"),
    (v6(0x100, 0, 0), 64, "discarded (RFC 6666)"),
    (v6(0x2001, 0, 0), 32, "Teredo (RFC 4380)"),
    (v6(0x2001, 0, 0), 23, "protocol assignments (RFC 2928)"),
    (v6(0x2001, 0xdb8, 0), 32, "documentation (RFC 3849)"),
    (v6(0x3fff, 0, 0), 20, "documentation (RFC 9637)"),
    (v6(0xfc00, 0, 0), 7, "unique local (RFC 4193)"),
    (v6(0xfe80, 0, 0), 10, "link-local (RFC 4291)"),
    (v6(0xfec0, 0, 0), 10, "site-local (RFC 3879)"),
    (v6(0xff00, 0, 0), 8, "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reach: &Reach, address: &str) -> Option<&'static str> {
        let checked = reach.check(address.parse().unwrap());
        checked.err().map(|forbidden| forbidden.purpose)
    }

    /// PKI-03: the addresses that a hostile name resolves to, or that stand in its URL.
    #[test]
    fn special_addresses_are_refused() {
        for (address, purpose) in [
            ("0.0.0.0", "unspecified"),
            ("0.0.0.1", "this network"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "shared"),
            ("100.100.100.200", "shared"),
            ("100.127.255.255", "shared"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "metadata"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "protocol"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.1.1", "private"),
            ("198.18.0.1", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.250", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "not global"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:a9fe:a9fe", "link-local"),
            ("::ffff:0:127.0.0.1", "not global"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::a00:1", "private"),
            ("64:ff9b:0:1::a00:1", "not global"),
            ("64:ff9b:1::808:808", "local translation"),
            ("100::1", "discarded"),
            ("2001::1", "Teredo"),
            ("2001:0:7f00:1::1", "Teredo"),
            ("2001:2::1", "protocol"),
            ("2001:20::1", "protocol"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::1", "loopback"),
            ("2002:a9fe:a9fe::", "link-local"),
            ("2002:c0a8:101::1", "private"),
            ("3fff:fff::1", "documentation"),
            ("4000::1", "not global"),
            ("5f00::1", "not global"),
            ("fc00::1", "unique local"),
            ("fd00:ec2::254", "unique local"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            let found = refused(&Reach::default(), address);
            assert!(
                found.is_some_and(|text| text.contains(purpose)),
                "{address} {found:?}"
            );
        }
    }

    #[test]
    fn public_addresses_are_reached() {
        for address in [
            "1.0.0.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:200::1",
            "2001:db9::1",
            "2400:4000::1",
            "2a00::1",
            "3ffe::1",
        ] {
            assert_eq!(refused(&Reach::default(), address), None, "{address}");
        }
    }

    #[test]
    fn what_is_listed_is_reached() {
        let networks = ["10.1.2.0/24", "fd12::/16", "::1"];
        let reach = Reach::new(networks.map(|text| text.parse().unwrap()).to_vec());
        for address in [
            "10.1.2.3",
            "::ffff:10.1.2.3",
            "64:ff9b::10.1.2.3",
            "fd12:3::1",
            "::1",
        ] {
            assert_eq!(refused(&reach, address), None, "{address}");
        }
        for address in ["10.1.3.3", "::ffff:10.1.3.3", "fd13::1", "::", "127.0.0.1"] {
            assert!(refused(&reach, address).is_some(), "{address}");
        }
    }

    #[test]
    fn one_forbidden_address_refuses_all() {
        let addresses = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let reach = Reach::default();
        assert!(reach.check_all(&addresses(&["8.8.8.8", "2a00::1"])).is_ok());
        let mixed = addresses(&["8.8.8.8", "2a00::1", "169.254.169.254"]);
        let error = reach.check_all(&mixed).unwrap_err();
        assert_eq!(error.address, mixed[2]);
        assert!(
            error
                .to_string()
                .starts_with("169.254.169.254 is not connected to: link-local")
        );
    }

    #[test]
    fn networks_are_read() {
        let inside = |net: &str, ip: &str| {
            let network: Network = net.parse().unwrap();
            network.contains(ip.parse().unwrap())
        };
        assert!(inside("127.0.0.0/8", "127.9.9.9"));
        assert!(!inside("127.0.0.0/8", "128.0.0.1"));
        assert!(inside("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(inside("192.0.2.1", "192.0.2.1"));
        assert!(!inside("192.0.2.1", "192.0.2.0"));
        assert!(inside("0.0.0.0/0", "192.0.2.1"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/33", "2001:db8:7fff::"));
        assert!(!inside("2001:db8::/33", "2001:db8:8000::"));
        assert_eq!(
            "10.0.0.0/8".parse::<Network>().unwrap().to_string(),
            "10.0.0.0/8"
        );
        for (text, expected) in [
            ("", NetworkError::Text),
            ("host", NetworkError::Text),
            ("10.0.0/8", NetworkError::Text),
            ("10.0.0.0/", NetworkError::Text),
            ("10.0.0.0/+8", NetworkError::Text),
            ("10.0.0.0/33", NetworkError::Text),
            ("::/129", NetworkError::Text),
            ("::ffff:10.0.0.0/104", NetworkError::Text),
            ("10.1.2.3/24", NetworkError::Bits),
            ("11.0.0.0/7", NetworkError::Bits),
            ("1.2.3.4/0", NetworkError::Bits),
            ("2001:db8::1/64", NetworkError::Bits),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err(), expected, "{text}");
        }
    }
}

//! Does a name lie in a subtree: the comparison of each name form of RFC 5280 §4.2.1.10.
//!
//! A name or constraint whose form this file does not understand matches nothing; the caller
//! refuses the path for it ([`super::constraints`]). Nothing is resolved, nothing is normalised
//! beyond ASCII letter case.

use std::borrow::Cow;

/// What comparing one name with one constraint gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The name is in the subtree.
    Inside,
    /// The name is not in the subtree.
    Outside,
    /// The name stands for several names, of which some are in the subtree.
    Partly,
    /// The name or the constraint has no form that could be compared.
    Odd,
}

impl Match {
    fn of(inside: bool) -> Self {
        if inside { Self::Inside } else { Self::Outside }
    }
}

/// A dNSName, which may begin with the wildcard `*.`, against a dNSName constraint.
pub(super) fn dns(name: &[u8], constraint: &[u8]) -> Match {
    // "*.example.com" stands for one more label below example.com.
    let (base, wildcard) = match name.strip_prefix(b"*.") {
        Some(base) => (base, true),
        None => (name, false),
    };
    if !is_host(base) {
        return Match::Odd;
    }
    if constraint.is_empty() {
        return Match::Inside;
    }
    if !is_host(constraint) {
        return Match::Odd;
    }
    if is_same_or_below(base, constraint) {
        return Match::Inside;
    }
    if wildcard {
        // The constraint may be one label below the base: some of what the wildcard covers.
        let below =
            strip_suffix_ignore_case(constraint, base).and_then(|rest| rest.strip_suffix(b"."));
        if below.is_some_and(|label| !label.contains(&b'.')) {
            return Match::Partly;
        }
    }
    Match::Outside
}

/// A mail address against an rfc822Name constraint: a mailbox, a host, or `.domain` for all hosts
/// below it. `fold_local` compares the local part of a mailbox without regard to ASCII case.
pub(super) fn mail(name: &[u8], constraint: &[u8], fold_local: bool) -> Match {
    let Some((local, host)) = split_mailbox(name) else {
        return Match::Odd;
    };
    if constraint.is_empty() {
        return Match::Inside;
    }
    if let Some(domain) = constraint.strip_prefix(b".") {
        if !is_host(domain) {
            return Match::Odd;
        }
        return Match::of(host.len() > domain.len() && is_same_or_below(host, domain));
    }
    if constraint.contains(&b'@') {
        let Some((wanted_local, wanted_host)) = split_mailbox(constraint) else {
            return Match::Odd;
        };
        // `"a"` and `"\a"` are other spellings of `a`, and no other mailbox.
        let (local, wanted_local) = (unquoted(local), unquoted(wanted_local));
        let same = local == wanted_local || fold_local && local.eq_ignore_ascii_case(&wanted_local);
        return Match::of(same && host.eq_ignore_ascii_case(wanted_host));
    }
    if !is_host(constraint) {
        return Match::Odd;
    }
    Match::of(host.eq_ignore_ascii_case(constraint))
}

/// A URI against a URI constraint, which is a host or `.domain`. A URI without a host name, or with
/// an IP address for it, cannot be compared.
pub(super) fn uri(name: &[u8], constraint: &[u8]) -> Match {
    let Some(host) = uri_host(name) else {
        return Match::Odd;
    };
    if constraint.is_empty() {
        return Match::Inside;
    }
    match constraint.strip_prefix(b".") {
        Some(domain) if is_host(domain) => {
            Match::of(host.len() > domain.len() && is_same_or_below(host, domain))
        }
        None if is_host(constraint) => Match::of(host.eq_ignore_ascii_case(constraint)),
        _ => Match::Odd,
    }
}

/// An IP address against an address and mask (RFC 4632): both of one family, the mask contiguous.
pub(super) fn ip(name: &[u8], constraint: &[u8]) -> Match {
    if !matches!(name.len(), 4 | 16) || !is_ip_constraint(constraint) {
        return Match::Odd;
    }
    let (network, mask) = constraint.split_at(constraint.len() / 2);
    if network.len() != name.len() {
        return Match::Outside;
    }
    Match::of(
        name.iter()
            .zip(network)
            .zip(mask)
            .all(|((name, network), mask)| name & mask == network & mask),
    )
}

/// Whether the octets are a network and a contiguous mask.
pub(super) fn is_ip_constraint(constraint: &[u8]) -> bool {
    if !matches!(constraint.len(), 8 | 32) {
        return false;
    }
    let (_, mask) = constraint.split_at(constraint.len() / 2);
    let mut ended = false;
    for byte in mask {
        if ended && *byte != 0 || byte.leading_ones() + byte.trailing_zeros() < 8 {
            return false;
        }
        ended |= *byte != 0xff;
    }
    true
}

/// A host name in preferred syntax with ASCII letters, digits, hyphens; underscores are not part of
/// it. An empty label, a trailing dot, and what would be an IPv4 address are refused.
pub(super) fn is_host(host: &[u8]) -> bool {
    if host.is_empty() || host.len() > 253 {
        return false;
    }
    let mut last = &b""[..];
    for label in host.split(|b| *b == b'.') {
        let ends = label.first().is_some_and(u8::is_ascii_alphanumeric)
            && label.last().is_some_and(u8::is_ascii_alphanumeric);
        if !ends
            || label.len() > 63
            || !label
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        {
            return false;
        }
        last = label;
    }
    !last.iter().all(u8::is_ascii_digit)
}

/// Local part and host of a mailbox in its plain form; a quoted local part has a form of its own
/// that could hide an `@`, so the last one counts.
fn split_mailbox(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() > MAX_NAME {
        return None;
    }
    let at = name.iter().rposition(|b| *b == b'@')?;
    let (local, rest) = name.split_at(at);
    let host = rest.strip_prefix(b"@")?;
    let control = local.iter().any(|b| b.is_ascii_control() || *b == b' ');
    let quoted = local.first() == Some(&b'"') && local.last() == Some(&b'"') && local.len() > 2;
    let sound = !local.is_empty() && !control && (quoted || !local.contains(&b'@'));
    (sound && is_host(host)).then_some((local, host))
}

/// A local part without its quotes and the backslashes inside them.
fn unquoted(local: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = local
        .strip_prefix(b"\"")
        .and_then(|l| l.strip_suffix(b"\""))
    else {
        return local.into();
    };
    let mut escaped = false;
    let plain = |byte: &u8| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    };
    inner.iter().copied().filter(plain).collect()
}

/// The host of `scheme://user@host:port/…`.
fn uri_host(uri: &[u8]) -> Option<&[u8]> {
    // Beyond this many octets nothing of the authority is looked for.
    let uri = uri.get(..MAX_NAME).unwrap_or(uri);
    let colon = uri.iter().position(|b| *b == b':')?;
    let rest = uri.get(colon..)?.strip_prefix(b"://")?;
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'))
        .or((uri.len() < MAX_NAME).then_some(rest.len()))?;
    let authority = rest.get(..end)?;
    let host_port = match authority.iter().rposition(|b| *b == b'@') {
        Some(at) => authority.get(at + 1..)?,
        None => authority,
    };
    let host = match host_port.iter().position(|b| *b == b':') {
        Some(colon) => host_port.get(..colon)?,
        None => host_port,
    };
    is_host(host).then_some(host)
}

fn is_same_or_below(host: &[u8], domain: &[u8]) -> bool {
    strip_suffix_ignore_case(host, domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
}

fn strip_suffix_ignore_case<'a>(name: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    let (rest, end) = name.split_at_checked(name.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

/// Longer mailboxes do not exist, and no longer start of a URI is looked at: a comparison costs little.
const MAX_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::Match::{Inside, Odd, Outside, Partly};
    use super::*;

    #[test]
    fn dns_names() {
        for (name, constraint, expect) in [
            ("example.com", "example.com", Inside),
            ("a.b.EXAMPLE.com", "example.COM", Inside),
            ("badexample.com", "example.com", Outside),
            ("com", "example.com", Outside),
            ("example.com", "", Inside),
            ("*.example.com", "example.com", Inside),
            ("*.example.com", "a.example.com", Partly),
            ("*.example.com", "b.a.example.com", Outside),
            ("example.com", ".example.com", Odd),
            ("example.com", "*.example.com", Odd),
            ("a_b.example.com", "example.com", Odd),
            ("192.0.2.1", "example.com", Odd),
            ("example.com.", "example.com", Odd),
            ("a..com", "com", Odd),
        ] {
            assert_eq!(
                dns(name.as_bytes(), constraint.as_bytes()),
                expect,
                "{name} {constraint}"
            );
        }
    }

    #[test]
    fn mail_addresses() {
        for (name, constraint, expect) in [
            ("a@example.com", "example.com", Inside),
            ("a@EXAMPLE.com", "example.COM", Inside),
            ("a@host.example.com", "example.com", Outside),
            ("a@host.example.com", ".example.com", Inside),
            ("a@example.com", ".example.com", Outside),
            ("a@example.com", "a@example.com", Inside),
            ("A@example.com", "a@example.com", Outside),
            ("*@example.com", "*@example.com", Inside),
            ("b@example.com", "*@example.com", Outside),
            ("b@sub.example.com", "*@example.com", Outside),
            ("a@b@example.com", "example.com", Odd),
            ("\"a@b\"@example.com", "example.com", Inside),
            ("a@example.com\0.evil.test", "example.com", Odd),
            ("example.com", "example.com", Odd),
            ("@example.com", "example.com", Odd),
            ("a@example.com", "@example.com", Odd),
            ("a@example.com", "", Inside),
        ] {
            assert_eq!(
                mail(name.as_bytes(), constraint.as_bytes(), false),
                expect,
                "{name} {constraint}"
            );
        }
        assert_eq!(mail(b"A@example.com", b"a@example.com", true), Inside);
        for quoted in ["\"a\"@example.com", "\"\\a\"@example.com"] {
            assert_eq!(mail(quoted.as_bytes(), b"a@example.com", false), Inside);
        }
        let other = mail(b"\"a\\\\\"@example.com", b"a@example.com", false);
        assert_eq!(other, Outside);
        let long = [&[b'a'; MAX_NAME][..], b"@example.com"].concat();
        assert_eq!(mail(&long, b"example.com", false), Odd);
        assert_eq!(
            mail("佐藤@example.jp".as_bytes(), b"example.jp", false),
            Inside
        );
        assert_eq!(mail("a@例え.jp".as_bytes(), b"example.jp", false), Odd);
    }

    #[test]
    fn uris() {
        let long = format!("http://{}@example.com", "a".repeat(MAX_NAME));
        assert_eq!(uri(long.as_bytes(), b"example.com"), Odd);
        let long = format!("http://example.com/{}", "a".repeat(MAX_NAME));
        assert_eq!(uri(long.as_bytes(), b"example.com"), Inside);
        for (name, constraint, expect) in [
            ("http://example.com/x", "example.com", Inside),
            ("http://u:p@EXAMPLE.com:80", "example.com", Inside),
            ("http://host.example.com/", "example.com", Outside),
            ("http://host.example.com/", ".example.com", Inside),
            ("http://example.com?x", ".example.com", Outside),
            ("http://evil.test#@example.com", "example.com", Outside),
            ("urn:x", "example.com", Odd),
            ("http://192.0.2.1/", "example.com", Odd),
            ("http://[2001:db8::1]/", "example.com", Odd),
        ] {
            assert_eq!(
                uri(name.as_bytes(), constraint.as_bytes()),
                expect,
                "{name} {constraint}"
            );
        }
    }

    #[test]
    fn ip_addresses() {
        let net = [192, 0, 2, 0, 255, 255, 255, 0];
        assert_eq!(ip(&[192, 0, 2, 77], &net), Inside);
        assert_eq!(ip(&[192, 0, 3, 77], &net), Outside);
        assert_eq!(ip(&[0; 16], &net), Outside);
        assert_eq!(ip(&[192, 0, 2], &net), Odd);
        assert_eq!(ip(&[192, 0, 2, 1], &[192, 0, 2, 0, 255, 0, 255, 0]), Odd);
        assert_eq!(ip(&[192, 0, 2, 1], &[192, 0, 2, 0, 253, 0, 0, 0]), Odd);
        assert_eq!(ip(&[1, 2, 3, 4], &[0; 8]), Inside);
    }
}

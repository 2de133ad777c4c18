use super::*;
use crate::fetch::{Filter, Scope};

fn parse(text: &str) -> Result<Place, PlaceError> {
    Place::parse(text, &Ports::default())
}

#[test]
fn urls_of_authorities_are_read() {
    for (text, scheme, host, port, target) in [
        (
            "http://crl.example/a.crl",
            Scheme::Http,
            "crl.example",
            80,
            "/a.crl",
        ),
        (
            "HTTP://CRL.Example:80/A.crl",
            Scheme::Http,
            "crl.example",
            80,
            "/A.crl",
        ),
        ("https://ca.example", Scheme::Https, "ca.example", 443, "/"),
        (
            "https://ca.example?id=1&x=a/b?c",
            Scheme::Https,
            "ca.example",
            443,
            "/?id=1&x=a/b?c",
        ),
        (
            "http://ca.example:443/%E8%AA%8D%20x",
            Scheme::Http,
            "ca.example",
            443,
            "/%E8%AA%8D%20x",
        ),
        (
            "http://pki/a@b:c;d=(e)",
            Scheme::Http,
            "pki",
            80,
            "/a@b:c;d=(e)",
        ),
        (
            "http://xn--r8jz45g.example/",
            Scheme::Http,
            "xn--r8jz45g.example",
            80,
            "/",
        ),
        ("http://0x.example/", Scheme::Http, "0x.example", 80, "/"),
        (
            "http://1.2.3.example/",
            Scheme::Http,
            "1.2.3.example",
            80,
            "/",
        ),
        ("http://192.0.2.1:80/a", Scheme::Http, "192.0.2.1", 80, "/a"),
        (
            "http://[2001:DB8::1]/a",
            Scheme::Http,
            "[2001:db8::1]",
            80,
            "/a",
        ),
        (
            "http://[2001:db8::1]:443/a",
            Scheme::Http,
            "[2001:db8::1]",
            443,
            "/a",
        ),
        (
            "ldap://dir.example/o=x",
            Scheme::Ldap,
            "dir.example",
            389,
            "/o=x",
        ),
        (
            "ldaps://dir.example:636/o=x",
            Scheme::Ldaps,
            "dir.example",
            636,
            "/o=x",
        ),
    ] {
        let place = parse(text).unwrap();
        assert_eq!(place.scheme(), scheme, "{text}");
        assert_eq!(place.host().to_string(), host, "{text}");
        assert_eq!((place.port(), place.target()), (port, target), "{text}");
        assert_eq!(parse(&place.to_string()).unwrap(), place, "{text}");
        let asks = matches!(scheme, Scheme::Ldap | Scheme::Ldaps);
        assert_eq!(place.search().is_some(), asks, "{text}");
    }
    assert_eq!(
        parse("http://a.example:443/").unwrap().authority(),
        "a.example:443"
    );
    assert_eq!(
        parse("http://a.example:80/").unwrap().authority(),
        "a.example"
    );
}

#[test]
fn a_directory_is_asked_what_the_url_says() {
    let text = "ldap://dir.example/cn=CA%201,c=JP?certificateRevocationList;binary?sub?(cn=CA%201)";
    let place = parse(text).unwrap();
    let search = place.search().unwrap();
    assert_eq!(search.dn(), "cn=CA 1,c=JP");
    assert_eq!(search.attributes(), ["certificateRevocationList;binary"]);
    assert_eq!(search.scope(), Scope::Sub);
    let filter = Filter::Equality {
        attribute: "cn".to_owned(),
        value: b"CA 1".to_vec(),
    };
    assert_eq!(search.filter(), &filter);
    assert_eq!(place.to_string(), text);
}

/// PKI-03: what stands in a hostile certificate, and why it is not fetched. Addresses that are only
/// judged when they are known stand in `reach.rs`.
#[test]
fn hostile_urls_are_refused() {
    use PlaceError as E;
    let scheme = |text: &str| E::Scheme(text.to_owned());
    let host = |text: &str| E::Host(text.to_owned());
    let number = |text: &str| E::NumericHost(text.to_owned());
    let port = |text: &str| E::Port(text.to_owned());
    for (text, expected) in [
        // Other schemes.
        ("", scheme("")),
        ("crl.example/a.crl", scheme("crl.example/a.crl")),
        ("file:///etc/passwd", scheme("file:///etc/passwd")),
        (
            "gopher://redis.example:6379/_INFO",
            scheme("gopher://redis.example:6379/_INFO"),
        ),
        ("ftp://ca.example/a.crl", scheme("ftp://ca.example/a.crl")),
        (
            "dict://ca.example:11211/stats",
            scheme("dict://ca.example:11211/stats"),
        ),
        (
            "ldapi://%2Frun%2Fldapi/o=x",
            scheme("ldapi://%2Frun%2Fldapi/o=x"),
        ),
        ("data:,x", scheme("data:,x")),
        ("javascript:alert(1)", scheme("javascript:alert(1)")),
        ("//ca.example/a.crl", scheme("//ca.example/a.crl")),
        ("://ca.example/", scheme("://ca.example/")),
        ("ca.example:80/a.crl", scheme("ca.example:80/a.crl")),
        // No host.
        ("http:", E::NoHost),
        ("http:/a.crl", E::NoHost),
        ("http:///a.crl", E::NoHost),
        ("http:ca.example/a.crl", E::NoHost),
        ("http://:80/a.crl", E::NoHost),
        ("http://?x", E::NoHost),
        ("http://::1/", E::NoHost),
        ("ldap:///cn=internal,dc=corp", E::NoHost),
        // Somebody else's name before or behind the host.
        ("http://ca.example@10.0.0.1/", E::UserInfo),
        ("http://user:secret@ca.example/", E::UserInfo),
        ("http://@ca.example/", E::UserInfo),
        (
            "http://ca.example%40evil.example/",
            host("ca.example%40evil.example"),
        ),
        ("http://ca.example\\@evil.example/", E::Character('\\')),
        ("http://ca.example/#@evil.example", E::Fragment),
        ("http://ca.example#.evil.example/", E::Fragment),
        // Splitting of requests and of log lines.
        ("http://ca.example/a\r\nHost: x", E::Control),
        ("http://ca.example/a%0d%0aHost:%20x", E::Control),
        ("http://ca.example/a%0Ab", E::Control),
        ("http://ca.example/?q=%0D", E::Control),
        ("http://ca.example/%00", E::Control),
        ("http://ca.example/\u{7f}", E::Control),
        ("http://ca.example/%7F", E::Control),
        ("http://ca.example%0d%0a/", E::Control),
        ("ldap://dir.example/cn=a%0a,c=JP", E::Control),
        ("http://ca.example/\t", E::Control),
        ("http://ca.example/a b", E::Character(' ')),
        (" http://ca.example/", E::Character(' ')),
        ("http://ca.example/<a>", E::Character('<')),
        ("http://ca.example/`id`", E::Character('`')),
        ("http://ca.example/a%", E::Escape),
        ("http://ca.example/a%4", E::Escape),
        ("http://ca.example/a%zz", E::Escape),
        ("http://ca.example/a%+1", E::Escape),
        ("http://\u{2488}27.0.0.1/", E::NotAscii),
        ("http://\u{8a8d}\u{8a3c}.example/", E::NotAscii),
        ("http://ca.example/\u{8a8d}", E::NotAscii),
        ("http://ca.example/[::1]", E::Character('[')),
        // Addresses in disguise.
        ("http://127.1/", number("127.1")),
        ("http://0/", number("0")),
        ("http://2130706433/", number("2130706433")),
        ("http://0x7f.1/", number("0x7f.1")),
        ("http://0x7f000001/", number("0x7f000001")),
        ("http://0X7F.0.0.0X1/", number("0X7F.0.0.0X1")),
        ("http://127.0.0.0x/", number("127.0.0.0x")),
        ("http://0177.0.0.1/", number("0177.0.0.1")),
        ("http://127.0.0.01/", number("127.0.0.01")),
        ("http://10.0.0.256/", number("10.0.0.256")),
        ("http://1.2.3.4.5/", number("1.2.3.4.5")),
        ("http://ca.example.1/", number("ca.example.1")),
        ("http://127.0.0.1./", host("127.0.0.1.")),
        ("http://127.0.0.%31/", host("127.0.0.%31")),
        ("http://[::ffff:127.0.0.1/", host("[::ffff:127.0.0.1")),
        ("http://[fe80::1%25eth0]/", host("[fe80::1%25eth0]")),
        ("http://[127.0.0.1]/", host("[127.0.0.1]")),
        ("http://[v1.x]/", host("[v1.x]")),
        ("http://[::1]80/", host("[::1]80")),
        ("http://[]/", host("[]")),
        // No names.
        ("http://ca..example/", host("ca..example")),
        ("http://ca.example./", host("ca.example.")),
        ("http://.ca.example/", host(".ca.example")),
        ("http://-ca.example/", host("-ca.example")),
        ("http://ca-.example/", host("ca-.example")),
        ("http://c_a.example/", host("c_a.example")),
        (
            "http://ca.example,evil.example/",
            host("ca.example,evil.example"),
        ),
        ("http://*.example/", host("*.example")),
        // Ports.
        ("http://ca.example:/", port("")),
        ("http://ca.example:0/", port("0")),
        ("http://ca.example:080/", port("080")),
        ("http://ca.example:+80/", port("+80")),
        ("http://ca.example:65616/", port("65616")),
        ("http://ca.example:80:22/", port("80:22")),
        ("http://ca.example:x/", port("x")),
        ("http://localhost:6379/", E::PortNotPermitted(6379)),
        ("http://ca.example:22/", E::PortNotPermitted(22)),
        ("http://ca.example:25/", E::PortNotPermitted(25)),
        ("http://[::1]:2375/", E::PortNotPermitted(2375)),
        ("https://ca.example:8443/", E::PortNotPermitted(8443)),
        ("ldap://dir.example:3268/o=x", E::PortNotPermitted(3268)),
        // Directories.
        ("ldap://dir.example", E::Ldap(LdapUrlError::NoDn)),
        (
            "ldap://dir.example/o=x????bindname=cn=me",
            E::Ldap(LdapUrlError::Extension),
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn lengths_end_somewhere() {
    let label = "a".repeat(63);
    let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(name.len(), MAX_NAME);
    assert!(parse(&format!("http://{name}/")).is_ok());
    for host in [format!("{name}a"), format!("{label}a.example")] {
        let error = parse(&format!("http://{host}/")).unwrap_err();
        assert!(matches!(error, PlaceError::Host(_)), "{error}");
        assert!(error.to_string().len() < 150, "{error}");
    }
    let path = |length: usize| format!("http://a.example/{}", "x".repeat(length - 17));
    assert!(parse(&path(MAX_URL)).is_ok());
    assert_eq!(
        parse(&path(MAX_URL + 1)).unwrap_err(),
        PlaceError::TooLong(2049)
    );
    let huge = "http://a.example/".to_owned() + &"%41".repeat(1 << 20);
    assert!(matches!(parse(&huge).unwrap_err(), PlaceError::TooLong(_)));
}

#[test]
fn listed_ports_are_asked() {
    let ports = Ports::and(&[8080]);
    assert_eq!(
        Place::parse("http://a.example:8080/", &ports)
            .unwrap()
            .port(),
        8080
    );
    assert!(Place::parse("http://a.example:80/", &ports).is_ok());
    assert!(Place::parse("http://a.example:8081/", &ports).is_err());
}

#[test]
fn redirects_are_read_as_strictly() {
    let from = parse("http://a.example:443/x/y?z").unwrap();
    let to = |location: &str| {
        let place = from.redirected(location, &Ports::default());
        place.map(|place| place.to_string())
    };
    for (location, expected) in [
        ("/b", "http://a.example:443/b"),
        ("/b?c", "http://a.example:443/b?c"),
        ("//b.example/c", "http://b.example/c"),
        ("https://b.example/c", "https://b.example/c"),
    ] {
        assert_eq!(to(location).as_deref(), Ok(expected), "{location}");
    }
    for location in ["", "b", "?b", "../b", "b?http:/c", "http:b"] {
        let expected = PlaceError::Location(location.to_owned());
        assert_eq!(to(location).unwrap_err(), expected, "{location}");
    }
    for location in [
        "/a\r\nb",
        "/a#b",
        "//a@b/",
        "file:///etc/passwd",
        "http://0x7f.1/",
        "/a b",
    ] {
        assert!(to(location).is_err(), "{location}");
    }
}

#[test]
fn what_is_quoted_is_short_and_one_line() {
    let error = parse(&format!("x{}", "'".repeat(1000)))
        .unwrap_err()
        .to_string();
    assert!(error.len() < 200, "{error}");
    assert_eq!(shown("a\u{7f}\n\u{8a8d}"), "a\\u{7f}\\n\\u{8a8d}");
}

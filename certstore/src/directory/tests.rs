use kenin_pki::der::write;
use tokio::net::TcpListener;

use super::testserver::{entry, result};
use super::*;
use crate::fetch::{Host, Resolving};
use crate::testpki::ca;

fn alice() -> Address {
    Address::parse("alice@example.jp").unwrap()
}

fn at(port: u16) -> DirectorySettings {
    let url = format!("ldap://127.0.0.1:{port}");
    DirectorySettings::new(url.parse().unwrap(), "dc=example,dc=jp")
}

fn directory(port: u16) -> Directory {
    Directory::new(at(port), None, None).unwrap()
}

/// A ContentInfo with SignedData of certificates alone (RFC 5652 §5).
fn certs_only(certificates: &[&[u8]]) -> Vec<u8> {
    let data = write::seq(&[write::oid("1.2.840.113549.1.7.1")]);
    let signed = write::seq(&[
        write::integer(1),
        write::element(0x31, b""),
        data,
        write::element(0xa0, &write::concat(certificates)),
        write::element(0x31, b""),
    ]);
    write::seq(&[
        write::oid("1.2.840.113549.1.7.2"),
        write::explicit(0, &signed),
    ])
}

/// STO-01: under her entry lies whatever somebody put there.
#[tokio::test]
async fn only_certificates_that_hold_the_address_come_back() {
    let authority = ca("Directory CA");
    let long = authority.leaf_until("Not hers", 9);
    let (one, two) = (
        authority.leaf("Alice", "alice@example.jp"),
        authority.leaf("Alice elsewhere", "ALICE@Example.JP"),
    );
    let bob = authority.leaf("Alice", "bob@example.jp");
    let subaddress = authority.leaf("Alice", "alice@example.jp.evil.example");
    let huge = vec![0x30; MAX_VALUE + 1];
    let bundle = certs_only(&[two.der(), authority.certificate.der()]);
    let entries = vec![
        entry(
            "userCertificate;binary",
            &[
                one.der(),
                bob.der(),
                one.der(),
                b"",
                b"garbage",
                &huge,
                long.der(),
            ],
        ),
        entry("userSMIMECertificate", &[&bundle, subaddress.der()]),
        entry("description", &[one.der()]),
    ];
    let server = testserver::Server::start(entries, 0).await;
    let directory = directory(server.port);
    let found = directory.ask(&alice()).await.unwrap();
    let mut subjects: Vec<String> = found
        .certificates
        .iter()
        .map(|one| one.subject().to_string())
        .collect();
    subjects.sort();
    assert_eq!(subjects, ["CN=Alice", "CN=Alice elsewhere"]);
    let dropped = Dropped {
        foreign: 3,
        unreadable: 2,
        too_much: 1,
    };
    assert_eq!(found.dropped, dropped);
    assert_eq!(directory.dropped(), 6);
    assert!(!found.more);
    assert_eq!(directory.find(&alice()).await.unwrap(), found.certificates);
    // One connection served both.
    assert_eq!(server.connections(), 1);
}

/// An entry in which the certificates of ten years lie, and the one in use came last.
#[tokio::test]
async fn the_65th_value_of_an_entry_is_looked_at() {
    let authority = ca("Directory CA");
    let bob = authority.leaf("Bob", "bob@example.jp");
    let mine = authority.leaf("Alice", "alice@example.jp");
    let mut values = vec![bob.der(); 200];
    values.push(mine.der());
    let entries = vec![entry("userCertificate", &values)];
    let server = testserver::Server::start(entries, 4).await;
    let found = directory(server.port).ask(&alice()).await.unwrap();
    assert_eq!(found.certificates, [mine]);
    assert!(found.more);
    assert_eq!((found.dropped.foreign, found.dropped.too_much), (200, 0));
}

#[tokio::test]
async fn of_too_many_certificates_those_that_end_last_are_kept() {
    let authority = ca("Directory CA");
    let of = |end: i64| authority.leaf_for("Alice", &["alice@example.jp"], end * 86_400);
    let all: Vec<Certificate> = (1..=150).map(of).collect();
    let last: Vec<Certificate> = all.iter().rev().take(64).cloned().collect();
    let forward: Vec<&[u8]> = all.iter().map(Certificate::der).collect();
    let backward: Vec<&[u8]> = forward.iter().rev().copied().collect();
    for values in [forward, backward] {
        let entries = vec![entry("userCertificate;binary", &values)];
        let server = testserver::Server::start(entries, 0).await;
        let directory = directory(server.port);
        let found = directory.ask(&alice()).await.unwrap();
        assert_eq!(found.certificates, last);
        assert_eq!((found.dropped.foreign, found.dropped.too_much), (0, 86));
        assert_eq!(directory.dropped(), 86);
    }
}

#[tokio::test]
async fn a_million_entries_are_not_taken() {
    let mine = ca("Directory CA").leaf("Alice", "alice@example.jp");
    let one = entry("userCertificate", &[mine.der()]);
    let entries = vec![one; 2 * MAX_ANSWER / mine.der().len()];
    let server = testserver::Server::start(entries, 0).await;
    let error = directory(server.port).ask(&alice()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::TooLarge(_)), "{error}");
}

/// STO-01: three mails to somebody whose entry is too long, and nobody was looked for any more.
#[tokio::test]
async fn an_entry_that_is_too_long_keeps_nobody_else_from_being_found() {
    let mine = ca("Directory CA").leaf("Alice", "alice@example.jp");
    let one = entry("userCertificate", &[mine.der()]);
    let crowd = entry("userCertificate", &vec![&b""[..]; 30_000]);
    let asked = AtomicU64::new(0);
    let server = testserver::Server::with(move |id, _| {
        let entries = match asked.fetch_add(1, Ordering::SeqCst) {
            0..=3 => message::message(id, &one).repeat(2 * MAX_ANSWER / one.len()),
            4..=7 => message::message(id, &crowd),
            _ => message::message(id, &one),
        };
        [entries, message::message(id, &result(0x65, 0))].concat()
    })
    .await;
    let directory = directory(server.port);
    for at in 0..8 {
        let error = directory.ask(&alice()).await.unwrap_err();
        match at {
            0..=3 => assert!(matches!(error, DirectoryError::TooLarge(_)), "{error}"),
            _ => assert!(matches!(error, DirectoryError::TooMany), "{error}"),
        }
    }
    let found = directory.ask(&alice()).await.unwrap();
    assert_eq!(found.certificates, [mine]);
}

/// STO-01: a million results, of entries that say next to nothing and of other servers that might know more. The
/// answer is cut off at its bytes, or at the time that a question may take.
#[tokio::test]
async fn a_million_results_are_not_taken() {
    let parts = [write::octet_string(b""), write::element(0x30, b"")];
    let nothing = write::element(0x64, &write::concat(&parts));
    let elsewhere = write::element(0x73, &write::octet_string(b"ldap://evil.example/"));
    for one in [nothing, elsewhere] {
        let server = testserver::Server::with(move |id, _| {
            let results = message::message(id, &one).repeat(1_000_000);
            [results, message::message(id, &result(0x65, 0))].concat()
        })
        .await;
        let error = directory(server.port).ask(&alice()).await.unwrap_err();
        let ended = matches!(
            error,
            DirectoryError::TooLarge(_) | DirectoryError::Deadline(_)
        );
        assert!(ended, "{error}");
    }
}

/// STO-01: it was asked for sixteen entries, and goes on.
#[tokio::test]
async fn entries_beyond_those_that_were_asked_for_are_not_looked_at() {
    let mine = ca("Directory CA").leaf("Alice", "alice@example.jp");
    let other = entry("description", &[b"nothing"]);
    for (before, wanted) in [(14, 1), (15, 1), (16, 0)] {
        let mut entries = vec![other.clone(); before];
        entries.push(entry("userCertificate", &[mine.der()]));
        entries.extend(vec![other.clone(); 1000]);
        let server = testserver::Server::start(entries, 0).await;
        let found = directory(server.port).ask(&alice()).await.unwrap();
        assert_eq!(found.certificates.len(), wanted, "{before}");
        assert!(found.more, "{before}");
    }
}

#[tokio::test]
async fn referrals_are_not_followed() {
    let server = testserver::Server::with(|id, _| {
        let elsewhere = write::octet_string(b"ldap://evil.example/");
        [
            message::message(id, &write::element(0x73, &elsewhere)),
            message::message(id, &result(0x65, 0)),
        ]
        .concat()
    })
    .await;
    let found = directory(server.port).ask(&alice()).await.unwrap();
    assert!(found.certificates.is_empty());
    let server = testserver::Server::start(Vec::new(), 10).await;
    let error = directory(server.port).ask(&alice()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Referral), "{error}");
}

#[tokio::test]
async fn answers_that_are_no_ldap_are_errors() {
    for bytes in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        message::message(77, &result(0x65, 0)),
        message::message(1, &result(0x61, 0)),
        message::message(1, b"\x65\x00"),
        message::message(0, &result(0x78, 52)),
        b"\x30\x84\x7f\xff\xff\xff".to_vec(),
    ] {
        let told = bytes.clone();
        let server = testserver::Server::with(move |_, _| told.clone()).await;
        let error = directory(server.port).ask(&alice()).await;
        assert!(error.is_err(), "{bytes:02x?}");
    }
}

/// A man in the middle who answers StartTLS himself, with more behind the answer.
#[tokio::test]
async fn start_tls_is_neither_stripped_nor_injected() {
    let secured = |port| {
        let mut settings = at(port);
        settings.start_tls = true;
        Directory::new(settings, None, None).unwrap()
    };
    let server = testserver::Server::with(|id, _| {
        let answer = message::message(id, &result(0x78, 0));
        [answer, message::message(id + 1, &result(0x65, 0))].concat()
    })
    .await;
    let error = secured(server.port).ask(&alice()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Injected), "{error}");
    for code in [1, 2, 53] {
        let server = testserver::Server::with(move |id, tag| {
            let tag = if tag == 0x77 { 0x78 } else { 0x65 };
            message::message(id, &result(tag, code))
        })
        .await;
        let error = secured(server.port).ask(&alice()).await.unwrap_err();
        let expected = u32::from(code);
        assert!(
            matches!(error, DirectoryError::Refused { code, .. } if code == expected),
            "{error}"
        );
    }
    // It says yes and speaks on in clear.
    let server = testserver::Server::with(|id, _| message::message(id, &result(0x78, 0))).await;
    let error = secured(server.port).ask(&alice()).await.unwrap_err();
    let ended = matches!(
        error,
        DirectoryError::Tls { .. } | DirectoryError::Deadline(_)
    );
    assert!(ended, "{error}");
}

#[tokio::test]
async fn a_connection_that_was_closed_is_opened_again() {
    let answered = AtomicU64::new(0);
    let server = testserver::Server::with(move |id, _| {
        // Each connection answers one question; the next one finds it closed.
        match answered.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => message::message(id, &result(0x65, 0)),
            _ => Vec::new(),
        }
    })
    .await;
    let directory = directory(server.port);
    for _ in 0..3 {
        directory.ask(&alice()).await.unwrap();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_password_that_is_wrong_is_an_error() {
    let server = testserver::Server::with(|id, _| message::message(id, &result(0x61, 49))).await;
    let bind = Bind {
        dn: "cn=reader".to_owned(),
        password: b"wrong".to_vec(),
    };
    let directory = Directory::new(at(server.port), None, Some(bind)).unwrap();
    let error = directory.ask(&alice()).await.unwrap_err();
    assert!(
        matches!(error, DirectoryError::Refused { code: 49, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_directory_that_fails_is_left_alone() {
    // Nobody listens here any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let directory = directory(port);
    for _ in 0..3 {
        let error = directory.ask(&alice()).await.unwrap_err();
        assert!(matches!(error, DirectoryError::Connect { .. }), "{error}");
    }
    let error = directory.ask(&alice()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Resting(_)), "{error}");
    // Who wants to know how it is may ask all the same.
    let error = directory.probe().await.unwrap_err();
    assert!(matches!(error, DirectoryError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_silent_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = at(listener.local_addr().unwrap().port());
    settings.timeout = Duration::from_millis(100);
    let directory = Directory::new(settings, None, None).unwrap();
    let error = directory.ask(&alice()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Deadline(_)), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_asked_in_clear() {
    let server = testserver::Server::start(Vec::new(), 0).await;
    let url = format!("ldap://localhost:{}", server.port);
    let settings = DirectorySettings::new(url.parse().unwrap(), "o=x");
    assert_eq!(settings.server.host(), &Host::Name("localhost".to_owned()));
    let elsewhere: Resolve = Arc::new(|_: &str| -> Resolving {
        Box::pin(async { Ok(vec!["192.0.2.1".parse().unwrap()]) })
    });
    let directory = Directory::new(settings, None, None)
        .unwrap()
        .with_resolver(elsewhere);
    let error = directory.ask(&alice()).await.unwrap_err();
    assert!(matches!(error, DirectoryError::NotHere(_)), "{error}");
}

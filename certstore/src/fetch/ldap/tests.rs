use std::time::Duration;

use super::*;
use crate::directory::testserver::{Server, entry};
use crate::fetch::{Fetch, Ports, Reach, SinkError, tls_client};

const CRL: &str = "cn=CA,o=x?certificateRevocationList;binary";

fn place(port: u16, rest: &str) -> Place {
    let text = format!("ldap://127.0.0.1:{port}/{rest}");
    Place::parse(&text, &Ports::and(&[port])).unwrap()
}

fn client(reach: Reach) -> Client {
    Client::new(reach, Ports::default(), tls_client(None).unwrap())
}

fn here() -> Client {
    client(Reach::new(vec!["127.0.0.0/8".parse().unwrap()]))
}

async fn asked(client: &Client, place: &Place, limits: &Limits) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    let mut sink = |piece: &[u8]| -> Result<(), SinkError> {
        body.extend_from_slice(piece);
        Ok(())
    };
    let request = Request::get(place, "application/pkix-crl");
    let fetched = client.fetch(&request, limits, &mut sink).await?;
    assert_eq!(fetched.place, *place);
    assert_eq!(fetched.bytes, u64::try_from(body.len()).unwrap());
    Ok(body)
}

/// What a server with these entries makes of a question for a list.
async fn of(entries: Vec<Vec<u8>>) -> Result<Vec<u8>, HttpError> {
    let server = Server::start(entries, 0).await;
    asked(&here(), &place(server.port, CRL), &Limits::CRL).await
}

#[tokio::test]
async fn the_value_is_handed_on_as_it_is() {
    let long = vec![7; 3 * PIECE + 1];
    for name in [
        "certificateRevocationList;binary",
        "CERTIFICATErevocationlist",
        "2.5.4.39;binary",
    ] {
        let body = of(vec![entry(name, &[&long])]).await.unwrap();
        assert_eq!(body, long, "{name}");
    }
    // Under both names that it was asked by it is one value.
    let twice = [
        "certificateRevocationList;binary",
        "certificateRevocationList",
    ];
    let entries = twice.map(|name| entry(name, &[b"a list"])).to_vec();
    assert_eq!(of(entries).await.unwrap(), b"a list");
    // What nobody asked for does not come in between.
    let entries = vec![
        entry("description", &[b"hello"]),
        entry("certificateRevocationList;binary", &[b"a list"]),
        entry("authorityRevocationList;binary", &[b"another"]),
    ];
    assert_eq!(of(entries).await.unwrap(), b"a list");
}

#[tokio::test]
async fn several_values_are_told_apart() {
    let list = "certificateRevocationList;binary";
    let body = of(vec![entry(list, &[b"one", b"two"])]).await.unwrap();
    let blocks = pem::decode(&body).unwrap();
    let blocks: Vec<(&str, &[u8])> = blocks
        .iter()
        .map(|block| (block.label.as_str(), block.bytes.as_slice()))
        .collect();
    let wanted = [("X509 CRL", &b"one"[..]), ("X509 CRL", &b"two"[..])];
    assert_eq!(blocks, wanted);

    let server = Server::start(vec![entry("cACertificate;binary", &[b"one", b"two"])], 0).await;
    let place = place(server.port, "cn=CA?cACertificate");
    let body = asked(&here(), &place, &Limits::ISSUER).await.unwrap();
    let labels: Vec<String> = pem::decode(&body)
        .unwrap()
        .into_iter()
        .map(|block| block.label)
        .collect();
    assert_eq!(labels, ["CERTIFICATE"; 2]);

    let numbers: Vec<[u8; 1]> = (0..17).map(|number| [number]).collect();
    let values: Vec<&[u8]> = numbers.iter().map(<[u8; 1]>::as_slice).collect();
    assert!(of(vec![entry(list, &values[1..])]).await.is_ok());
    let long = vec![0; MAX_TOGETHER];
    let two: [&[u8]; 2] = [&long, b"1"];
    for values in [&values[..], &two[..]] {
        let error = of(vec![entry(list, values)]).await.unwrap_err();
        let wanted = matches!(
            error,
            HttpError::Directory(DirectoryError::ManyValues(count, _)) if count == values.len()
        );
        assert!(wanted, "{error}");
    }
}

#[tokio::test]
async fn the_address_is_judged_before_anything_is_connected() {
    let server = Server::start(Vec::new(), 0).await;
    let place = place(server.port, CRL);
    let error = asked(&client(Reach::default()), &place, &Limits::CRL).await;
    assert!(
        matches!(
            error,
            Err(HttpError::Directory(DirectoryError::Forbidden(_)))
        ),
        "{error:?}"
    );
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_says_no_is_an_error() {
    for entries in [
        Vec::new(),
        vec![entry("description", &[b"hello"])],
        vec![entry("certificateRevocationList;binary", &[])],
    ] {
        let error = of(entries).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no entry there has certificateRevocationList;binary;"),
            "{error}"
        );
    }
    let server = Server::start(Vec::new(), 32).await;
    let error = asked(&here(), &place(server.port, CRL), &Limits::CRL).await;
    let error = error.unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::Directory(DirectoryError::Refused { code: 32, .. })
        ),
        "{error}"
    );
    assert_eq!(server.connections(), 1);
    // Without an attribute, and with something to post, nobody is connected to.
    let error = asked(&here(), &place(server.port, "cn=CA,o=x"), &Limits::CRL).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, HttpError::Directory(DirectoryError::NotLdap)),
        "{error}"
    );
    let place = place(server.port, CRL);
    let request = Request::post(&place, "a/b", "c/d", b"question");
    let mut sink = |_: &[u8]| -> Result<(), SinkError> { Ok(()) };
    let error = here().fetch(&request, &Limits::OCSP, &mut sink).await;
    assert!(matches!(error, Err(HttpError::NotHttp)), "{error:?}");
    assert_eq!(server.connections(), 1);
}

/// BOMB-09: more than the limit is not taken, and who sends a byte now and then is left.
#[tokio::test]
async fn long_and_slow_answers_are_cut_off() {
    let list = entry("certificateRevocationList;binary", &[&[0; 2000]]);
    let server = Server::start(vec![list], 0).await;
    let at = place(server.port, CRL);
    let limits = Limits {
        bytes: 1000,
        ..Limits::CRL
    };
    let error = asked(&here(), &at, &limits).await.unwrap_err();
    assert!(
        matches!(error, HttpError::Directory(DirectoryError::TooLarge(1000))),
        "{error}"
    );
    // A listener that takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = place(silent.local_addr().unwrap().port(), CRL);
    let limits = Limits {
        total: Duration::from_millis(100),
        ..Limits::CRL
    };
    let error = asked(&here(), &at, &limits).await.unwrap_err();
    assert!(matches!(error, HttpError::Deadline(_)), "{error}");
}

#[test]
fn lists_and_certificates_are_asked_for_by_both_names() {
    let asked = |list: &str| {
        let place = place(389, &format!("cn=CA?{list}"));
        descriptions(place.search().unwrap())
    };
    for (written, other) in [
        (
            "certificateRevocationList",
            "certificateRevocationList;binary",
        ),
        ("authorityRevocationList;binary", "authorityRevocationList"),
        ("deltarevocationlist;Binary", "deltarevocationlist"),
        ("2.5.4.37", "2.5.4.37;binary"),
    ] {
        assert_eq!(asked(written), [written, other]);
    }
    // Of others nobody knows how they are sent.
    assert_eq!(
        asked("cn,certificateRevocationList;lang-ja"),
        ["cn", "certificateRevocationList;lang-ja"]
    );
}

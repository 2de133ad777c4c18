//! A list whose entries do not end, over a real connection.

use kenin_certstore::fetch::{Client, Ports, Reach, tls_client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The beginning of a list of a gibibyte: what stands before its first entry.
fn endless(ca: &Ca) -> Vec<u8> {
    let list = by(ca, form());
    let issuer = ca.certificate.subject().der();
    let claim = |length: u32| [&[0x30, 0x84][..], &length.to_be_bytes()].concat();
    write::concat(&[
        &claim(1 << 30)[..],
        &claim((1 << 30) - 100),
        &write::integer(1),
        &list.signature_algorithm().to_der(),
        issuer,
        &write::time(day(-1)),
        &write::time(day(1)),
        &claim((1 << 30) - 1000),
    ])
}

/// BOMB-09: over a real connection a list whose entries do not end, long enough to be indexed as it comes. It is left
/// at the limit, and nothing of it stays in memory, folder or store.
#[tokio::test]
async fn a_list_without_an_end_leaves_nothing_behind() {
    let world = world();
    let start = endless(&world.root);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.write_all(&start).await.unwrap();
        for serial in 0_i64.. {
            let entries = (0..1000).map(|n| {
                let serial = write::integer(serial * 1000 + n);
                write::seq(&[serial, write::time(day(-1))])
            });
            let entries: Vec<Vec<u8>> = entries.collect();
            if stream.write_all(&entries.concat()).await.is_err() {
                break;
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let lists = dir.path().join("lists");
    let index = RevocationIndex::open(&lists).unwrap();
    let ports = Ports::and(&[port]);
    let reach = Reach::new(vec!["127.0.0.1".parse().unwrap()]);
    let network = Client::new(reach, ports.clone(), tls_client(None).unwrap());
    let place = Place::parse(&format!("http://127.0.0.1:{port}/"), &ports).unwrap();
    let source = Source {
        network: &network,
        anchor: &world.sources.anchors[0],
        place: &place,
        known: &world.known,
        more: &[],
        index: &index,
    };
    let limits = Limits {
        bytes: 12 << 20,
        ..Limits::CRL
    };
    let error = source.fetch(&limits, NOW).await.unwrap_err();
    let left = matches!(error, NotTaken::Fetch(HttpError::TooLarge(most)) if most == limits.bytes);
    assert!(left, "{error}");
    assert_eq!(word(&Err(error)), "failed");
    server.await.unwrap();
    assert_eq!(std::fs::read_dir(&lists).unwrap().count(), 0);
    assert!(store.crls(DEFAULT_TENANT, &index).await.unwrap().is_empty());
    assert_eq!(store.revision(DEFAULT_TENANT).await.unwrap(), 0);
}

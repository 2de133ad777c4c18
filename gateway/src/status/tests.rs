use std::sync::Arc;

use kenin_certstore::{CertStore, Store};
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::der::write;
use kenin_pki::extension::{
    DistributionPoint, DistributionPointName, GeneralName, IssuingDistributionPoint,
};
use kenin_pki::issue::{CertificateBuilder, CrlBuilder, OcspBuilder, common_name};
use kenin_pki::ocsp::CertStatus;
use kenin_pki::oid::Oid;

use super::*;
use crate::config::Config;
use crate::init::{InitOptions, Mode, postfix};
use crate::sources::tests::{Ca, Canned, ca, read};

mod answers;
mod brought;
mod budgets;

const NOW: UnixTime = UnixTime(1_800_000_000);
const OCSP: &str = "http://ocsp.example/";
const LIST: &str = "http://crl.example/a.crl";
const ISSUER: &str = "http://crl.example/middle.cer";

/// An authority, one below it, and Alice.
struct World {
    root: Ca,
    middle: Ca,
    alice: Certificate,
    dir: tempfile::TempDir,
    snapshot: Snapshot,
}

fn uri(method: Oid<'_>, url: &str) -> Vec<u8> {
    write::seq(&[write::oid(method), write::element(0x86, url.as_bytes())])
}

async fn world(fetch: &str) -> World {
    let root = ca("Root", None);
    let middle = ca("Middle", Some(&root));
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let places = [uri(oid::AD_OCSP, OCSP), uri(oid::AD_CA_ISSUERS, ISSUER)];
    let points = [DistributionPoint {
        name: Some(DistributionPointName::Full(vec![GeneralName::Uri(
            LIST.into(),
        )])),
        ..DistributionPoint::default()
    }];
    let alice = CertificateBuilder::new(common_name("Alice").unwrap(), key.public_key())
        .mail_signer(&["alice@example.jp"])
        .extension(oid::AUTHORITY_INFO_ACCESS, false, &write::seq(&places))
        .crl_distribution_points(&points)
        .issued_by(&middle.certificate, &middle.key)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions {
        dir: dir.path().join("etc"),
        state_dir: dir.path().join("state"),
        ..InitOptions::new(Mode::BeforeQueue, "gw.example.jp")
    };
    postfix(&options).unwrap();
    let config = Config::load(&[dir.path().join("etc/kenin.toml")]).unwrap();
    let mut snapshot = Snapshot::build(Arc::new(config), None).await.unwrap();
    let text = format!("[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\nfetch = {{ {fetch} }}\n");
    snapshot.sources = read(&text, &[&root]).unwrap();
    snapshot.known = CertStore::new(vec![middle.certificate.clone()], Vec::new(), &[]);
    World {
        root,
        middle,
        alice,
        dir,
        snapshot,
    }
}

impl World {
    fn with(mut self, network: &Arc<Canned>) -> Self {
        let sources = self.snapshot.sources.as_mut().unwrap();
        sources.network = Arc::clone(network) as Arc<dyn Fetch>;
        self
    }

    fn good(&self, by: &Ca, until: Option<UnixTime>) -> Vec<u8> {
        let key = self.middle.key.public_key();
        OcspBuilder::new(NOW)
            .answer(&self.alice, key, CertStatus::Good, (NOW, until))
            .signed_der(&by.key)
            .unwrap()
    }

    fn list(&self) -> Crl {
        CrlBuilder::new(NOW.plus(-60), Some(NOW.plus(DAY)))
            .issued_by(&self.middle.certificate, &self.middle.key)
            .unwrap()
    }

    /// What a message is answered about Alice: how many lists, how many OCSP responses.
    fn asked(&self, desk: &mut Desk<'_>) -> (usize, usize) {
        match desk.status(&self.alice, self.middle.certificate.subject(), &[]) {
            Answer::Status { crls, ocsp, .. } => (crls.len(), ocsp.len()),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether somebody was left unasked about a certificate of the middle authority.
fn is_unasked(world: &World, desk: &mut Desk<'_>, certificate: &Certificate) -> bool {
    match desk.status(certificate, world.middle.certificate.subject(), &[]) {
        Answer::Status { unasked, .. } => unasked,
        other => panic!("{other:?}"),
    }
}

/// Runs it on a thread that may wait.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_responder_is_asked_once_for_many_messages() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let good = world.good(&world.middle, Some(NOW.plus(HOUR)));
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    let world = aside(move || {
        for _ in 0..5 {
            let mut desk = Desk::new(&world.snapshot, NOW);
            assert_eq!(world.asked(&mut desk), (0, 1));
        }
        world
    })
    .await;
    assert_eq!(network.count(), 1);
    // What has ended is not passed on.
    let later = NOW.plus(HOUR);
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, later);
        assert_eq!(world.asked(&mut desk), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_fresh_list_is_enough_unless_ocsp_is_preferred() {
    for (more, wanted) in [("", (1, 0)), (", prefer = \"ocsp\"", (1, 1))] {
        let mut world = world(&format!("ocsp = \"{OCSP}\"{more}")).await;
        let known = vec![world.middle.certificate.clone()];
        world.snapshot.known = CertStore::new(known, vec![world.list()], &[]);
        let good = world.good(&world.middle, None);
        let network = Arc::new(Canned::default().put(OCSP, good));
        let world = world.with(&network);
        aside(move || {
            let mut desk = Desk::new(&world.snapshot, NOW);
            assert_eq!(world.asked(&mut desk), wanted);
        })
        .await;
        assert_eq!(network.count(), wanted.1);
    }
}

/// PKI-02: what is no answer to the question is none, and is not asked for again at once.
#[tokio::test]
async fn what_is_no_answer_rests() {
    let first = world(&format!("ocsp = \"{OCSP}\"")).await;
    let stranger = ca("Middle", None);
    let key = first.middle.key.public_key();
    let other = OcspBuilder::new(NOW)
        .answer(
            &first.middle.certificate,
            key,
            CertStatus::Good,
            (NOW, None),
        )
        .signed_der(&first.middle.key)
        .unwrap();
    let replayed = OcspBuilder::new(NOW)
        .answer(&first.alice, key, CertStatus::Good, (NOW, None))
        .nonce(&[7; 32])
        .signed_der(&first.middle.key)
        .unwrap();
    let bodies = [
        first.good(&stranger, None),
        first.good(&first.middle, Some(NOW)),
        other,
        replayed,
        // tryLater.
        vec![0x30, 3, 0x0a, 1, 3],
        b"<html>".to_vec(),
    ];
    let mut world = first;
    for body in bodies {
        let network = Arc::new(Canned::default().put(OCSP, body));
        world.snapshot.asked = Arc::default();
        world = world.with(&network);
        world = aside(move || {
            for _ in 0..3 {
                let mut desk = Desk::new(&world.snapshot, NOW);
                assert_eq!(world.asked(&mut desk), (0, 0));
            }
            world
        })
        .await;
        assert_eq!(network.count(), 1);
    }
}

/// PKI-03: a certificate's own words count for listed hosts, and for what a known authority signed.
#[tokio::test]
async fn places_in_certificates_are_asked_where_their_hosts_are_listed() {
    let hosts = |hosts: &str| format!("from_certificates = true, hosts = [{hosts}]");
    for (listed, wanted) in [
        ("\"ocsp.example\"", (0, 1)),
        ("\"crl.example\"", (1, 0)),
        ("\"other.example\"", (0, 0)),
    ] {
        let world = world(&hosts(listed)).await;
        let good = world.good(&world.middle, None);
        let list = world.list().der().to_vec();
        let network = Canned::default().put(OCSP, good).put(LIST, list);
        let network = Arc::new(network);
        let world = world.with(&network);
        let strange = ca("Middle", None);
        let forged =
            CertificateBuilder::new(common_name("Alice").unwrap(), strange.key.public_key())
                .extension(
                    oid::AUTHORITY_INFO_ACCESS,
                    false,
                    &write::seq(&[uri(oid::AD_OCSP, OCSP)]),
                )
                .issued_by(&strange.certificate, &strange.key)
                .unwrap();
        aside(move || {
            let mut desk = Desk::new(&world.snapshot, NOW);
            let name = world.middle.certificate.subject();
            desk.status(&forged, name, &[]);
            let left = desk.for_status.left;
            assert_eq!(left, MAX_FETCHES, "no authority issued it");
            assert_eq!(world.asked(&mut desk), wanted);
        })
        .await;
        assert_eq!(network.count(), wanted.0 + wanted.1);
    }
}

#[tokio::test]
async fn an_issuer_that_a_certificate_names_is_found() {
    let hosts = "from_certificates = true, hosts = [\"crl.example\"]";
    let mut world = world(hosts).await;
    world.snapshot.known = CertStore::default();
    let impostor = ca("Middle", None);
    for (body, wanted) in [
        (world.middle.certificate.der().to_vec(), 1),
        (impostor.certificate.der().to_vec(), 0),
    ] {
        let network = Arc::new(Canned::default().put(ISSUER, body));
        world.snapshot.asked = Arc::default();
        world = world.with(&network);
        world = aside(move || {
            let mut desk = Desk::new(&world.snapshot, NOW);
            let name = world.middle.certificate.subject();
            let Answer::Issuers(found) = desk.issuers(name, None, &world.alice) else {
                panic!()
            };
            assert_eq!(found.len(), wanted);
            // An anchor names itself as issuer, and nobody is asked about it.
            let root = &world.root.certificate;
            let Answer::Issuers(found) = desk.issuers(root.subject(), None, root) else {
                panic!()
            };
            assert!(found.is_empty());
            world
        })
        .await;
        assert_eq!(network.count(), 1);
    }
    // A server that is away is no answer, not the answer that there is none.
    world.snapshot.asked = Arc::default();
    let world = world.with(&Arc::new(Canned::default()));
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        let name = world.middle.certificate.subject();
        let answer = desk.issuers(name, None, &world.alice);
        assert!(matches!(answer, Answer::Unavailable(_)), "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn one_message_causes_few_fetches() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let network = Arc::new(Canned::default());
    let world = world.with(&network);
    let people: Vec<Certificate> = (1..10)
        .map(|serial| {
            let key = world.middle.key.public_key();
            CertificateBuilder::new(common_name("Somebody").unwrap(), key)
                .serial(&[serial])
                .issued_by(&world.middle.certificate, &world.middle.key)
                .unwrap()
        })
        .collect();
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        for one in &people {
            desk.status(one, world.middle.certificate.subject(), &[]);
        }
    })
    .await;
    assert_eq!(network.count(), MAX_FETCHES);
}

#[test]
fn a_list_covers_what_its_scope_says() {
    let root = ca("Root", None);
    let point = |url: &str| DistributionPointName::Full(vec![GeneralName::Uri(url.into())]);
    let points = [DistributionPoint {
        name: Some(point(LIST)),
        ..DistributionPoint::default()
    }];
    let alice = CertificateBuilder::new(common_name("Alice").unwrap(), root.key.public_key())
        .crl_distribution_points(&points)
        .issued_by(&root.certificate, &root.key)
        .unwrap();
    let covers_by = |scope: IssuingDistributionPoint, until: i64| {
        let list = CrlBuilder::new(NOW, Some(NOW.plus(until))).issuing_distribution_point(&scope);
        let list = list.issued_by(&root.certificate, &root.key).unwrap();
        covers(&list, &alice, &root.certificate, NOW.plus(10))
    };
    let all = IssuingDistributionPoint::default;
    let users = IssuingDistributionPoint {
        only_user_certs: true,
        ..all()
    };
    let authorities = IssuingDistributionPoint {
        only_ca_certs: true,
        ..all()
    };
    let named = |url: &str| IssuingDistributionPoint {
        name: Some(point(url)),
        ..all()
    };
    assert!(covers_by(users.clone(), 10) && covers_by(named(LIST), 10));
    assert!(!covers_by(users, 9), "stale");
    assert!(!covers_by(authorities, 10) && !covers_by(named(OCSP), 10));
}

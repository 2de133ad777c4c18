//! Authorities that only came with the mail: who may be asked below them, and that none is believed.

use super::*;

/// What is answered about a certificate whose issuers may be among these: lists, OCSP responses, and whether somebody
/// was left unasked.
fn asked(
    desk: &mut Desk<'_>,
    certificate: &Certificate,
    candidates: &[Certificate],
) -> (usize, usize, bool) {
    match desk.status(certificate, certificate.issuer(), candidates) {
        Answer::Status {
            crls,
            ocsp,
            unasked,
        } => (crls.len(), ocsp.len(), unasked),
        other => panic!("{other:?}"),
    }
}

/// One that knows no intermediate authority.
async fn stranger(fetch: &str) -> World {
    let mut world = world(fetch).await;
    world.snapshot.known = CertStore::default();
    world
}

/// A certificate of this name and number below an authority.
fn person(name: &str, serial: u8, by: &Ca) -> Certificate {
    CertificateBuilder::new(common_name(name).unwrap(), by.key.public_key())
        .serial(&[serial])
        .issued_by(&by.certificate, &by.key)
        .unwrap()
}

#[tokio::test]
async fn a_certificate_below_an_authority_that_came_with_the_mail_is_asked_about() {
    let world = stranger(&format!("ocsp = \"{OCSP}\"")).await;
    let good = world.good(&world.middle, None);
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    aside(move || {
        let middle = [world.middle.certificate.clone()];
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(asked(&mut desk, &world.alice, &[]), (0, 0, false));
        assert_eq!(asked(&mut desk, &world.alice, &middle), (0, 1, false));
        // It is found then, as one that was fetched.
        assert_eq!(asked(&mut desk, &world.alice, &[]), (0, 1, false));
    })
    .await;
    assert_eq!(network.count(), 1);
}

#[tokio::test]
async fn a_list_of_an_authority_that_came_with_the_mail_is_fetched() {
    let hosts = "from_certificates = true, hosts = [\"crl.example\"]";
    let world = stranger(hosts).await;
    let list = world.list().der().to_vec();
    let network = Arc::new(Canned::default().put(LIST, list));
    let world = world.with(&network);
    aside(move || {
        let middle = [world.middle.certificate.clone()];
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(asked(&mut desk, &world.alice, &middle), (1, 0, false));
    })
    .await;
    assert_eq!(network.count(), 1);
}

#[tokio::test]
async fn a_list_that_cannot_be_kept_tells_what_it_tells() {
    let world = world("from_certificates = true, hosts = [\"crl.example\"]").await;
    let list = world.list().der().to_vec();
    let network = Arc::new(Canned::default().put(LIST, list));
    let mut world = world.with(&network);
    let store = Store::open(&world.dir.path().join("lost.sqlite")).await;
    let store = store.unwrap();
    store.clone().close().await;
    world.snapshot.store = Some(store);
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(world.asked(&mut desk), (1, 0));
    })
    .await;
    assert_eq!(network.count(), 1);
}

#[tokio::test]
async fn the_way_up_may_be_long_and_in_any_order() {
    let world = stranger(&format!("ocsp = \"{OCSP}\"")).await;
    let low = ca("Low", Some(&world.middle));
    let lowest = ca("Lowest", Some(&low));
    let bob = person("Bob", 1, &lowest);
    let good = OcspBuilder::new(NOW)
        .answer(&bob, lowest.key.public_key(), CertStatus::Good, (NOW, None))
        .signed_der(&lowest.key)
        .unwrap();
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    aside(move || {
        let mut way = vec![
            world.root.certificate.clone(),
            bob.clone(),
            world.middle.certificate.clone(),
            lowest.certificate.clone(),
            low.certificate.clone(),
        ];
        for _ in 0..2 {
            let mut desk = Desk::new(&world.snapshot, NOW);
            assert_eq!(asked(&mut desk, &bob, &way), (0, 1, false));
            way.reverse();
        }
        // With one missing it leads nowhere.
        way.retain(|one| *one != low.certificate);
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(asked(&mut desk, &bob, &way), (0, 0, false));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_asked_for_authorities_that_a_mail_invents() {
    let world = stranger(&format!("ocsp = \"{OCSP}\"")).await;
    let network = Arc::new(Canned::default());
    let world = world.with(&network);
    // By another key in the same name; by a root of its own; by somebody who is no authority.
    let impostor = ca("Middle", None);
    let (root, key) = (ca("Root", None), SoftKey::generate(KeyType::P256).unwrap());
    let below = ca("Middle", Some(&root));
    let mallory = CertificateBuilder::new(common_name("Mallory").unwrap(), key.public_key())
        .mail_signer(&["mallory@example.jp"])
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    let mallory = Ca {
        key,
        certificate: mallory,
    };
    let middle = world.middle.certificate.clone();
    aside(move || {
        for (by, certificates) in [
            (&impostor, vec![impostor.certificate.clone()]),
            (
                &below,
                vec![below.certificate.clone(), root.certificate.clone()],
            ),
            (&mallory, vec![mallory.certificate.clone(), middle.clone()]),
        ] {
            let forged = person("Forged", 1, by);
            let mut desk = Desk::new(&world.snapshot, NOW);
            let answer = asked(&mut desk, &forged, &certificates);
            assert_eq!(answer, (0, 0, false));
            assert!(desk.found.is_empty());
        }
    })
    .await;
    assert_eq!(network.count(), 0);
}

/// What a mail brings must not choose how long this takes; and what was not looked at is not what nobody knows.
#[tokio::test]
async fn a_crowd_of_authorities_costs_no_more_than_it_may() {
    let world = stranger(&format!("ocsp = \"{OCSP}\"")).await;
    let good = world.good(&world.middle, None);
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let crowd = (1..=63).map(|serial| {
        CertificateBuilder::new(common_name("Middle").unwrap(), key.public_key())
            .serial(&[serial])
            .authority(None)
            .self_signed(&key)
            .unwrap()
    });
    let mut crowd: Vec<Certificate> = crowd.collect();
    crowd.push(world.middle.certificate.clone());
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(asked(&mut desk, &world.alice, &crowd), (0, 1, false));
        assert!(MAX_CHECKS - desk.checks <= 65);
        // Of another name, so that the one that was found does not help.
        let decoy = ca("Decoy", None);
        let nobody = person("Nobody", 1, &decoy);
        let far: Vec<Certificate> = (1..=64)
            .map(|serial| person("Decoy", serial, &decoy))
            .collect();
        assert_eq!(
            asked(&mut desk, &nobody, &far),
            (0, 0, false),
            "no authorities"
        );
        let mut desk = Desk::new(&world.snapshot, NOW);
        let ring: Vec<Certificate> = (1..=64)
            .map(|serial| {
                CertificateBuilder::new(common_name("Decoy").unwrap(), decoy.key.public_key())
                    .serial(&[serial])
                    .authority(None)
                    .self_signed(&decoy.key)
                    .unwrap()
            })
            .collect();
        assert_eq!(asked(&mut desk, &nobody, &ring), (0, 0, true));
        assert_eq!(desk.checks, 0);
        assert_eq!(asked(&mut desk, &world.alice, &crowd), (0, 0, true));
    })
    .await;
    assert_eq!(network.count(), 1);
}

const NOBODY: &str = "http://crl.other.example/a.crl";

/// One whose middle authority is certified by a second anchor too, which names no responder; and that other
/// certificate.
async fn cross_certified() -> (World, Certificate) {
    let mut world = stranger(&format!("ocsp = \"{OCSP}\"")).await;
    let other = ca("Other", None);
    let text = format!(
        "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\nfetch = {{ ocsp = \"{OCSP}\" }}\n\
         [[anchor]]\nname = \"b\"\nfile = \"1.pem\"\nfetch = {{ crl = [\"{NOBODY}\"] }}\n"
    );
    world.snapshot.sources = read(&text, &[&world.root, &other]).unwrap();
    let middle = CertificateBuilder::new(
        common_name("Middle").unwrap(),
        world.middle.key.public_key(),
    );
    let middle = middle
        .authority(None)
        .issued_by(&other.certificate, &other.key)
        .unwrap();
    (world, middle)
}

/// Mallory has the certificate of the anchor that nobody is asked for come first, and is good under the other one.
#[tokio::test]
async fn the_order_of_cross_certificates_does_not_choose_whose_responder_is_asked() {
    let (world, by_other) = cross_certified().await;
    let low = ca("Low", Some(&world.middle));
    let bob = person("Bob", 1, &low);
    let good = world.good(&world.middle, None);
    let of_bob = OcspBuilder::new(NOW)
        .answer(&bob, low.key.public_key(), CertStatus::Good, (NOW, None))
        .signed_der(&low.key)
        .unwrap();
    let by_root = world.middle.certificate.clone();
    let one = || vec![by_root.clone()];
    let other = || vec![by_other.clone()];
    let both = || vec![by_root.clone(), by_other.clone()];
    let turned = || vec![by_other.clone(), by_root.clone()];
    let cases = [
        (vec![], both()),
        (vec![], turned()),
        (other(), one()),
        (other(), turned()),
        (one(), other()),
        (both(), vec![]),
        (turned(), vec![]),
    ];
    let network = Arc::new(Canned::default().put(OCSP, good));
    let count = cases.len();
    let mut world = world.with(&network);
    let own = cases.clone();
    world = aside(move || {
        for (known, candidates) in own {
            world.snapshot.known = CertStore::new(known, Vec::new(), &[]);
            world.snapshot.asked = Arc::default();
            let mut desk = Desk::new(&world.snapshot, NOW);
            assert_eq!(asked(&mut desk, &world.alice, &candidates), (0, 1, false));
            assert!(MAX_CHECKS - desk.checks <= 6);
        }
        world
    })
    .await;
    assert_eq!(network.count(), count);
    // And a level higher, with the issuer known or not.
    let network = Arc::new(Canned::default().put(OCSP, of_bob));
    let mut world = world.with(&network);
    aside(move || {
        for (known, candidates) in cases {
            let lowest = || vec![low.certificate.clone()];
            for (more, brought) in [(lowest(), vec![]), (vec![], lowest())] {
                let known = [known.clone(), more].concat();
                world.snapshot.known = CertStore::new(known, Vec::new(), &[]);
                world.snapshot.asked = Arc::default();
                let mut desk = Desk::new(&world.snapshot, NOW);
                let candidates = [candidates.clone(), brought].concat();
                assert_eq!(asked(&mut desk, &bob, &candidates), (0, 1, false));
            }
        }
    })
    .await;
    assert_eq!(network.count(), 2 * count);
}

/// What is not looked at any more might have led to somebody who knows.
#[tokio::test]
async fn a_cross_certificate_that_was_not_looked_at_leaves_somebody_unasked() {
    let (mut world, by_other) = cross_certified().await;
    world.snapshot.known = CertStore::new(vec![by_other], Vec::new(), &[]);
    let good = world.good(&world.middle, None);
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    aside(move || {
        let by_root = [world.middle.certificate.clone()];
        let mut desk = Desk::new(&world.snapshot, NOW);
        desk.checks = 0;
        assert_eq!(asked(&mut desk, &world.alice, &[]), (0, 0, false));
        assert_eq!(asked(&mut desk, &world.alice, &by_root), (0, 0, true));
        desk.checks = 2;
        assert_eq!(asked(&mut desk, &world.alice, &by_root), (0, 1, false));
        // It is found then, and costs nothing more.
        assert_eq!(asked(&mut desk, &world.alice, &by_root), (0, 1, false));
    })
    .await;
    assert_eq!(network.count(), 1);
}

/// The responder of one authority kept those from being asked that another one's certificates name.
#[tokio::test]
async fn the_responder_of_one_authority_does_not_stand_for_those_of_another() {
    const SILENT: &str = "http://silent.example/";
    let (mut world, by_other) = cross_certified().await;
    let other = ca("Other", None);
    let text = format!(
        "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\n\
         fetch = {{ from_certificates = true, hosts = [\"ocsp.example\"] }}\n\
         [[anchor]]\nname = \"b\"\nfile = \"1.pem\"\nfetch = {{ ocsp = \"{SILENT}\" }}\n"
    );
    let by_other = CertificateBuilder::new(common_name("Middle").unwrap(), by_other.public_key())
        .authority(None)
        .issued_by(&other.certificate, &other.key)
        .unwrap();
    world.snapshot.sources = read(&text, &[&world.root, &other]).unwrap();
    let good = world.good(&world.middle, None);
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    aside(move || {
        let both = [by_other, world.middle.certificate.clone()];
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(asked(&mut desk, &world.alice, &both), (0, 1, false));
    })
    .await;
}

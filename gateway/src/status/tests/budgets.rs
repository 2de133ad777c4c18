//! What a message may cause, and that what it may not is told from what nobody knows.

use std::future;

use kenin_certstore::fetch::{Fetching, Host, Sink};

use super::*;

/// Takes every request, and never answers.
struct Silent;

impl Fetch for Silent {
    fn fetch<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _limits: &'a Limits,
        _sink: Sink<'a>,
    ) -> Fetching<'a> {
        Box::pin(future::pending())
    }
}

/// People whom the middle authority gave certificates to.
fn crowd(world: &World) -> Vec<Certificate> {
    let key = world.middle.key.public_key();
    let form =
        |serial| CertificateBuilder::new(common_name("Decoy").unwrap(), key).serial(&[serial]);
    let people = (1..=9).map(|serial| {
        form(serial)
            .issued_by(&world.middle.certificate, &world.middle.key)
            .unwrap()
    });
    people.collect()
}

/// A certificate of an issuer that nobody knows, who is said to be there.
fn orphan(issuer_at: &str) -> Certificate {
    let stranger = ca("Stranger", None);
    let places = [uri(oid::AD_CA_ISSUERS, issuer_at)];
    CertificateBuilder::new(common_name("Orphan").unwrap(), stranger.key.public_key())
        .extension(oid::AUTHORITY_INFO_ACCESS, false, &write::seq(&places))
        .issued_by(&stranger.certificate, &stranger.key)
        .unwrap()
}

#[tokio::test]
async fn decoy_signers_do_not_make_a_status_one_that_nobody_knows() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let network = Arc::new(Canned::default());
    let world = world.with(&network);
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        for (number, one) in crowd(&world).iter().enumerate() {
            let left_out = number >= MAX_FETCHES;
            assert_eq!(is_unasked(&world, &mut desk, one), left_out, "{number}");
        }
        assert!(is_unasked(&world, &mut desk, &world.alice));
        // A responder that was asked, for this message or lately, and did not answer is one that does not know.
        for _ in 0..2 {
            let mut desk = Desk::new(&world.snapshot, NOW);
            assert!(!is_unasked(&world, &mut desk, &world.alice));
        }
    })
    .await;
    assert_eq!(network.count(), MAX_FETCHES + 1);
}

#[tokio::test]
async fn decoy_issuers_take_nothing_from_status() {
    let hosts = "from_certificates = true, hosts = [\"crl.example\", \"ocsp.example\"]";
    let world = world(hosts).await;
    let good = world.good(&world.middle, None);
    let network = Arc::new(Canned::default().put(OCSP, good));
    let world = world.with(&network);
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        for number in 0..9 {
            let orphan = orphan(&format!("http://crl.example/{number}.cer"));
            let answer = desk.issuers(orphan.issuer(), None, &orphan);
            assert!(matches!(answer, Answer::Unavailable(_)), "{answer:?}");
        }
        assert_eq!(desk.for_issuers.left, 0);
        desk.for_issuers.patience = Duration::ZERO;
        assert_eq!(world.asked(&mut desk), (0, 1));
    })
    .await;
    assert_eq!(network.count(), MAX_FETCHES + 1);
}

#[tokio::test]
async fn an_issuer_at_the_url_of_a_list_does_not_keep_the_list_away() {
    let hosts = "from_certificates = true, hosts = [\"crl.example\"]";
    let world = world(hosts).await;
    let list = world.list().der().to_vec();
    let network = Arc::new(Canned::default().put(LIST, list));
    let world = world.with(&network);
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        let orphan = orphan(LIST);
        let answer = desk.issuers(orphan.issuer(), None, &orphan);
        assert!(matches!(answer, Answer::Unavailable(_)), "{answer:?}");
        assert_eq!(world.asked(&mut desk), (1, 0));
    })
    .await;
    assert_eq!(network.count(), 2);
}

#[tokio::test]
async fn a_status_for_which_no_time_is_left_is_not_one_that_nobody_knows() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let good = world.good(&world.middle, None);
    let network = Arc::new(Canned::default().put(OCSP, good));
    let mut world = world.with(&network);
    world = aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        desk.for_status.patience = Duration::ZERO;
        assert!(is_unasked(&world, &mut desk, &world.alice));
        world
    })
    .await;
    assert_eq!(network.count(), 0);
    // Asked, but broken off.
    let sources = world.snapshot.sources.as_mut().unwrap();
    sources.network = Arc::new(Silent);
    world = aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        desk.for_status.patience = LEAST + Duration::from_millis(500);
        assert!(is_unasked(&world, &mut desk, &world.alice));
        world
    })
    .await;
    // The next message finds it as if nobody had asked.
    let world = world.with(&network);
    aside(move || {
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert_eq!(world.asked(&mut desk), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn a_host_that_was_asked_too_much_is_not_one_that_does_not_know() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let network = Arc::new(Canned::default());
    let world = world.with(&network);
    aside(move || {
        let host = Host::Name("ocsp.example".to_owned());
        for number in 0..300 {
            let key = number.to_string();
            drop(world.snapshot.asked.begin(Kind::Ocsp, &key, &host, NOW.0));
        }
        let mut desk = Desk::new(&world.snapshot, NOW);
        assert!(is_unasked(&world, &mut desk, &world.alice));
    })
    .await;
    assert_eq!(network.count(), 0);
}

#[tokio::test]
async fn a_list_is_held_until_it_may_be_asked_for_again() {
    let hosts = "from_certificates = true, hosts = [\"crl.example\"]";
    let mut world = world(hosts).await;
    // One that has ended is held too: what it revokes stays revoked.
    for (until, times) in [(DAY, [0, 601, 3599]), (-1, [0, 300, 599])] {
        let list = CrlBuilder::new(NOW.plus(-60), Some(NOW.plus(until)))
            .issued_by(&world.middle.certificate, &world.middle.key)
            .unwrap();
        let network = Arc::new(Canned::default().put(LIST, list.der().to_vec()));
        world.snapshot.asked = Arc::default();
        world = world.with(&network);
        world = aside(move || {
            for time in times {
                let mut desk = Desk::new(&world.snapshot, NOW.plus(time));
                assert_eq!(world.asked(&mut desk), (1, 0), "{until} {time}");
            }
            world
        })
        .await;
        assert_eq!(network.count(), 1);
    }
}

//! Which answers of a responder are passed on, and for how long they are remembered.

use std::path::Path;

use kenin_pki::address::Address;
use kenin_pki::crl::{RevocationReason, RevokedEntry};
use kenin_pki::crypto::{DigestAlgorithm, SignatureAlgorithm};
use kenin_pki::extension::KeyUsage;
use kenin_pki::time::CLOCK_SKEW;
use kenin_policy::recipient::{self, RecipientCase};
use kenin_policy::{PathCache, TrustPolicy};

use super::*;

const REVOKED: CertStatus = CertStatus::Revoked(RevokedEntry {
    date: UnixTime(NOW.0 - DAY),
    reason: RevocationReason::KeyCompromise,
    invalidity_date: None,
});

/// An answer about Alice, made at its thisUpdate; all times in seconds from now.
fn answer(world: &World, status: CertStatus, since: i64, until: i64) -> OcspBuilder {
    let times = (NOW.plus(since), Some(NOW.plus(until)));
    OcspBuilder::new(NOW.plus(since)).answer(
        &world.alice,
        world.middle.key.public_key(),
        status,
        times,
    )
}

/// Asks at these seconds from now. How many answers were passed on each time, and how many fetches there were by then.
async fn ask_at(world: World, body: Vec<u8>, times: &[i64]) -> (World, Vec<(usize, usize)>) {
    let network = Arc::new(Canned::default().put(OCSP, body));
    let mut world = world.with(&network);
    world.snapshot.asked = Arc::default();
    let mut seen = Vec::new();
    for time in times {
        let now = NOW.plus(*time);
        let (came, back) = aside(move || {
            let (_, came) = world.asked(&mut Desk::new(&world.snapshot, now));
            (came, world)
        })
        .await;
        world = back;
        seen.push((came, network.count()));
    }
    (world, seen)
}

#[tokio::test]
async fn a_responder_whose_clock_is_a_second_ahead_is_passed_on() {
    let mut world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let ahead = CLOCK_SKEW + 1;
    for (status, since, came) in [
        (CertStatus::Good, 1, 1),
        (REVOKED, 1, 1),
        (CertStatus::Good, CLOCK_SKEW, 1),
        (CertStatus::Good, ahead, 0),
        (CertStatus::Unknown, ahead, 0),
        // The path makes no good news of it.
        (REVOKED, ahead, 1),
    ] {
        let body = answer(&world, status, since, DAY);
        let body = body.signed_der(&world.middle.key).unwrap();
        let seen;
        (world, seen) = ask_at(world, body, &[0]).await;
        assert_eq!(seen, [(came, 1)], "{status:?} {since}");
    }
}

#[tokio::test]
async fn a_stale_answer_that_revokes_is_passed_on_and_not_remembered() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let body = answer(&world, REVOKED, -DAY, -1);
    let body = body.signed_der(&world.middle.key).unwrap();
    let (world, seen) = ask_at(world, body, &[0, 0, 1]).await;
    assert_eq!(seen, [(1, 1), (1, 2), (1, 3)]);
    // While it is fresh once is enough.
    let body = answer(&world, REVOKED, -DAY, 50);
    let body = body.signed_der(&world.middle.key).unwrap();
    let (_, seen) = ask_at(world, body, &[0, 49, 50]).await;
    assert_eq!(seen, [(1, 1), (1, 1), (1, 2)]);
}

#[tokio::test]
async fn an_answer_that_tells_no_status_is_forgotten_in_a_minute() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let times = [0, 59, 60];
    let (forgotten, kept) = ([(1, 1), (1, 1), (1, 2)], [(1, 1), (1, 1), (1, 1)]);
    let body = answer(&world, CertStatus::Unknown, 0, DAY);
    let body = body.signed_der(&world.middle.key).unwrap();
    let (mut world, seen) = ask_at(world, body, &times).await;
    assert_eq!(seen, forgotten, "unknown");
    let key = SoftKey::generate(KeyType::P256).unwrap();
    // Without id-pkix-ocsp-nocheck the responder's own status would have to be known.
    for (valid_for, no_check, wanted) in [
        (DAY, true, kept),
        (-1, true, forgotten),
        (DAY, false, forgotten),
    ] {
        let form = CertificateBuilder::new(common_name("Responder").unwrap(), key.public_key())
            .validity(NOW.plus(-9 * DAY), NOW.plus(valid_for))
            .key_usage(KeyUsage::DIGITAL_SIGNATURE)
            .ext_key_usage(&[oid::OCSP_SIGNING]);
        let form = match no_check {
            true => form.extension(oid::OCSP_NO_CHECK, false, &[5, 0]),
            false => form,
        };
        let responder = form
            .issued_by(&world.middle.certificate, &world.middle.key)
            .unwrap();
        let body = answer(&world, CertStatus::Good, 0, DAY).certificate(&responder);
        let body = body.signed_der(&key).unwrap();
        let seen;
        (world, seen) = ask_at(world, body, &times).await;
        assert_eq!(seen, wanted, "{valid_for} {no_check}");
    }
    // One in the issuer's own words, with a digest that nothing rests on.
    let weak = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha1);
    let body = answer(&world, CertStatus::Good, 0, DAY).algorithm(weak);
    let body = body.signed_der(&world.middle.key).unwrap();
    let (_, seen) = ask_at(world, body, &times).await;
    assert_eq!(seen, forgotten, "weak");
}

/// Else whoever has the key of a responder whose time is over keeps away the list that revokes.
#[tokio::test]
async fn an_answer_that_tells_no_status_keeps_no_list_away() {
    let fetch = format!("ocsp = \"{OCSP}\", from_certificates = true, hosts = [\"crl.example\"]");
    let key = SoftKey::generate(KeyType::P256).unwrap();
    // The list as well where it did not tell, and no list where it did.
    for (valid_for, wanted) in [(-1, (1, 1)), (DAY, (0, 1))] {
        let world = world(&fetch).await;
        let responder =
            CertificateBuilder::new(common_name("Responder").unwrap(), key.public_key())
                .validity(NOW.plus(-9 * DAY), NOW.plus(valid_for))
                .key_usage(KeyUsage::DIGITAL_SIGNATURE)
                .ext_key_usage(&[oid::OCSP_SIGNING])
                .extension(oid::OCSP_NO_CHECK, false, &[5, 0])
                .issued_by(&world.middle.certificate, &world.middle.key)
                .unwrap();
        let body = answer(&world, CertStatus::Good, 0, DAY).certificate(&responder);
        let body = body.signed_der(&key).unwrap();
        let list = world.list().der().to_vec();
        let world = world.with(&Arc::new(Canned::default().put(OCSP, body).put(LIST, list)));
        aside(move || {
            for _ in 0..2 {
                let mut desk = Desk::new(&world.snapshot, NOW);
                assert_eq!(world.asked(&mut desk), wanted, "{valid_for}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_is_remembered_for_a_day_at_most() {
    let world = world(&format!("ocsp = \"{OCSP}\"")).await;
    let body = answer(&world, CertStatus::Good, 0, 9 * DAY);
    let body = body.signed_der(&world.middle.key).unwrap();
    let (_, seen) = ask_at(world, body, &[0, DAY - 1, DAY]).await;
    // The clock of the pacing does not go along: it is too soon to ask again.
    assert_eq!(seen, [(1, 1), (1, 1), (0, 1)]);
}

/// Finds Bob's path by what was found before, without a status; how many are known then.
fn paths_with(world: &World, bob: &Certificate) -> usize {
    let (snapshot, address) = (&world.snapshot, Address::parse("bob@example.jp").unwrap());
    let known = snapshot.known.intermediates();
    let certificates = [bob.clone()];
    let case = RecipientCase::new(&address, &certificates, &snapshot.trust, known, NOW);
    let case = case.cached(&snapshot.paths);
    let judged = recipient::run(&case, |question| panic!("{question:?}"));
    assert_eq!(judged.good, [0]);
    snapshot.paths.len()
}

/// A recipient's path is believed for an hour, but not against what has come since, whatever mail it came for.
#[tokio::test]
async fn what_may_revoke_ends_what_was_found_valid_before() {
    let fetch = format!("ocsp = \"{OCSP}\", from_certificates = true, hosts = [\"crl.example\"]");
    let mut world = world(&fetch).await;
    let root = world.root.certificate.clone();
    let load = move |_: &Path| -> Result<Vec<Certificate>, String> { Ok(vec![root.clone()]) };
    let text = "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\nrevocation = \"off\"\n";
    world.snapshot.trust = TrustPolicy::from_toml(text, "trust.toml", &load).unwrap();
    let key = SoftKey::generate(KeyType::P256).unwrap();
    let bob = CertificateBuilder::new(common_name("Bob").unwrap(), key.public_key())
        .mail(&["bob@example.jp"])
        .key_usage(KeyUsage::KEY_AGREEMENT)
        .issued_by(&world.middle.certificate, &world.middle.key)
        .unwrap();
    let signed = |status| {
        let body = answer(&world, status, 0, DAY);
        body.signed_der(&world.middle.key).unwrap()
    };
    let came = [
        (OCSP, signed(CertStatus::Good), 1),
        (OCSP, signed(REVOKED), 0),
        (LIST, world.list().der().to_vec(), 0),
    ];
    for (url, body, left) in came {
        world = world.with(&Arc::new(Canned::default().put(url, body)));
        world.snapshot.asked = Arc::default();
        world.snapshot.paths = PathCache::following(world.snapshot.asked.news().clone());
        assert_eq!(paths_with(&world, &bob), 1);
        world = aside(move || {
            world.asked(&mut Desk::new(&world.snapshot, NOW));
            world
        })
        .await;
        assert_eq!(world.snapshot.paths.len(), left, "{url}");
    }
}

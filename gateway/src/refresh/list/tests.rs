use kenin_pki::crl::RevocationReason;
use kenin_pki::crypto::{DigestAlgorithm, SignatureAlgorithm, SigningKey};
use kenin_pki::der::write;
use kenin_pki::extension::{
    BasicConstraints, DistributionPointName, GeneralName, IssuingDistributionPoint, ReasonFlags,
};
use kenin_pki::issue::{CertificateBuilder, CrlBuilder, common_name};
use kenin_pki::oid;
use kenin_pki::pem;
use kenin_pki::time::CLOCK_SKEW;

use super::*;
use crate::sources::tests::{Ca, Canned, ca, read};

mod endless;

const URL: &str = "http://ca.example/a.crl";
const DIRECTORY: &str = "ldap://a.example/cn=A?certificateRevocationList;binary";
const NOW: UnixTime = UnixTime(1_800_000_000);

struct World {
    root: Ca,
    middle: Ca,
    other: Ca,
    sources: crate::sources::Sources,
    known: CertStore,
}

fn world() -> World {
    let (root, other) = (ca("Root", None), ca("Other", None));
    let middle = ca("Middle", Some(&root));
    let text = format!(
        "[[anchor]]\nname = \"a\"\nfile = \"0.pem\"\nfetch = {{ crl = [\"{URL}\", \"{DIRECTORY}\"] }}\n\
         [[anchor]]\nname = \"b\"\nfile = \"1.pem\"\nfetch = {{ crl = [\"http://b.example/\"] }}\n"
    );
    let sources = read(&text, &[&root, &other]).unwrap().unwrap();
    let known = CertStore::new(vec![middle.certificate.clone()], Vec::new(), &[]);
    World {
        root,
        middle,
        other,
        sources,
        known,
    }
}

impl World {
    async fn fetch(&self, body: Vec<u8>) -> Result<Received, NotTaken> {
        self.fetch_from(URL, body).await
    }

    async fn fetch_from(&self, url: &str, body: Vec<u8>) -> Result<Received, NotTaken> {
        let network = Canned::default().put(url, body);
        let anchor = &self.sources.anchors[0];
        let mut places = anchor.lists.iter();
        let source = Source {
            network: &network,
            anchor,
            place: places.find(|place| place.to_string() == url).unwrap(),
            known: &self.known,
            more: &[],
            index: &RevocationIndex::passing(),
        };
        source.fetch(&Limits::CRL, NOW).await
    }
}

fn day(days: i64) -> UnixTime {
    NOW.plus(days * 86_400)
}

fn form() -> CrlBuilder {
    CrlBuilder::new(day(-1), Some(day(1)))
}

fn by(ca: &Ca, form: CrlBuilder) -> Crl {
    form.issued_by(&ca.certificate, &ca.key).unwrap()
}

#[tokio::test]
async fn lists_of_the_anchor_and_of_authorities_below_it_count() {
    let world = world();
    for ca in [&world.root, &world.middle] {
        let list = by(ca, form());
        for body in [
            list.der().to_vec(),
            pem::encode("X509 CRL", list.der()).into_bytes(),
        ] {
            let received = world.fetch(body).await.unwrap();
            assert_eq!(received.crl, list);
            assert_eq!(received.by.id(), ca.key.public_key().id());
        }
    }
}

/// As under an entry of a directory whose authority has had two keys.
#[tokio::test]
async fn of_several_lists_the_newest_that_counts_is_taken() {
    let world = world();
    let impostor = ca("Root", None);
    let of = |by_whom: &Ca, this: i64| by(by_whom, CrlBuilder::new(day(this), Some(day(1))));
    let lists = [
        of(&world.root, -3),
        of(&world.middle, -2),
        of(&impostor, -1),
    ];
    let text = |lists: &[Crl]| -> Vec<u8> {
        let all = lists.iter().map(|list| pem::encode("X509 CRL", list.der()));
        all.collect::<String>().into_bytes()
    };
    let fetch = |lists: &[Crl]| world.fetch_from(DIRECTORY, text(lists));
    assert_eq!(fetch(&lists).await.unwrap().crl, lists[1]);
    let error = fetch(&lists[2..]).await.unwrap_err();
    assert!(error.to_string().contains("no key of CN=Root"), "{error}");
    let many = vec![lists[0].clone(); MAX_LISTS + 1];
    let error = fetch(&many).await.unwrap_err();
    assert!(error.to_string().contains("17 of them"), "{error}");
    // A web server has one under each URL.
    let error = world.fetch(text(&lists)).await.unwrap_err();
    assert!(error.to_string().contains("3 of them"), "{error}");
}

/// PKI-01.
#[tokio::test]
async fn what_does_not_count_is_refused_with_the_reason() {
    let world = world();
    let impostor = ca("Root", None);
    let mut broken = by(&world.root, form()).der().to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let helper = ca("Root", None);
    let unable = CertificateBuilder::new(common_name("Mute").unwrap(), helper.key.public_key())
        .basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .key_usage(KeyUsage::KEY_CERT_SIGN)
        .issued_by(&world.root.certificate, &world.root.key)
        .unwrap();
    let mute = Ca {
        key: helper.key,
        certificate: unable,
    };
    let known = vec![world.middle.certificate.clone(), mute.certificate.clone()];
    let world = World {
        known: CertStore::new(known, Vec::new(), &[]),
        ..world
    };
    let unknown = oid::SUBJECT_INFO_ACCESS;
    for (body, words) in [
        (by(&impostor, form()).der().to_vec(), "no key of CN=Root"),
        (broken, "no key of CN=Root"),
        (by(&mute, form()).der().to_vec(), "no key of CN=Mute"),
        (
            by(&world.other, form()).der().to_vec(),
            "no certificate of its issuer",
        ),
        (
            by(&world.root, CrlBuilder::new(day(1), Some(day(2))))
                .der()
                .to_vec(),
            "of the future",
        ),
        (
            by(&world.root, form().extension(unknown, true, &[5, 0]))
                .der()
                .to_vec(),
            "critical extension",
        ),
        (
            by(&world.root, form().without_number().delta(1))
                .der()
                .to_vec(),
            "without a number",
        ),
    ] {
        let error = world.fetch(body).await.unwrap_err();
        assert!(matches!(error, NotTaken::Refused(_)), "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    // One that is known, and stands elsewhere.
    let known = vec![world.other.certificate.clone()];
    let world = World {
        known: CertStore::new(known, Vec::new(), &[]),
        ..world
    };
    let body = by(&world.other, form()).der().to_vec();
    let error = world.fetch(body).await.unwrap_err().to_string();
    assert!(
        error.contains("not stand below the anchor \"a\""),
        "{error}"
    );
}

/// It may have been made in the second in which it is fetched, by a clock that is ahead of ours.
#[tokio::test]
async fn a_list_made_a_second_ahead_is_taken() {
    let world = world();
    for (ahead, taken) in [(1, true), (CLOCK_SKEW, true), (CLOCK_SKEW + 1, false)] {
        let list = by(&world.root, CrlBuilder::new(NOW.plus(ahead), Some(day(1))));
        let received = world.fetch(list.der().to_vec()).await;
        assert_eq!(received.is_ok(), taken, "{ahead}");
    }
}

/// An authority of this name below another that may sign certificates and no lists.
fn mute(name: &str, above: &Ca) -> Ca {
    let Ca { key, .. } = ca(name, None);
    let certificate = CertificateBuilder::new(common_name(name).unwrap(), key.public_key())
        .basic_constraints(BasicConstraints {
            ca: true,
            path_len: None,
        })
        .key_usage(KeyUsage::KEY_CERT_SIGN)
        .issued_by(&above.certificate, &above.key)
        .unwrap();
    Ca { key, certificate }
}

/// The same list with other octets as its signature.
fn resigned(list: &Crl, signature: &[u8]) -> Vec<u8> {
    let algorithm = list.signature_algorithm().to_der();
    write::seq(&[list.tbs(), &algorithm, &write::bit_string(signature)])
}

/// PKI-01: each would clear whom the list that is held has revoked. What is held stays as it is, octet by octet, and
/// the outcome is one that is logged as a warning and counted.
#[tokio::test]
async fn no_poisoned_list_changes_what_is_held() {
    let world = world();
    let mute = mute("Mute", &world.root);
    let known = [&world.middle, &world.other, &mute];
    let known = known.map(|ca| ca.certificate.clone()).to_vec();
    let world = World {
        known: CertStore::new(known, Vec::new(), &[]),
        ..world
    };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let place = &world.sources.anchors[0].lists[0];
    let attempt = async |body: Vec<u8>| {
        let received = world.fetch(body).await?;
        keep(&store, place, received, NOW).await
    };
    let of = |number: u64, this: i64| CrlBuilder::new(day(this), Some(day(2))).number(number);
    let newer = || of(6, 0);
    let (reason, date) = (RevocationReason::KeyCompromise, day(-1));
    let held = by(&world.root, of(5, -1).revoke(&[7], date, reason));
    let taken = attempt(held.der().to_vec()).await;
    assert_eq!(word(&taken), "new");
    let index = RevocationIndex::passing();
    let state = async || {
        let lists = store.crls(DEFAULT_TENANT, &index).await.unwrap();
        let lists: Vec<[u8; 32]> = lists.iter().map(|list| *list.sha256()).collect();
        let revision = store.revision(DEFAULT_TENANT).await.unwrap();
        (
            lists,
            revision,
            store.fetched(DEFAULT_TENANT).await.unwrap(),
        )
    };
    let before = state().await;
    assert_eq!(before.0, [*held.sha256()]);

    let (impostor, nobody) = (ca("Root", None), ca("Nobody", None));
    let good = by(&world.root, newer());
    let mut changed = good.der().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let der = |ca: &Ca, form: CrlBuilder| by(ca, form).der().to_vec();
    let unknown = oid::SUBJECT_INFO_ACCESS;
    let nonsense = |oid| newer().extension(oid, false, &[5, 0]);
    let forged = newer().issued_by(&world.root.certificate, &world.middle.key);
    let sha1 = SignatureAlgorithm::Ecdsa(DigestAlgorithm::Sha1);
    let poisoned = [
        ("unsigned", resigned(&good, b""), "no key of CN=Root"),
        ("changed", changed, "no key of CN=Root"),
        (
            "signed, but other octets",
            resigned(&good, held.signature()),
            "no key of CN=Root",
        ),
        (
            "same name, other key",
            der(&impostor, newer()),
            "no key of CN=Root",
        ),
        (
            "another authority in its name",
            forged.unwrap().der().to_vec(),
            "no key of CN=Root",
        ),
        (
            "by who may sign no lists",
            der(&mute, newer()),
            "no key of CN=Mute",
        ),
        (
            "wrong issuer",
            der(&nobody, newer()),
            "no certificate of its issuer",
        ),
        (
            "below another anchor",
            der(&world.other, newer()),
            "not stand below the anchor",
        ),
        (
            "SHA-1",
            der(&world.root, newer().algorithm(sha1)),
            "too weak",
        ),
        (
            "older number",
            der(&world.root, of(4, -1)),
            "older than the one",
        ),
        (
            "older with a higher number",
            der(&world.root, of(99, -2)),
            "older than the one",
        ),
        (
            "older without a number",
            der(&world.root, of(1, -2).without_number()),
            "older than the one",
        ),
        (
            "stale and of long ago",
            der(
                &world.root,
                CrlBuilder::new(day(-9), Some(day(-8))).number(99),
            ),
            "older than the one",
        ),
        (
            "of the future",
            der(&world.root, CrlBuilder::new(day(1), Some(day(2)))),
            "of the future",
        ),
        (
            "critical extension",
            der(&world.root, newer().extension(unknown, true, &[5, 0][..])),
            "critical extension",
        ),
        (
            "critical extension of an entry",
            der(
                &world.root,
                newer().revoke_with(&[8], date, reason, (unknown, true, &[5, 0][..])),
            ),
            "critical extension",
        ),
        (
            "entries of others, and not indirect",
            der(
                &world.root,
                newer().revoke_of(world.middle.certificate.subject(), &[8], date, reason),
            ),
            "critical extension",
        ),
        (
            "scope that cannot be read",
            der(&world.root, nonsense(oid::ISSUING_DISTRIBUTION_POINT)),
            "issuingDistributionPoint",
        ),
        (
            "number that cannot be read",
            der(&world.root, nonsense(oid::CRL_NUMBER).without_number()),
            "cRLNumber",
        ),
        (
            "key that cannot be read",
            der(&world.root, nonsense(oid::AUTHORITY_KEY_IDENTIFIER)),
            "authorityKeyIdentifier",
        ),
        (
            "delta without a base",
            der(&world.root, nonsense(oid::DELTA_CRL_INDICATOR)),
            "deltaCRLIndicator",
        ),
        (
            "delta without a number",
            der(&world.root, newer().without_number().delta(5)),
            "without a number",
        ),
        (
            "two in one answer",
            [held.der(), good.der()].concat(),
            "no revocation list",
        ),
    ];
    for (name, body, words) in poisoned {
        let outcome = attempt(body).await;
        let told = matches!(word(&outcome), "refused" | "older");
        assert!(told, "{name}: {}", word(&outcome));
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(words), "{name}: {words}: {error}");
        assert_eq!(state().await, before, "{name}");
    }
    // And one that is as it should be is taken over.
    assert_eq!(word(&attempt(good.der().to_vec()).await), "new");
}

/// PKI-01: a list of a part, or of some reasons, or of others' certificates, is news of that scope and takes the place
/// of none.
#[tokio::test]
async fn a_part_takes_no_whole_lists_place() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let place = &world.sources.anchors[0].lists[0];
    let whole = CrlBuilder::new(day(-1), Some(day(2))).number(5);
    let whole = by(&world.root, whole);
    let later = || CrlBuilder::new(NOW, Some(day(2))).number(6);
    let all = IssuingDistributionPoint::default;
    let points = [
        IssuingDistributionPoint {
            name: Some(DistributionPointName::Full(vec![GeneralName::Uri(
                URL.into(),
            )])),
            ..all()
        },
        IssuingDistributionPoint {
            only_user_certs: true,
            ..all()
        },
        IssuingDistributionPoint {
            only_ca_certs: true,
            ..all()
        },
        IssuingDistributionPoint {
            only_attribute_certs: true,
            ..all()
        },
        IssuingDistributionPoint {
            only_some_reasons: Some(ReasonFlags(2)),
            ..all()
        },
        IssuingDistributionPoint {
            indirect: true,
            ..all()
        },
    ];
    let mut bodies = vec![whole.clone()];
    bodies.extend(
        points
            .iter()
            .map(|point| by(&world.root, later().issuing_distribution_point(point))),
    );
    bodies.push(by(&world.root, later().delta(5)));
    let index = RevocationIndex::passing();
    for (count, list) in (1..).zip(&bodies) {
        let received = world.fetch(list.der().to_vec()).await.unwrap();
        let outcome = keep(&store, place, received, NOW).await;
        assert_eq!(word(&outcome), "new", "{count}");
        let held = store.crls(DEFAULT_TENANT, &index).await.unwrap();
        assert_eq!(held.len(), count);
        assert!(held.iter().any(|one| one.der() == whole.der()), "{count}");
    }
}

#[tokio::test]
async fn what_is_no_list_is_told_from_what_did_not_come() {
    let world = world();
    let list = by(&world.root, form());
    let two = [list.der(), by(&world.middle, form()).der()].concat();
    for body in [
        Vec::new(),
        b"<html>".to_vec(),
        world.root.certificate.der().to_vec(),
        list.der()[..50].to_vec(),
        two,
        // Long enough to go where long lists go.
        vec![0; 9 << 20],
        [list.der(), &vec![0; 9 << 20]].concat(),
    ] {
        let error = world.fetch(body).await.unwrap_err();
        assert!(matches!(error, NotTaken::NoList(_)), "{error}");
        assert_eq!(word(&Err(error)), "refused");
    }
    let source = Source {
        network: &Canned::default(),
        anchor: &world.sources.anchors[0],
        place: &world.sources.anchors[0].lists[0],
        known: &world.known,
        more: &[],
        index: &RevocationIndex::passing(),
    };
    let error = source.fetch(&Limits::CRL, NOW).await.unwrap_err();
    assert!(matches!(error, NotTaken::Fetch(_)), "{error}");
}

#[tokio::test]
async fn the_store_keeps_what_is_newer() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("kenin.sqlite")).await.unwrap();
    let place = &world.sources.anchors[0].lists[0];
    let put = async |form: CrlBuilder| {
        let body = by(&world.root, form).der().to_vec();
        let received = world.fetch(body).await.unwrap();
        let outcome = keep(&store, place, received, NOW).await;
        let revision = store.revision(DEFAULT_TENANT).await.unwrap();
        (word(&outcome), revision)
    };
    let of = |number: u64, this: i64| CrlBuilder::new(day(this), Some(day(2))).number(number);
    assert_eq!(put(of(1, -2)).await, ("new", 1));
    assert_eq!(put(of(1, -2)).await, ("unchanged", 1));
    assert_eq!(put(of(2, -1)).await, ("new", 2));
    assert_eq!(put(of(1, -2)).await, ("older", 2));
    // Another part of its certificates is another list.
    let point = IssuingDistributionPoint {
        only_user_certs: true,
        ..IssuingDistributionPoint::default()
    };
    let part = of(1, -2).issuing_distribution_point(&point);
    assert_eq!(put(part).await, ("new", 3));
    let fetched = store.fetched(DEFAULT_TENANT).await.unwrap();
    assert_eq!((fetched.len(), fetched[0].at), (1, NOW));
}

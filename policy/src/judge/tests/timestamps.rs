//! PKI-06: what a time stamp does for a certificate that was revoked in the meantime. Every cell of revocation,
//! time stamp and reason has its result in one table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kenin_pki::crl::Crl;
use kenin_pki::der::{self, GENERALIZED_TIME, write};
use kenin_pki::issue::TimeStampBuilder;
use kenin_smime::sign::Signer;
use kenin_smime::{Examined, examine_cms};

use super::*;
use crate::trust::Anchor;

/// When the signatures of these tests are stamped.
const STAMPED: i64 = -10;

/// The attribute id-aa-timeStampToken.
const TOKEN: &str = "1.2.840.113549.1.9.16.2.14";

/// An authority for time stamps below a root of its own.
struct Stamper {
    root: Party,
    own: Party,
}

fn stamper() -> Stamper {
    Stamper::shaped(stamping)
}

/// What RFC 3161 §2.3 asks of the certificate.
fn stamping(certificate: CertificateBuilder) -> CertificateBuilder {
    purposes(certificate, true, &[oid::TIME_STAMPING])
}

fn purposes(
    certificate: CertificateBuilder,
    critical: bool,
    all: &[oid::Oid<'_>],
) -> CertificateBuilder {
    let all: Vec<Vec<u8>> = all.iter().map(|purpose| write::oid(*purpose)).collect();
    certificate
        .key_usage(KeyUsage::DIGITAL_SIGNATURE)
        .extension(oid::EXT_KEY_USAGE, critical, &write::seq(&all))
}

impl Stamper {
    fn shaped(shape: impl FnOnce(CertificateBuilder) -> CertificateBuilder) -> Self {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = builder("Time Root", &key)
            .authority(None)
            .self_signed(&key)
            .unwrap();
        let root = Party { key, certificate };
        let own = root.below("Time", shape);
        Self { root, own }
    }

    fn list(&self, revoked: Option<RevocationReason>) -> Crl {
        let mut list = CrlBuilder::new(days(-1), Some(days(7)));
        if let Some(reason) = revoked {
            list = list.revoke(self.own.certificate.serial(), days(-2), reason);
        }
        list.issued_by(&self.root.certificate, &self.root.key)
            .unwrap()
    }

    fn anchor(&self) -> Anchor {
        Anchor {
            name: "times".to_owned(),
            certificate: self.root.certificate.clone(),
            settings: off(),
        }
    }

    fn stamp(&self, octets: &[u8], time: UnixTime) -> Vec<u8> {
        self.sign(TimeStampBuilder::new(octets, time))
    }

    fn sign(&self, builder: TimeStampBuilder) -> Vec<u8> {
        builder
            .signed_by(&self.own.certificate, &self.own.key)
            .unwrap()
    }
}

impl Party {
    fn below(
        &self,
        common: &str,
        shape: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
    ) -> Self {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = shape(builder(common, &key))
            .issued_by(&self.certificate, &self.key)
            .unwrap();
        Self { key, certificate }
    }
}

/// The world of the other tests, somebody in it who signed, and who stamps.
struct Scene {
    world: World,
    alice: Party,
    stamper: Stamper,
    cms: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        Self::stamped_by(stamper())
    }

    fn stamped_by(stamper: Stamper) -> Self {
        let mut world = World::new();
        let alice = world.person(ALICE);
        let signer = Signer::new(&alice.key, &alice.certificate);
        let cms = signer.sign_cms(ENTITY.as_bytes(), true).unwrap();
        world.crls.push(stamper.list(None));
        Self {
            world,
            alice,
            stamper,
            cms,
        }
    }

    fn trust(&self) -> TrustPolicy {
        self.world
            .trust()
            .with_time_stamping(vec![self.stamper.anchor()])
    }

    /// Replaces the list of who issued alice's certificate.
    fn revoke(&mut self, date: UnixTime, reason: RevocationReason) {
        self.lists(|list, serial| list.revoke(serial, date, reason));
    }

    fn lists(&mut self, shape: impl FnOnce(CrlBuilder, &[u8]) -> CrlBuilder) {
        let list = CrlBuilder::new(days(-1), Some(days(7)));
        let list = shape(list, self.alice.certificate.serial());
        let middle = &self.world.middle;
        self.world.crls[0] = list.issued_by(&middle.certificate, &middle.key).unwrap();
    }

    /// The signature with these tokens beside it.
    fn with(&self, token: impl Fn(&[u8]) -> Vec<u8>) -> Examined {
        self.with_all(|signature| vec![token(signature)])
    }

    fn with_all(&self, tokens: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Examined {
        let cms = attach(&self.cms, tokens);
        let content = Some(ENTITY.as_bytes());
        examine_cms(&cms, content, &Limits::default(), &[])
    }

    /// With a token that is right in every way, of this day.
    fn stamped(&self, day: i64) -> Examined {
        self.with(|signature| self.stamper.stamp(signature, days(day)))
    }

    fn judge(&self, examined: &Examined) -> Verdict {
        self.judge_by(examined, &self.trust())
    }

    fn judge_by(&self, examined: &Examined, trust: &TrustPolicy) -> Verdict {
        let case = Case::bare(examined.clone(), trust, &self.world.known, NOW);
        step::run(&case, |question| self.world.answer(question)).verdict
    }

    fn reason(&self, examined: &Examined) -> Reason {
        reason(&self.judge(examined))
    }
}

/// Puts tokens beside the one signature of a SignedData.
fn attach(cms: &[u8], tokens: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<u8> {
    let mut outer = der::Reader::new(cms).sequence().unwrap();
    let kind = outer.any().unwrap().raw.to_vec();
    let mut signed = outer
        .nested(der::context_constructed(0))
        .unwrap()
        .sequence()
        .unwrap();
    let mut fields = elements(&mut signed);
    let signers = fields.pop().unwrap();
    let mut signer = der::Reader::new(&signers)
        .set()
        .unwrap()
        .sequence()
        .unwrap();
    let mut parts = elements(&mut signer);
    let signature = der::Reader::new(parts.last().unwrap())
        .octet_string()
        .unwrap()
        .to_vec();
    let attributes: Vec<Vec<u8>> = tokens(&signature)
        .into_iter()
        .map(|token| write::seq(&[write::oid(TOKEN), write::set_of(&[token])]))
        .collect();
    if !attributes.is_empty() {
        let content = write::set_of_content(&attributes);
        parts.push(write::element(der::context_constructed(1), &content));
    }
    fields.push(write::set_of(&[write::seq(&parts)]));
    write::seq(&[kind, write::explicit(0, &write::seq(&fields))])
}

fn elements(reader: &mut der::Reader<'_>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !reader.is_empty() {
        all.push(reader.any().unwrap().raw.to_vec());
    }
    all
}

/// What is known of alice's certificate.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// Revoked before the day of the stamp, for this reason.
    Before(RevocationReason),
    /// Revoked after it.
    After(RevocationReason),
    NotRevoked,
    /// Nobody says anything.
    Nothing,
}

#[test]
#[rustfmt::skip]
fn every_cell_of_the_table() {
    use RevocationReason::{
        AaCompromise, AffiliationChanged, CaCompromise, CertificateHold, CessationOfOperation,
        KeyCompromise, PrivilegeWithdrawn, RemoveFromCrl, Superseded, Unspecified,
    };
    use Told::{After, Before, NotRevoked, Nothing};
    const PASS: Reason = Reason::Ok;
    const FAIL: Reason = Reason::Revoked;
    const LATER: Reason = Reason::RevocationUnavailable;
    // An entry that removes says nothing outside a delta list, so that the list is not understood.
    let table: [(Told, [Reason; 6]); 22] = [
        // The time stamp:             none   valid  imprint untrusted signature use
        (Before(Unspecified),          [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(KeyCompromise),        [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(CaCompromise),         [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(AffiliationChanged),   [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(Superseded),           [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(CessationOfOperation), [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(CertificateHold),      [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(RemoveFromCrl),        [LATER, LATER, LATER, LATER,    LATER,    LATER]),
        (Before(PrivilegeWithdrawn),   [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (Before(AaCompromise),         [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(Unspecified),           [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(KeyCompromise),         [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(CaCompromise),          [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(AffiliationChanged),    [FAIL,  PASS,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(Superseded),            [FAIL,  PASS,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(CessationOfOperation),  [FAIL,  PASS,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(CertificateHold),       [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(RemoveFromCrl),         [LATER, LATER, LATER, LATER,    LATER,    LATER]),
        (After(PrivilegeWithdrawn),    [FAIL,  PASS,  FAIL,  FAIL,     FAIL,     FAIL]),
        (After(AaCompromise),          [FAIL,  FAIL,  FAIL,  FAIL,     FAIL,     FAIL]),
        (NotRevoked,                   [PASS,  PASS,  PASS,  PASS,     PASS,     PASS]),
        (Nothing,                      [LATER, LATER, LATER, LATER,    LATER,    LATER]),
    ];
    let mut scene = Scene::new();
    let stranger = stamper();
    let unfit = scene.stamper.root.below("Unfit", |certificate| {
        purposes(certificate, true, &[oid::EMAIL_PROTECTION])
    });
    let columns = [
        ("none", scene.with_all(|_| Vec::new())),
        ("valid", scene.stamped(STAMPED)),
        ("imprint", scene.with(|_| scene.stamper.stamp(b"another", days(STAMPED)))),
        ("untrusted", scene.with(|octets| stranger.stamp(octets, days(STAMPED)))),
        ("signature", scene.with(|octets| {
            let mut token = scene.stamper.stamp(octets, days(STAMPED));
            *token.last_mut().unwrap() ^= 1;
            token
        })),
        ("use", scene.with(|octets| {
            let token = TimeStampBuilder::new(octets, days(STAMPED));
            token.signed_by(&unfit.certificate, &unfit.key).unwrap()
        })),
    ];
    let all = scene.world.crls.clone();
    for (told, wanted) in table {
        scene.world.crls.clone_from(&all);
        match told {
            Before(reason) => scene.revoke(days(STAMPED - 1), reason),
            After(reason) => scene.revoke(days(STAMPED + 1), reason),
            NotRevoked => {}
            Nothing => drop(scene.world.crls.remove(0)),
        }
        for ((column, examined), wanted) in columns.iter().zip(wanted) {
            let verdict = scene.judge(examined);
            assert_eq!(reason(&verdict), wanted, "{told:?} {column} {verdict:#?}");
        }
    }
}

#[test]
fn what_is_excused_is_told() {
    let mut scene = Scene::new();
    scene.revoke(days(-2), RevocationReason::Superseded);
    let verdict = scene.judge(&scene.stamped(STAMPED));
    assert_eq!(
        checks(&verdict),
        ["ok", "ok", "ok", "ok", "ok", "unchecked"]
    );
    let signature = &verdict.signatures[0];
    assert_eq!(signature.revoked, None);
    assert_eq!(signature.status.len(), 2);
    let detail = signature.detail.as_deref().unwrap();
    assert!(detail.contains("superseded"), "{detail}");
    assert!(detail.contains(&days(-2).to_string()), "{detail}");
}

/// The token is good to the second, and its accuracy counts against it.
#[test]
fn the_stamp_is_before_the_revocation_for_certain() {
    let mut scene = Scene::new();
    let stamped = scene.stamped(STAMPED);
    // The accuracy of these tokens is a second.
    for (later, wanted) in [(0, false), (1, false), (2, true)] {
        let date = days(STAMPED).plus(later);
        scene.revoke(date, RevocationReason::Superseded);
        let passed = scene.reason(&stamped) == Reason::Ok;
        assert_eq!(passed, wanted, "{later}");
    }
    // Since when it was no good counts, and not when somebody wrote that down.
    for (since, wanted) in [(-9, true), (-11, false)] {
        let (year, month, day, hour, minute, second) = days(since).civil();
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        let value = write::element(GENERALIZED_TIME, text.as_bytes());
        scene.lists(|list, serial| {
            let extension = (oid::INVALIDITY_DATE, false, value.as_slice());
            list.revoke_with(serial, days(-2), RevocationReason::Superseded, extension)
        });
        let passed = scene.reason(&stamped) == Reason::Ok;
        assert_eq!(passed, wanted, "{since}");
    }
}

#[test]
fn of_several_stamps_one_that_counts_is_enough() {
    let mut scene = Scene::new();
    scene.revoke(days(-5), RevocationReason::Superseded);
    let stranger = stamper();
    let tokens = |octets: &[u8]| {
        vec![
            stranger.stamp(octets, days(-30)),
            scene.stamper.stamp(octets, days(-1)),
            scene.stamper.stamp(octets, days(STAMPED)),
        ]
    };
    assert_eq!(scene.reason(&scene.with_all(tokens)), Reason::Ok);
    let late = scene.with_all(|octets| tokens(octets)[..2].to_vec());
    assert_eq!(scene.reason(&late), Reason::Revoked);
    // A stamp from before the certificate, of a key that was chosen later.
    assert_eq!(scene.reason(&scene.stamped(-101)), Reason::Revoked);
}

#[test]
fn a_revoked_authority_is_not_excused() {
    let mut scene = Scene::new();
    let world = &scene.world;
    let list = CrlBuilder::new(days(-1), Some(days(7)))
        .revoke(
            world.middle.certificate.serial(),
            days(-2),
            RevocationReason::Superseded,
        )
        .issued_by(&world.root.certificate, &world.root.key)
        .unwrap();
    scene.world.crls[1] = list;
    let stamped = scene.stamped(STAMPED);
    assert_eq!(scene.reason(&stamped), Reason::Revoked);
    scene.revoke(days(-2), RevocationReason::Superseded);
    assert_eq!(scene.reason(&stamped), Reason::Revoked);
}

/// What is excused is known as well as "good" would have to be: worse news may be on its way.
#[test]
fn old_news_of_a_revocation_is_not_excused() {
    let mut scene = Scene::new();
    let middle = &scene.world.middle;
    let stale = CrlBuilder::new(days(-4), Some(days(-1)))
        .revoke(
            scene.alice.certificate.serial(),
            days(-5),
            RevocationReason::Superseded,
        )
        .issued_by(&middle.certificate, &middle.key)
        .unwrap();
    scene.world.crls[0] = stale;
    assert_eq!(scene.reason(&scene.stamped(STAMPED)), Reason::Revoked);
}

#[test]
fn the_authority_of_the_stamp_is_trusted_now_and_for_that() {
    let excused = |scene: &mut Scene, trust: &TrustPolicy| {
        scene.revoke(days(-2), RevocationReason::Superseded);
        reason(&scene.judge_by(&scene.stamped(STAMPED), trust)) == Reason::Ok
    };
    let mut scene = Scene::new();
    let trust = scene.trust();
    assert!(excused(&mut scene, &trust));
    // Trusted for nothing, or for mail.
    let none = scene.world.trust();
    assert!(!excused(&mut scene, &none));
    let mail = TrustPolicy::from_parts(
        [none.anchors().to_vec(), vec![scene.stamper.anchor()]].concat(),
        PathOptions::default(),
    );
    assert!(!excused(&mut scene, &mail));
    // Revoked, for whatever reason, or nobody knows. The setting of its anchor is for mail.
    for reason in [
        RevocationReason::Superseded,
        RevocationReason::KeyCompromise,
    ] {
        scene.world.crls[2] = scene.stamper.list(Some(reason));
        assert!(!excused(&mut scene, &trust), "{reason:?}");
    }
    scene.world.crls.truncate(2);
    assert!(!excused(&mut scene, &trust));
    // Expired, and certificates that are not as RFC 3161 §2.3 asks.
    let expired = |made: CertificateBuilder| stamping(made.validity(days(-50), days(-1)));
    let not_critical = |made: CertificateBuilder| purposes(made, false, &[oid::TIME_STAMPING]);
    let two = |made: CertificateBuilder| {
        purposes(made, true, &[oid::TIME_STAMPING, oid::EMAIL_PROTECTION])
    };
    let any = |made: CertificateBuilder| purposes(made, true, &[oid::ANY_EXT_KEY_USAGE]);
    let none = |made: CertificateBuilder| made.key_usage(KeyUsage::DIGITAL_SIGNATURE);
    let shapes: [(&str, &dyn Fn(CertificateBuilder) -> CertificateBuilder); 5] = [
        ("expired", &expired),
        ("not critical", &not_critical),
        ("two purposes", &two),
        ("any purpose", &any),
        ("no purpose", &none),
    ];
    for (what, shape) in shapes {
        let mut scene = Scene::stamped_by(Stamper::shaped(shape));
        let trust = scene.trust();
        assert!(!excused(&mut scene, &trust), "{what}");
    }
}

/// Who may stamp times may not, by that, sign mail.
#[test]
fn an_anchor_for_time_stamps_is_none_for_mail() {
    let scene = Scene::new();
    let person = scene
        .stamper
        .root
        .below("Alice", |certificate| certificate.mail_signer(&[ALICE]));
    let signer = Signer::new(&person.key, &person.certificate);
    let cms = signer.sign_cms(ENTITY.as_bytes(), true).unwrap();
    let content = Some(ENTITY.as_bytes());
    let examined = examine_cms(&cms, content, &Limits::default(), &[]);
    assert_eq!(scene.reason(&examined), Reason::IssuerNotTrusted);
}

/// Mail whose certificate is good costs no question about the stamp; and a stamp excuses one mail only.
#[test]
fn stamps_are_asked_about_last_and_never_kept() {
    let mut scene = Scene::new();
    let signer = Signer::new(&scene.alice.key, &scene.alice.certificate);
    let opaque = signer.sign_cms(ENTITY.as_bytes(), false).unwrap();
    let mail = |cms: &[u8]| {
        let lines: Vec<String> = cms
            .chunks(57)
            .map(|line| STANDARD.encode(line) + "\r\n")
            .collect();
        format!(
            "From: {ALICE}\r\nMIME-Version: 1.0\r\n\
             Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
            lines.concat()
        )
        .into_bytes()
    };
    let plain = mail(&opaque);
    let stamped = mail(&attach(&opaque, |octets| {
        vec![scene.stamper.stamp(octets, days(STAMPED))]
    }));
    let trust = scene.trust();
    let cache = PathCache::default();
    let judged = |scene: &Scene, mail: &[u8], cache: &PathCache| {
        let case = Case::cached(mail, &trust, &[], NOW, &Limits::default(), cache);
        let mut asked = Vec::new();
        let verdict = step::run(&case, |question| {
            if let Question::Status { certificate, .. } = question {
                asked.push(certificate.subject().to_string());
            }
            scene.world.answer(question)
        })
        .verdict;
        (reason(&verdict), asked)
    };
    let (found, asked) = judged(&scene, &stamped, &PathCache::default());
    assert_eq!(found, Reason::Ok);
    assert_eq!(asked, ["CN=Somebody", "CN=Middle"]);

    scene.revoke(days(-2), RevocationReason::Superseded);
    let (found, asked) = judged(&scene, &stamped, &cache);
    assert_eq!(found, Reason::Ok);
    assert_eq!(asked, ["CN=Somebody", "CN=Middle", "CN=Time"]);
    assert!(cache.is_empty());
    assert_eq!(judged(&scene, &plain, &cache).0, Reason::Revoked);
    // A reason that no stamp excuses is no cause to ask.
    scene.revoke(days(-2), RevocationReason::KeyCompromise);
    let (found, asked) = judged(&scene, &stamped, &cache);
    assert_eq!(found, Reason::Revoked);
    assert_eq!(asked, ["CN=Somebody", "CN=Middle"]);
}

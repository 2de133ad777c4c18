//! A small world for the tests of this crate: an authority, an intermediate, people, lists, mail.

use kenin_pki::certificate::Certificate;
use kenin_pki::crl::{Crl, RevocationReason};
use kenin_pki::crypto::{KeyType, SigningKey, SoftKey};
use kenin_pki::issue::{CertificateBuilder, CrlBuilder};
use kenin_pki::name::{Name, NameBuilder};
use kenin_pki::oid;
use kenin_pki::path::RevocationMode;
use kenin_pki::time::UnixTime;
use kenin_smime::Limits;
use kenin_smime::sign::{Form, Signer};

use crate::reason::{Reason, ResultWord};
use crate::step::{self, Answer, Case, PathCache, Question};
use crate::trust::{Anchor, AnchorSettings, PathOptions, TrustPolicy};
use crate::verdict::Verdict;

pub(crate) const NOW: UnixTime = UnixTime(1_795_305_600);
pub(crate) const DAY: i64 = 86_400;
pub(crate) const ENTITY: &str = "Content-Type: text/plain; charset=utf-8\r\n\r\nHello, 世界\r\n";

pub(crate) fn days(n: i64) -> UnixTime {
    UnixTime(NOW.0 + n * DAY)
}

pub(crate) fn name(common: &str) -> Name {
    NameBuilder::default()
        .with(oid::COMMON_NAME, common)
        .build()
        .unwrap()
}

/// Somebody with a key and a certificate.
pub(crate) struct Party {
    pub(crate) key: SoftKey,
    pub(crate) certificate: Certificate,
}

/// Root, intermediate, and what they say.
pub(crate) struct World {
    pub(crate) root: Party,
    pub(crate) middle: Party,
    pub(crate) known: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
    pub(crate) settings: AnchorSettings,
}

pub(crate) fn builder(common: &str, key: &SoftKey) -> CertificateBuilder {
    CertificateBuilder::new(name(common), key.public_key()).validity(days(-100), days(100))
}

impl World {
    pub(crate) fn new() -> Self {
        Self::called("")
    }

    /// With another name in front of those of its authorities.
    pub(crate) fn called(name: &str) -> Self {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = builder(&format!("{name}Root"), &key)
            .authority(None)
            .self_signed(&key)
            .unwrap();
        let root = Party { key, certificate };
        let key = SoftKey::generate(KeyType::P256).unwrap();
        let certificate = builder(&format!("{name}Middle"), &key)
            .authority(None)
            .issued_by(&root.certificate, &root.key)
            .unwrap();
        let middle = Party { key, certificate };
        let mut world = Self {
            known: vec![middle.certificate.clone()],
            root,
            middle,
            crls: Vec::new(),
            settings: AnchorSettings::default(),
        };
        world.publish(&[]);
        world
    }

    /// Fresh lists of both authorities.
    pub(crate) fn publish(&mut self, revoked: &[&Certificate]) {
        let mut list = CrlBuilder::new(days(-1), Some(days(7)));
        for certificate in revoked {
            list = list.revoke(
                certificate.serial(),
                days(-2),
                RevocationReason::KeyCompromise,
            );
        }
        self.crls = vec![
            list.issued_by(&self.middle.certificate, &self.middle.key)
                .unwrap(),
            CrlBuilder::new(days(-1), Some(days(7)))
                .issued_by(&self.root.certificate, &self.root.key)
                .unwrap(),
        ];
    }

    pub(crate) fn issue(
        &self,
        key: SoftKey,
        shape: impl FnOnce(CertificateBuilder) -> CertificateBuilder,
    ) -> Party {
        let made = shape(builder("Somebody", &key));
        let certificate = made
            .issued_by(&self.middle.certificate, &self.middle.key)
            .unwrap();
        Party { key, certificate }
    }

    pub(crate) fn person(&self, address: &str) -> Party {
        let key = SoftKey::generate(KeyType::P256).unwrap();
        self.issue(key, |certificate| certificate.mail_signer(&[address]))
    }

    pub(crate) fn trust(&self) -> TrustPolicy {
        let anchor = Anchor {
            name: "root".to_owned(),
            certificate: self.root.certificate.clone(),
            settings: self.settings.clone(),
        };
        TrustPolicy::from_parts(vec![anchor], PathOptions::default())
    }

    pub(crate) fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Issuers { name, .. } => Answer::Issuers(
                self.known
                    .iter()
                    .filter(|c| c.subject() == name)
                    .cloned()
                    .collect(),
            ),
            Question::Status { issuer, .. } => Answer::Status {
                crls: self
                    .crls
                    .iter()
                    .filter(|crl| crl.issuer() == issuer)
                    .cloned()
                    .collect(),
                ocsp: Vec::new(),
                unasked: false,
            },
            Question::Registration { .. } => Answer::Registered(false),
        }
    }

    pub(crate) fn verdict(&self, mail: &[u8]) -> Verdict {
        self.verdict_at(mail, NOW)
    }

    pub(crate) fn verdict_at(&self, mail: &[u8], time: UnixTime) -> Verdict {
        let trust = self.trust();
        let case = Case::new(mail, &trust, &[], time, &Limits::default());
        step::run(&case, |question| self.answer(question)).verdict
    }

    pub(crate) fn cached_verdict(
        &self,
        mail: &[u8],
        time: UnixTime,
        cache: &PathCache,
    ) -> (Verdict, usize) {
        let trust = self.trust();
        let case = Case::cached(mail, &trust, &[], time, &Limits::default(), cache);
        let mut asked = 0;
        let outcome = step::run(&case, |question| {
            asked += 1;
            self.answer(question)
        });
        (outcome.verdict, asked)
    }
}

pub(crate) fn off() -> AnchorSettings {
    AnchorSettings {
        revocation: RevocationMode::Off,
        ..AnchorSettings::default()
    }
}

/// The verdict on mail that is not signed.
pub(crate) fn unsigned() -> Verdict {
    Verdict {
        result: Some(ResultWord::None),
        reason: Some(Reason::NotSigned),
        from: Vec::new(),
        signatures: Vec::new(),
        encryption: Vec::new(),
        layers: Vec::new(),
        notes: Vec::new(),
        detail: None,
        revision: "r".to_owned(),
    }
}

impl Party {
    pub(crate) fn sign(&self, from: &str, form: Form) -> Vec<u8> {
        self.sign_as(from, form, |_| {})
    }

    pub(crate) fn sign_as(
        &self,
        from: &str,
        form: Form,
        shape: impl FnOnce(&mut Signer<'_>),
    ) -> Vec<u8> {
        let mut signer = Signer::new(&self.key, &self.certificate);
        shape(&mut signer);
        let signed = signer.sign(ENTITY.as_bytes(), form).unwrap();
        let mut mail = format!(
            "Received: by mx.example.jp\r\nFrom: {from}\r\nTo: bob@example.jp\r\nSubject: Hello\r\n\
             Date: Sun, 22 Nov 2026 00:00:00 +0000\r\nMessage-ID: <1@example.jp>\r\n"
        )
        .into_bytes();
        mail.extend_from_slice(&signed);
        mail
    }
}

//! `engine`: verify a signed mail, bytes in, verdict out, beside libcrypto's CMS on the same mail; and what keys do, in
//! `private`.
//!
//! Both check the digest, the signature, the chain to the anchor and the revocation lists of the
//! whole chain. `cold` is Kenin without any cache of verdicts, `warm` with its path cache filled.

mod private;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use kenin::demo::authority::{Authority, Holder, Term};
use kenin_pki::certificate::Certificate;
use kenin_pki::crl::Crl;
use kenin_pki::crypto::{DigestAlgorithm, KeyType, SignatureAlgorithm};
use kenin_pki::pem;
use kenin_pki::time::UnixTime;
use kenin_policy::step::{Answer, Case, PathCache, Question, run};
use kenin_policy::trust::PathOptions;
use kenin_policy::{Anchor, AnchorSettings, ResultWord, TrustPolicy};
use kenin_smime::Limits;
use kenin_smime::sign::{Form, Signer};
use serde_json::{Value, json};

use crate::measure::{Samples, human, per_call};
use crate::peer::Peer;

/// Interleaved rounds: odd, so that the median is a measured value.
const ROUNDS: usize = 7;
/// CPU time each contestant gets in each round.
pub(crate) const SLICE: Duration = Duration::from_millis(400);
const SIZES: [(&str, usize); 3] = [
    ("10 KB", 10_000),
    ("100 KB", 100_000),
    ("10 MB", 10_000_000),
];
/// What `cold` and `warm` must reach, as multiples of the peer, a size each.
const BARS: [(f64, f64); 3] = [(3.0, 10.0), (3.0, 10.0), (3.0, 15.0)];

/// Runs the measurement, prints the table and returns what `results/` keeps.
pub(crate) fn engine() -> Result<Value, Box<dyn Error>> {
    let world = World::new()?;
    let mut rows = Vec::new();
    println!("verify, CPU time a mail (median of {ROUNDS} interleaved rounds, ± half the spread)");
    println!("RSA-2048 signer, intermediate and root, two revocation lists\n");
    println!(
        "{:<22}{:>20}{:>20}{:>20}{:>9}{:>9}",
        "mail", "libcrypto CMS", "Kenin cold", "Kenin warm", "cold ×", "warm ×"
    );
    for form in [Form::Clear, Form::Opaque] {
        for ((label, size), bars) in SIZES.iter().zip(BARS) {
            rows.push(world.measure(form, label, *size, bars)?);
        }
    }
    println!("\nbars: cold ≥ 3×; warm ≥ 10× (10 KB, 100 KB), ≥ 15× (10 MB), clear-signed");
    let keys = private::measure(&world)?;
    Ok(json!({ "bench": "engine", "unit": "CPU seconds a mail", "rows": rows, "keys": keys }))
}

struct World {
    signer: Holder,
    chain: Vec<Certificate>,
    crls: Vec<Crl>,
    trust: TrustPolicy,
    now: UnixTime,
    peer: Peer,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Result<Self, Box<dyn Error>> {
        // The peer reads the wall clock; so must we, to judge at the same moment.
        let now = UnixTime(rustix_now());
        let mut authority = Authority::new("Bench", KeyType::Rsa(2048), now)?;
        let signer = authority.issue("Alice", ADDRESS, KeyType::Rsa(2048), Term::Valid)?;
        let crls = authority.crls()?.to_vec();
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root.pem");
        std::fs::write(
            &root,
            pem::encode("CERTIFICATE", authority.root.certificate.der()),
        )?;
        let mut files: Vec<PathBuf> = Vec::new();
        for (place, crl) in crls.iter().enumerate() {
            let file = folder.path().join(format!("{place}.crl"));
            std::fs::write(&file, pem::encode("X509 CRL", crl.der()))?;
            files.push(file);
        }
        let anchor = Anchor {
            name: "bench".into(),
            certificate: authority.root.certificate.clone(),
            settings: AnchorSettings::default(),
        };
        Ok(Self {
            chain: authority.chain(),
            signer,
            crls,
            trust: TrustPolicy::from_parts(vec![anchor], PathOptions::default()),
            now,
            peer: Peer::new(&root, &files)?,
            _folder: folder,
        })
    }

    fn measure(
        &self,
        form: Form,
        label: &str,
        size: usize,
        bars: (f64, f64),
    ) -> Result<Value, Box<dyn Error>> {
        let (mail, entity) = self.mail(form, size)?;
        let content = (form == Form::Clear).then_some(entity.as_slice());
        let cache = PathCache::default();
        // Nobody's time counts before everybody's answer is right.
        self.peer.verify(&mail, content)?;
        for cache in [None, Some(&cache)] {
            if self.kenin(&mail, cache) != ResultWord::Pass {
                return Err("Kenin does not accept the mail that is to be measured".into());
            }
        }
        let mut tampered = mail.clone();
        flip_letter(&mut tampered, &entity);
        if self.kenin(&tampered, Some(&cache)) == ResultWord::Pass {
            return Err("Kenin accepts a mail that was changed".into());
        }

        let (mut peer, mut cold, mut warm) = (Samples::new(), Samples::new(), Samples::new());
        for _ in 0..ROUNDS {
            peer.push(per_call(SLICE, || {
                std::hint::black_box(self.peer.verify(&mail, content).is_ok());
            }));
            cold.push(per_call(SLICE, || {
                std::hint::black_box(self.kenin(&mail, None));
            }));
            warm.push(per_call(SLICE, || {
                std::hint::black_box(self.kenin(&mail, Some(&cache)));
            }));
        }
        let kind = if form == Form::Clear {
            "clear-signed"
        } else {
            "opaque"
        };
        let times = (peer.median() / cold.median(), peer.median() / warm.median());
        println!(
            "{:<22}{:>20}{:>20}{:>20}{:>8.1}×{:>8.1}×",
            format!("{kind} {label}"),
            cell(&peer),
            cell(&cold),
            cell(&warm),
            times.0,
            times.1
        );
        Ok(json!({
            "mail": kind, "size": label, "bytes": mail.len(),
            "libcrypto": peer.json(), "cold": cold.json(), "warm": warm.json(),
            "cold_times": times.0, "warm_times": times.1,
            "bar_cold": bars.0, "bar_warm": bars.1,
            "met": times.0 >= bars.0 && times.1 >= bars.1,
        }))
    }

    /// A signed mail of about `size` bytes and the entity that is signed in it.
    fn mail(&self, form: Form, size: usize) -> Result<(Vec<u8>, Vec<u8>), Box<dyn Error>> {
        let entity = entity(size);
        let mail = Self::headed(self.signing().sign(&entity, form)?);
        Ok((mail, entity))
    }

    fn signing(&self) -> Signer<'_> {
        Signer {
            key: &self.signer.key,
            certificate: &self.signer.certificate,
            chain: &self.chain,
            digest: DigestAlgorithm::Sha256,
            algorithm: SignatureAlgorithm::RsaPkcs1(DigestAlgorithm::Sha256),
            signing_time: Some(self.now),
            capabilities: &[],
        }
    }

    /// An entity with the fields of a mail above it.
    fn headed(entity: Vec<u8>) -> Vec<u8> {
        let mut mail = format!(
            "From: Alice <{ADDRESS}>\r\nTo: bob@example.jp\r\nSubject: bench\r\n\
             Message-ID: <bench@example.jp>\r\nDate: Sun, 22 Nov 2026 00:00:00 +0000\r\n"
        )
        .into_bytes();
        mail.extend(entity);
        mail
    }

    fn kenin(&self, mail: &[u8], cache: Option<&PathCache>) -> ResultWord {
        let limits = Limits::default();
        let case = match cache {
            Some(cache) => Case::cached(mail, &self.trust, &[], self.now, &limits, cache),
            None => Case::new(mail, &self.trust, &[], self.now, &limits),
        };
        let outcome = run(&case, |question| match question {
            Question::Issuers { .. } => Answer::Issuers(Vec::new()),
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
        });
        outcome.verdict.result.unwrap_or(ResultWord::None)
    }
}

/// A text of about so many octets.
fn entity(size: usize) -> Vec<u8> {
    let mut entity = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n".to_vec();
    while entity.len() < size {
        entity.extend_from_slice(
            b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n",
        );
    }
    entity
}

/// Changes one letter of the signed text where the mail shows it as it is.
fn flip_letter(mail: &mut [u8], entity: &[u8]) {
    let place = match find(mail, entity) {
        Some(start) => start + entity.len() / 2,
        // Opaque mail holds it as base64: any letter in the middle does.
        None => mail.len() / 2,
    };
    if let Some(byte) = mail
        .iter_mut()
        .skip(place)
        .find(|byte| byte.is_ascii_alphabetic())
    {
        *byte ^= 1;
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn cell(samples: &Samples) -> String {
    format!(
        "{} ±{:.0}%",
        human(samples.median()),
        samples.spread() * 100.0
    )
}

fn rustix_now() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec
}

const ADDRESS: &str = "alice@example.jp";

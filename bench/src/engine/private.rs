//! What private and public keys are for: decrypt, encrypt and sign, beside libcrypto's CMS with the same content.
//!
//! `decrypt` goes from the bytes of the mail to the content, `encrypt` and `sign` from the content to the object in
//! base64. Keys and certificates are parsed beforehand on both sides.
//!
//! Beside both stand bare operations: that of the key, the cipher or the digest over the content, and base64 where that is what
//! comes out (for encryption in lines, and with a key that is drawn), by the libraries that Kenin has, one after the other over the whole content, with
//! no structure and no allocation around them. Where they alone miss a bar, Kenin cannot meet it with these libraries. Of large contents they are no
//! lower bound where there are several: who goes in pieces that stay in the cache is faster.

use std::error::Error;
use std::hint::black_box;
use std::slice;

use kenin_pki::crypto::{
    Aes, ContentCipher, ContentKind, DecryptionKey, KeyError, Opener, Protector, RejectionSecret,
    Secret, Wrapped, Wrapping,
};
use kenin_smime::Limits;
use kenin_smime::encrypt::{Addressee, Protect};
use kenin_smime::open::EncryptedLayer;
use kenin_smime::sign::Form;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::pkcs7::{Pkcs7, Pkcs7Flags};
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;
use serde_json::{Value, json};

use super::{ROUNDS, SLICE, World, cell, entity};
use crate::measure::{Samples, per_call};

/// Runs the three, prints their tables and returns what `results/` keeps.
pub(super) fn measure(world: &World) -> Result<Value, Box<dyn Error>> {
    let desk = Desk::new(world)?;
    let (cbc, gcm) = (
        ("CBC", ContentKind::AesCbc(Aes::Bits256)),
        ("GCM", ContentKind::AesGcm(Aes::Bits256)),
    );
    println!("\nRSA-2048, AES-256, CPU time a mail, as above\n");
    println!(
        "{:<22}{:>20}{:>20}{:>9}{:>13}{:>20}{:>10}",
        "", "libcrypto CMS", "Kenin", "×", "of bare RSA", "bare operations", "at most"
    );
    let mut rows = Vec::new();
    for cipher in [cbc, gcm] {
        for size in SIZES {
            rows.push(desk.decrypt(cipher, size)?);
        }
    }
    for cipher in [cbc, gcm] {
        for size in SIZES {
            rows.push(desk.encrypt(cipher, size)?);
        }
    }
    for form in [("clear", Form::Clear), ("opaque", Form::Opaque)] {
        for size in SIZES {
            rows.push(desk.sign(form, size)?);
        }
    }
    println!(
        "\nbars: decrypt ≥ 1.3× and ≥ 90 % of bare RSA (10 KB), ≥ 5× (10 MB); encrypt ≥ 2×, ≥ 5×; sign ≥ 1.3×, ≥ 5×\n\
         \"at most\": libcrypto's time over that of the bare operations; * where it is below the bar"
    );
    Ok(Value::Array(rows))
}

/// What both work with.
struct Desk<'w> {
    world: &'w World,
    rejection: RejectionSecret,
    /// The same for libcrypto.
    key: PKey<Private>,
    certificate: X509,
    recipients: Stack<X509>,
    chain: Stack<X509>,
}

type Content = (&'static str, ContentKind);

/// How long a content is.
#[derive(Clone, Copy)]
struct Size {
    label: &'static str,
    octets: usize,
    /// The private operation is what it costs most; otherwise the content.
    small: bool,
}

impl Size {
    const fn bar(self, small: f64, large: f64) -> f64 {
        if self.small { small } else { large }
    }
}

impl<'w> Desk<'w> {
    fn new(world: &'w World) -> Result<Self, Box<dyn Error>> {
        let holder = &world.signer;
        let certificate = X509::from_der(holder.certificate.der())?;
        let (mut recipients, mut chain) = (Stack::new()?, Stack::new()?);
        recipients.push(certificate.clone())?;
        for one in &world.chain {
            chain.push(X509::from_der(one.der())?)?;
        }
        Ok(Self {
            world,
            rejection: holder.key.rejection_secret()?,
            key: PKey::private_key_from_pkcs8(&holder.key.to_pkcs8()?)?,
            certificate,
            recipients,
            chain,
        })
    }

    fn decrypt(&self, (name, kind): Content, size: Size) -> Result<Value, Box<dyn Error>> {
        let content = entity(size.octets);
        let mail = World::headed(self.protected(&content, kind)?);
        // Nobody's time counts before everybody's answer is right.
        right("Kenin", self.opened(&mail).is_some_and(|it| it == content))?;
        right("libcrypto", self.peer_opened(&mail)? == content)?;
        let changed = changed(&mail);
        right(
            "Kenin",
            self.opened(&changed).is_none_or(|it| it != content),
        )?;
        let opened = self.peer_opened(&changed);
        right("libcrypto", opened.map_or(true, |it| it != content))?;

        let wrapped = self.wrapped_key(&mail).ok_or("no recipient")?;
        let key: &dyn DecryptionKey = &self.world.signer.key;
        let (cipher, secret) = ContentCipher::fresh(kind)?;
        let mut encrypted = Vec::new();
        let tag = sealed(&cipher, &secret, &content, &mut encrypted)?;
        let mut out = Vec::with_capacity(2 * size.octets);
        let [peer, kenin, rsa, bare] = rounds([
            &mut || drop(black_box(self.peer_opened(&mail))),
            &mut || drop(black_box(self.opened(&mail))),
            &mut || drop(black_box(key.rsa_raw(&wrapped))),
            &mut || {
                drop(black_box(key.rsa_raw(&wrapped)));
                out.clear();
                if let Ok(mut opener) = Opener::new(&cipher, &secret, &[]) {
                    opener.update(&encrypted, &mut out);
                    let _ = black_box(opener.finish(tag.as_deref(), &mut out));
                }
            },
        ]);
        right("the bare cipher", out == content)?;
        let share = rsa.median() / kenin.median();
        let bar = size.bar(1.3, 5.0);
        let of_rsa = size.small.then_some((share, 0.9));
        let row = row(("decrypt", name, size), (&peer, &kenin, &bare), bar, of_rsa);
        Ok(row)
    }

    fn encrypt(&self, (name, kind): Content, size: Size) -> Result<Value, Box<dyn Error>> {
        let content = entity(size.octets);
        let ours = World::headed(self.protected(&content, kind)?);
        right("Kenin", self.peer_opened(&ours)? == content)?;
        let theirs = CmsContentInfo::from_pem(&self.peer_protected(&content, kind)?)?.to_der()?;
        let layer = EncryptedLayer::of_cms(&theirs, &Limits::default());
        let opened = layer.and_then(|layer| self.opened_layer(&layer));
        right("libcrypto", opened.is_some_and(|it| it == content))?;

        let to = self.world.signer.certificate.public_key();
        let mut out = Vec::with_capacity(2 * size.octets);
        let mut text = String::with_capacity(2 * size.octets);
        let mut lines = Vec::with_capacity(2 * size.octets);
        let [peer, kenin, bare] = rounds([
            &mut || drop(black_box(self.peer_protected(&content, kind))),
            &mut || drop(black_box(self.protected(&content, kind))),
            &mut || {
                let Ok((cipher, secret)) = ContentCipher::fresh(kind) else {
                    return;
                };
                drop(black_box(Wrapped::wrap(Wrapping::RsaPkcs1, to, &secret)));
                out.clear();
                drop(black_box(sealed(&cipher, &secret, &content, &mut out)));
                text.clear();
                base64_simd::STANDARD.encode_append(&out, &mut text);
                lines.clear();
                for line in text.as_bytes().chunks(LINE) {
                    lines.extend_from_slice(line);
                    lines.extend_from_slice(b"\r\n");
                }
                black_box(&lines);
            },
        ]);
        let bar = size.bar(2.0, 5.0);
        Ok(row(
            ("encrypt", name, size),
            (&peer, &kenin, &bare),
            bar,
            None,
        ))
    }

    fn sign(&self, (name, form): (&str, Form), size: Size) -> Result<Value, Box<dyn Error>> {
        let content = entity(size.octets);
        let detached = form == Form::Clear;
        let ours = World::headed(self.world.signing().sign(&content, form)?);
        let beside = detached.then_some(content.as_slice());
        self.world.peer.verify(&ours, beside)?;
        let mut theirs = CmsContentInfo::from_pem(&self.peer_signed(&content, detached)?)?;
        // Whose certificate it is, is known; the signature is what counts.
        let flags = CMSOptions::BINARY | CMSOptions::NO_SIGNER_CERT_VERIFY;
        theirs.verify(None, None, beside, None, flags)?;

        if detached {
            let (read, beside) = Pkcs7::from_smime(&self.peer_clear(&content)?)?;
            let signed = read.signed().is_some();
            right("libcrypto", signed && beside.as_ref() == Some(&content))?;
        }
        let signer = self.world.signing();
        let mut text = String::with_capacity(2 * size.octets);
        let [peer, kenin, bare] = rounds([
            &mut || match detached {
                true => drop(black_box(self.peer_clear(&content))),
                false => drop(black_box(self.peer_signed(&content, false))),
            },
            &mut || drop(black_box(self.world.signing().sign(&content, form))),
            &mut || {
                let digest = signer.digest.digest(&content);
                let signed = signer.key.sign(signer.algorithm, digest.as_ref());
                drop(black_box(signed));
                if !detached {
                    text.clear();
                    base64_simd::STANDARD.encode_append(&content, &mut text);
                }
            },
        ]);
        let bar = size.bar(1.3, 5.0);
        Ok(row(("sign", name, size), (&peer, &kenin, &bare), bar, None))
    }

    fn protected(&self, content: &[u8], cipher: ContentKind) -> Result<Vec<u8>, Box<dyn Error>> {
        let recipients = [Addressee::of(&self.world.signer.certificate)];
        let protect = Protect {
            recipients: &recipients,
            cipher,
        };
        Ok(protect.protect(content)?)
    }

    fn opened(&self, mail: &[u8]) -> Option<Vec<u8>> {
        self.opened_layer(&EncryptedLayer::of(mail, &Limits::default())?)
    }

    fn opened_layer(&self, layer: &EncryptedLayer) -> Option<Vec<u8>> {
        let holder = &self.world.signer;
        let found = layer.match_certificates(slice::from_ref(&holder.certificate));
        let recipient = layer.recipients().get(found.first()?.recipient)?;
        let wrapped = recipient.wrapped.as_ref()?;
        let key = wrapped.unwrap(&holder.key, &self.rejection, layer.key_len());
        Some(layer.open_with(&key.ok()?).ok()?.entity)
    }

    /// What the private key has to do for a mail, and nothing else.
    fn wrapped_key(&self, mail: &[u8]) -> Option<Vec<u8>> {
        let layer = EncryptedLayer::of(mail, &Limits::default())?;
        let wrapped = layer.recipients().first()?.wrapped.as_ref()?;
        Some(wrapped.encrypted_key.clone())
    }

    fn peer_opened(&self, mail: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        CmsContentInfo::smime_read_cms(mail)?.decrypt(&self.key, &self.certificate)
    }

    fn peer_protected(&self, content: &[u8], cipher: ContentKind) -> Result<Vec<u8>, ErrorStack> {
        let cipher = match cipher {
            ContentKind::AesGcm(_) => Cipher::aes_256_gcm(),
            _ => Cipher::aes_256_cbc(),
        };
        CmsContentInfo::encrypt(&self.recipients, content, cipher, CMSOptions::BINARY)?.to_pem()
    }

    /// The whole entity, which libcrypto's CMS writes for nobody who calls it from Rust; its PKCS #7 does.
    fn peer_clear(&self, content: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let flags = Pkcs7Flags::BINARY | Pkcs7Flags::DETACHED | Pkcs7Flags::NOSMIMECAP;
        let signed = Pkcs7::sign(&self.certificate, &self.key, &self.chain, content, flags);
        signed?.to_smime(content, flags)
    }

    fn peer_signed(&self, content: &[u8], detached: bool) -> Result<Vec<u8>, ErrorStack> {
        let mut flags = CMSOptions::BINARY | CMSOptions::NOSMIMECAP;
        flags.set(CMSOptions::DETACHED, detached);
        let signed = CmsContentInfo::sign(
            Some(&*self.certificate),
            Some(&*self.key),
            Some(&*self.chain),
            Some(content),
            flags,
        );
        signed?.to_pem()
    }
}

/// Each contestant's samples, of interleaved rounds.
fn rounds<const N: usize>(mut contestants: [&mut dyn FnMut(); N]) -> [Samples; N] {
    let mut samples = std::array::from_fn(|_| Samples::new());
    for _ in 0..ROUNDS {
        for (work, samples) in contestants.iter_mut().zip(&mut samples) {
            samples.push(per_call(SLICE, &mut **work));
        }
    }
    samples
}

/// Prints a row and returns what is kept of it.
fn row(
    (work, name, size): (&str, &str, Size),
    (peer, kenin, bare): (&Samples, &Samples, &Samples),
    bar: f64,
    of_rsa: Option<(f64, f64)>,
) -> Value {
    let times = peer.median() / kenin.median();
    let most = peer.median() / bare.median();
    println!(
        "{:<22}{:>20}{:>20}{times:>8.1}×{:>13}{:>20}{most:>8.1}×{}",
        format!("{work} {name} {}", size.label),
        cell(peer),
        cell(kenin),
        of_rsa.map_or_else(String::new, |(share, _)| format!("{:.0} %", share * 100.0)),
        cell(bare),
        if most < bar { "*" } else { "" },
    );
    json!({
        "work": work, "content": name, "size": size.label,
        "libcrypto": peer.json(), "kenin": kenin.json(), "times": times, "bar": bar,
        "bare": bare.json(), "times_at_most": most,
        "of_bare_rsa": of_rsa.map(|(share, _)| share),
        "met": times >= bar && of_rsa.is_none_or(|(share, least)| share >= least),
    })
}

/// The content encrypted, and its tag where there is one.
fn sealed(
    cipher: &ContentCipher,
    key: &Secret,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, KeyError> {
    let mut protector = Protector::new(cipher, key, &[])?;
    protector.update(content, out);
    protector.finish(out)
}

fn right(who: &str, answer: bool) -> Result<(), Box<dyn Error>> {
    match answer {
        true => Ok(()),
        false => Err(format!("{who} gives a wrong answer about what is to be measured").into()),
    }
}

/// The mail with one letter of the encrypted content changed.
fn changed(mail: &[u8]) -> Vec<u8> {
    let mut changed = mail.to_vec();
    let place = changed.len() - changed.len() / 8;
    let mut rest = changed.iter_mut().skip(place);
    if let Some(letter) = rest.find(|letter| letter.is_ascii_uppercase()) {
        *letter = if *letter == b'A' { b'B' } else { b'A' };
    }
    changed
}

/// Letters of a line of base64, at most (RFC 2045 §6.8).
const LINE: usize = 76;
const SIZES: [Size; 2] = [
    Size {
        label: "10 KB",
        octets: 10_000,
        small: true,
    },
    Size {
        label: "10 MB",
        octets: 10_000_000,
        small: false,
    },
];

//! Forged certificates and CRLs, written byte by byte so that every field may be wrong. RFC 5280.

use std::sync::atomic::{AtomicU64, Ordering};

use super::der::{
    bits, boolean, cat, explicit, ia5, int, null, octets, oid, seq, time, tlv, unsigned, utf8,
};
use super::keys::{Alg, Hash, Key};

/// Start and end of every ordinary certificate: wide enough for any clock the tests may meet.
pub const NOT_BEFORE: &str = "20200101000000Z";
/// See [`NOT_BEFORE`].
pub const NOT_AFTER: &str = "20480101000000Z";
/// The time at which files are judged.
pub const AT: &str = "2026-06-01T00:00:00Z";
/// The same in seconds since 1970.
pub const AT_SECONDS: u64 = 1_780_272_000;

/// A Name with one commonName.
pub fn cn(text: &str) -> Vec<u8> {
    name(&[("2.5.4.3", utf8(text))])
}

/// A Name of single-valued RDNs.
pub fn name(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    seq(parts
        .iter()
        .map(|(kind, value)| tlv(0x31, &seq([&oid(kind), value]))))
}

/// An Extension.
pub fn extension(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![oid(kind)];
    if critical {
        parts.push(boolean(true));
    }
    parts.push(octets(value));
    seq(parts)
}

/// BasicConstraints.
pub fn basic_constraints(ca: bool, path_len: Option<i64>) -> Vec<u8> {
    let mut parts = Vec::new();
    if ca {
        parts.push(boolean(true));
    }
    parts.extend(path_len.map(int));
    extension("2.5.29.19", true, &seq(parts))
}

/// KeyUsage from its first octet of named bits (0x80 digitalSignature … 0x04 keyCertSign, 0x02 cRLSign).
pub fn key_usage(bits: u8) -> Vec<u8> {
    extension(
        "2.5.29.15",
        true,
        &tlv(3, &[bits.trailing_zeros().min(7) as u8, bits]),
    )
}

/// ExtendedKeyUsage.
pub fn ext_key_usage(purposes: &[&str]) -> Vec<u8> {
    extension("2.5.29.37", false, &seq(purposes.iter().map(|p| oid(p))))
}

/// GeneralName rfc822Name of any bytes.
pub fn rfc822(bytes: &[u8]) -> Vec<u8> {
    tlv(0x81, bytes)
}

/// GeneralName otherName SmtpUTF8Mailbox (RFC 9598).
pub fn smtp_utf8(text: &str) -> Vec<u8> {
    tlv(
        0xa0,
        &cat([oid("1.3.6.1.5.5.7.8.9"), explicit(0, &utf8(text))]),
    )
}

/// SubjectAltName of encoded GeneralNames.
pub fn alt_names(names: &[Vec<u8>]) -> Vec<u8> {
    extension("2.5.29.17", false, &seq(names))
}

/// NameConstraints from encoded GeneralNames.
pub fn name_constraints(permitted: &[Vec<u8>], excluded: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = Vec::new();
    if !permitted.is_empty() {
        parts.push(explicit(0, &cat(permitted.iter().map(|n| seq([n])))));
    }
    if !excluded.is_empty() {
        parts.push(explicit(1, &cat(excluded.iter().map(|n| seq([n])))));
    }
    extension("2.5.29.30", true, &seq(parts))
}

/// emailProtection.
pub const EMAIL_PROTECTION: &str = "1.3.6.1.5.5.7.3.4";
/// serverAuth.
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

/// The fields of a certificate before it is signed.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct CertificateForm {
    pub serial: Vec<u8>,
    pub issuer: Vec<u8>,
    pub subject: Vec<u8>,
    pub not_before: Vec<u8>,
    pub not_after: Vec<u8>,
    pub spki: Vec<u8>,
    pub extensions: Vec<Vec<u8>>,
    pub algorithm: Alg,
}

impl CertificateForm {
    /// The signed certificate.
    pub fn issue(&self, issuer: &Key) -> Vec<u8> {
        let mut parts = vec![
            explicit(0, &int(2)),
            unsigned(&self.serial),
            self.algorithm.identifier(),
            self.issuer.clone(),
            seq([&self.not_before, &self.not_after]),
            self.subject.clone(),
            self.spki.clone(),
        ];
        if !self.extensions.is_empty() {
            parts.push(explicit(3, &seq(&self.extensions)));
        }
        signed(seq(parts), self.algorithm, issuer)
    }
}

fn signed(tbs: Vec<u8>, algorithm: Alg, key: &Key) -> Vec<u8> {
    let signature = bits(&key.sign(algorithm, &tbs));
    seq([tbs, algorithm.identifier(), signature])
}

/// The subject key identifier of a key: SHA-1 of the key bits, as RFC 5280 §4.2.1.2 (1).
pub fn key_id(spki: &[u8]) -> Vec<u8> {
    Hash::Sha1.of(spki)
}

fn next_serial() -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0x1000);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec()
}

/// An entry of a CRL.
#[derive(Clone, Copy, Debug)]
pub struct Revoked<'a> {
    /// The serial number, big-endian.
    pub serial: &'a [u8],
    /// revocationDate.
    pub date: &'a str,
    /// reasonCode.
    pub reason: u8,
}

/// A certification authority.
#[derive(Clone)]
pub struct Authority {
    /// Its Name, DER.
    pub name: Vec<u8>,
    /// Its key.
    pub key: Key,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
}

impl Authority {
    /// A self-signed root.
    pub fn root(common_name: &str) -> Self {
        Self::root_named(cn(common_name))
    }

    /// A self-signed root of this Name.
    pub fn root_named(name: Vec<u8>) -> Self {
        let key = Key::p256();
        let form = CertificateForm {
            serial: next_serial(),
            issuer: name.clone(),
            subject: name.clone(),
            not_before: time(NOT_BEFORE),
            not_after: time(NOT_AFTER),
            spki: key.spki(),
            extensions: vec![
                basic_constraints(true, None),
                key_usage(0x06),
                extension("2.5.29.14", false, &octets(&key_id(&key.spki()))),
            ],
            algorithm: key.usual(),
        };
        let certificate = form.issue(&key);
        Self {
            name,
            key,
            certificate,
        }
    }

    /// The form of an ordinary authority below this one, to be changed before it is issued.
    pub fn authority_form(&self, common_name: &str, key: &Key) -> CertificateForm {
        CertificateForm {
            serial: next_serial(),
            issuer: self.name.clone(),
            subject: cn(common_name),
            not_before: time(NOT_BEFORE),
            not_after: time(NOT_AFTER),
            spki: key.spki(),
            extensions: vec![
                basic_constraints(true, None),
                key_usage(0x06),
                self.authority_key_id(),
                extension("2.5.29.14", false, &octets(&key_id(&key.spki()))),
            ],
            algorithm: self.key.usual(),
        }
    }

    fn authority_key_id(&self) -> Vec<u8> {
        extension(
            "2.5.29.35",
            false,
            &seq([tlv(0x80, &key_id(&self.key.spki()))]),
        )
    }

    /// An authority from a form.
    pub fn authority(&self, form: &CertificateForm, key: Key) -> Self {
        Self {
            name: form.subject.clone(),
            key: key.clone(),
            certificate: form.issue(&self.key),
        }
    }

    /// An ordinary authority below this one.
    pub fn below(&self, common_name: &str) -> Self {
        let key = Key::p256();
        self.authority(&self.authority_form(common_name, &key), key)
    }

    /// The form of an ordinary mail signer's certificate, to be changed before it is issued.
    pub fn person_form(&self, common_name: &str, address: &str, key: &Key) -> CertificateForm {
        CertificateForm {
            serial: next_serial(),
            issuer: self.name.clone(),
            subject: cn(common_name),
            not_before: time(NOT_BEFORE),
            not_after: time(NOT_AFTER),
            spki: key.spki(),
            extensions: vec![
                alt_names(&[rfc822(address.as_bytes())]),
                key_usage(0xc0),
                ext_key_usage(&[EMAIL_PROTECTION]),
                self.authority_key_id(),
                extension("2.5.29.14", false, &octets(&key_id(&key.spki()))),
            ],
            algorithm: self.key.usual(),
        }
    }

    /// A person from a form.
    pub fn issue(&self, form: &CertificateForm, key: Key) -> Person {
        Person {
            key,
            certificate: form.issue(&self.key),
            issuer: form.issuer.clone(),
            serial: form.serial.clone(),
        }
    }

    /// An ordinary mail signer.
    pub fn person(&self, common_name: &str, address: &str, key: Key) -> Person {
        self.issue(&self.person_form(common_name, address, &key), key)
    }

    /// A complete CRL that names these serial numbers, revoked in 2023 for key compromise.
    pub fn crl(&self, revoked: &[&[u8]]) -> Vec<u8> {
        self.crl_between(revoked, "20210101000000Z", Some(NOT_AFTER))
    }

    /// A complete CRL with chosen times.
    pub fn crl_between(&self, revoked: &[&[u8]], this: &str, next: Option<&str>) -> Vec<u8> {
        self.list(&stolen(revoked), this, next, &[])
    }

    /// A complete CRL of chosen entries and times.
    pub fn crl_of(&self, revoked: &[Revoked<'_>], this: &str, next: &str) -> Vec<u8> {
        self.list(revoked, this, Some(next), &[])
    }

    /// A CRL with more extensions.
    pub fn crl_with(&self, revoked: &[&[u8]], extensions: &[Vec<u8>]) -> Vec<u8> {
        let revoked = stolen(revoked);
        self.list(&revoked, "20210101000000Z", Some(NOT_AFTER), extensions)
    }

    /// A complete CRL of more than ten megabytes, too long for memory: these serial numbers and very many others.
    pub fn long_crl(&self, revoked: &[&[u8]], this: &str) -> Vec<u8> {
        let many: Vec<[u8; 16]> = (0..320_000_u32)
            .map(|number| {
                let mut serial = [0x5a; 16];
                serial[4..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
                serial
            })
            .collect();
        let many = many.iter().map(<[u8; 16]>::as_slice);
        let all: Vec<&[u8]> = revoked.iter().copied().chain(many).collect();
        let list = self.crl_between(&all, this, Some(NOT_AFTER));
        assert!(list.len() > 10 << 20, "{} octets", list.len());
        list
    }

    /// A CRL with chosen times and more extensions.
    pub fn crl_for(
        &self,
        revoked: &[&[u8]],
        this: &str,
        next: &str,
        extensions: &[Vec<u8>],
    ) -> Vec<u8> {
        self.list(&stolen(revoked), this, Some(next), extensions)
    }

    fn list(
        &self,
        revoked: &[Revoked<'_>],
        this: &str,
        next: Option<&str>,
        extensions: &[Vec<u8>],
    ) -> Vec<u8> {
        let mut form = self.list_form(this);
        form.next = next.map(time);
        form.entries = revoked.iter().map(Revoked::entry).collect();
        form.extensions.extend_from_slice(extensions);
        form.issue(&self.key)
    }

    /// The form of an ordinary complete CRL, number 7, to be changed before it is issued.
    pub fn list_form(&self, this: &str) -> ListForm {
        ListForm {
            issuer: self.name.clone(),
            this: time(this),
            next: Some(time(NOT_AFTER)),
            entries: Vec::new(),
            extensions: vec![self.authority_key_id(), crl_number(7)],
            algorithm: self.key.usual(),
        }
    }
}

/// The fields of a CRL before it is signed.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct ListForm {
    pub issuer: Vec<u8>,
    pub this: Vec<u8>,
    pub next: Option<Vec<u8>>,
    /// Encoded entries.
    pub entries: Vec<Vec<u8>>,
    /// authorityKeyIdentifier, cRLNumber, and what comes behind them.
    pub extensions: Vec<Vec<u8>>,
    pub algorithm: Alg,
}

impl ListForm {
    /// What is signed.
    pub fn tbs(&self) -> Vec<u8> {
        let mut parts = vec![
            int(1),
            self.algorithm.identifier(),
            self.issuer.clone(),
            self.this.clone(),
        ];
        parts.extend(self.next.clone());
        if !self.entries.is_empty() {
            parts.push(seq(&self.entries));
        }
        if !self.extensions.is_empty() {
            parts.push(explicit(0, &seq(&self.extensions)));
        }
        seq(parts)
    }

    /// The signed list.
    pub fn issue(&self, issuer: &Key) -> Vec<u8> {
        signed(self.tbs(), self.algorithm, issuer)
    }

    /// A list with any octets as its signature.
    pub fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        seq([self.tbs(), self.algorithm.identifier(), bits(signature)])
    }
}

/// cRLNumber.
pub fn crl_number(number: i64) -> Vec<u8> {
    extension("2.5.29.20", false, &int(number))
}

impl Revoked<'_> {
    /// The entry, encoded.
    pub fn entry(&self) -> Vec<u8> {
        let reason = extension("2.5.29.21", false, &[0x0a, 1, self.reason]);
        seq([unsigned(self.serial), time(self.date), seq([reason])])
    }
}

/// Entries for these serial numbers, whose keys were stolen in 2023.
fn stolen<'a>(serials: &[&'a [u8]]) -> Vec<Revoked<'a>> {
    let entries = serials.iter().map(|&serial| Revoked {
        serial,
        date: "20230101000000Z",
        reason: 1,
    });
    entries.collect()
}

/// Somebody who signs mail.
#[derive(Clone)]
pub struct Person {
    /// The private key.
    pub key: Key,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The issuer's Name, DER.
    pub issuer: Vec<u8>,
    /// The serial number, big-endian.
    pub serial: Vec<u8>,
}

impl Person {
    /// IssuerAndSerialNumber.
    pub fn issuer_and_serial(&self) -> Vec<u8> {
        seq([self.issuer.clone(), unsigned(&self.serial)])
    }

    /// SignerIdentifier `[0]` by key identifier.
    pub fn by_key_id(&self) -> Vec<u8> {
        tlv(0x80, &key_id(&self.key.spki()))
    }
}

/// PEM armour.
pub fn pem(label: &str, der: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in openssl::base64::encode_block(der).as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).unwrap());
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// An emailAddress attribute for a Name.
pub fn email_attribute(address: &[u8]) -> (&'static str, Vec<u8>) {
    ("1.2.840.113549.1.9.1", ia5(address))
}

/// A key that no library can use: an algorithm nobody knows.
pub fn unknown_spki() -> Vec<u8> {
    seq([seq([oid("1.3.6.1.4.1.99999.1"), null()]), bits(&[7; 32])])
}

//! The person's certificate, its key, the list that it may be in.

use super::super::certificates::{
    CertificateForm, EMAIL_PROTECTION, SERVER_AUTH, alt_names, basic_constraints, cn,
    email_attribute, ext_key_usage, extension, key_usage, name, name_constraints, rfc822,
};
use super::super::der::{null, oid, seq, time, tlv, utf8};
use super::super::draft::{ADDRESS, Draft, List, OTHER_ADDRESS, UNKNOWN, with_hash};
use super::super::keys::{Hash, Key};
use super::{Deviation, alone, fault, fine};
use crate::oracles::Judge::{Gpgsm, OpenSsl};

/// Where a person's certificate has its subjectAltName.
const NAMES: usize = 0;
const USAGE: usize = 1;
const PURPOSES: usize = 2;
const ISSUER_KEY: usize = 3;
const OWN_KEY: usize = 4;

const ANY_PURPOSE: &str = "2.5.29.37.0";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";

pub(super) fn all() -> Vec<Deviation> {
    let mut all = times();
    all.extend(uses());
    all.extend(extensions());
    all.extend(names());
    all.extend(keys());
    all.extend(lists());
    all
}

fn until(text: &'static str) -> impl FnOnce(&mut CertificateForm) {
    move |form| form.not_after = time(text)
}

fn from(text: &'static str) -> impl FnOnce(&mut CertificateForm) {
    move |form| form.not_before = time(text)
}

fn times() -> Vec<Deviation> {
    let place = "leaf time";
    vec![
        fault("leaf expired", place, |d| {
            d.leaf.change(until("20240101000000Z"))
        }),
        fault("leaf expired a second ago", place, |d| {
            d.leaf.change(until("20260531235959Z"))
        }),
        // OpenSSL takes the last second for over (X509_cmp_time).
        fine("leaf expires now", place, |d| {
            d.leaf.change(until("20260601000000Z"))
        })
        .not_by(OpenSsl),
        fine("leaf without an end", place, |d| {
            d.leaf.change(until("99991231235959Z"))
        }),
        fault("leaf not yet valid", place, |d| {
            d.leaf.change(from("20400101000000Z"))
        }),
        fault("leaf valid in a second", place, |d| {
            d.leaf.change(from("20260601000001Z"))
        }),
        fine("leaf valid from now", place, |d| {
            d.leaf.change(from("20260601000000Z"))
        }),
        fine("leaf begins in GeneralizedTime", place, |d| {
            d.leaf
                .change(|form| form.not_before = tlv(24, b"20200101000000Z"))
        }),
    ]
}

fn uses() -> Vec<Deviation> {
    let (purpose, usage) = ("leaf purpose", "leaf usage");
    let purposes = |all: &'static [&'static str]| {
        move |d: &mut Draft| d.leaf.put(PURPOSES, ext_key_usage(all))
    };
    let uses = |bits: u8| move |d: &mut Draft| d.leaf.put(USAGE, key_usage(bits));
    vec![
        fault("leaf for servers", purpose, purposes(&[SERVER_AUTH])).not_by(Gpgsm),
        fault("leaf for code", purpose, purposes(&[CODE_SIGNING])).not_by(Gpgsm),
        // OpenSSL does not know anyExtendedKeyUsage.
        fine("leaf for any purpose", purpose, purposes(&[ANY_PURPOSE])).not_by(OpenSsl),
        fine(
            "leaf for clients and mail",
            purpose,
            purposes(&[CLIENT_AUTH, EMAIL_PROTECTION]),
        ),
        fine("leaf critically for mail", purpose, |d| {
            let mail = seq([oid(EMAIL_PROTECTION)]);
            d.leaf.put(PURPOSES, extension("2.5.29.37", true, &mail));
        }),
        fine("leaf without purposes", purpose, |d| {
            d.leaf.leave_out(PURPOSES)
        }),
        fault("leaf encrypts only", usage, uses(0x20)).not_by(Gpgsm),
        fault("leaf signs certificates only", usage, uses(0x04)).not_by(Gpgsm),
        fine("leaf for digitalSignature", usage, uses(0x80)),
        fine("leaf for nonRepudiation", usage, uses(0x40)),
        fine("leaf without key usage", usage, |d| d.leaf.leave_out(USAGE)),
    ]
}

fn extensions() -> Vec<Deviation> {
    vec![
        fault(
            "leaf with unknown critical extension",
            "leaf extension",
            |d| d.leaf.add(extension(UNKNOWN, true, &null())),
        ),
        fine("leaf with unknown extension", "leaf extension", |d| {
            d.leaf.add(extension(UNKNOWN, false, &null()))
        }),
        fault("leaf with name constraints", "leaf constraints", |d| {
            d.leaf.add(name_constraints(&[rfc822(b"example.jp")], &[]))
        })
        .not_by(Gpgsm),
        // A list of persons would not be about it.
        fine("leaf is an authority", "leaf list", |d| {
            d.leaf.add(basic_constraints(true, None))
        }),
        fine("leaf says that it is no authority", "leaf list", |d| {
            d.leaf.add(basic_constraints(false, None))
        }),
        fault("leaf with two subjectAltNames", "leaf double", |d| {
            d.leaf.add(alt_names(&[rfc822(b"second@example.jp")]))
        })
        .not_by(Gpgsm),
        fine("leaf without key identifiers", "leaf identifiers", |d| {
            d.leaf.leave_out(ISSUER_KEY);
            d.leaf.leave_out(OWN_KEY);
        }),
        // To OpenSSL they decide; RFC 5280 §6.1 has no rule about them.
        fine(
            "leaf with a wrong key identifier",
            "leaf identifiers",
            |d| {
                let other = seq([tlv(0x80, &[0x55; 20])]);
                d.leaf
                    .put(ISSUER_KEY, extension("2.5.29.35", false, &other));
            },
        )
        .not_by(OpenSsl),
        fine("leaf with serial number zero", "leaf serial", |d| {
            d.leaf.change(|form| form.serial.clear())
        }),
        fine("leaf with long serial number", "leaf serial", |d| {
            d.leaf.change(|form| form.serial = vec![0x5a; 20])
        }),
    ]
}

/// The same Name with other octets of the same length.
fn rewrite(name: &mut [u8], from: &[u8], to: &[u8]) {
    let place = name.windows(from.len()).position(|octets| octets == from);
    let start = place.unwrap();
    name[start..start + to.len()].copy_from_slice(to);
}

fn names() -> Vec<Deviation> {
    let (issuer, address) = ("leaf issuer", "leaf address");
    vec![
        fault("leaf of another issuer", issuer, |d| {
            d.leaf.change(|form| form.issuer = cn("Somebody"))
        }),
        // The tag of a UTF8String and of a PrintableString.
        fine(
            "leaf names its issuer in another string type",
            issuer,
            |d| {
                d.leaf
                    .change(|form| rewrite(&mut form.issuer, &[0x0c], &[0x13]))
            },
        ),
        // gpgsm compares names letter by letter.
        fine("leaf names its issuer in capitals", issuer, |d| {
            d.leaf
                .change(|form| rewrite(&mut form.issuer, b"Issuer", b"ISSUER"))
        })
        .not_by(Gpgsm),
        fault("leaf without address", address, |d| d.leaf.leave_out(NAMES)).not_by(Gpgsm),
        fault("leaf of another address", address, |d| {
            d.leaf
                .put(NAMES, alt_names(&[rfc822(OTHER_ADDRESS.as_bytes())]))
        })
        .not_by(Gpgsm),
        alone("leaf with two addresses", address, |d| {
            let both = [OTHER_ADDRESS, ADDRESS].map(|one| rfc822(one.as_bytes()));
            d.leaf.put(NAMES, alt_names(&both));
        }),
        fine("leaf of a domain in capitals", address, |d| {
            d.leaf
                .put(NAMES, alt_names(&[rfc822(b"person@EXAMPLE.JP")]))
        }),
        fault("leaf with its address in the subject", address, |d| {
            d.leaf.leave_out(NAMES);
            d.leaf.change(|form| {
                let person = ("2.5.4.3", utf8("Person"));
                form.subject = name(&[person, email_attribute(ADDRESS.as_bytes())]);
            });
        })
        .not_by(Gpgsm),
        // gpgsm cannot read it.
        fine("leaf without subject", address, |d| {
            let names = seq([rfc822(ADDRESS.as_bytes())]);
            d.leaf.put(NAMES, extension("2.5.29.17", true, &names));
            d.leaf.change(|form| form.subject = name(&[]));
        })
        .not_by(Gpgsm),
    ]
}

fn keys() -> Vec<Deviation> {
    let key = "leaf key";
    vec![
        fine("RSA-2048", key, |d| d.leaf.key = Some(|| Key::rsa(2048))),
        fault("RSA-1024", key, |d| d.leaf.key = Some(|| Key::rsa(1024))).not_by(Gpgsm),
        fine("RSA with exponent 3", key, |d| {
            d.leaf.key = Some(|| Key::rsa_with_exponent(2048, 3))
        }),
        fine("RSA PSS", key, |d| {
            d.leaf.key = Some(|| Key::rsa(2048));
            d.is_pss = true;
        }),
        // As OpenSSL and most programs write it.
        fine("RSA named by its key", key, |d| {
            d.leaf.key = Some(|| Key::rsa(2048));
            d.signer(|form, _, _| {
                form.signature_identifier = Some(seq([oid("1.2.840.113549.1.1.1"), null()]))
            });
        }),
        fine("P-384", key, |d| d.leaf.key = Some(Key::p384)),
        // "DSA requires the hash length to be a multiple of 8 bits": of 521 bits it says so.
        fine("P-521", key, |d| d.leaf.key = Some(Key::p521)).not_by(Gpgsm),
        fault("secp256k1", key, |d| d.leaf.key = Some(Key::secp256k1)),
        fault("leaf badly signed", "leaf signature", |d| {
            d.leaf.is_badly_signed = true
        }),
        fault("leaf signed with SHA-1", "leaf algorithm", |d| {
            d.leaf
                .change(|form| form.algorithm = with_hash(form.algorithm, Hash::Sha1))
        }),
        fine("leaf signed with SHA-512", "leaf algorithm", |d| {
            d.leaf
                .change(|form| form.algorithm = with_hash(form.algorithm, Hash::Sha512))
        }),
    ]
}

/// Lists that gpgsm does not see.
fn lists() -> Vec<Deviation> {
    let place = "leaf list";
    let list = |list: List| move |d: &mut Draft| d.leaf.list = list;
    let revoked = |list: List| {
        move |d: &mut Draft| {
            d.leaf.list = list;
            d.leaf.revoked = Some(1);
        }
    };
    let all = vec![
        fault("leaf revoked", place, revoked(List::Good)),
        fault("leaf on hold", place, |d| d.leaf.revoked = Some(6)),
        fault("leaf revoked by a stale list", place, revoked(List::Stale)),
        fault(
            "leaf revoked by the newer list",
            place,
            revoked(List::AfterHarmless),
        ),
        fine(
            "leaf revoked by an older list only",
            place,
            revoked(List::BeforeHarmless),
        ),
        fault("leaf list absent", place, list(List::Absent)),
        fault("leaf list stale", place, list(List::Stale)),
        fault("leaf list of the future", place, list(List::Future)),
        fault("leaf list by another key", place, list(List::Namesake)),
        fault("leaf list badly signed", place, list(List::Broken)),
        fault("leaf list without an end", place, list(List::Endless)),
        fault(
            "leaf list with unknown critical extension",
            place,
            list(List::UnknownExtension),
        ),
        fault(
            "leaf list of authorities",
            place,
            list(List::AuthoritiesOnly),
        ),
        fine("leaf list of persons", place, list(List::PersonsOnly)),
        fine(
            "leaf list beside a stale one",
            place,
            list(List::BesideStale),
        ),
        fine(
            "leaf list beside a namesake's",
            place,
            list(List::BesideNamesake),
        ),
    ];
    all.into_iter().map(|one| one.not_by(Gpgsm)).collect()
}

//! The message: what it brings along, its SignerInfo, its SignedData.

use super::super::cms::{
    Coding, Content, MESSAGE_DIGEST, SIGNED_DATA, algorithm_protection, attribute,
    content_type_attribute, message_digest_attribute, signing_certificate_v2,
    signing_time_attribute,
};
use super::super::der::{null, octets, oid, seq, unsigned};
use super::super::draft::{Beside, Draft, Second, Sent, UNKNOWN};
use super::super::keys::{Alg, Hash, Key};
use super::{Deviation, alone, fault, fine};
use crate::oracles::Judge::{Gpgsm, OpenSsl};

/// Where the usual attributes have the content type.
const TYPE: usize = 0;
const TIME: usize = 1;
const DIGEST: usize = 2;

pub(super) fn all() -> Vec<Deviation> {
    let mut all = certificates();
    all.extend(attributes());
    all.extend(codings());
    all.extend(digests());
    all.extend(signers());
    all.extend(values());
    all.extend(forms());
    all
}

fn certificates() -> Vec<Deviation> {
    let sent = |sent: Sent| move |d: &mut Draft| d.sent = sent;
    let beside = |beside: Beside| move |d: &mut Draft| d.beside = Some(beside);
    let place = "sent";
    vec![
        fine("root sent too", place, sent(Sent::ChainAndRoot)),
        fine("certificates in reverse", place, sent(Sent::Reversed)),
        fine("signer sent twice", place, sent(Sent::SignerTwice)),
        fault("issuer not sent", place, sent(Sent::WithoutIssuer)),
        fault("upper not sent", place, sent(Sent::WithoutUpper)),
        fault("signer not sent", place, sent(Sent::WithoutSigner)),
        alone(
            "issuer's expired twin beside",
            place,
            beside(Beside::ExpiredTwin),
        ),
        alone("issuer's namesake beside", place, beside(Beside::Namesake)),
        fine("stranger beside", place, beside(Beside::Stranger)),
        // OpenSSL tries one way up, gpgsm another; gpgsm takes the issuer without a key identifier by its name alone.
        alone("cross certificate beside", place, beside(Beside::Cross)).not_by(OpenSsl),
        alone("cross certificate last", place, beside(Beside::CrossLast)).not_by(Gpgsm),
        fine("lists inside", "lists", |d| d.are_lists_inside = true),
        fault("content changed", "content", |d| d.is_changed = true),
        fault("from another address", "from", |d| {
            d.from = Some("somebody@example.jp")
        })
        .not_by(Gpgsm),
    ]
}

fn attributes() -> Vec<Deviation> {
    let (digest, kind, time) = ("digest attribute", "type attribute", "time attribute");
    let wrong = |hash: Hash| octets(&hash.of(b"something else"));
    let signed_at = |text: &'static str| {
        move |d: &mut Draft| {
            d.attributes(move |all, _, _, _| all[TIME] = signing_time_attribute(text));
        }
    };
    vec![
        fault("digest of something else", digest, |d| {
            d.attributes(|all, _, _, hash| {
                all[DIGEST] = message_digest_attribute(hash, b"something else")
            })
        }),
        fault("no digest", digest, |d| {
            d.attributes(|all, _, _, _| all[DIGEST].clear())
        }),
        fault("two digests", digest, |d| {
            d.attributes(|all, _, _, hash| {
                all.push(message_digest_attribute(hash, b"something else"))
            })
        }),
        fault("two values of the digest", digest, move |d| {
            d.attributes(move |all, _, content, hash| {
                let both = [octets(&hash.of(content)), wrong(hash)];
                all[DIGEST] = attribute(MESSAGE_DIGEST, &both);
            })
        }),
        fault("no content type", kind, |d| {
            d.attributes(|all, _, _, _| all[TYPE].clear())
        })
        .not_by(Gpgsm),
        fault("another content type", kind, |d| {
            d.attributes(|all, _, _, _| all[TYPE] = content_type_attribute(SIGNED_DATA))
        })
        .not_by(OpenSsl),
        fault("content of another type", kind, |d| {
            d.signed(|form| form.content_type = SIGNED_DATA)
        })
        .not_by(OpenSsl),
        fine("no signing time", time, |d| {
            d.attributes(|all, _, _, _| all[TIME].clear())
        }),
        fine(
            "signing time of the future",
            time,
            signed_at("20450101000000Z"),
        ),
        fine("signing time long ago", time, signed_at("19800101000000Z")),
        fine("unknown attribute", "unknown attribute", |d| {
            d.attributes(|all, _, _, _| all.push(attribute(UNKNOWN, &[null()])))
        }),
        fine("unknown unsigned attribute", "unsigned attribute", |d| {
            d.signer(|form, _, _| form.unsigned.push(attribute(UNKNOWN, &[null()])))
        }),
        fine("signing certificate named", "certificate attribute", |d| {
            d.attributes(|all, person, _, _| {
                all.push(signing_certificate_v2(&[&person.certificate]))
            })
        }),
        fault(
            "another signing certificate named",
            "certificate attribute",
            |d| d.attributes(|all, _, _, _| all.push(signing_certificate_v2(&[b"something else"]))),
        ),
    ]
}

fn codings() -> Vec<Deviation> {
    let coding = |coding: Coding, over_sent: bool| {
        move |d: &mut Draft| {
            d.signer(move |form, _, _| {
                form.coding = coding;
                form.over_sent = over_sent;
            });
        }
    };
    let place = "attributes";
    vec![
        fault("no signed attributes", place, |d| {
            d.signer(|form, _, _| form.attributes = None)
        }),
        fault(
            "attributes unsorted",
            place,
            coding(Coding::Unsorted, false),
        ),
        fault(
            "attributes unsorted, signed so",
            place,
            coding(Coding::Unsorted, true),
        ),
        fault(
            "attributes of indefinite length",
            place,
            coding(Coding::Indefinite, false),
        )
        .not_by(OpenSsl),
        fault(
            "attributes of indefinite length, signed so",
            place,
            coding(Coding::Indefinite, true),
        ),
        fault(
            "attributes of long length",
            place,
            coding(Coding::LongLength, false),
        )
        .not_by(OpenSsl),
    ]
}

fn digests() -> Vec<Deviation> {
    let hash = |hash: Hash| move |d: &mut Draft| d.hash = Some(hash);
    // Any but the right one.
    let another = |hash: Hash| match hash {
        Hash::Sha512 => Hash::Sha384,
        _ => Hash::Sha512,
    };
    vec![
        // OpenSSL accepts these, and the attributes above that are no DER.
        fault("SHA-1", "digest", hash(Hash::Sha1)).not_by(OpenSsl),
        fault("SHA-224", "digest", hash(Hash::Sha224)).not_by(OpenSsl),
        fine("SHA-384", "digest", hash(Hash::Sha384)),
        fine("SHA-512", "digest", hash(Hash::Sha512)),
        fault("another digest named", "named digest", move |d| {
            d.signer(move |form, _, _| {
                form.digest_identifier = Some(another(form.hash).identifier())
            })
        }),
        fine("digest with NULL", "named digest", |d| {
            d.signer(|form, _, _| {
                form.digest_identifier = Some(seq([oid(form.hash.dotted()), null()]))
            })
        }),
        fine("algorithms protected", "protection", |d| {
            d.signer(|form, _, _| {
                let named = form.digest_identifier.clone();
                let digest = named.unwrap_or_else(|| form.hash.identifier());
                let named = form.signature_identifier.clone();
                let signature = named.unwrap_or_else(|| form.algorithm.identifier());
                if let Some(all) = &mut form.attributes {
                    all.push(algorithm_protection(&digest, &signature));
                }
            })
        }),
        fault("other algorithms protected", "protection", move |d| {
            d.signer(move |form, _, _| {
                let digest = another(form.hash).identifier();
                let signature = form.algorithm.identifier();
                if let Some(all) = &mut form.attributes {
                    all.push(algorithm_protection(&digest, &signature));
                }
            })
        }),
    ]
}

fn signers() -> Vec<Deviation> {
    let (id, second) = ("signer identifier", "second");
    let too = |second: Second| move |d: &mut Draft| d.second = Some(second);
    vec![
        // gpgsm: "TLV length too large".
        // It needs the identifier in the certificate.
        fine("signer by key identifier", "leaf identifiers", |d| {
            d.signer(|form, person, _| {
                form.sid = person.by_key_id();
                form.version = 3;
            })
        })
        .not_by(Gpgsm),
        fault("signer with another serial number", id, |d| {
            d.signer(|form, person, _| {
                form.sid = seq([person.issuer.clone(), unsigned(&[0x77, 0x77])])
            })
        }),
        fine("signer of another version", "signer version", |d| {
            d.signer(|form, _, _| form.version = 3)
        }),
        alone(
            "second signature of the same address",
            second,
            too(Second::Good),
        ),
        fault(
            "second signature of another address",
            second,
            too(Second::Other),
        )
        .not_by(Gpgsm),
        fault("second signature wrong", second, too(Second::Wrong)),
        fault("nobody signed", second, |d| {
            d.signed(|form| form.signers.clear())
        }),
    ]
}

/// Behind all that changes what is signed.
fn values() -> Vec<Deviation> {
    let place = "signature";
    vec![
        fault("signature broken", place, |d| {
            d.signer(|form, _, content| {
                let mut value = form.key.sign(form.algorithm, &form.to_be_signed(content));
                let last = value.len() - 1;
                value[last - 1] ^= 1;
                form.signature = Some(value);
            })
        }),
        fault("signature of another key", place, |d| {
            d.signer(|form, _, _| {
                form.key = match form.algorithm {
                    Alg::Pkcs1(_) | Alg::Pss { .. } => Key::rsa(2048),
                    Alg::Ecdsa(_) | Alg::Ed25519 => Key::p256(),
                }
            })
        }),
        fault("signature empty", place, |d| {
            d.signer(|form, _, _| form.signature = Some(Vec::new()))
        }),
    ]
}

fn forms() -> Vec<Deviation> {
    let place = "form";
    vec![
        fine("opaque", place, |d| d.is_opaque = true),
        fine("indefinite lengths", place, |d| {
            d.signed(|form| form.ber = true)
        }),
        fine("opaque in chunks", place, |d| {
            d.is_opaque = true;
            d.signed(|form| {
                if let Content::Whole(content) = &form.content {
                    form.content = Content::Chunked(content.clone(), 7);
                }
            });
        }),
        fine("version 3", "version", |d| {
            d.signed(|form| form.version = 3)
        }),
    ]
}

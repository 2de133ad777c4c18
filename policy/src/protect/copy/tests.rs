use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{Aes, ContentKind, KeyType, SoftKey};
use kenin_pki::extension::KeyUsage;
use kenin_smime::Shape;
use kenin_smime::open::{EncryptedLayer, Integrity, reassemble};

use super::*;
use crate::protect::plan::{Encryption, Reader};
use crate::testing::{NOW, Party, World};

const CANARY: &str = "canary-d7c1";
const GCM: ContentKind = ContentKind::AesGcm(Aes::Bits256);
const CBC: ContentKind = ContentKind::AesCbc(Aes::Bits256);
const MAIL: &str = "Received: by mx.own.example\r\nFrom: alice@own.example\r\n\
    To: bob@partner.example\r\nSubject: canary-d7c1 in the subject\r\nMessage-ID: <1@own.example>\r\n\
    MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\ncanary-d7c1, \u{4e16}\u{754c}\r\n";

fn bob() -> Party {
    let key = SoftKey::generate(KeyType::P256).unwrap();
    World::new().issue(key, |c| {
        c.mail(&["bob@partner.example"])
            .key_usage(KeyUsage::KEY_AGREEMENT)
    })
}

fn encrypted_for(certificates: &[&Certificate], cipher: ContentKind) -> Protection {
    let readers = certificates.iter().map(|certificate| Reader {
        certificate: (*certificate).clone(),
        oaep: false,
    });
    Protection {
        encryption: Some(Encryption {
            cipher,
            readers: readers.collect(),
        }),
        sign: None,
        header: Some(HeaderProtection::Cipher),
        required: true,
    }
}

fn made(mail: &[u8], protection: &Protection, signer: Option<&Signer<'_>>) -> Vec<u8> {
    copy(mail, protection, signer, &Limits::default()).unwrap()
}

fn holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len()).any(|at| at == part.as_bytes())
}

/// The message as its reader has it.
fn opened(mail: &[u8], reader: &Party) -> (Vec<u8>, Integrity) {
    let limits = Limits::default();
    let layer = EncryptedLayer::of(mail, &limits).unwrap();
    let certificates = [reader.certificate.clone()];
    let found = layer.match_certificates(&certificates);
    let wrapped = layer.recipients()[found[0].recipient].wrapped.as_ref();
    let rejection = reader.key.rejection_secret().unwrap();
    let key = wrapped
        .unwrap()
        .unwrap(&reader.key, &rejection, layer.key_len())
        .unwrap();
    let opened = layer.open_with(&key).unwrap();
    let message = reassemble(mail, &opened.entity, &limits, &|_| true);
    (message, opened.integrity)
}

#[test]
fn what_is_encrypted_shows_nothing_and_opens_to_the_same() {
    let bob = bob();
    for (cipher, integrity) in [(GCM, Integrity::Aead), (CBC, Integrity::None)] {
        let protection = encrypted_for(&[&bob.certificate], cipher);
        let mail = made(MAIL.as_bytes(), &protection, None);
        assert!(!holds(&mail, CANARY));
        assert!(holds(&mail, "\r\nSubject: [...]\r\n"));
        assert!(mail.starts_with(b"Received: by mx.own.example\r\nFrom: alice"));
        assert!(mail.is_ascii() && fits_relays(&mail));
        assert_eq!(Shape::of(&mail, &Limits::default()), Shape::Encrypted);
        let (message, found) = opened(&mail, &bob);
        assert_eq!(found, integrity);
        assert!(holds(&message, "Subject: canary-d7c1 in the subject\r\n"));
        assert!(message.ends_with("\r\n\r\ncanary-d7c1, \u{4e16}\u{754c}\r\n".as_bytes()));
    }
    // Some programs say the subject twice.
    for name in [
        "Thread-Topic",
        "Original-Subject",
        "X-Original-Subject",
        "x-spam-prev-subject ",
        "X-ASG-Orig-Subj",
        "Old-Subject",
    ] {
        let fields = format!("{name}: canary-d7c1\r\n again\r\nFrom:");
        let twice = MAIL.replacen("From:", &fields, 1);
        let hidden = encrypted_for(&[&bob.certificate], GCM);
        let mail = made(twice.as_bytes(), &hidden, None);
        assert!(!holds(&mail, CANARY) && !holds(&mail, " again"), "{name}");
        assert!(mail.starts_with(b"Received: by mx.own.example\r\nFrom: alice"));
    }
    // Without header protection the header stays as it was.
    let plain = Protection {
        header: None,
        ..encrypted_for(&[&bob.certificate], GCM)
    };
    let mail = made(MAIL.as_bytes(), &plain, None);
    assert!(holds(&mail, "Subject: canary-d7c1 in the subject\r\n"));
    assert!(!holds(&mail, "canary-d7c1, "));
}

/// RFC 5322 §3.6.3: a program that leaves Bcc in what it sends told everybody whom the copies apart are not to tell.
#[test]
fn no_encrypted_copy_says_who_else_gets_one_unseen() {
    let bob = bob();
    let fields =
        "Bcc: canary-d7c1@partner.example\r\nresent-bcc :\r\n canary-d7c1@x.example\r\nFrom:";
    let mail = MAIL.replace("Subject: canary-d7c1 in", "Subject: in");
    let mail = mail.replacen("From:", fields, 1);
    for header in [Some(HeaderProtection::Cipher), None] {
        let protection = Protection {
            header,
            ..encrypted_for(&[&bob.certificate], GCM)
        };
        let copy = made(mail.as_bytes(), &protection, None);
        assert!(!holds(&copy, CANARY), "{header:?}");
        let (message, _) = opened(&copy, &bob);
        assert!(!holds(&message, "canary-d7c1@"), "{header:?}");
        assert!(holds(&message, "canary-d7c1, "), "{header:?}");
    }
    // What is not encrypted goes as it came.
    let plain = Protection {
        encryption: None,
        ..encrypted_for(&[], GCM)
    };
    assert_eq!(made(mail.as_bytes(), &plain, None), mail.as_bytes());
}

/// Exim writes the "Content preview" of SpamAssassin there.
#[test]
fn no_encrypted_copy_says_what_a_filter_read() {
    let bob = bob();
    let mail = MAIL.replace("Subject: canary-d7c1 in", "Subject: in");
    let mail = mail.replacen(
        "From:",
        "X-Spam-Report: Content preview:\r\n canary-d7c1\r\n\
         X-Amavis-Alert: BAD HEADER SECTION, canary-d7c1\r\n\
         X-DSPAM-Factors: 27,\r\n canary-d7c1, 0.99\r\nFrom:",
        1,
    );
    for header in [Some(HeaderProtection::Cipher), None] {
        let protection = Protection {
            header,
            ..encrypted_for(&[&bob.certificate], GCM)
        };
        let copy = made(mail.as_bytes(), &protection, None);
        assert!(!holds(&copy, CANARY), "{header:?}");
    }
}

/// RFC 8551 §3.1: the fields of such a message came out when it was opened, also where the header of other mail is left alone.
#[test]
fn a_subject_that_came_out_of_a_wrapper_is_hidden_again() {
    let bob = bob();
    let fields = "From: alice@own.example\r\nSubject: canary-d7c1\r\n";
    let message =
        format!("{fields}Content-Type: message/rfc822; forwarded=no\r\n\r\n{fields}\r\nx\r\n");
    for header in [Some(HeaderProtection::Cipher), None] {
        let protection = Protection {
            header,
            ..encrypted_for(&[&bob.certificate], GCM)
        };
        let again = made(message.as_bytes(), &protection, None);
        assert!(!holds(&again, CANARY), "{header:?}");
        let (message, _) = opened(&again, &bob);
        assert!(message.starts_with(fields.as_bytes()), "{header:?}");
    }
}

#[test]
fn no_digest_of_what_is_encrypted_stands_outside() {
    let (world, bob) = (World::new(), bob());
    let own = "DKIM-Signature: v=1; a=rsa-sha256; d=own.example;\r\n bh=digest-of-all=; b=AA==\r\n";
    let mail = MAIL.replacen("From:", &format!("{own}From:"), 1);
    for header in [Some(HeaderProtection::Cipher), None] {
        let protection = Protection {
            header,
            ..encrypted_for(&[&bob.certificate], GCM)
        };
        let mail = made(mail.as_bytes(), &protection, None);
        assert!(!holds(&mail, "DKIM") && !holds(&mail, "digest-of-all"));
        assert!(mail.starts_with(b"Received: by mx.own.example\r\nFrom: alice"));
    }
    // What is only signed can be read.
    let alice = world.person("alice@own.example");
    let protection = Protection {
        encryption: None,
        sign: Some(Form::Clear),
        header: None,
        required: false,
    };
    let signer = Signer::new(&alice.key, &alice.certificate);
    let mail = made(mail.as_bytes(), &protection, Some(&signer));
    assert!(holds(&mail, own));
}

#[test]
fn a_signature_goes_inside_the_encryption_and_is_good() {
    let world = World::new();
    let (alice, bob) = (world.person("alice@own.example"), bob());
    for form in [Form::Clear, Form::Opaque] {
        let protection = Protection {
            sign: Some(form),
            ..encrypted_for(&[&bob.certificate], CBC)
        };
        let signer = Signer {
            signing_time: Some(NOW),
            ..Signer::new(&alice.key, &alice.certificate)
        };
        let mail = made(MAIL.as_bytes(), &protection, Some(&signer));
        assert!(!holds(&mail, CANARY));
        let (message, _) = opened(&mail, &bob);
        let verdict = world.verdict(&message);
        assert!(verdict.is_pass(), "{verdict:?}");
        assert!(holds(&message, "Subject: canary-d7c1 in the subject\r\n"));
        assert!(matches!(
            copy(MAIL.as_bytes(), &protection, None, &Limits::default()),
            Err(CopyError::NoSigner)
        ));
    }
}

#[test]
fn a_signature_alone_leaves_the_header_readable() {
    let world = World::new();
    let alice = world.person("alice@own.example");
    for form in [Form::Clear, Form::Opaque] {
        let protection = Protection {
            encryption: None,
            sign: Some(form),
            header: Some(HeaderProtection::Clear),
            required: false,
        };
        let signer = Signer::new(&alice.key, &alice.certificate);
        let mail = made(MAIL.as_bytes(), &protection, Some(&signer));
        assert!(mail.is_ascii() && fits_relays(&mail));
        let verdict = world.verdict(&mail);
        assert!(verdict.is_pass(), "{verdict:?}");
        assert!(holds(&mail, "Subject: canary-d7c1 in the subject\r\n"));
        assert_eq!(holds(&mail, "hp=\"clear\""), form == Form::Clear);
        assert_eq!(Shape::of(&mail, &Limits::default()), Shape::Kept);
    }
}

/// What is opened and goes on encrypted shows no more outside than it did when it came.
#[test]
fn a_subject_that_was_hidden_is_hidden_again() {
    let world = World::new();
    let (alice, bob) = (world.person("alice@own.example"), bob());
    let signer = Signer {
        signing_time: Some(NOW),
        ..Signer::new(&alice.key, &alice.certificate)
    };
    for form in [None, Some(Form::Clear), Some(Form::Opaque)] {
        let protection = Protection {
            sign: form,
            ..encrypted_for(&[&bob.certificate], GCM)
        };
        let mail = made(MAIL.as_bytes(), &protection, Some(&signer));
        let (message, _) = opened(&mail, &bob);
        assert!(holds(&message, "Subject: canary-d7c1 in the subject\r\n"));
        // Also where the header of other mail is left alone.
        for header in [Some(HeaderProtection::Cipher), None] {
            let protection = Protection {
                header,
                ..encrypted_for(&[&bob.certificate], GCM)
            };
            let again = made(&message, &protection, None);
            assert!(!holds(&again, CANARY), "{form:?} {header:?}");
            let (message, _) = opened(&again, &bob);
            assert!(holds(&message, "Subject: canary-d7c1 in the subject\r\n"));
            assert_eq!(world.verdict(&message).is_pass(), form.is_some());
        }
    }
}

/// What its sender hid beyond the Subject, and what a message of ours has of it.
#[test]
fn what_was_opened_is_hidden_as_it_was_when_it_came() {
    let bob = bob();
    let raw = "From: alice@own.example\r\nTo: bob@partner.example\r\nSubject: [...]\r\n\r\nx\r\n";
    let fields = "To: canary-d7c1 <bob@partner.example>\r\nCc: canary-d7c1@own.example\r\n\
        Subject: canary-d7c1\r\nReferences: <canary-d7c1@own.example>\r\n";
    let body = "\r\n--b\r\n\r\ncanary-d7c1\r\n--b\r\n\r\nx\r\n--b--\r\n";
    for (from, kind, seen) in [
        (
            "canary-d7c1 <Alice@own.example>",
            "mixed",
            "alice@own.example",
        ),
        ("kenin@gw.example", "signed", "kenin@gw.example"),
    ] {
        let message =
            format!("From: {from}\r\n{fields}Content-Type: multipart/{kind}; boundary=b\r\n{body}");
        let protection = encrypted_for(&[&bob.certificate], GCM);
        let limits = Limits::default();
        let again = copy_again(message.as_bytes(), raw.as_bytes(), &protection, &limits).unwrap();
        assert!(!holds(&again, CANARY), "{kind}");
        let seen =
            format!("From: {seen}\r\nTo: bob@partner.example\r\nSubject: [...]\r\nMIME-Version");
        assert!(again.starts_with(seen.as_bytes()), "{kind}");
        let (message, _) = opened(&again, &bob);
        assert!(holds(&message, CANARY), "{kind}");
    }
}

/// A relay that drops ESC makes a text unreadable, and breaks a signature over it.
#[test]
fn a_signature_over_iso_2022_jp_outlives_a_relay_that_drops_esc() {
    let world = World::new();
    let alice = world.person("alice@own.example");
    let (head, _) = MAIL.split_once("Content-Type:").unwrap();
    let mail = format!(
        "{head}Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         \x1b$B8!0u\x1b(B\r\n"
    );
    for form in [Form::Clear, Form::Opaque] {
        let protection = Protection {
            encryption: None,
            sign: Some(form),
            header: Some(HeaderProtection::Clear),
            required: false,
        };
        let signer = Signer::new(&alice.key, &alice.certificate);
        let mut signed = made(mail.as_bytes(), &protection, Some(&signer));
        assert!(fits_relays(&signed));
        signed.retain(|octet| *octet != 0x1b);
        let verdict = world.verdict(&signed);
        assert!(verdict.is_pass(), "{verdict:?}");
    }
}

/// Who keeps mail in mbox files has ">From " for "From " at the beginning of a line.
#[test]
fn a_signature_outlives_an_mbox() {
    let world = World::new();
    let alice = world.person("alice@own.example");
    let (head, _) = MAIL.split_once("Content-Type:").unwrap();
    let mail = format!("{head}Content-Type: text/plain\r\n\r\nHello,\r\nFrom here on\r\n");
    let protection = Protection {
        encryption: None,
        sign: Some(Form::Clear),
        header: Some(HeaderProtection::Clear),
        required: false,
    };
    let signer = Signer::new(&alice.key, &alice.certificate);
    let signed = String::from_utf8(made(mail.as_bytes(), &protection, Some(&signer))).unwrap();
    assert!(signed.contains("multipart/signed"));
    let kept = signed.replace("\nFrom ", "\n>From ");
    let verdict = world.verdict(kept.as_bytes());
    assert!(verdict.is_pass(), "{verdict:?}");
}

/// One line of recipients, which relays break: what is in it must not keep the header from being protected, nor the Subject
/// from coming out again.
#[test]
fn a_long_line_of_the_header_is_folded() {
    let world = World::new();
    let (alice, bob) = (world.person("alice@own.example"), bob());
    let many = "bob@partner.example, ".repeat(60);
    let mail = MAIL.replacen("\r\nTo: ", &format!("\r\nTo: {many}"), 1);
    let alone = Protection {
        encryption: None,
        sign: Some(Form::Clear),
        header: Some(HeaderProtection::Clear),
        required: false,
    };
    let encrypted = Protection {
        sign: Some(Form::Clear),
        ..encrypted_for(&[&bob.certificate], CBC)
    };
    let signer = Signer {
        signing_time: Some(NOW),
        ..Signer::new(&alice.key, &alice.certificate)
    };
    for protection in [alone, encrypted] {
        let mail = made(mail.as_bytes(), &protection, Some(&signer));
        assert!(fits_relays(&mail));
        let message = match protection.encryption {
            Some(_) => opened(&mail, &bob).0,
            None => mail,
        };
        let verdict = world.verdict(&message);
        assert!(verdict.is_pass(), "{verdict:?}");
        assert!(holds(&message, "Subject: canary-d7c1 in the subject\r\n"));
        let unfolded = String::from_utf8(message).unwrap().replace("\r\n ", " ");
        assert!(unfolded.contains(&format!("\r\nTo: {many}bob@partner.example\r\n")));
    }
}

/// SIG-21: what somebody signed is encrypted around, and not touched.
#[test]
fn what_is_signed_keeps_its_octets_inside() {
    let world = World::new();
    let (alice, bob) = (world.person("alice@own.example"), bob());
    for form in [Form::Clear, Form::Opaque, Form::OpaqueStreamed] {
        let signed = alice.sign("alice@own.example", form);
        let protection = encrypted_for(&[&bob.certificate], GCM);
        let mail = made(&signed, &protection, None);
        let (message, _) = opened(&mail, &bob);
        assert!(world.verdict(&message).is_pass());
        let at = memchr::memmem::find(&signed, b"\r\n\r\n").unwrap();
        assert!(message.ends_with(&signed[at..]));
    }
}

#[test]
fn a_copy_for_nobody_is_no_copy() {
    let nobody = encrypted_for(&[], GCM);
    let none = copy(MAIL.as_bytes(), &nobody, None, &Limits::default());
    assert!(matches!(none, Err(CopyError::Protect(_))));
    // One key of several that cannot be encrypted for is enough.
    let world = World::new();
    let key = SoftKey::generate(KeyType::Ed25519).unwrap();
    let odd = world.issue(key, |c| c.mail(&["carol@partner.example"]));
    let both = encrypted_for(&[&bob().certificate, &odd.certificate], GCM);
    let none = copy(MAIL.as_bytes(), &both, None, &Limits::default());
    assert!(matches!(none, Err(CopyError::Protect(_))));
}

//! The mail of the demo: what is sent, and what a true verdict on it is.

use kenin_pki::crypto::SignatureAlgorithm;
use kenin_smime::sign::{Form, SignError};

use super::authority::Holder;
use super::cast::{
    ALICE, BOB, CAROL, Cast, ECDSA, MALLORY, OLGA, PSS, RSA, RSA_512, STRANGER, STRICT, WRAPPED,
};
use super::forge;

/// A mail to send and what is to come of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// A few words.
    pub title: &'static str,
    /// The mail.
    pub mail: Vec<u8>,
    /// Who gets it.
    pub to: &'static str,
    /// What must happen.
    pub expected: Expected,
}

/// What must happen to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It arrives with this result and reason.
    Stamped(&'static str, &'static str),
    /// It arrives inside a message of the gateway's own, with this result and reason.
    Wrapped(&'static str, &'static str),
    /// It arrives without any `smime=` result: it is encrypted.
    Unstamped,
    /// It is refused with a reply that begins so and holds this reason.
    Refused(&'static str, &'static str),
}

/// All the mail, good first.
pub fn all(cast: &Cast, authserv_id: &str) -> Result<Vec<Case>, SignError> {
    let mut make = Make {
        cast,
        authserv_id,
        cases: Vec::new(),
    };
    make.good()?;
    make.changed()?;
    make.not_the_sender()?;
    make.not_accepted()?;
    make.not_signed()?;
    make.strict()?;
    make.wrapped()?;
    Ok(make.cases)
}

struct Make<'a> {
    cast: &'a Cast,
    authserv_id: &'a str,
    cases: Vec<Case>,
}

impl Make<'_> {
    fn good(&mut self) -> Result<(), SignError> {
        let (alice, bob) = (&self.cast.alice, &self.cast.bob);
        let ok = Expected::Stamped("pass", "ok");
        let signed = [
            (
                "clear-signed, RSA PKCS #1",
                ALICE,
                alice,
                RSA,
                PLAIN,
                Form::Clear,
            ),
            (
                "clear-signed, RSA-PSS",
                ALICE,
                alice,
                PSS,
                PLAIN,
                Form::Clear,
            ),
            (
                "clear-signed, P-256, UTF-8 Japanese",
                BOB,
                bob,
                ECDSA,
                UTF8,
                Form::Clear,
            ),
            (
                "clear-signed, ISO-2022-JP",
                ALICE,
                alice,
                RSA,
                ISO_2022_JP,
                Form::Clear,
            ),
            ("opaque, P-256", BOB, bob, ECDSA, PLAIN, Form::Opaque),
            (
                "opaque, RSA, SHA-512, BER stream",
                ALICE,
                alice,
                RSA_512,
                PLAIN,
                Form::OpaqueStreamed,
            ),
            (
                "clear-signed, with an attachment",
                BOB,
                bob,
                ECDSA,
                ATTACHMENT,
                Form::Clear,
            ),
        ];
        for (title, from, who, algorithm, entity, form) in signed {
            let entity = self.cast.sign(who, algorithm, entity, form)?;
            self.push(title, mail(from, "", &entity), ok);
        }
        Ok(())
    }

    fn changed(&mut self) -> Result<(), SignError> {
        let mismatch = Expected::Stamped("fail", "digest-mismatch");
        let signed = self.clear(&self.cast.alice, RSA, PLAIN)?;
        let tampered = forge::replace(&mail(ALICE, "", &signed), b"1,000 yen", b"9,000 yen");
        self.push("body changed after signing", tampered, mismatch);
        let forged = forge::forged_stamps(self.authserv_id);
        let signed = self.clear(&self.cast.bob, ECDSA, PLAIN)?;
        let tampered = forge::replace(&mail(BOB, "", &signed), b"1,000 yen", b"9,000 yen");
        self.push(
            "body changed, forged stamps on top",
            [forged, tampered].concat(),
            mismatch,
        );
        let japanese = self.clear(&self.cast.alice, RSA, ISO_2022_JP)?;
        let lost = forge::without_escapes(&mail(ALICE, "", &japanese));
        self.push("ISO-2022-JP, a relay lost the ESC bytes", lost, mismatch);
        let old = self.cast.sign_cms(&self.cast.alice, RSA, PLAIN)?;
        let two = forge::clear_signed(OTHER, &old);
        let two_contents = Expected::Stamped("permerror", "two-contents");
        self.push(
            "old signed text beside a new one",
            mail(ALICE, "", &two),
            two_contents,
        );
        let nobody = forge::clear_signed(OTHER, &forge::without_signers());
        let no_signers = Expected::Stamped("permerror", "no-signers");
        self.push(
            "a signature that nobody made",
            mail(ALICE, "", &nobody),
            no_signers,
        );
        Ok(())
    }

    fn not_the_sender(&mut self) -> Result<(), SignError> {
        let entity = self.clear(&self.cast.bob, ECDSA, PLAIN)?;
        let mismatch = Expected::Stamped("policy", "from-mismatch");
        self.push("From is not the signer", mail(ALICE, "", &entity), mismatch);
        let ambiguous = Expected::Stamped("policy", "from-ambiguous");
        let display = "\"alice@demo.example\" <bob@demo.example>";
        self.push(
            "somebody else's address as display name",
            mail(display, "", &entity),
            ambiguous,
        );
        let two_from = mail(BOB, "From: alice@demo.example\r\n", &entity);
        self.push("two From fields", two_from, ambiguous);
        Ok(())
    }

    fn not_accepted(&mut self) -> Result<(), SignError> {
        let people = [
            (
                "revoked certificate",
                MALLORY,
                &self.cast.mallory,
                ("fail", "revoked"),
            ),
            (
                "expired certificate",
                OLGA,
                &self.cast.olga,
                ("fail", "certificate-expired"),
            ),
            (
                "unknown issuer",
                STRANGER,
                &self.cast.stranger,
                ("policy", "issuer-not-trusted"),
            ),
        ];
        for (title, from, who, (result, reason)) in people {
            let entity = self.cast.sign(who, ECDSA, PLAIN, Form::Clear)?;
            self.push(
                title,
                mail(from, "", &entity),
                Expected::Stamped(result, reason),
            );
        }
        Ok(())
    }

    fn not_signed(&mut self) -> Result<(), SignError> {
        let unsigned = Expected::Stamped("none", "not-signed");
        let plain = [b"MIME-Version: 1.0\r\n", PLAIN].concat();
        self.push("not signed", mail(ALICE, "", &plain), unsigned);
        let forged = [
            forge::forged_stamps(self.authserv_id),
            mail(ALICE, "", &plain),
        ]
        .concat();
        self.push("not signed, forged stamps", forged, unsigned);
        let signed = self.clear(&self.cast.alice, RSA, PLAIN)?;
        let list = "List-Id: <list.demo.example>\r\n";
        let wrapped = mail(ALICE, list, &forge::list_footer(&signed));
        let nested = Expected::Stamped("none", "signature-not-at-root");
        self.push("a list put its footer around it", wrapped, nested);
        self.push(
            "encrypted",
            mail(ALICE, "", &forge::encrypted()),
            Expected::Unstamped,
        );
        Ok(())
    }

    fn strict(&mut self) -> Result<(), SignError> {
        let signed = self.clear(&self.cast.bob, ECDSA, PLAIN)?;
        let good = mail(BOB, "", &signed);
        let tampered = forge::replace(&good, b"1,000 yen", b"9,000 yen");
        let cases = [
            (
                "strict domain: signed",
                good,
                Expected::Stamped("pass", "ok"),
            ),
            (
                "strict domain: changed",
                tampered,
                Expected::Refused("550 5.7.7", "digest-mismatch"),
            ),
        ];
        for (title, mail, expected) in cases {
            self.cases.push(Case {
                title,
                mail,
                to: STRICT,
                expected,
            });
        }
        Ok(())
    }

    fn wrapped(&mut self) -> Result<(), SignError> {
        let signed = self.clear(&self.cast.bob, ECDSA, PLAIN)?;
        let good = mail(BOB, "", &signed);
        let tampered = forge::replace(&good, b"1,000 yen", b"9,000 yen");
        let cases = [
            ("wrapped for people: signed", good, ("pass", "ok")),
            (
                "wrapped for people: changed",
                tampered,
                ("fail", "digest-mismatch"),
            ),
        ];
        for (title, mail, (result, reason)) in cases {
            self.cases.push(Case {
                title,
                mail,
                to: WRAPPED,
                expected: Expected::Wrapped(result, reason),
            });
        }
        Ok(())
    }

    fn clear(
        &self,
        who: &Holder,
        algorithm: SignatureAlgorithm,
        entity: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        self.cast.sign(who, algorithm, entity, Form::Clear)
    }

    fn push(&mut self, title: &'static str, mail: Vec<u8>, expected: Expected) {
        self.cases.push(Case {
            title,
            mail,
            to: CAROL,
            expected,
        });
    }
}

/// Message header fields before an entity, which has its own from `MIME-Version` on.
fn mail(from: &str, more: &str, entity: &[u8]) -> Vec<u8> {
    let head = format!(
        "Authentication-Results: mx.demo.example; dkim=pass header.d=demo.example\r\n\
         From: {from}\r\nTo: {CAROL}\r\nSubject: =?utf-8?B?6KaL56mN5pu444Gu44GU56K66KqN?= (demo)\r\n\
         Date: Sun, 22 Nov 2026 09:00:00 +0900\r\n{more}"
    );
    [head.as_bytes(), entity].concat()
}

const PLAIN: &[u8] = b"Content-Type: text/plain; charset=us-ascii\r\n\
    Content-Transfer-Encoding: 7bit\r\n\r\n\
    Dear Carol,\r\n\r\nplease transfer 1,000 yen.\r\n.\r\n\r\n-- \r\nThe sender\r\n";

const OTHER: &[u8] = b"Content-Type: text/plain; charset=us-ascii\r\n\r\n\
    Dear Carol,\r\n\r\nplease transfer 9,000 yen.\r\n";

const UTF8: &[u8] = "Content-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\n\r\n\
    キャロル様\r\n\r\n見積書をお送りします。ご確認ください。\r\n"
    .as_bytes();

const ISO_2022_JP: &[u8] = b"Content-Type: text/plain; charset=iso-2022-jp\r\n\
    Content-Transfer-Encoding: 7bit\r\n\r\n\
    \x1b$B$3$l$O=pL>IU$-$N%a!<%k$G$9!#$43NG'$/$@$5$$!#\x1b(B\r\n\
    \x1b$BH>3Q$d!J3t!K$b;n$7$^$9!#\x1b(B\r\n";

const ATTACHMENT: &[u8] = b"Content-Type: multipart/mixed; boundary=\"inner\"\r\n\r\n\
    --inner\r\nContent-Type: text/plain\r\n\r\nSee the estimate.\r\n\
    --inner\r\nContent-Type: application/octet-stream; name=estimate.bin\r\n\
    Content-Transfer-Encoding: base64\r\n\
    Content-Disposition: attachment; filename=estimate.bin\r\n\r\nAAECAwQFBgcICQ==\r\n\
    --inner--\r\n";

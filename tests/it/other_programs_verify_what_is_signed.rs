//! What `kenin sign` signs, other programs verify, also behind relays that drop what they do not print.

use std::path::Path;
use std::process::{Command, Output};

use kenin_tests::encryption::{Workshop, said};
use kenin_tests::forge::certificates::pem;
use kenin_tests::forge::mime;
use kenin_tests::kenin::kenin;

/// `openssl cms -verify` of a mail.
fn openssl_verify(mail: &Path, root: &Path) -> Output {
    let mut verify = Command::new("openssl");
    verify.args(["cms", "-verify", "-purpose", "any", "-in"]);
    verify.arg(mail).arg("-CAfile").arg(root);
    verify.output().unwrap()
}

/// Text in ISO-2022-JP is 7-bit, and some relays drop its ESC all the same: the demo shows one.
#[test]
fn signed_iso_2022_jp_outlives_a_relay_that_drops_esc_and_high_bits() {
    let shop = Workshop::new();
    let root = shop.file("root.pem");
    std::fs::write(&root, pem("CERTIFICATE", &shop.root.certificate)).unwrap();
    let text = b"\x1b$B8!0u\x1b(B, and a tab:\t.\r\n";
    let header =
        b"Content-Type: text/plain; charset=iso-2022-jp\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
    let headers = mime::headers(&shop.rsa.address);
    let raw = [&headers[..], &header[..], &text[..]].concat();
    let mail = shop.file("plain.eml");
    std::fs::write(&mail, raw).unwrap();
    for form in ["--clear", "--opaque"] {
        let (pair, file) = (shop.rsa.pair(), mail.display().to_string());
        let mut words = vec!["sign", "--key", pair.as_str(), file.as_str()];
        words.extend((form == "--opaque").then_some(form));
        let output = kenin(&words);
        assert!(output.status.success(), "{}", said(&output));
        let is_printed = |octet: &u8| matches!(octet, b'\t' | b'\r' | b'\n' | 0x20..=0x7e);
        let relayed: Vec<u8> = output.stdout.iter().copied().filter(is_printed).collect();
        let signed = shop.file("relayed.eml");
        std::fs::write(&signed, &relayed).unwrap();
        let verified = openssl_verify(&signed, &root);
        assert!(verified.status.success(), "{form}: {}", said(&verified));
        // The reader has every octet of it back.
        let content = String::from_utf8(verified.stdout).unwrap();
        let content = content.replace("\r\n", "\n");
        let (_, body) = content.trim_end().rsplit_once("\n\n").unwrap();
        let digits: String = body.split_whitespace().collect();
        assert_eq!(openssl::base64::decode_block(&digits).unwrap(), text);
        let verdict = kenin(&[
            "verify",
            "--revocation=off",
            &format!("--anchor={}", root.display()),
            &signed.display().to_string(),
        ]);
        assert_eq!(verdict.status.code(), Some(0), "{form}: {}", said(&verdict));
    }
}

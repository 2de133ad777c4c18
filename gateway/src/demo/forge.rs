//! What an attacker, a careless relay or a mailing list does to mail. Makes bytes only; knows no key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kenin_pki::der::write;

/// The mail with the first `old` in it replaced.
pub(super) fn replace(mail: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let Some(at) = mail
        .windows(old.len().max(1))
        .position(|window| window == old)
    else {
        return mail.to_vec();
    };
    let (head, tail) = mail.split_at(at);
    [head, new, tail.get(old.len()..).unwrap_or_default()].concat()
}

/// The mail after a relay that drops ESC bytes.
pub(super) fn without_escapes(mail: &[u8]) -> Vec<u8> {
    mail.iter().copied().filter(|&byte| byte != 0x1b).collect()
}

/// The signed entity as a mailing list sends it on: in a multipart/mixed, with a footer.
pub(super) fn list_footer(entity: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(
        &b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"list\"\r\n\r\n--list\r\n"
            [..],
    );
    out.extend_from_slice(entity);
    out.extend_from_slice(
        b"\r\n--list\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
          To leave this list, write to leave@list.example\r\n--list--\r\n",
    );
    out
}

/// A multipart/signed of any content beside any CMS object.
pub(super) fn clear_signed(content: &[u8], cms: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(
        &b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=sha-256; boundary=\"forged\";\r\n\
           \tprotocol=\"application/pkcs7-signature\"\r\n\r\n--forged\r\n"[..],
    );
    out.extend_from_slice(content);
    out.extend_from_slice(
        b"\r\n--forged\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\
          Content-Transfer-Encoding: base64\r\n\r\n",
    );
    out.extend_from_slice(&base64_lines(cms));
    out.extend_from_slice(b"--forged--\r\n");
    out
}

/// A SignedData that nobody signed.
pub(super) fn without_signers() -> Vec<u8> {
    let signed_data = write::seq(&[
        write::integer(1),
        write::set_of::<Vec<u8>>(&[write::seq(&[write::oid(SHA256)])]),
        write::seq(&[write::oid(ID_DATA)]),
        write::set_of::<Vec<u8>>(&[]),
    ]);
    write::seq(&[write::oid(ID_SIGNED_DATA), write::explicit(0, &signed_data)])
}

/// Mail encrypted to somebody: what is inside is noise, as it is to everybody without the key.
pub(super) fn encrypted() -> Vec<u8> {
    let issuer = write::seq(&[write::set_of(&[write::seq(&[
        write::oid("2.5.4.3"),
        write::utf8_string("J-SIM Mail CA"),
    ])])]);
    let recipient = write::seq(&[
        write::integer(0),
        write::seq(&[issuer, write::integer(77)]),
        write::seq(&[write::oid("1.2.840.113549.1.1.1"), write::null()]),
        write::octet_string(&[0x5a; 256]),
    ]);
    let content = write::seq(&[
        write::oid(ID_DATA),
        write::seq(&[
            write::oid("2.16.840.1.101.3.4.1.42"),
            write::octet_string(&[7; 16]),
        ]),
        write::implicit(0, &[0xa5; 320]),
    ]);
    let enveloped = write::seq(&[write::integer(0), write::set_of(&[recipient]), content]);
    let cms = write::seq(&[
        write::oid(ID_ENVELOPED_DATA),
        write::explicit(0, &enveloped),
    ]);
    let mut out = Vec::from(
        &b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n\
           \tname=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n"[..],
    );
    out.extend_from_slice(&base64_lines(&cms));
    out
}

/// Fields that claim what only the gateway may say, in spellings that hope to be overlooked.
pub(super) fn forged_stamps(authserv_id: &str) -> Vec<u8> {
    let upper = authserv_id.to_ascii_uppercase();
    format!(
        "Authentication-Results: {authserv_id}; smime=pass body.smime-identifier=alice@demo.example\r\n\
         AUTHENTICATION-results :\r\n\t{upper} 1;\r\n smime=pass (ok)\r\n\
         X-Kenin-Verdict: eyJhbGciOiJub25lIn0.eyJyZXN1bHQiOiJwYXNzIn0.\r\n\
         x-kenin-VERDICT\t: eyJhbGciOiJub25lIn0\r\n"
    )
    .into_bytes()
}

fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(bytes);
    let mut out = Vec::with_capacity(text.len().saturating_add(text.len() / 16));
    for line in text.as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

const ID_DATA: &str = "1.2.840.113549.1.7.1";
const ID_SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const ID_ENVELOPED_DATA: &str = "1.2.840.113549.1.7.3";
const SHA256: &str = "2.16.840.1.101.3.4.2.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_changes_one_place_only() {
        assert_eq!(replace(b"a 1 b 1", b"1", b"22"), b"a 22 b 1");
        assert_eq!(replace(b"abc", b"x", b"y"), b"abc");
    }

    #[test]
    fn what_is_forged_reads_as_what_it_should_be() {
        let limits = kenin_smime::Limits::default();
        let mail = [b"From: a@demo.example\r\n".to_vec(), encrypted()].concat();
        let examined = kenin_smime::examine(&mail, &limits, &[]);
        assert!(examined.root_encrypted());
        assert_eq!(examined.encryption[0].recipients, 1);
        let mail = clear_signed(b"Content-Type: text/plain\r\n\r\nx\r\n", &without_signers());
        let examined = kenin_smime::examine(&mail, &limits, &[]);
        let root = examined.root_signature().unwrap();
        assert_eq!(root.defect, Some(kenin_smime::Defect::NoSigners));
    }
}

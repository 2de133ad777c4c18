//! Forged mail: header blocks and multiparts written as bytes, so that nothing tidies them up.

/// The boundary of forged multiparts.
pub const BOUNDARY: &str = "kenin-forge-7f3a";

/// The usual header fields of a mail from this address.
pub fn headers(from: &str) -> Vec<u8> {
    headers_with_from(format!("From: {from}\r\n").as_bytes())
}

/// The usual header fields around a raw From field (or none, or many).
pub fn headers_with_from(from: &[u8]) -> Vec<u8> {
    let mut out = from.to_vec();
    out.extend_from_slice(
        b"To: Reader <reader@example.jp>\r\nSubject: Forged\r\nDate: Fri, 01 May 2026 12:00:00 +0000\r\n\
          Message-ID: <forged@example.jp>\r\nMIME-Version: 1.0\r\n",
    );
    out
}

/// A text/plain part with its header.
pub fn text(body: &str) -> Vec<u8> {
    format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n").into_bytes()
}

/// base64 in lines of 64.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in openssl::base64::encode_block(bytes).as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The part that carries a detached signature.
pub fn signature_part(cms: &[u8]) -> Vec<u8> {
    let mut out = b"Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n\
        Content-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=\"smime.p7s\"\r\n\r\n"
        .to_vec();
    out.extend(base64(cms));
    out
}

/// The Content-Type field of an honest multipart/signed.
pub fn signed_type(boundary: &str) -> Vec<u8> {
    format!(
        "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; \
         boundary=\"{boundary}\"\r\n"
    )
    .into_bytes()
}

/// A multipart body of raw parts.
pub fn multipart(boundary: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

/// Joins byte strings.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A multipart/signed entity (header and body) of a signed part and its CMS.
pub fn signed_entity(boundary: &str, part: &[u8], cms: &[u8]) -> Vec<u8> {
    join(&[
        &signed_type(boundary),
        b"\r\n",
        &multipart(boundary, &[part, &signature_part(cms)]),
    ])
}

/// A clear-signed mail.
pub fn clear_signed(headers: &[u8], part: &[u8], cms: &[u8]) -> Vec<u8> {
    join(&[headers, &signed_entity(BOUNDARY, part, cms)])
}

/// An application/pkcs7-mime entity.
pub fn opaque_entity(smime_type: &str, cms: &[u8]) -> Vec<u8> {
    let parameter = if smime_type.is_empty() {
        String::new()
    } else {
        format!("; smime-type={smime_type}")
    };
    let mut out = format!(
        "Content-Type: application/pkcs7-mime{parameter}; name=\"smime.p7m\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"smime.p7m\"\r\n\r\n"
    )
    .into_bytes();
    out.extend(base64(cms));
    out
}

/// An opaque mail.
pub fn opaque(headers: &[u8], smime_type: &str, cms: &[u8]) -> Vec<u8> {
    join(&[headers, &opaque_entity(smime_type, cms)])
}

/// An unsigned multipart/`kind` mail of parts.
pub fn mixed(headers: &[u8], kind: &str, parts: &[&[u8]]) -> Vec<u8> {
    let boundary = "outer-4c1d";
    let field = format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n");
    join(&[headers, field.as_bytes(), &multipart(boundary, parts)])
}

/// An unsigned text mail.
pub fn plain(headers: &[u8], body: &str) -> Vec<u8> {
    join(&[
        headers,
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
        body.as_bytes(),
        b"\r\n",
    ])
}

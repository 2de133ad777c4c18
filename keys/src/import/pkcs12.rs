//! PKCS#12 (<https://www.rfc-editor.org/rfc/rfc7292>): what holds for integrity is checked first, then the bags are
//! walked with a list of what is still to do.

use std::borrow::Cow;
use std::collections::VecDeque;

use kenin_pki::ber::{Cursor, Tag, Tape};
use kenin_pki::crypto::Secret;
use kenin_pki::oid;

use super::pbe::{self, Form, Password};
use super::{Cover, Found, ImportError, LIMITS, Reading};

/// Reads the keys and certificates of a PFX.
pub(super) fn read(
    root: Cursor<'_, '_>,
    reading: &mut Reading,
    found: &mut Found,
) -> Result<(), ImportError> {
    let mut children = root.children();
    let (_, safe, mac) = (children.next(), children.next(), children.next());
    let (content_type, content) = content_info(safe.ok_or(BAD)?)?;
    if content_type != oid::CMS_DATA.content() {
        let form = "PKCS#12 that is signed and has no password";
        return Err(ImportError::Unsupported(form.to_owned()));
    }
    let content = content.octet_string().ok_or(BAD)?.contiguous();
    // Some programs write files without any password, and with nothing that one would be needed for.
    let is_said = reading.password.is_some();
    let password = match is_said || mac.is_some() {
        true => reading.password()?,
        false => Password::new(&Secret::new(Vec::new()))?,
    };
    let mut error = ImportError::WrongPassword;
    for form in password.forms() {
        if let Some(mac) = mac
            && !pbe::is_mac(mac, &content, &form, &mut reading.work)?
        {
            continue;
        }
        match safes(&content, &form, reading, found) {
            // Where nothing says that the password is right, what does not read may have another one.
            Err(ImportError::WrongPassword) if mac.is_some() => {
                return Err(ImportError::Malformed("encrypted under another password"));
            }
            Err(wrong @ (ImportError::WrongPassword | ImportError::Malformed(_)))
                if mac.is_none() =>
            {
                error = wrong;
            }
            other => return other,
        }
    }
    match is_said {
        true => Err(error),
        false => Err(ImportError::PasswordNeeded),
    }
}

/// AuthenticatedSafe (§4.1).
fn safes(
    content: &[u8],
    form: &Form,
    reading: &mut Reading,
    found: &mut Found,
) -> Result<(), ImportError> {
    let tape = Tape::parse(content, &LIMITS)?;
    for safe in tape.root().children() {
        let (content_type, content) = content_info(safe)?;
        if content_type == oid::CMS_DATA.content() {
            let content = content.octet_string().ok_or(BAD)?.contiguous();
            bags((&content, Cover::Nothing), form, reading, found)?;
        } else if content_type == ENCRYPTED_DATA {
            let opened = encrypted_data(content, form, reading)?;
            bags((opened.expose(), reading.cover), form, reading, found)?;
        } else {
            let form = "PKCS#12 that is encrypted for a certificate";
            return Err(ImportError::Unsupported(form.to_owned()));
        }
    }
    Ok(())
}

/// EncryptedData (RFC 5652 §8).
fn encrypted_data(
    data: Cursor<'_, '_>,
    form: &Form,
    reading: &mut Reading,
) -> Result<Secret, ImportError> {
    let info = data.children().nth(1).ok_or(BAD)?;
    let mut children = info.children();
    let (_, algorithm, content) = (children.next(), children.next(), children.next());
    let encrypted = content.ok_or(BAD)?.octets(Tag::context(0));
    let encrypted = encrypted.ok_or(BAD)?.contiguous();
    pbe::decrypt(algorithm.ok_or(BAD)?, &encrypted, form, &mut reading.work)
}

/// SafeContents (§4.2), and those inside it, with what they were under.
fn bags(
    (contents, cover): (&[u8], Cover),
    form: &Form,
    reading: &mut Reading,
    found: &mut Found,
) -> Result<(), ImportError> {
    let tape = Tape::parse(contents, &LIMITS)?;
    let mut waiting = VecDeque::from([tape.root()]);
    while let Some(contents) = waiting.pop_front() {
        for bag in contents.children() {
            let mut children = bag.children();
            let named = children.next().and_then(Cursor::oid).ok_or(BAD)?;
            let value = children.next().and_then(Cursor::only_child).ok_or(BAD)?;
            match named.content().strip_prefix(BAG) {
                Some([KEY]) => found.key(Secret::new(value.raw().to_vec()), cover)?,
                Some([SHROUDED_KEY]) => {
                    found.key(shrouded_key(value, form, reading)?, reading.cover)?;
                }
                Some([CERTIFICATE]) => {
                    if let Some(der) = certificate(value)? {
                        found.certificate(&der)?;
                    }
                }
                // The tape bounds how deep and how many.
                Some([SAFE_CONTENTS]) => waiting.push_back(value),
                // Lists and secrets of others.
                _ => {}
            }
        }
    }
    Ok(())
}

fn shrouded_key(
    value: Cursor<'_, '_>,
    form: &Form,
    reading: &mut Reading,
) -> Result<Secret, ImportError> {
    let mut children = value.children();
    let (algorithm, encrypted) = (children.next(), children.next());
    let encrypted = encrypted.and_then(Cursor::octet_string).ok_or(BAD)?;
    let encrypted = encrypted.contiguous();
    pbe::decrypt(algorithm.ok_or(BAD)?, &encrypted, form, &mut reading.work)
}

/// The certificate of a CertBag, unless it is one of SDSI.
fn certificate<'a>(value: Cursor<'_, 'a>) -> Result<Option<Cow<'a, [u8]>>, ImportError> {
    let mut children = value.children();
    let named = children.next().and_then(Cursor::oid).ok_or(BAD)?;
    if named.content() != X509_CERTIFICATE {
        return Ok(None);
    }
    let der = children.next().and_then(Cursor::only_child);
    let der = der.and_then(Cursor::octet_string).ok_or(BAD)?;
    Ok(Some(der.contiguous()))
}

/// The type and the content of a ContentInfo.
fn content_info<'t, 'a>(info: Cursor<'t, 'a>) -> Result<(&'a [u8], Cursor<'t, 'a>), ImportError> {
    let mut children = info.children();
    let content_type = children.next().and_then(Cursor::oid).ok_or(BAD)?;
    let content = children.next().and_then(Cursor::only_child).ok_or(BAD)?;
    Ok((content_type.content(), content))
}

const BAD: ImportError = ImportError::Malformed("PKCS#12");
/// 1.2.840.113549.1.7.6.
const ENCRYPTED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
/// 1.2.840.113549.1.9.22.1.
const X509_CERTIFICATE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";
/// 1.2.840.113549.1.12.10.1, and what follows it.
const BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01";
const KEY: u8 = 1;
const SHROUDED_KEY: u8 = 2;
const CERTIFICATE: u8 = 3;
const SAFE_CONTENTS: u8 = 6;

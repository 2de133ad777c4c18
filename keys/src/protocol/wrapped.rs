//! A wrapped content-encryption key between processes: its algorithms as CMS names them.

use kenin_pki::crypto::{Kdf, KeyWrap, Wrapped, Wrapping};
use kenin_pki::oid::Oid;

use super::{MAX_IDENTIFIER, TooLong, identifier};
use crate::octets::{Malformed, Reader, Writer};

/// Writes it.
pub(super) fn write(writer: &mut Writer, wrapped: &Wrapped) -> Result<(), TooLong> {
    let parts = [&wrapped.encrypted_key, &wrapped.peer];
    if parts.iter().any(|part| part.len() > MAX_PART) {
        return Err(TooLong);
    }
    match &wrapped.wrapping {
        Wrapping::Agreement {
            kdf,
            wrap,
            shared_info,
        } => {
            // What has no name in CMS cannot have come out of it.
            let named = kdf.agreement_oid().ok_or(TooLong)?;
            writer.u8(AGREEMENT).octets(named.content());
            write_wrap(writer, *wrap, shared_info)?;
        }
        Wrapping::Kem { kdf, wrap, info } => {
            let named = kdf.to_hkdf_identifier().ok_or(TooLong)?;
            writer.u8(ENCAPSULATION).octets(&named.to_der());
            write_wrap(writer, *wrap, info)?;
        }
        transport @ (Wrapping::RsaPkcs1 | Wrapping::RsaOaep { .. }) => {
            let named = transport.to_key_transport().ok_or(TooLong)?.to_der();
            if named.len() > MAX_IDENTIFIER {
                return Err(TooLong);
            }
            writer.u8(TRANSPORT).octets(&named);
        }
    }
    writer.octets(&wrapped.encrypted_key).octets(&wrapped.peer);
    Ok(())
}

/// Reads it.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Wrapped, Malformed> {
    let wrapping = match reader.u8()? {
        TRANSPORT => Wrapping::from_key_transport(&identifier(reader)?)
            .map_err(|_| Malformed("an unknown key transport"))?,
        AGREEMENT => {
            let named = Oid::from_content(reader.octets(MAX_IDENTIFIER)?);
            let kdf = named.and_then(Kdf::from_agreement);
            let kdf = kdf.ok_or(Malformed("an unknown key agreement"))?;
            let (wrap, shared_info) = read_wrap(reader)?;
            Wrapping::Agreement {
                kdf,
                wrap,
                shared_info,
            }
        }
        ENCAPSULATION => {
            let kdf = Kdf::from_hkdf_identifier(&identifier(reader)?);
            let kdf = kdf.map_err(|_| Malformed("an unknown key derivation"))?;
            let (wrap, info) = read_wrap(reader)?;
            Wrapping::Kem { kdf, wrap, info }
        }
        _ => return Err(Malformed("an unknown way of wrapping")),
    };
    Ok(Wrapped {
        wrapping,
        encrypted_key: reader.octets(MAX_PART)?.to_vec(),
        peer: reader.octets(MAX_PART)?.to_vec(),
    })
}

fn write_wrap(writer: &mut Writer, wrap: KeyWrap, info: &[u8]) -> Result<(), TooLong> {
    if info.len() > MAX_PART {
        return Err(TooLong);
    }
    writer.octets(&wrap.to_identifier().to_der()).octets(info);
    Ok(())
}

fn read_wrap(reader: &mut Reader<'_>) -> Result<(KeyWrap, Vec<u8>), Malformed> {
    let wrap = KeyWrap::from_identifier(&identifier(reader)?);
    let wrap = wrap.map_err(|_| Malformed("an unknown key wrap"))?;
    Ok((wrap, reader.octets(MAX_PART)?.to_vec()))
}

/// Octets of a wrapped key, of a sender's key or of what both sides know, at most.
const MAX_PART: usize = 8 << 10;
const TRANSPORT: u8 = 1;
const AGREEMENT: u8 = 2;
const ENCAPSULATION: u8 = 3;

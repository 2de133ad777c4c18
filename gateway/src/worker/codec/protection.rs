//! What the plan of a mail's protection asks and is told, and what is kept for later ones, as octets.

use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_pki::crypto::{Aes, ContentKind};
use kenin_policy::protect::{Answer, Answered, Candidate, Found, Question, Unavailable};
use kenin_smime::Capabilities;

use super::{Coded, coded, coded_by_number};
use crate::harvest;
use crate::protect::Signatory;

coded!(Signatory {
    facts,
    certificate,
    chain,
});

coded!(harvest::Found {
    certificate,
    said,
    signing_time,
    used,
});

coded!(Answered { question, answer });

coded!(Found {
    candidates,
    unavailable,
});

coded!(Candidate {
    certificate,
    refused,
    capabilities,
});

coded!(Capabilities { ciphers, oaep });

coded_by_number!(Unavailable: Keys = 0, Directory = 1, Store = 2);

impl Coded for Question {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::RecipientCertificates(address) => {
                out.u8(0);
                address.write(out);
            }
            Self::SenderKey(address) => {
                out.u8(1);
                address.write(out);
            }
            Self::CameEncrypted(ids) => {
                out.u8(2);
                ids.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::RecipientCertificates),
            1 => Coded::read(from).map(Self::SenderKey),
            2 => Coded::read(from).map(Self::CameEncrypted),
            _ => Err(Malformed("an unknown question about a plan")),
        }
    }
}

impl Coded for Answer {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Certificates(found) => {
                out.u8(0);
                found.write(out);
            }
            Self::SenderKey(there) => {
                out.u8(1);
                there.write(out);
            }
            Self::CameEncrypted(came) => {
                out.u8(2);
                came.write(out);
            }
            Self::Unavailable(who) => {
                out.u8(3);
                who.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Coded::read(from).map(Self::Certificates),
            1 => Coded::read(from).map(Self::SenderKey),
            2 => Coded::read(from).map(Self::CameEncrypted),
            3 => Coded::read(from).map(Self::Unavailable),
            _ => Err(Malformed("an unknown answer about a plan")),
        }
    }
}

impl Coded for ContentKind {
    fn write(&self, out: &mut Writer) {
        out.u8(match self {
            Self::AesCbc(Aes::Bits128) => 0,
            Self::AesCbc(Aes::Bits192) => 1,
            Self::AesCbc(Aes::Bits256) => 2,
            Self::AesGcm(Aes::Bits128) => 3,
            Self::AesGcm(Aes::Bits192) => 4,
            Self::AesGcm(Aes::Bits256) => 5,
            Self::ChaCha20Poly1305 => 6,
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Self::AesCbc(Aes::Bits128)),
            1 => Ok(Self::AesCbc(Aes::Bits192)),
            2 => Ok(Self::AesCbc(Aes::Bits256)),
            3 => Ok(Self::AesGcm(Aes::Bits128)),
            4 => Ok(Self::AesGcm(Aes::Bits192)),
            5 => Ok(Self::AesGcm(Aes::Bits256)),
            6 => Ok(Self::ChaCha20Poly1305),
            _ => Err(Malformed("an unknown cipher")),
        }
    }
}

//! A verdict as octets.

use kenin_keys::octets::{Malformed, Reader, Writer};
use kenin_policy::verdict::{
    CheckResult, Checks, EncryptionVerdict, LayerVerdict, NoteVerdict, SignatureVerdict,
    SignerVerdict, Verdict,
};
use kenin_policy::{Disclosure, NoteId, Reason, ResultWord};

use super::{Coded, coded, coded_by_number};

coded!(Verdict {
    result,
    reason,
    from,
    signatures,
    encryption,
    layers,
    notes,
    detail,
    revision,
});

coded!(SignatureVerdict {
    section,
    root,
    within,
    result,
    reason,
    checks,
    signer,
    digest,
    algorithm,
    signing_time,
    detail,
    notes,
    path,
    anchor,
    status,
    status_as_of,
    revoked,
    disclosure,
    signers,
    traces,
});

coded!(Checks {
    content,
    signature,
    algorithm,
    path,
    revocation,
    identity,
});

coded!(SignerVerdict {
    addresses,
    identifier,
    subject,
    issuer,
    serial,
    sha256,
});

coded!(EncryptionVerdict {
    section,
    opened,
    reason,
    content,
    integrity,
    recipients,
});

coded!(LayerVerdict {
    section,
    kind,
    root,
});

coded!(NoteVerdict { id, section });

coded_by_number!(Disclosure: Full = 0, VerdictOnly = 1);

/// The reason code of a revocation.
impl Coded for Option<u8> {
    fn write(&self, out: &mut Writer) {
        self.is_some().write(out);
        out.u8(self.unwrap_or_default());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (there, code) = (bool::read(from)?, from.u8()?);
        Ok(there.then_some(code))
    }
}

impl Coded for ResultWord {
    fn write(&self, out: &mut Writer) {
        out.octets(self.as_str().as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let word = from.text(MAX_ID)?;
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.as_str() == word)
            .ok_or(Malformed("an unknown result"))
    }
}

impl Coded for Reason {
    fn write(&self, out: &mut Writer) {
        out.octets(self.id().as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_id(from.text(MAX_ID)?).ok_or(Malformed("an unknown reason"))
    }
}

impl Coded for NoteId {
    fn write(&self, out: &mut Writer) {
        out.octets(self.id().as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let id = from.text(MAX_ID)?;
        let mut all = Self::ALL.into_iter();
        all.find(|one| one.id() == id)
            .ok_or(Malformed("an unknown note"))
    }
}

impl Coded for CheckResult {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Ok => {
                out.u8(0);
            }
            Self::Unchecked => {
                out.u8(1);
            }
            Self::Failed(reason) => {
                out.u8(2);
                reason.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Self::Ok),
            1 => Ok(Self::Unchecked),
            2 => Reason::read(from).map(Self::Failed),
            _ => Err(Malformed("an unknown result of a check")),
        }
    }
}

const MAX_ID: usize = 64;

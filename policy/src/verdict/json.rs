//! A verdict as JSON: the fields and their order, those of `kenin verify --format jsonl`.
//! Fields are only ever added.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{
    Checks, EncryptionVerdict, LayerVerdict, NoteVerdict, SignatureVerdict, SignerVerdict, Verdict,
};

/// A verdict with the name of its file before it.
pub(super) struct InFile<'a> {
    pub(super) file: &'a str,
    pub(super) verdict: &'a Verdict,
}

impl Serialize for InFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Verdict", 12)?;
        out.serialize_field("file", self.file)?;
        self.verdict.fields(&mut out)?;
        out.end()
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Verdict", 11)?;
        self.fields(&mut out)?;
        out.end()
    }
}

impl Verdict {
    fn fields<O: SerializeStruct>(&self, out: &mut O) -> Result<(), O::Error> {
        out.serialize_field("result", &self.result)?;
        out.serialize_field("reason", self.reason_id())?;
        out.serialize_field("from", &self.from)?;
        out.serialize_field("signatures", &self.signatures)?;
        out.serialize_field("encryption", &self.encryption)?;
        out.serialize_field("layers", &self.layers)?;
        out.serialize_field("notes", &self.notes)?;
        out.serialize_field("detail", &self.detail)?;
        out.serialize_field("rfc9219", &self.rfc9219())?;
        let indication = self.indication();
        out.serialize_field("indication", &indication.map(|(main, _)| main))?;
        out.serialize_field("subindication", &indication.and_then(|(_, sub)| sub))
    }
}

impl Serialize for SignatureVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Signature", 17)?;
        out.serialize_field("section", &self.section)?;
        if self.root {
            out.skip_field("root")?;
        } else {
            out.serialize_field("root", &false)?;
        }
        out.serialize_field("result", &self.result)?;
        out.serialize_field("reason", &self.reason)?;
        out.serialize_field("checks", &self.checks)?;
        out.serialize_field("signer", &self.signer)?;
        out.serialize_field("digest", &self.digest)?;
        out.serialize_field("algorithm", &self.algorithm)?;
        out.serialize_field("signing_time", &self.signing_time)?;
        out.serialize_field("signers", &self.signers)?;
        out.serialize_field("detail", &self.detail)?;
        out.serialize_field("notes", &self.notes)?;
        out.serialize_field("path", &self.path)?;
        out.serialize_field("anchor", &self.anchor)?;
        out.serialize_field("status", &self.status)?;
        out.serialize_field("status_as_of", &self.status_as_of)?;
        out.serialize_field("revoked", &self.revoked.as_ref().map(|(time, _)| time))?;
        out.end()
    }
}

impl Serialize for Checks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Checks", 6)?;
        for (name, result) in self.each() {
            out.serialize_field(name, result.as_str())?;
        }
        out.end()
    }
}

impl Serialize for SignerVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Signer", 5)?;
        out.serialize_field("addresses", &self.addresses)?;
        out.serialize_field("subject", &self.subject)?;
        out.serialize_field("issuer", &self.issuer)?;
        out.serialize_field("serial", &self.serial)?;
        out.serialize_field("sha256", &self.sha256)?;
        out.end()
    }
}

impl Serialize for EncryptionVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Encryption", 6)?;
        out.serialize_field("section", &self.section)?;
        out.serialize_field("opened", &self.opened)?;
        out.serialize_field("reason", self.reason)?;
        out.serialize_field("content", &self.content)?;
        out.serialize_field("integrity", &self.integrity)?;
        out.serialize_field("recipients", &self.recipients)?;
        out.end()
    }
}

impl Serialize for LayerVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Layer", 3)?;
        out.serialize_field("section", &self.section)?;
        out.serialize_field("kind", self.kind)?;
        if self.root {
            out.skip_field("root")?;
        } else {
            out.serialize_field("root", &false)?;
        }
        out.end()
    }
}

impl Serialize for NoteVerdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.id.serialize(serializer)
    }
}

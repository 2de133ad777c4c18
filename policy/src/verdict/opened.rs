//! The verdict on a message of which a layer was opened: what is said of the message as it came, and of the one with the
//! content in place of the layer, in one.

use super::{NoteVerdict, Verdict};

/// Where the layer was that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// It is the whole of the message: what is signed inside counts as signed at the root.
    Nothing,
    /// Signatures over the whole of the message are around it: they decide, and what is inside changes nothing.
    Signatures,
}

impl Verdict {
    /// This verdict on the message as it came, with the one on what its first encrypted layer opened to. Sections inside
    /// begin with that of the layer.
    #[must_use]
    pub fn opened(mut self, inner: Self, around: Around) -> Self {
        let Some(layer) = self.encryption.first_mut() else {
            return self;
        };
        layer.opened = true;
        layer.reason = "ok";
        let section = layer.section.clone();
        let moved = |inside: &str| format!("{section}/{inside}");
        let outside: Vec<String> = self
            .root_signatures()
            .map(|signature| signature.section.clone())
            .collect();
        let counts = around == Around::Nothing;
        if counts {
            self.result = inner.result;
            self.reason = inner.reason;
            self.detail = inner.detail;
            self.from = inner.from;
        }
        for mut signature in inner.signatures {
            signature.section = moved(&signature.section);
            let within = signature.within.iter().map(|one| moved(one));
            signature.within = outside.iter().cloned().chain(within).collect();
            signature.root &= counts;
            for note in &mut signature.notes {
                note.section = note.section.as_deref().map(moved);
            }
            self.signatures.push(signature);
        }
        // Root signatures come first.
        self.signatures.sort_by_key(|signature| !signature.root);
        for mut encryption in inner.encryption {
            encryption.section = moved(&encryption.section);
            self.encryption.push(encryption);
        }
        for mut layer in inner.layers {
            layer.section = moved(&layer.section);
            layer.root &= counts;
            self.layers.push(layer);
        }
        for note in inner.notes {
            let note = NoteVerdict {
                id: note.id,
                section: note.section.as_deref().map(moved),
            };
            if !self.notes.iter().any(|known| known.id == note.id) {
                self.notes.push(note);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use kenin_smime::sign::Form;

    use super::*;
    use crate::reason::{Reason, ResultWord};
    use crate::testing::{World, unsigned};
    use crate::verdict::{EncryptionVerdict, LayerVerdict};

    const ALICE: &str = "alice@example.jp";

    fn encrypted(section: &str) -> Verdict {
        Verdict {
            result: None,
            reason: None,
            encryption: vec![EncryptionVerdict {
                section: section.to_owned(),
                opened: false,
                reason: "undecryptable",
                content: "aes-256-gcm".to_owned(),
                integrity: "aead".to_owned(),
                recipients: 2,
            }],
            layers: vec![LayerVerdict {
                section: section.to_owned(),
                kind: "auth-enveloped",
                root: true,
            }],
            ..unsigned()
        }
    }

    fn signed() -> Verdict {
        let world = World::new();
        world.verdict(&world.person(ALICE).sign(ALICE, Form::Clear))
    }

    #[test]
    fn what_is_signed_inside_is_the_result() {
        let verdict = encrypted("1").opened(signed(), Around::Nothing);
        assert!(verdict.is_pass());
        let value = verdict.to_value("a.eml");
        assert_eq!(value["signatures"][0]["section"], "1/2");
        assert!(value["signatures"][0].get("root").is_none());
        assert_eq!(
            value["encryption"],
            serde_json::json!([{"section": "1", "opened": true, "reason": "ok",
                "content": "aes-256-gcm", "integrity": "aead", "recipients": 2}])
        );
        assert_eq!(
            value["layers"],
            serde_json::json!([
                {"section": "1", "kind": "auth-enveloped"},
                {"section": "1/1", "kind": "clear-signed"}
            ])
        );
        assert_eq!(value["rfc9219"], "encrypted+signed/verified");
        assert_eq!(value["from"][0], ALICE);
    }

    #[test]
    fn a_layer_inside_that_stays_closed_leaves_no_result() {
        let verdict = encrypted("1").opened(encrypted("1"), Around::Nothing);
        assert_eq!((verdict.result, verdict.reason), (None, None));
        let value = verdict.to_value("a.eml");
        assert_eq!(value["encryption"][1]["section"], "1/1");
        assert_eq!(value["encryption"][1]["opened"], false);
    }

    #[test]
    fn below_a_signature_nothing_changes_the_result() {
        let mut outer = signed();
        outer.encryption = encrypted("1").encryption;
        let mut inner = signed();
        inner.signatures[0].result = ResultWord::Fail;
        inner.signatures[0].reason = Reason::DigestMismatch;
        inner.result = Some(ResultWord::Fail);
        inner.reason = Some(Reason::DigestMismatch);
        let verdict = outer.opened(inner, Around::Signatures);
        assert!(verdict.is_pass());
        assert_eq!(verdict.signatures.len(), 2);
        let inside = &verdict.signatures[1];
        assert_eq!((inside.root, inside.section.as_str()), (false, "1/2"));
        assert_eq!(inside.within, ["2"]);
    }
}

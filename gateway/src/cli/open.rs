//! Opens the encrypted layers of one message with keys at hand, one after the other: those that are the whole of it, and
//! those inside a signature over the whole of it (RFC 2634 §1.1). A part that is encrypted stays as it is.
//!
//! A key is used for a recipient that its certificate is, and for no other. The person who runs the command owns the keys:
//! what is told of a failure is what the message says of itself, and never what the key said of it.

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{ContentCipher, Wrapped, Wrapping};
use kenin_policy::{header, mailbox};
use kenin_smime::Limits;
use kenin_smime::open::{EncryptedLayer, Integrity, Opened, reassemble, signed_content};

use super::input;
use super::private::Holder;

/// What opens.
pub(super) struct Opener<'a> {
    /// The keys.
    pub(super) holders: &'a [Holder],
    /// What a message may hold.
    pub(super) limits: &'a Limits,
    /// Whether ciphers of old programs are opened too.
    pub(super) legacy: bool,
}

/// What one more look at a message came to.
pub(super) enum Look {
    /// There is nothing to open.
    Nothing,
    /// A layer was opened.
    Opened(Box<OpenedLayer>),
    /// There is one, and it stays closed.
    Closed(Closed),
}

/// A layer that was opened.
pub(super) struct OpenedLayer {
    /// The message with the content in place of the layer.
    pub(super) message: Vec<u8>,
    /// How many signatures over the whole were taken off before.
    pub(super) signatures: usize,
    /// How the content was encrypted.
    pub(super) cipher: ContentCipher,
    /// For how many.
    pub(super) recipients: usize,
    /// Whose key opened it.
    pub(super) certificate: Certificate,
    /// Whether somebody can have changed it.
    pub(super) integrity: Integrity,
    /// Another From than the message's stands inside, and stayed there.
    pub(super) other_from: bool,
}

/// Why a layer stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is encrypted for others.
    NotRecipient,
    /// Its algorithms are those of old programs.
    Legacy,
    /// The key, the content or both are not what they should be.
    Undecryptable,
}

impl Closed {
    /// For people.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::NotRecipient => "it is not encrypted for any of the keys",
            Self::Legacy => "it is encrypted as old programs did; --legacy opens it",
            Self::Undecryptable => "it cannot be decrypted",
        }
    }
}

impl Opener<'_> {
    /// Looks at a message for the layer that all of it is, and opens it.
    pub(super) fn look(&self, message: &[u8]) -> Look {
        if let Some(layer) = EncryptedLayer::of(message, self.limits) {
            return self.layer(message, &layer, 0);
        }
        let mut content = message.to_vec();
        for signatures in 1..=self.limits.layers {
            let Some(inner) = signed_content(&content, self.limits) else {
                break;
            };
            if let Some(layer) = EncryptedLayer::of(&inner, self.limits) {
                return self.layer(&inner, &layer, signatures);
            }
            content = inner;
        }
        Look::Nothing
    }

    /// The same for a bare object, whose content is all that there is.
    pub(super) fn look_at_cms(&self, object: &[u8]) -> Look {
        match EncryptedLayer::of_cms(object, self.limits) {
            Some(layer) => self.layer(b"", &layer, 0),
            None => Look::Nothing,
        }
    }

    /// Opens a layer of `message`.
    fn layer(&self, message: &[u8], layer: &EncryptedLayer, signatures: usize) -> Look {
        let (opened, certificate) = match self.open(layer) {
            Ok(found) => found,
            Err(closed) => return Look::Closed(closed),
        };
        // What is compressed inside says more to who reads it when it is not.
        let expanded = opened.expanded(self.limits).and_then(Result::ok);
        let opened = expanded.unwrap_or(opened);
        let (message, other_from) = match message.is_empty() {
            true => (opened.entity, false),
            false => self.rebuilt(message, &opened.entity),
        };
        Look::Opened(Box::new(OpenedLayer {
            message,
            signatures,
            cipher: layer.cipher().clone(),
            recipients: layer.recipients().len(),
            certificate: certificate.clone(),
            integrity: opened.integrity,
            other_from,
        }))
    }

    /// The content, and whose key opened it. More than one key is used only where more than one is named.
    fn open(&self, layer: &EncryptedLayer) -> Result<(Opened, &Certificate), Closed> {
        let whose: Vec<(&Holder, &Certificate)> = self
            .holders
            .iter()
            .flat_map(|holder| holder.own.iter().map(move |own| (holder, own)))
            .collect();
        let certificates: Vec<Certificate> = whose.iter().map(|(_, own)| (*own).clone()).collect();
        let matches = layer.match_certificates(&certificates);
        if matches.is_empty() {
            return Err(Closed::NotRecipient);
        }
        let mut closed = Closed::Undecryptable;
        for found in matches {
            let holder = whose.get(found.certificate).copied();
            let recipient = layer.recipients().get(found.recipient);
            let wrapped = recipient.and_then(|recipient| recipient.wrapped.as_ref());
            let (Some((holder, certificate)), Some(wrapped)) = (holder, wrapped) else {
                continue;
            };
            if !self.legacy && (layer.cipher().is_legacy() || wrapped.wrapping.is_legacy()) {
                closed = Closed::Legacy;
                continue;
            }
            let key = wrapped.unwrap(&holder.key, &holder.rejection, layer.key_len());
            let opened = key.and_then(|key| layer.open_with(&key));
            if let Ok(opened) = opened
                && (is_proven(wrapped, &opened) || opened.is_entity() || is_text(&opened.entity))
            {
                return Ok((opened, certificate));
            }
        }
        Err(closed)
    }

    /// The message with its content, in the form in which mail travels, and whether another From stayed inside: who
    /// wrote the mail is said outside, or by a signature.
    fn rebuilt(&self, message: &[u8], entity: &[u8]) -> (Vec<u8>, bool) {
        let entity = input::wire_form(entity);
        let whole = reassemble(message, &entity, self.limits, &|_| true);
        if same_from(message, &whole) {
            return (whole, false);
        }
        let own = reassemble(message, &entity, self.limits, &|name| name != "from");
        (own, true)
    }
}

/// Whether both are from the same mailbox, or say the same in the same words.
fn same_from(one: &[u8], other: &[u8]) -> bool {
    let from = |raw: &[u8]| {
        let field = mailbox::from_field(raw, &header::scan(raw));
        field
            .mailbox
            .map(|mailbox| mailbox.address.to_string())
            .map_err(|_| field.addresses)
    };
    from(one) == from(other)
}

/// Whether the right key was unwrapped, by the wrapping itself or by the tag.
fn is_proven(wrapped: &Wrapped, opened: &Opened) -> bool {
    wrapped.wrapping != Wrapping::RsaPkcs1 || opened.integrity == Integrity::Aead
}

/// Whether it is text of people, which a wrong key hardly ever gives.
fn is_text(content: &[u8]) -> bool {
    let plain =
        |character: char| !character.is_control() || "\r\n\t\u{c}\u{1b}".contains(character);
    std::str::from_utf8(content).is_ok_and(|text| text.chars().all(plain))
}

#[cfg(test)]
mod tests;

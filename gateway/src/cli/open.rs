//! Opens the encrypted layers of one message with keys at hand, one after the other: those that are the whole of it, and
//! those inside a signature (RFC 2634 §1.1) or a compression of the whole of it. A part that is encrypted stays as it is.
//!
//! A key is used for a recipient that its certificate is, and for no other. The person who runs the command owns the keys:
//! what is told of a failure is what the message says of itself, and never what the key said of it.

use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{ContentCipher, RejectionSecret, Secret, Wrapped};
use kenin_policy::{header, mailbox};
use kenin_smime::open::{
    EncryptedLayer, Integrity, Opened, Recipient, expand, reassemble, signed_content,
};
use kenin_smime::{Defect, Limits};

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
    /// What is compressed inside could not be expanded, and is as it was: why.
    pub(super) compressed: Option<Defect>,
}

/// Why a layer stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is encrypted, and cannot be read: why, as everybody sees.
    Unreadable(&'static str),
    /// It is encrypted for others.
    NotRecipient,
    /// It names one of the keys, and its content's key is wrapped for that one in a way that is not supported.
    Wrapping,
    /// It names one of the keys more than once, and no key is tried twice.
    NamedTwice,
    /// Its algorithms are those of old programs.
    Legacy,
    /// The key, the content or both are not what they should be.
    Undecryptable,
}

impl Closed {
    /// For people.
    pub(super) fn text(self) -> String {
        let text = match self {
            Self::Unreadable(why) => {
                return format!("it is encrypted in a way that cannot be read: {why}");
            }
            Self::NotRecipient => "it is not encrypted for any of the keys",
            Self::Wrapping => {
                "it names one of the keys, but how it is wrapped for that key is not supported"
            }
            Self::NamedTwice => "it names one of the keys more than once; none is tried twice",
            Self::Legacy => "it is encrypted as old programs did; --legacy opens it",
            Self::Undecryptable => "it cannot be decrypted",
        };
        text.to_owned()
    }
}

impl Opener<'_> {
    /// Looks at a message for the layer that all of it is, and opens it. Signatures and compressions around the whole may
    /// stand before it in any order (RFC 8551 §3.7).
    pub(super) fn look(&self, message: &[u8]) -> Look {
        if let Some(found) = self.root(message, 0) {
            return found;
        }
        let mut content = message.to_vec();
        let mut signatures = 0;
        for _ in 0..self.limits.layers {
            let inner = if let Some(inner) = signed_content(&content, self.limits) {
                signatures += 1;
                inner
            } else if let Some(Ok(entity)) = expand(&content, self.limits) {
                let entity = input::content_form(&entity);
                // No field of it counts outside.
                reassemble(&content, &entity, self.limits, &|_| false)
            } else {
                break;
            };
            if let Some(found) = self.root(&inner, signatures) {
                return found;
            }
            content = inner;
        }
        Look::Nothing
    }

    /// The encrypted layer that a message is without a look behind signatures; nothing where it is none.
    fn root(&self, message: &[u8], signatures: usize) -> Option<Look> {
        match EncryptedLayer::of(message, self.limits) {
            Some(layer) => Some(self.layer(message, &layer, signatures)),
            None => EncryptedLayer::refused(message, self.limits).map(unreadable),
        }
    }

    /// The same for a bare object, whose content is all that there is.
    pub(super) fn look_at_cms(&self, object: &[u8]) -> Look {
        if let Some(layer) = EncryptedLayer::of_cms(object, self.limits) {
            return self.layer(b"", &layer, 0);
        }
        match EncryptedLayer::refused_cms(object, self.limits) {
            Some(why) => unreadable(why),
            // It may be a signature or a compression around one.
            None => self.look(&[AS_MAIL, object].concat()),
        }
    }

    /// Opens a layer of `message`.
    fn layer(&self, message: &[u8], layer: &EncryptedLayer, signatures: usize) -> Look {
        let (opened, certificate) = match self.open(layer) {
            Ok(found) => found,
            Err(closed) => return Look::Closed(closed),
        };
        let (opened, compressed) = self.expanded(opened);
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
            compressed,
        }))
    }

    /// What is compressed inside says more to who reads it when it is not. Where something stays compressed, why.
    fn expanded(&self, mut opened: Opened) -> (Opened, Option<Defect>) {
        // Each turn is a layer, which are counted.
        loop {
            match opened.expanded(self.limits) {
                Some(Ok(inner)) => opened = inner,
                Some(Err(defect)) => return (opened, Some(defect)),
                None => return (opened, None),
            }
        }
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
            return Err(unmatched(layer, &certificates));
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
            let Ok(key) = wrapped.unwrap(&holder.key, &holder.rejection, layer.key_len()) else {
                continue;
            };
            if let Ok(opened) = layer.open_with(&key)
                && (opened.integrity == Integrity::Aead || is_wrapped(wrapped, holder, &key))
            {
                return Ok((opened, certificate));
            }
        }
        Err(closed)
    }

    /// The message with its content, in the form in which mail travels, and whether another From stayed inside: who
    /// wrote the mail is said outside, or by a signature.
    fn rebuilt(&self, message: &[u8], entity: &[u8]) -> (Vec<u8>, bool) {
        let entity = input::content_form(entity);
        let whole = reassemble(message, &entity, self.limits, &|_| true);
        if same_from(message, &whole) {
            return (whole, false);
        }
        let own = reassemble(message, &entity, self.limits, &|name| name != "from");
        (own, true)
    }
}

fn unreadable(why: &'static str) -> Look {
    Look::Closed(Closed::Unreadable(why))
}

/// Why a layer has no key among those of these certificates. Whom it names, everybody sees.
fn unmatched(layer: &EncryptedLayer, certificates: &[Certificate]) -> Closed {
    let mut closed = Closed::NotRecipient;
    for certificate in certificates {
        let is_it = |recipient: &&Recipient| recipient.id.matches(certificate);
        for recipient in layer.recipients().iter().filter(is_it) {
            let key = certificate.public_key();
            if recipient.wrapped.is_none() || !recipient.suits(key) {
                return Closed::Wrapping;
            }
            closed = Closed::NamedTwice;
        }
    }
    closed
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

/// Whether this is what is wrapped, and not what was made in its place (RFC 3218 §2.3.2), which is another with each
/// secret. For who owns the key, and nobody else.
fn is_wrapped(wrapped: &Wrapped, holder: &Holder, key: &Secret) -> bool {
    wrapped.wrapping.proves_its_key()
        || RejectionSecret::random().is_ok_and(|other| {
            let again = wrapped.unwrap(&holder.key, &other, key.len());
            again.is_ok_and(|again| again == *key)
        })
}

/// In front of a bare object, it is the mail that is that object.
const AS_MAIL: &[u8] =
    b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: binary\r\n\r\n";

#[cfg(test)]
mod tests;

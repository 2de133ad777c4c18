//! CMS objects that stand for themselves (RFC 8551 §3.2): application/pkcs7-mime in its spellings, and
//! bare files. The object says what it is, not its label.

use std::borrow::Cow;
use std::rc::Rc;

use kenin_pki::ber::{Cursor, Octets};

use super::{
    Place, blank, check_beside, check_header, check_signers, check_type, has_name, is_pkcs7,
};
use crate::cms::{self, Content, Envelope, Refusal, SignedData};
use crate::defect::Defect;
use crate::examine::{Job, Source, Walk, label_fits};
use crate::facts::{EncryptionFacts, LayerFacts, LayerKind, Note, SignatureFacts};
use crate::limits::Limits;
use crate::mime::{ContentType, Header, Part, PartKind, Tree, decode, slice};

/// application/pkcs7-mime and its spellings. Returns the signature's index if it is signed.
pub(crate) fn opaque(walk: &mut Walk<'_>, place: &Place<'_, '_>) -> Option<usize> {
    let part = place.part()?;
    let claim = Claim::of(place.bytes(), part, place.is_root())?;
    if is_signature_part(place, part) || !walk.enter_layer(place.layers) {
        return None;
    }
    let by_name = claim == Claim::Name;
    let label = Label::of(place.bytes(), part);
    let source: Source<'_> = match decoded(place.bytes(), part) {
        Ok(bytes) => Source::Decoded(Rc::new(bytes.into_owned())),
        Err(_) if by_name && !place.is_root() => return None,
        Err(refusal) => return unreadable(walk, place, &label, None, refusal),
    };
    let here = Here {
        section: place.section(),
        root: place.is_root(),
        payload: place.is_payload(),
        layers: place.layers,
        inside: place.inside,
        label,
        mail: true,
        detached: None,
    };
    match object(walk, &here, &source) {
        Ok(index) => index,
        Err(_) if by_name && !place.is_root() => None,
        Err(refusal) => {
            let encrypted = cms::begins_encrypted(source.bytes());
            unreadable(walk, place, &here.label, encrypted, refusal)
        }
    }
}

/// A bare CMS object.
pub(crate) fn bare(walk: &mut Walk<'_>, bytes: &Rc<Vec<u8>>, content: Option<&[u8]>) {
    let here = Here {
        section: "1".to_owned(),
        root: true,
        payload: true,
        layers: 0,
        inside: &[],
        label: Label {
            smime_type: None,
            certs: false,
        },
        mail: false,
        detached: content,
    };
    if let Err(refusal) = object(walk, &here, &Source::Decoded(Rc::clone(bytes))) {
        let mut facts = blank("1".to_owned(), LayerKind::Opaque, true);
        facts.refuse(refusal);
        walk.out.signatures.push(facts);
    }
}

/// Whether this is a signature in a multipart/signed, and so no layer of its own.
fn is_signature_part(place: &Place<'_, '_>, part: &Part) -> bool {
    let parent = part.parent.and_then(|parent| place.tree.parts.get(parent));
    parent.is_some_and(|parent| {
        parent.kind == PartKind::Signed && parent.children.first() != Some(&place.index)
    })
}

/// What makes a part look like a CMS object that stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Its type.
    Type,
    /// The name of its file only.
    Name,
}

impl Claim {
    fn of(bytes: &[u8], part: &Part, root: bool) -> Option<Self> {
        let essence = part.content_type.essence.as_str();
        let opaque = matches!(
            essence,
            "application/pkcs7-mime" | "application/x-pkcs7-mime"
        );
        if opaque || (root && is_pkcs7(essence)) {
            return Some(Self::Type);
        }
        let named = essence == "application/octet-stream"
            && has_name(bytes, part, &[".p7m", ".p7c", ".p7z"]);
        named.then_some(Self::Name)
    }
}

/// The octets of the object, where its header lets no two readers see others.
fn decoded<'b>(bytes: &'b [u8], part: &Part) -> Result<Cow<'b, [u8]>, Refusal> {
    let ambiguous = |detail| (Defect::AmbiguousMime, detail);
    check_header(&part.header).map_err(ambiguous)?;
    if part.header.transfer_odd {
        return Err(ambiguous("there are two transfer encodings"));
    }
    if part.content_type.type_odd {
        return Err(ambiguous("the type is oddly spelled"));
    }
    decode(slice(bytes, part.body()), part.transfer).map_err(|detail| (Defect::Malformed, detail))
}

/// The octets of the CMS object that a message is, if it is one and all readers see the same in it.
pub(crate) fn root_object<'b>(raw: &'b [u8], limits: &Limits) -> Option<Cow<'b, [u8]>> {
    let tree = Tree::read(raw, 0..raw.len(), limits, |_| ()).ok()?;
    let part = tree
        .parts
        .first()
        .filter(|part| part.kind == PartKind::Leaf)?;
    Claim::of(raw, part, true)?;
    decoded(raw, part).ok()
}

/// Why the octets of the object that a message is cannot be read, where its label says that it is encrypted.
pub(crate) fn root_damage(raw: &[u8], limits: &Limits) -> Option<&'static str> {
    let tree = Tree::read(raw, 0..raw.len(), limits, |_| ()).ok()?;
    let part = tree.parts.first()?;
    if part.kind != PartKind::Leaf || Claim::of(raw, part, true) != Some(Claim::Type) {
        return None;
    }
    let label = Label::of(raw, part).smime_type?;
    if !matches!(label.as_str(), "enveloped-data" | "authenveloped-data") {
        return None;
    }
    decoded(raw, part).err().map(|(_, detail)| detail)
}

/// Whether a part that all of a content is looks like a CMS object.
pub(crate) fn is_object(bytes: &[u8], part: &Part) -> bool {
    Claim::of(bytes, part, true) == Some(Claim::Type)
}

/// What is known of an object before it is read.
struct Here<'h> {
    section: String,
    root: bool,
    payload: bool,
    layers: usize,
    inside: &'h [usize],
    label: Label,
    /// The object stands for mail, and not for itself.
    mail: bool,
    detached: Option<&'h [u8]>,
}

/// What the header says an object is.
struct Label {
    smime_type: Option<String>,
    /// Labelled, or named, as certificates only.
    certs: bool,
}

impl Label {
    fn of(bytes: &[u8], part: &Part) -> Self {
        let smime_type = part.content_type.word("smime-type");
        let certs = match smime_type.as_deref() {
            Some(label) => label == "certs-only",
            None => has_name(bytes, part, &[".p7c"]),
        };
        Self { smime_type, certs }
    }

    fn fits(&self, kind: LayerKind) -> bool {
        self.smime_type
            .as_deref()
            .is_none_or(|label| label_fits(label, kind))
    }

    fn says_signed(&self) -> bool {
        self.smime_type
            .as_deref()
            .is_some_and(|label| label == "signed-data")
    }
}

/// Reads a CMS object that stands for itself. Returns the signature's index if it is signed.
fn object(
    walk: &mut Walk<'_>,
    here: &Here<'_>,
    source: &Source<'_>,
) -> Result<Option<usize>, Refusal> {
    let (tape, trailing) = cms::read_tape(source.bytes(), walk.limits)?;
    let (mut kind, content) = cms::content_info(tape.root())?;
    let signed = match kind {
        LayerKind::Opaque => Some(SignedData::read(content, walk.limits, walk.memo)?),
        _ => None,
    };
    if let Some(signed) = &signed
        && signed.signers.is_empty()
        && signed.content.is_none()
        && here.detached.is_none()
        && !here.label.says_signed()
    {
        kind = LayerKind::CertsOnly;
    }
    let mut notes = Vec::new();
    if trailing {
        notes.push(Note::TrailingBytes);
    }
    let degenerate = signed
        .as_ref()
        .is_some_and(|signed| signed.signers.is_empty());
    let honest = if degenerate && kind == LayerKind::Opaque {
        false
    } else {
        here.label.fits(kind) && (!here.label.certs || kind == LayerKind::CertsOnly)
    };
    if !honest && here.detached.is_none() && (here.label.smime_type.is_some() || here.label.certs) {
        notes.push(Note::TypeMismatch);
    }
    let mut layer = LayerFacts {
        section: here.section.clone(),
        kind,
        root: here.root,
        defect: None,
    };
    let Some(signed) = signed.filter(|_| kind == LayerKind::Opaque) else {
        notes.into_iter().for_each(|note| walk.note(note));
        layer.defect = closed(walk, here, content, kind);
        walk.out.layers.push(layer);
        return Ok(None);
    };
    walk.out.layers.push(layer);
    let mut facts = blank(here.section.clone(), LayerKind::Opaque, here.root);
    facts.notes = notes;
    if degenerate {
        facts.refuse((
            Defect::NoSigners,
            "the object is labelled as signed and has no signer",
        ));
    }
    if here.label.certs && !degenerate {
        // A program that believes the label stores certificates and shows nothing.
        facts.refuse((
            Defect::NoSigners,
            "the object is labelled as certificates only, and is signed",
        ));
    }
    if here.mail {
        check_type(&mut facts, &signed);
    }
    check_content(walk, here, &mut facts, &signed);
    let index = walk.keep(facts, here.inside);
    if let Some(job) = inner(here, source, &signed, index) {
        walk.jobs.push(job);
    }
    Ok(Some(index))
}

/// Chooses the one content that counts and checks the signers over it.
fn check_content(
    walk: &mut Walk<'_>,
    here: &Here<'_>,
    facts: &mut SignatureFacts,
    signed: &SignedData<'_, '_>,
) {
    let content = match (signed.octets(), here.detached) {
        (Some(_), Some(_)) => {
            facts.refuse((
                Defect::TwoContents,
                "the object has a content and another beside it",
            ));
            Content::Refused(Defect::TwoContents)
        }
        (Some(octets), None) => Content::Pieces(octets.collect()),
        (None, Some(detached)) => return check_beside(walk, facts, signed, detached),
        (None, None) => {
            facts.refuse((Defect::Malformed, "the content is not in the object"));
            Content::Refused(Defect::Malformed)
        }
    };
    check_signers(walk, facts, signed, content);
}

/// What can be said of a layer that is not opened.
fn closed(
    walk: &mut Walk<'_>,
    here: &Here<'_>,
    content: Cursor<'_, '_>,
    kind: LayerKind,
) -> Option<Defect> {
    match kind {
        LayerKind::Enveloped | LayerKind::AuthEnveloped | LayerKind::Encrypted => {
            let (envelope, defect) = match Envelope::read(content, kind, walk.limits) {
                Ok(envelope) => (envelope, None),
                Err((defect, _)) => (Envelope::default(), Some(defect)),
            };
            walk.out.encryption.push(EncryptionFacts {
                section: here.section.clone(),
                kind,
                root: here.root,
                algorithm_oid: envelope.algorithm_oid,
                recipients: envelope.recipients,
                defect,
            });
            defect
        }
        LayerKind::CertsOnly => None,
        _ => Some(Defect::UnsupportedLayer),
    }
}

/// The content of an opaque layer as an entity to read.
fn inner<'a>(
    here: &Here<'_>,
    source: &Source<'_>,
    signed: &SignedData<'_, '_>,
    signature: usize,
) -> Option<Job<'a>> {
    let octets = signed.octets().filter(|_| signed.is_data())?;
    let cursor = signed.content?;
    let (source, range) = match source {
        Source::Decoded(bytes) if !cursor.is_constructed() => {
            (Source::Decoded(Rc::clone(bytes)), cursor.content_range())
        }
        _ => {
            let content = text_head(&octets).unwrap_or_else(|| octets.contiguous().into_owned());
            let length = content.len();
            (Source::Decoded(Rc::new(content)), 0..length)
        }
    };
    let mut inside = here.inside.to_vec();
    inside.push(signature);
    let prefix = format!("{}/", here.section);
    Some(Job {
        source,
        range,
        prefix,
        layers: here.layers + 1,
        root: false,
        payload: here.payload,
        inside,
    })
}

/// The start of a content in chunks, if its header says that there is nothing to look for in the rest:
/// large streamed text is not put together for nothing.
fn text_head(octets: &Octets<'_, '_>) -> Option<Vec<u8>> {
    const ENOUGH: usize = 64 * 1024;
    let mut head = Vec::new();
    for chunk in octets.clone() {
        head.extend_from_slice(chunk);
        if head.len() >= ENOUGH {
            break;
        }
    }
    let header = Header::read(&head, 0..head.len(), &mut |_| false, |_| ());
    let essence = header
        .content_type
        .clone()
        .map(|value| ContentType::parse(slice(&head, value)).essence)
        .unwrap_or_default();
    let plain = essence.starts_with("text/") && !header.content_type_odd;
    (plain && header.body < head.len()).then_some(head)
}

/// An object that cannot be read. Only its own first octets can say that it is encrypted: a label on
/// what somebody else may read as signed, or as text, would take a bad signature out of the policy's sight.
fn unreadable(
    walk: &mut Walk<'_>,
    place: &Place<'_, '_>,
    label: &Label,
    encrypted: Option<LayerKind>,
    refusal: Refusal,
) -> Option<usize> {
    let kind = match (encrypted, label.smime_type.as_deref()) {
        (Some(kind), _) => kind,
        (None, Some("compressed-data")) => LayerKind::Compressed,
        (None, _) => LayerKind::Opaque,
    };
    walk.out.layers.push(LayerFacts {
        section: place.section(),
        kind,
        root: place.is_root(),
        defect: Some(refusal.0),
    });
    if kind == LayerKind::Opaque || refusal.0 == Defect::AmbiguousMime {
        let mut facts = blank(place.section(), LayerKind::Opaque, place.is_root());
        facts.refuse(refusal);
        return Some(walk.keep(facts, place.inside));
    }
    if kind != LayerKind::Compressed {
        walk.out.encryption.push(EncryptionFacts {
            section: place.section(),
            kind,
            root: place.is_root(),
            algorithm_oid: None,
            recipients: 0,
            defect: Some(refusal.0),
        });
    }
    None
}

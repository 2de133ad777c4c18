//! One protection layer at a time: clear-signed, opaque or bare CMS. Finds out what it is, lets the
//! signatures be checked, and puts what is inside on the list of entities to read.

mod clear;
mod object;

pub(crate) use clear::clear;
pub(crate) use object::{bare, is_object, opaque, root_damage, root_object};

use crate::cms::{Content, Refusal, SignedData, Verifier};
use crate::defect::Defect;
use crate::examine::{Job, Walk};
use crate::facts::{LayerFacts, LayerKind, Note, SignatureFacts};
use crate::mime::{ContentType, Header, Part, Tree, slice};

/// Where a part stands.
pub(crate) struct Place<'p, 'a> {
    pub(crate) job: &'p Job<'a>,
    pub(crate) tree: &'p Tree,
    pub(crate) index: usize,
    pub(crate) layers: usize,
    pub(crate) inside: &'p [usize],
}

impl Place<'_, '_> {
    fn part(&self) -> Option<&Part> {
        self.tree.parts.get(self.index)
    }

    fn bytes(&self) -> &[u8] {
        self.job.source.bytes()
    }

    fn is_root(&self) -> bool {
        self.job.root && self.index == 0
    }

    /// Whether the part is the message, or all that is left of it behind layers around the whole.
    fn is_payload(&self) -> bool {
        self.job.payload && self.tree.is_payload(self.index)
    }

    /// The section of the part itself.
    fn section(&self) -> String {
        let own = self.part().map_or("", |part| part.section.as_str());
        format!(
            "{}{}",
            self.job.prefix,
            if own.is_empty() { "1" } else { own }
        )
    }

    /// The section of the signature part of a multipart/signed.
    fn signature_section(&self) -> String {
        let own = self.part().map_or("", |part| part.section.as_str());
        let dot = if own.is_empty() { "" } else { "." };
        format!("{}{own}{dot}2", self.job.prefix)
    }
}

/// A root that some readers may take as signed and some not: a signature that nobody can rely on.
pub(crate) fn claimed(walk: &mut Walk<'_>, place: &Place<'_, '_>) -> Option<usize> {
    let part = place.part()?;
    if !place.is_root() || !(part.header.content_type_odd || part.header.odd) {
        return None;
    }
    let header = slice(place.bytes(), part.header.range.clone()).to_ascii_lowercase();
    let holds = |word: &[u8]| memchr::memmem::find(&header, word).is_some();
    let pgp = holds(b"pgp-signature") && !holds(b"pkcs7");
    let kind = if holds(b"multipart/signed") && !pgp {
        LayerKind::ClearSigned
    } else if holds(b"pkcs7-mime") || holds(b"pkcs7-signature") {
        LayerKind::Opaque
    } else {
        return None;
    };
    let detail = check_header(&part.header)
        .err()
        .unwrap_or("the header is ambiguous");
    let mut facts = blank(place.section(), kind, true);
    facts.refuse((Defect::AmbiguousMime, detail));
    walk.out.layers.push(LayerFacts {
        section: place.section(),
        kind,
        root: true,
        defect: Some(Defect::AmbiguousMime),
    });
    Some(walk.keep(facts, place.inside))
}

fn check_header(header: &Header) -> Result<(), &'static str> {
    if header.content_type_odd {
        return Err("there is more than one Content-Type, or one is oddly spelled");
    }
    if header.odd {
        return Err("readers could end the header at different places");
    }
    Ok(())
}

/// The content of mail is id-data (RFC 8551 §2.4.2). A signature over something else, such as the token
/// of a time stamp authority, was not made for mail whatever its octets look like.
fn check_type(facts: &mut SignatureFacts, signed: &SignedData<'_, '_>) {
    if !signed.is_data() {
        facts.refuse((
            Defect::ContentTypeMismatch,
            "what was signed is not of the type of mail",
        ));
    }
}

/// Copies what a SignedData carries, and checks its signers.
fn check_signers(
    walk: &mut Walk<'_>,
    facts: &mut SignatureFacts,
    signed: &SignedData<'_, '_>,
    content: Content<'_>,
) {
    if content.is_signed_attributes() {
        let bare = signed
            .signers
            .iter()
            .any(|signer| !signer.children().any(|c| c.is_context(0)));
        let defect = if bare {
            Defect::NoSignedAttributes
        } else {
            Defect::Malformed
        };
        facts.refuse((defect, "the content is itself a set of signed attributes"));
    }
    facts.certificates.clone_from(&signed.certificates);
    facts.crls.clone_from(&signed.crls);
    facts.ocsp.clone_from(&signed.ocsp);
    if !signed.unreadable.is_empty() {
        facts.notes.push(Note::CertificateSkipped);
    }
    if signed.unreadable_crls {
        facts.notes.push(Note::CrlSkipped);
    }
    let mut verifier = Verifier::new(content, walk.known, &mut walk.budget);
    facts.signers = verifier.signers(signed, walk.limits, walk.memo);
}

/// Checks the signers over a content that stands beside them: as it is, which is what was signed where a part of it is
/// binary (RFC 8551 §3.1.1), and where that is not it, as text whose canonical form was.
fn check_beside(
    walk: &mut Walk<'_>,
    facts: &mut SignatureFacts,
    signed: &SignedData<'_, '_>,
    beside: &[u8],
) {
    let text = Content::text(beside);
    if text.is_converted() {
        let mut as_it_is = facts.clone();
        let before = walk.budget;
        check_signers(walk, &mut as_it_is, signed, Content::Pieces(vec![beside]));
        if as_it_is.signers.iter().all(|signer| signer.content.is_ok()) {
            *facts = as_it_is;
            return;
        }
        walk.budget = before;
        facts.notes.push(Note::LineEndsConverted);
    }
    check_signers(walk, facts, signed, text);
}

impl SignatureFacts {
    /// Records the first thing that is wrong with the layer.
    fn refuse(&mut self, (defect, detail): Refusal) {
        if self.defect.is_none() {
            self.defect = Some(defect);
            self.detail = Some(detail);
        }
    }
}

fn blank(section: String, kind: LayerKind, root: bool) -> SignatureFacts {
    SignatureFacts {
        section,
        kind,
        root,
        within: Vec::new(),
        defect: None,
        detail: None,
        certificates: Vec::new(),
        crls: Vec::new(),
        ocsp: Vec::new(),
        signers: Vec::new(),
        content: None,
        content_type_iso2022jp_7bit: false,
        protected: Vec::new(),
        notes: Vec::new(),
    }
}

/// The S/MIME types of CMS objects.
pub(crate) fn is_pkcs7(essence: &str) -> bool {
    matches!(
        essence,
        "application/pkcs7-mime"
            | "application/x-pkcs7-mime"
            | "application/pkcs7-signature"
            | "application/x-pkcs7-signature"
    )
}

/// Whether the file name of a part ends in one of these.
fn has_name(bytes: &[u8], part: &Part, endings: &[&str]) -> bool {
    let disposition = part.header.disposition.clone();
    let disposition = disposition
        .map(|value| ContentType::parse(slice(bytes, value)))
        .unwrap_or_default();
    endings.iter().any(|ending| {
        part.content_type.file_ends_with(ending) || disposition.file_ends_with(ending)
    })
}

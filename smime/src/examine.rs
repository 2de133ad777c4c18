//! One pass over one message: from bytes to facts.
//!
//! Work is a list of entities still to be read, never a call inside a call. The message is looked at
//! where it lies; only decoded CMS objects are copies.

use std::ops::Range;
use std::rc::Rc;

use kenin_pki::certificate::{Certificate, Memo};
use kenin_pki::pem::{self, Block};

use crate::cms::Budget;
use crate::defect::{Check, Defect};
use crate::facts::{Examined, LayerKind, Note, ProtectedHeader, SignatureFacts};
use crate::layer;
use crate::limits::Limits;
use crate::mime::{self, PartKind, Tree};

/// Reads a message (RFC 5322 with MIME) and checks digests and signatures of every signed layer.
///
/// `known` are certificates from elsewhere that may be a signer's.
#[must_use]
pub fn examine(raw: &[u8], limits: &Limits, known: &[Certificate]) -> Examined {
    examine_with(raw, limits, known, None)
}

/// The same with a memory of the certificates read before, which it fills.
#[must_use]
pub fn examine_with(
    raw: &[u8],
    limits: &Limits,
    known: &[Certificate],
    memo: Option<&Memo>,
) -> Examined {
    let mut walk = Walk::new(limits, known, memo);
    walk.out.body = raw.len()..raw.len();
    if raw.len() > limits.message_size {
        walk.refuse(Defect::LimitSize, "the message is too large");
        return walk.finish();
    }
    if !header_fits(raw, limits.header_size) {
        walk.refuse(Defect::LimitMime, "the header is too large");
        return walk.finish();
    }
    walk.jobs.push(Job {
        source: Source::Message(raw),
        range: 0..raw.len(),
        prefix: String::new(),
        layers: 0,
        root: true,
        payload: true,
        inside: Vec::new(),
    });
    // Last in, first out: an outer layer is finished before what it holds, and the root comes first.
    while let Some(job) = walk.jobs.pop() {
        walk.entity(&job);
    }
    walk.finish()
}

/// Whether the header ends within so many bytes, or the message does.
pub(crate) fn header_fits(raw: &[u8], limit: usize) -> bool {
    let Some(head) = raw.get(..limit).filter(|head| head.len() < raw.len()) else {
        return true;
    };
    let mut ends = memchr::memchr_iter(b'\n', head).map(|at| head.get(at + 1..));
    matches!(head, [b'\n', ..] | [b'\r', b'\n', ..])
        || ends.any(|rest| matches!(rest, Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

/// Reads a bare CMS object (DER, BER or PEM), with its content beside it if that is detached.
///
/// A detached content is hashed as it is, or, if that is not what was signed, with lone line feeds
/// taken as CRLF. The one layer is the root.
#[must_use]
pub fn examine_cms(
    cms: &[u8],
    content: Option<&[u8]>,
    limits: &Limits,
    known: &[Certificate],
) -> Examined {
    let mut walk = Walk::new(limits, known, None);
    walk.out.body = 0..cms.len();
    let size = cms.len().max(content.map_or(0, <[u8]>::len));
    if size > limits.message_size {
        walk.refuse(Defect::LimitSize, "the object is too large");
        return walk.finish();
    }
    // A SEQUENCE is no text; there is nothing to search in it.
    let blocks = match cms.first() {
        Some(0x30) => Vec::new(),
        _ => pem::decode(cms).unwrap_or_default(),
    };
    let bytes = if blocks.is_empty() {
        cms.to_vec()
    } else {
        let block = blocks.into_iter().find(Block::is_cms);
        block.map(|block| block.bytes).unwrap_or_default()
    };
    let bytes = Rc::new(bytes);
    layer::bare(&mut walk, &bytes, content);
    while let Some(job) = walk.jobs.pop() {
        walk.entity(&job);
    }
    walk.finish()
}

/// Where the bytes of an entity are.
#[derive(Clone)]
pub(crate) enum Source<'a> {
    /// The message itself.
    Message(&'a [u8]),
    /// A decoded object, or a content put together from chunks.
    Decoded(Rc<Vec<u8>>),
}

impl Source<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Message(bytes) => bytes,
            Self::Decoded(bytes) => bytes,
        }
    }
}

/// An entity still to be read.
pub(crate) struct Job<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) range: Range<usize>,
    /// What stands before its section numbers: empty, or the sections of outer CMS layers with `/`.
    pub(crate) prefix: String,
    /// How many layers are around it.
    pub(crate) layers: usize,
    pub(crate) root: bool,
    /// Whether it is all that is left of the message behind layers around the whole.
    pub(crate) payload: bool,
    /// The signatures that cover it, as indices.
    pub(crate) inside: Vec<usize>,
}

/// The state of one examination.
pub(crate) struct Walk<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) known: &'a [Certificate],
    /// Certificates read before.
    pub(crate) memo: Option<&'a Memo>,
    pub(crate) budget: Budget,
    pub(crate) parts_left: usize,
    pub(crate) jobs: Vec<Job<'a>>,
    pub(crate) out: Examined,
}

impl<'a> Walk<'a> {
    fn new(limits: &'a Limits, known: &'a [Certificate], memo: Option<&'a Memo>) -> Self {
        Self {
            limits,
            known,
            memo,
            budget: Budget {
                signature_checks: limits.signature_checks,
                digested_bytes: limits.digested_bytes,
                timestamp_checks: Budget::TIMESTAMP_CHECKS,
            },
            parts_left: limits.mime_parts,
            jobs: Vec::new(),
            out: Examined::default(),
        }
    }

    /// Records why the message as a whole cannot be examined; the first reason stays.
    pub(crate) fn refuse(&mut self, defect: Defect, detail: &'static str) {
        if self.out.defect.is_none() {
            self.out.defect = Some(defect);
            self.out.detail = Some(detail);
        }
    }

    /// Remarks on the message.
    pub(crate) fn note(&mut self, note: Note) {
        if !self.out.notes.contains(&note) {
            self.out.notes.push(note);
        }
    }

    /// Keeps what was found out about a signature that stands in the content of these; gives its place.
    pub(crate) fn keep(&mut self, mut facts: SignatureFacts, inside: &[usize]) -> usize {
        let around = inside.iter().filter_map(|at| self.out.signatures.get(*at));
        facts.within = around.map(|one| one.section.clone()).collect();
        self.out.signatures.push(facts);
        self.out.signatures.len() - 1
    }

    /// Whether a layer inside `layers` others is still looked at.
    pub(crate) fn enter_layer(&mut self, layers: usize) -> bool {
        if layers >= self.limits.layers {
            self.refuse(Defect::LimitLayers, "there are too many layers");
            return false;
        }
        true
    }

    /// Reads one entity and every layer in it.
    fn entity(&mut self, job: &Job<'a>) {
        let bytes = job.source.bytes();
        let limits = Limits {
            mime_parts: self.parts_left,
            ..self.limits.clone()
        };
        let mut fields = Vec::new();
        let mut too_many = false;
        let tree = Tree::read(bytes, job.range.clone(), &limits, |field| {
            if !job.root {
                return;
            }
            if fields.len() < limits.header_fields {
                fields.push(field);
            } else {
                too_many = true;
            }
        });
        if job.root {
            self.out.fields = fields;
            if too_many {
                self.refuse(Defect::LimitMime, "there are too many header fields");
            }
        }
        let tree = match tree {
            Ok(tree) => tree,
            Err(defect) => {
                self.refuse(defect, "there are too many or too deeply nested parts");
                return;
            }
        };
        self.parts_left = self.parts_left.saturating_sub(tree.parts.len());
        if job.root
            && let Some(root) = tree.parts.first()
        {
            self.out.body = root.body();
            self.out.doubtful_fields.clone_from(&root.header.doubtful);
        }
        self.layers(job, &tree);
    }

    /// Looks at every part that is a layer. Parts come before what they hold.
    fn layers(&mut self, job: &Job<'a>, tree: &Tree) {
        // For each part: how many layers are around it, and which signatures cover it.
        let mut around: Vec<(usize, Vec<usize>)> = Vec::with_capacity(tree.parts.len());
        let first_job = self.jobs.len();
        for (index, part) in tree.parts.iter().enumerate() {
            let (layers, inside) = match part.parent.and_then(|parent| around.get(parent)) {
                Some((layers, inside)) => (*layers, inside.clone()),
                None => (job.layers, job.inside.clone()),
            };
            self.protected(job, tree, index, &inside);
            if part.is_iso2022jp_7bit() {
                for signature in &inside {
                    if let Some(signature) = self.out.signatures.get_mut(*signature) {
                        signature.content_type_iso2022jp_7bit = true;
                    }
                }
            }
            let place = layer::Place {
                job,
                tree,
                index,
                layers,
                inside: &inside,
            };
            let found = match part.kind {
                PartKind::Signed => layer::clear(self, &place),
                PartKind::Leaf => layer::opaque(self, &place),
                PartKind::Multipart | PartKind::Message => None,
            };
            let found = found.or_else(|| layer::claimed(self, &place));
            around.push(match found {
                Some(signature) => {
                    let mut inside = inside;
                    inside.push(signature);
                    (layers + 1, inside)
                }
                None => (layers, inside),
            });
        }
        if let Some(added) = self.jobs.get_mut(first_job..) {
            // They are taken from the end.
            added.reverse();
        }
    }

    /// Keeps the header of what the root's signature covers as a whole, if it says that it stands for
    /// the message's.
    fn protected(&mut self, job: &Job<'a>, tree: &Tree, index: usize, inside: &[usize]) {
        let (Some(part), Some(outermost)) = (tree.parts.get(index), inside.first()) else {
            return;
        };
        if !job.payload || !tree.is_payload(index) {
            return;
        }
        let Some(facts) = self.out.signatures.get_mut(*outermost) else {
            return;
        };
        let wrapped = part
            .parent
            .and_then(|parent| tree.parts.get(parent))
            .is_some_and(|parent| parent.kind == PartKind::Message);
        // RFC 2231 spellings of the word count; where readers disagree about the field, some may see it.
        let said = wrapped || part.content_type.names("hp");
        // `protected-headers` is what came before RFC 9788; not all who wrote it put From inside.
        let unsure = part.header.odd
            || part.header.content_type_odd
            || part.content_type.odd
            || !part.header.doubtful.is_empty()
            || part.content_type.names("protected-headers");
        if !facts.root || !(said || unsure) {
            return;
        }
        let header = mime::slice(job.source.bytes(), part.header.range.clone());
        let mut found = ProtectedHeader::default();
        for field in mime::fields(header) {
            let name = ProtectedHeader::NAMES
                .into_iter()
                .find(|name| field.is(header, name));
            if let Some(name) = name {
                found.fields.push((name, field.value(header).to_vec()));
            }
        }
        if said || found.fields.iter().any(|(name, _)| *name == "from") {
            facts.protected.push(found);
        }
    }

    fn finish(mut self) -> Examined {
        for signature in &mut self.out.signatures {
            let wrong = signature
                .signers
                .iter()
                .any(|signer| signer.content == Check::Failed(Defect::DigestMismatch));
            if wrong && signature.content_type_iso2022jp_7bit {
                signature.notes.push(Note::EscLossSuspected);
            }
        }
        self.out.signatures.sort_by_key(|signature| !signature.root);
        debug_assert!(self.out.layers.iter().filter(|layer| layer.root).count() <= 1);
        self.out
    }
}

/// Which labels go with which kind of layer (RFC 8551 §3.2.2).
pub(crate) fn label_fits(label: &str, kind: LayerKind) -> bool {
    match label {
        "signed-data" | "signed-receipt" => kind == LayerKind::Opaque,
        "enveloped-data" => kind == LayerKind::Enveloped,
        "authenveloped-data" => kind == LayerKind::AuthEnveloped,
        "compressed-data" => kind == LayerKind::Compressed,
        "certs-only" => kind == LayerKind::CertsOnly,
        _ => true,
    }
}

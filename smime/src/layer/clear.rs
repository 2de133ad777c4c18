//! multipart/signed (RFC 8551 §3.5.3): two parts that no reader can see differently, the first of them
//! checked where it lies. The CMS object decides; micalg and protocol are only compared with it.

use std::ops::Range;

use super::{
    Place, blank, check_beside, check_header, check_signers, check_type, has_name, is_pkcs7,
};
use crate::cms::{self, Content, SignedData};
use crate::defect::Defect;
use crate::examine::{Source, Walk};
use crate::facts::{LayerFacts, LayerKind, Note, SignatureFacts};
use crate::mime::{
    ContentType, Part, TransferEncoding, check_boundary, decode, slice, split_signed,
};

/// multipart/signed. Returns the signature's index if this is an S/MIME layer.
pub(crate) fn clear(walk: &mut Walk<'_>, place: &Place<'_, '_>) -> Option<usize> {
    let part = place.part()?;
    let protocol = part.content_type.word("protocol");
    let says_smime = protocol
        .as_deref()
        .is_none_or(|protocol| protocol.contains("pkcs7"));
    let holds_smime = part.children.iter().skip(1).any(|child| {
        place
            .tree
            .parts
            .get(*child)
            .is_some_and(|child| is_pkcs7(&child.content_type.essence))
    });
    if !says_smime && !holds_smime {
        return None;
    }
    if !walk.enter_layer(place.layers) {
        return None;
    }
    let mut facts = blank(
        place.signature_section(),
        LayerKind::ClearSigned,
        place.is_root(),
    );
    walk.out.layers.push(LayerFacts {
        section: place.section(),
        kind: LayerKind::ClearSigned,
        root: place.is_root(),
        defect: None,
    });
    match split(place, part, &mut facts) {
        Err(detail) => facts.refuse((Defect::AmbiguousMime, detail)),
        Ok((content, signature)) => {
            if matches!(place.job.source, Source::Message(_)) {
                facts.content = Some(content.clone());
            }
            let content = slice(place.bytes(), content);
            check_detached(walk, place, &mut facts, content, signature);
            if !micalg_fits(&part.content_type, protocol.as_deref(), &facts) {
                facts.notes.push(Note::MicalgOdd);
            }
        }
    }
    Some(walk.keep(facts, place.inside))
}

/// Splits strictly and compares with what the lenient reading found.
fn split<'t>(
    place: &Place<'t, '_>,
    part: &Part,
    facts: &mut SignatureFacts,
) -> Result<(Range<usize>, &'t Part), &'static str> {
    check_header(&part.header)?;
    if part.header.transfer_odd || part.transfer != TransferEncoding::Identity {
        return Err("a multipart has a transfer encoding");
    }
    let (boundary, odd) = check_boundary(&part.content_type)?;
    if odd {
        facts.notes.push(Note::BoundaryOdd);
    }
    let split = split_signed(place.bytes(), part.body(), boundary)?;
    let [content, signature] = part.children.as_slice() else {
        return Err("the parts of the signed part overlap its boundary");
    };
    let content = place.tree.parts.get(*content);
    let signature = place.tree.parts.get(*signature);
    let (Some(content), Some(signature)) = (content, signature) else {
        return Err("there are not two parts");
    };
    if part.ambiguous || content.whole != split.content || signature.whole != split.signature {
        return Err("a boundary is part of another, or is used twice");
    }
    check_header(&signature.header)?;
    if !signature.header.doubtful.is_empty() {
        return Err("the header of the signature part has a field that readers take differently");
    }
    if signature.content_type.type_odd {
        return Err("the type of the signature part is oddly spelled");
    }
    if signature.header.transfer_odd {
        return Err("the signature part has two transfer encodings");
    }
    Ok((split.content, signature))
}

/// Decodes the signature part and checks it over the signed text.
fn check_detached(
    walk: &mut Walk<'_>,
    place: &Place<'_, '_>,
    facts: &mut SignatureFacts,
    content: &[u8],
    signature: &Part,
) {
    let essence = signature.content_type.essence.as_str();
    let by_name = essence == "application/octet-stream"
        && has_name(place.bytes(), signature, &[".p7s", ".p7m"]);
    if !is_pkcs7(essence) && !by_name {
        facts.refuse((Defect::Malformed, "the second part is no S/MIME signature"));
        return;
    }
    let decoded = match decode(slice(place.bytes(), signature.body()), signature.transfer) {
        Ok(decoded) => decoded,
        Err(detail) => return facts.refuse((Defect::Malformed, detail)),
    };
    let (tape, trailing) = match cms::read_tape(&decoded, walk.limits) {
        Ok(read) => read,
        Err(refusal) => return facts.refuse(refusal),
    };
    if trailing {
        facts.notes.push(Note::TrailingBytes);
    }
    match cms::content_info(tape.root()) {
        Ok((LayerKind::Opaque, object)) => match SignedData::read(object, walk.limits, walk.memo) {
            Ok(signed) => {
                if signed.signers.is_empty() {
                    facts.refuse((Defect::NoSigners, "the signature has no signer"));
                }
                if signed.content.is_some() {
                    facts.refuse((Defect::TwoContents, "the signature carries its own content"));
                    check_type(facts, &signed);
                    let refused = Content::Refused(Defect::TwoContents);
                    check_signers(walk, facts, &signed, refused);
                } else {
                    check_type(facts, &signed);
                    check_beside(walk, facts, &signed, content);
                }
            }
            Err(refusal) => facts.refuse(refusal),
        },
        Ok(_) => {
            facts.notes.push(Note::TypeMismatch);
            facts.refuse((
                Defect::Malformed,
                "the signature part holds another kind of object",
            ));
        }
        Err(refusal) => facts.refuse(refusal),
    }
}

/// Whether micalg and protocol say what RFC 8551 §3.5.3.2 and §3.5.3 ask for.
fn micalg_fits(content_type: &ContentType, protocol: Option<&str>, facts: &SignatureFacts) -> bool {
    let protocol = protocol.is_some_and(|protocol| {
        matches!(
            protocol,
            "application/pkcs7-signature" | "application/x-pkcs7-signature"
        )
    });
    let Some(micalg) = content_type.word("micalg") else {
        return false;
    };
    let said: Vec<String> = micalg
        .split(',')
        .map(|word| word.trim().replace('-', ""))
        .collect();
    let fits = facts
        .signers
        .iter()
        .filter_map(|signer| signer.digest)
        .all(|digest| {
            let name = digest.name().replace('-', "");
            said.contains(&name)
        });
    protocol && fits && content_type.only("micalg").is_some()
}

//! What can be wrong with a signed layer, in the words of the project's reason list.
//!
//! Says what is wrong and never what to do about it; that is policy's business.

use std::fmt;

macro_rules! defects {
    ($($(#[$doc:meta])* $name:ident => $id:literal, $text:literal;)*) => {
        /// Something that keeps a layer or a signer from being right: one variant per reason id.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Defect { $($(#[$doc])* $name,)* }

        impl Defect {
            /// Every defect, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason id, as it stands in headers, logs and documentation.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// A sentence for people.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

defects! {
    /// The content is not what was signed.
    DigestMismatch => "digest-mismatch", "the content is not what was signed: its digest differs";
    /// The signature value does not belong to the key.
    SignatureInvalid => "signature-invalid", "the signature value is not valid for the certificate's key";
    /// MD5 or worse.
    WeakDigest => "weak-digest", "the digest algorithm is broken (MD5)";
    /// The ESS signing-certificate attribute names another certificate (RFC 5035).
    EssMismatch => "ess-mismatch", "the signed attributes name another signing certificate";
    /// The algorithm identifiers contradict each other (RFC 6211, RFC 8933).
    AlgorithmMismatch => "algorithm-mismatch", "the algorithm identifiers contradict each other";
    /// The CMS object or its transfer encoding cannot be read in exactly one way.
    Malformed => "malformed", "the signed object cannot be read";
    /// A SignedData without any signer.
    NoSigners => "no-signers", "the object is labelled as signed but nobody signed it";
    /// Both eContent and a detached content.
    TwoContents => "two-contents", "the signature carries a second content besides the message";
    /// A signer without signed attributes, or a content that is itself a set of signed attributes.
    NoSignedAttributes => "no-signed-attributes", "the signer has no signed attributes";
    /// The signed attributes are not DER.
    AttributesNotDer => "attributes-not-der", "the signed attributes are not in DER";
    /// content-type or message-digest is missing.
    AttributeMissing => "attribute-missing", "a mandatory signed attribute is missing";
    /// An attribute occurs twice or has not exactly one value.
    AttributeDuplicate => "attribute-duplicate", "a signed attribute is repeated or has several values";
    /// The content-type attribute differs from the type of the content.
    ContentTypeMismatch => "content-type-mismatch", "the signed content type differs from the content's";
    /// No certificate in reach matches the signer identifier.
    SignerCertificateMissing => "signer-certificate-missing", "the signer's certificate is not in the message";
    /// Two readers could split the message differently.
    AmbiguousMime => "ambiguous-mime", "two readers could split this message differently";
    /// Too deep, too many or too long ASN.1.
    LimitAsn1 => "limit-asn1", "the signed object is nested too deep or has too many elements";
    /// Too many parts, too deep, too many header fields.
    LimitMime => "limit-mime", "the message has too many or too deeply nested parts";
    /// Too many layers.
    LimitLayers => "limit-layers", "the message has too many protection layers";
    /// Too many signers or signature checks.
    LimitSigners => "limit-signers", "the message has too many signers";
    /// Too many certificates or CRLs.
    LimitCertificates => "limit-certificates", "the message carries too many certificates";
    /// A compressed content that becomes too large, or very large out of very little.
    LimitCompression => "limit-compression", "the message expands beyond the limits";
    /// The message is too large.
    LimitSize => "limit-size", "the message is too large";
    /// A digest or signature algorithm that is not implemented.
    UnsupportedAlgorithm => "unsupported-algorithm", "the algorithm is not supported";
    /// A layer that is recognised and not opened.
    UnsupportedLayer => "unsupported-layer", "this kind of layer is not supported";
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

/// How one mathematical check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Right.
    Ok,
    /// Not reached.
    Unchecked,
    /// Wrong, and why.
    Failed(Defect),
}

impl Check {
    /// Whether the check was reached and right.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_kebab_case() {
        let mut ids: Vec<_> = Defect::ALL.iter().map(|defect| defect.id()).collect();
        assert!(ids.iter().all(|id| {
            id.bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'1')
        }));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Defect::ALL.len());
    }
}

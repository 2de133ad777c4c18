//! What ordinary mail programs will probably show for a verdict, and why they may differ. Only what
//! follows from what they do not look at; nothing about one version of one program.

use kenin_policy::Reason;

/// Sentences for a reason; for an encrypted message, `None`.
pub(super) fn what_they_show(reason: Option<Reason>) -> &'static [&'static str] {
    let Some(reason) = reason else {
        return &[
            "Whoever has the key sees what is inside; nobody else can say whether it is signed.",
        ];
    };
    match reason {
        Reason::Ok => &[
            "Programs that trust the same authority show a valid signature.",
            "Programs with another list of authorities (that of the system, that of Mozilla) may call it untrusted.",
        ],
        Reason::NotSigned => &["No mark."],
        Reason::SignatureNotAtRoot => &[
            "Some programs mark the signed part as if it were the whole message, others show an attachment smime.p7s or no mark.",
            "What stands outside that part was signed by nobody.",
        ],
        Reason::FromMismatch | Reason::HeaderMismatch => &[
            "`openssl cms -verify` says success: it does not look at From.",
            "Some programs accept an equal Sender field in place of From, or show only a small remark.",
        ],
        Reason::FromAmbiguous => {
            &["Programs choose one of the readings, often the display name, and mark it as signed."]
        }
        Reason::DigestMismatch | Reason::SignatureInvalid => &[
            "Programs show an invalid signature, or none where they hide what they cannot verify.",
        ],
        Reason::Revoked => &[
            "Programs that do not ask for revocation show a valid signature: `openssl cms -verify` without -crl_check, many on telephones.",
        ],
        Reason::RevocationUnavailable => {
            &["Most programs go on without a status and show a valid signature."]
        }
        Reason::CertificateExpired | Reason::CertificateNotYetValid => &[
            "Programs that take the signer's claimed time for the time of the check may show a valid signature.",
        ],
        Reason::IssuerNotTrusted | Reason::IssuerUnavailable | Reason::PathInvalid => &[
            "Programs with another list of authorities, or with the missing intermediate in their store, may show a valid signature.",
        ],
        Reason::KeyUsage => &["Programs that do not look at key usage show a valid signature."],
        Reason::WeakAlgorithm | Reason::WeakDigest => {
            &["Older programs accept SHA-1, MD5 and short RSA keys and show a valid signature."]
        }
        Reason::TwoContents => &[
            "Some programs show the one text and verify the other: a valid signature on words that nobody signed.",
        ],
        Reason::NoSigners => &["Some programs show a mark although nobody signed."],
        Reason::MultipleSigners => &["Programs show one of the signers, not always the same."],
        Reason::NoSignedAttributes
        | Reason::AttributesNotDer
        | Reason::AttributeMissing
        | Reason::AttributeDuplicate
        | Reason::ContentTypeMismatch
        | Reason::EssMismatch
        | Reason::AlgorithmMismatch => {
            &["Lenient programs pass over this and may show a valid signature."]
        }
        Reason::AmbiguousMime => &[
            "Programs split the message differently: they may show text that they did not verify.",
        ],
        Reason::UnsupportedAlgorithm | Reason::UnsupportedLayer => &[
            "Programs that know this algorithm or layer may show more; others show an attachment.",
        ],
        _ => &["Programs without these limits may show something else."],
    }
}

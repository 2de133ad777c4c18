//! The one list of reasons. Header comments, SMTP replies, logs, metrics, `--format json`, and the
//! documentation take their ids, result words and sentences from here and from nowhere else.
//!
//! Never decides anything: `judge` picks a reason, this file says what the pick means.
//! Result words: <https://www.rfc-editor.org/rfc/rfc7281#section-3.2>; enhanced status codes:
//! <https://www.rfc-editor.org/rfc/rfc5248> (X.7.x, X.6.0 as registered).

use std::fmt;

/// A result of the `smime` method; there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResultWord {
    /// Nothing is signed, or nothing that covers the message.
    None,
    /// Every condition holds.
    Pass,
    /// Could not be checked now; a later try may differ.
    TempError,
    /// Signed with something that is not supported.
    Neutral,
    /// The mathematics hold, the acceptance rules do not.
    Policy,
    /// A check failed.
    Fail,
    /// The message cannot be read as signed mail.
    PermError,
}

impl ResultWord {
    /// All words, best first.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Pass,
        Self::TempError,
        Self::Neutral,
        Self::Policy,
        Self::Fail,
        Self::PermError,
    ];

    /// The word as RFC 7281 spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::TempError => "temperror",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::Fail => "fail",
            Self::PermError => "permerror",
        }
    }

    /// Worst-of order for the signatures of one message: permerror, fail, policy, neutral,
    /// temperror, pass. Higher is worse.
    pub const fn badness(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Pass => 1,
            Self::TempError => 2,
            Self::Neutral => 3,
            Self::Policy => 4,
            Self::Fail => 5,
            Self::PermError => 6,
        }
    }
}

impl fmt::Display for ResultWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who can change the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody has to do anything.
    Nobody,
    /// The person who sent the mail, or their mail program.
    Sender,
    /// Whoever issued the sender's certificate.
    Issuer,
    /// Whoever runs this gateway.
    Admin,
    /// Whoever runs a server between sender and gateway.
    Relay,
}

impl Actor {
    /// One word for tables and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Sender => "sender",
            Self::Issuer => "issuer",
            Self::Admin => "administrator",
            Self::Relay => "relay",
        }
    }
}

/// The reply of strict mode, without the reason id and the trace id, which the gateway appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictReply {
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status code.
    pub enhanced: &'static str,
    /// The registered text of the enhanced status code.
    pub text: &'static str,
}

impl StrictReply {
    const REFUSED: Self = Self {
        code: 550,
        enhanced: "5.7.1",
        text: "Delivery not authorized, message refused",
    };
    const CRYPTOGRAPHIC: Self = Self {
        code: 550,
        enhanced: "5.7.5",
        text: "Cryptographic failure",
    };
    const ALGORITHM: Self = Self {
        code: 550,
        enhanced: "5.7.6",
        text: "Cryptographic algorithm not supported",
    };
    const INTEGRITY: Self = Self {
        code: 550,
        enhanced: "5.7.7",
        text: "Message integrity failure",
    };
    const LIMITS: Self = Self {
        code: 550,
        enhanced: "5.6.0",
        text: "Message structure exceeds limits",
    };
    const REVOCATION: Self = Self {
        code: 451,
        enhanced: "4.7.5",
        text: "Revocation status unavailable, try again later",
    };
    const LATER: Self = Self {
        code: 451,
        enhanced: "4.7.5",
        text: "Cryptographic failure, try again later",
    };
    const CLOCK: Self = Self {
        code: 451,
        enhanced: "4.7.5",
        text: "Time source not trusted",
    };
}

/// Makes the enum and its table from one list, so that no id can lack a column.
macro_rules! reasons {
    ($($variant:ident $id:literal $word:ident $reply:expr, $actor:ident, $text:literal, $ja:literal, $advice:literal;)+) => {
        /// Why a verdict is what it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $text] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The stable id, the same everywhere.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The result word this reason belongs to.
            pub const fn result(self) -> ResultWord {
                match self { $(Self::$variant => ResultWord::$word,)+ }
            }

            /// One line in plain words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The same line in Japanese, for those who get the mail.
            pub const fn text_ja(self) -> &'static str {
                match self { $(Self::$variant => $ja,)+ }
            }

            /// What strict mode answers; `None` where strict mode lets the mail pass.
            /// The two `none` reasons are refused only if a signature is required.
            pub const fn strict_reply(self) -> Option<StrictReply> {
                match self { $(Self::$variant => $reply,)+ }
            }

            /// Who must act.
            pub const fn actor(self) -> Actor {
                match self { $(Self::$variant => Actor::$actor,)+ }
            }

            /// What to do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

const REFUSED: Option<StrictReply> = Some(StrictReply::REFUSED);
const CHAIN: Option<StrictReply> = Some(StrictReply::CRYPTOGRAPHIC);
const ALGORITHM: Option<StrictReply> = Some(StrictReply::ALGORITHM);
const CONTENT: Option<StrictReply> = Some(StrictReply::INTEGRITY);
const LIMITS: Option<StrictReply> = Some(StrictReply::LIMITS);
const LATER: Option<StrictReply> = Some(StrictReply::LATER);

reasons! {
    NotSigned "not-signed" None REFUSED, Nobody,
        "the message is not signed",
        "このメールには署名がありません",
        "nothing; where a signature is required, the sender has to sign";
    SignatureNotAtRoot "signature-not-at-root" None REFUSED, Sender,
        "a part of the message is signed, the message is not",
        "メールの一部だけが署名されており、メール全体は署名されていません",
        "sign the whole message; mailing lists that wrap mail cause this too";

    Ok "ok" Pass None, Nobody,
        "the signature is valid and its certificate belongs to the sender address",
        "署名は正しく、証明書は差出人アドレスのものです",
        "nothing";

    DigestMismatch "digest-mismatch" Fail CONTENT, Relay,
        "the content was changed after it was signed",
        "署名された後で内容が変更されています",
        "look for a server that rewrites mail; ask the sender to send it again";
    SignatureInvalid "signature-invalid" Fail CONTENT, Sender,
        "the signature was not made with the key of the certificate",
        "証明書の鍵で作られた署名ではありません",
        "ask the sender to send it again";
    WeakDigest "weak-digest" Fail CONTENT, Sender,
        "the signature uses a broken digest algorithm (MD5 or older)",
        "安全でないダイジェスト方式（MD5 など）で署名されています",
        "the sender's mail program must use SHA-256 or better";
    CertificateExpired "certificate-expired" Fail CHAIN, Sender,
        "a certificate of the chain has expired",
        "証明書（または発行元の証明書）の有効期間が切れています",
        "the sender needs a new certificate";
    CertificateNotYetValid "certificate-not-yet-valid" Fail CHAIN, Sender,
        "a certificate of the chain is not valid yet",
        "証明書（または発行元の証明書）の有効期間がまだ始まっていません",
        "check the clock of the issuer and of this gateway";
    Revoked "revoked" Fail CHAIN, Sender,
        "a certificate of the chain was revoked by its issuer",
        "証明書（または発行元の証明書）は発行元により失効されています",
        "the sender needs a new certificate";
    PathInvalid "path-invalid" Fail CHAIN, Issuer,
        "the certificate chain breaks the rules of RFC 5280",
        "証明書のつながりが規則（RFC 5280）に反しています",
        "the issuer has to correct its certificates";
    EssMismatch "ess-mismatch" Fail CONTENT, Sender,
        "the signature names another certificate than the one that came with it",
        "添えられた証明書は、署名が指している証明書ではありません",
        "ask the sender to send it again; somebody may have exchanged the certificate";
    AlgorithmMismatch "algorithm-mismatch" Fail CONTENT, Sender,
        "the protected algorithm attribute differs from the algorithms used",
        "署名の方式が、署名に記された方式と異なります",
        "ask the sender to send it again";

    FromMismatch "from-mismatch" Policy REFUSED, Sender,
        "the From address is not an address of the signing certificate",
        "差出人アドレスは、署名した証明書のアドレスではありません",
        "the sender has to sign with a certificate for the From address";
    FromAmbiguous "from-ambiguous" Policy REFUSED, Sender,
        "the From field does not name exactly one sender",
        "差出人が一人に定まりません",
        "the sender has to use one plain From address";
    NotRegistered "not-registered" Policy REFUSED, Sender,
        "the certificate is not registered to the From address",
        "証明書は差出人アドレスに登録されていません",
        "the sender has to register the certificate with this gateway";
    IssuerNotTrusted "issuer-not-trusted" Policy REFUSED, Admin,
        "the certificate does not lead to an issuer that is trusted here",
        "証明書の発行元は、ここでは信頼されていません",
        "add the issuer to trust.toml if it deserves trust";
    WeakAlgorithm "weak-algorithm" Policy ALGORITHM, Sender,
        "the signature or its key is weaker than this gateway accepts",
        "署名または鍵の強さが足りません",
        "the sender needs SHA-256 or better and, for RSA, 2048 bits or more";
    KeyUsage "key-usage" Policy REFUSED, Issuer,
        "the certificate is not meant for signing mail",
        "メールの署名に使うための証明書ではありません",
        "the sender needs a certificate for mail signing";
    MultipleSigners "multiple-signers" Policy REFUSED, Sender,
        "the message is signed by more than one person",
        "二人以上の署名が付いています",
        "one message, one signer";
    HeaderMismatch "header-mismatch" Policy REFUSED, Sender,
        "the protected header fields differ from the outer ones",
        "署名で守られた見出しと、外側の見出しが異なります",
        "somebody may have re-sent an old mail; ask the sender";
    Profile "profile" Policy REFUSED, Sender,
        "the signature does not meet the profile asked for",
        "証明書が、求められている形式に合いません",
        "see the profile of the trust anchor";
    NotAccepted "not-accepted" Policy REFUSED, Sender,
        "the signature was read, but does not meet the acceptance conditions",
        "署名は確認できましたが、受け入れ条件を満たしません",
        "ask the sender to check the state of the certificate";

    UnsupportedAlgorithm "unsupported-algorithm" Neutral ALGORITHM, Sender,
        "the signature uses an algorithm that is not supported",
        "対応していない方式の署名です",
        "the sender has to sign with RSA, ECDSA, Ed25519 or ML-DSA";
    UnsupportedLayer "unsupported-layer" Neutral ALGORITHM, Sender,
        "the message uses a kind of protection that is not supported",
        "対応していない方式で保護されています",
        "the sender has to use ordinary S/MIME";

    RevocationUnavailable "revocation-unavailable" TempError Some(StrictReply::REVOCATION), Admin,
        "no fresh answer says whether the certificate is revoked",
        "証明書の失効情報を現在確認できません",
        "see that the revocation lists are fetched and fresh";
    IssuerUnavailable "issuer-unavailable" TempError LATER, Admin,
        "the certificate of an issuer could not be obtained now",
        "発行元の証明書を現在入手できません",
        "try again later, or add the intermediate certificate";
    DirectoryUnavailable "directory-unavailable" TempError LATER, Admin,
        "the certificate directory does not answer",
        "証明書の登録簿が現在応答しません",
        "look at the directory server";
    RegistrationUnavailable "registration-unavailable" TempError LATER, Admin,
        "the register of addresses does not answer",
        "アドレスの登録簿が現在応答しません",
        "look at the store";
    ClockNotTrusted "clock-not-trusted" TempError Some(StrictReply::CLOCK), Admin,
        "the clock of the gateway cannot be right",
        "検証装置の時計が正しくないため、確認できません",
        "set the clock of the gateway";
    PathBudget "path-budget" TempError LATER, Sender,
        "checking the certificate chain would take too much work",
        "証明書の確認に手間がかかりすぎるため、確認を打ち切りました",
        "the sender has to send fewer certificates";

    Malformed "malformed" PermError CHAIN, Sender,
        "the signature cannot be read",
        "署名を読み取れません",
        "ask the sender to send it again";
    NoSigners "no-signers" PermError CHAIN, Sender,
        "there is a signature structure without any signature",
        "署名の形をしていますが、署名がありません",
        "ask the sender to sign the message";
    TwoContents "two-contents" PermError CHAIN, Sender,
        "the signature brings a second content of its own",
        "署名が、別の内容をもう一つ持っています",
        "treat the message as an attack unless the sender explains it";
    NoSignedAttributes "no-signed-attributes" PermError CHAIN, Sender,
        "the signature has no signed attributes",
        "署名属性がありません",
        "the sender's program must sign attributes, as RFC 8551 recommends";
    AttributesNotDer "attributes-not-der" PermError CHAIN, Sender,
        "the signed attributes are not in DER",
        "署名属性の符号化が規則（DER）に反しています",
        "the sender's program must encode signed attributes in DER";
    AttributeMissing "attribute-missing" PermError CHAIN, Sender,
        "a signed attribute that must be there is missing",
        "必要な署名属性がありません",
        "the sender's program must be corrected";
    AttributeDuplicate "attribute-duplicate" PermError CHAIN, Sender,
        "a signed attribute is there more than once",
        "同じ署名属性が二つ以上あります",
        "the sender's program must be corrected";
    ContentTypeMismatch "content-type-mismatch" PermError CHAIN, Sender,
        "the signed content type is not the type of the content",
        "署名された内容の種類が、実際の内容と異なります",
        "the sender's program must be corrected";
    SignerCertificateMissing "signer-certificate-missing" PermError CHAIN, Sender,
        "the certificate of the signer is not in the message and not known",
        "署名者の証明書が見つかりません",
        "the sender's program must include the certificate";
    AmbiguousMime "ambiguous-mime" PermError CHAIN, Sender,
        "two readers could split this message in different ways",
        "読み取る人によって内容が変わりうる、あいまいな構造です",
        "treat the message as an attack unless the sender explains it";
    LimitAsn1 "limit-asn1" PermError LIMITS, Sender,
        "the signature is nested or split beyond the limits",
        "署名の構造が制限を超えています",
        "ask the sender to send it again";
    LimitMime "limit-mime" PermError LIMITS, Sender,
        "the message has too many parts or levels",
        "メールの部分または階層が多すぎます",
        "ask the sender to send it again";
    LimitLayers "limit-layers" PermError LIMITS, Sender,
        "the message has too many layers of protection",
        "保護が重なりすぎています",
        "ask the sender to protect the message once";
    LimitSigners "limit-signers" PermError LIMITS, Sender,
        "the message has too many signatures",
        "署名が多すぎます",
        "one message, one signer";
    LimitCertificates "limit-certificates" PermError LIMITS, Sender,
        "the message brings too many certificates or revocation lists",
        "証明書または失効リストが多すぎます",
        "the sender has to send only the own chain";
    LimitCompression "limit-compression" PermError LIMITS, Sender,
        "the message expands beyond the limits",
        "展開すると制限を超えます",
        "send without compression";
    LimitSize "limit-size" PermError LIMITS, Sender,
        "the message or a part of it is too large",
        "メールまたはその一部が大きすぎます",
        "send less at once";
    LimitTime "limit-time" PermError LIMITS, Sender,
        "checking the message took too long",
        "確認に時間がかかりすぎました",
        "ask the sender to send it again";
    LimitPoison "limit-poison" PermError LIMITS, Admin,
        "checking the message failed again and again, so it was not checked",
        "確認に繰り返し失敗したため、確認していません",
        "report this message to the makers of Kenin";
}

impl Reason {
    /// The reason with this id.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.id() == id)
    }

    /// How much worse than another reason of any result; only for picking one to report.
    pub(crate) fn badness(self) -> (u8, usize) {
        let place = Self::ALL
            .iter()
            .position(|other| *other == self)
            .unwrap_or(usize::MAX);
        // Within one result the list is ordered from the plainest finding to the finest.
        (self.result().badness(), usize::MAX - place)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl serde::Serialize for ResultWord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = HashSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.id()), "{} twice", reason.id());
            assert!(
                reason
                    .id()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'1')
            );
            assert_eq!(Reason::from_id(reason.id()), Some(*reason));
            assert!(!reason.text().is_empty() && !reason.advice().is_empty());
            assert!(!reason.text_ja().is_ascii());
        }
        assert_eq!(Reason::ALL.len(), 2 + 1 + 9 + 10 + 2 + 6 + 19);
    }

    #[test]
    fn strict_replies_follow_the_result() {
        for reason in Reason::ALL {
            let reply = reason.strict_reply();
            match reason.result() {
                ResultWord::Pass => assert_eq!(reply, None),
                ResultWord::TempError => {
                    let reply = reply.unwrap();
                    assert_eq!((reply.code, reply.enhanced), (451, "4.7.5"), "{reason}");
                }
                _ => {
                    let reply = reply.unwrap();
                    assert_eq!(reply.code, 550, "{reason}");
                    assert!(reply.enhanced.starts_with("5."), "{reason}");
                    assert_eq!(
                        reply.enhanced == "5.6.0",
                        reason.id().starts_with("limit-"),
                        "{reason}"
                    );
                }
            }
            if let Some(reply) = reply {
                assert!(reply.text.is_ascii() && reply.text.len() < 100);
            }
        }
        assert_eq!(Reason::WeakAlgorithm.strict_reply(), ALGORITHM);
        assert_eq!(
            Reason::DigestMismatch.strict_reply().unwrap().enhanced,
            "5.7.7"
        );
        assert_eq!(Reason::Revoked.strict_reply().unwrap().enhanced, "5.7.5");
    }

    #[test]
    fn worst_of_order() {
        let mut words = ResultWord::ALL;
        words.sort_by_key(|word| std::cmp::Reverse(word.badness()));
        assert_eq!(
            words.map(ResultWord::as_str),
            [
                "permerror",
                "fail",
                "policy",
                "neutral",
                "temperror",
                "pass",
                "none"
            ]
        );
    }
}

//! What `mail.toml` says of protecting mail: `encrypt`, `certificates` and `sign` of a rule, and the table `[protect]`.
//!
//! Wishes only. What becomes of them depends on certificates and keys, and is planned in [`crate::protect`].

use serde::Deserialize;

/// How a mail is to be protected for one recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Whether it is encrypted.
    pub encrypt: Encrypt,
    /// For whose certificate.
    pub certificates: Whose,
    /// Whether it is signed for its sender.
    pub sign: Sign,
    /// Which rule says so, counted from 1.
    pub rule: Option<usize>,
}

/// Whether mail is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Encrypt {
    /// It is not.
    #[default]
    Never,
    /// Where there is a certificate that is good now; else it goes in clear.
    Opportunistic,
    /// It goes encrypted or not at all.
    Must,
}

/// Whose certificate a mail is encrypted for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The recipient's own.
    #[default]
    Person,
    /// That of the gateway of the recipient's domain
    /// (`domain-confidentiality-authority@…`, <https://www.rfc-editor.org/rfc/rfc3183#section-4>).
    Domain,
    /// The recipient's own, and where there is none that is good, the gateway's.
    Either,
}

/// Whether mail is signed for its sender, who has to be proven and to have a key here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sign {
    /// Only inside an encryption that does not tell whether somebody changed the content.
    #[default]
    Inside,
    /// Not even there.
    Never,
    /// As multipart/signed.
    Clear,
    /// As an object that holds the content.
    Opaque,
}

/// What holds for all mail that is protected: `[protect]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protecting {
    /// How the content is encrypted for somebody of whom it is not known what they can read.
    pub unknown: Unknown,
    /// Whether the header goes along inside (RFC 9788), with the Subject hidden outside where it is encrypted.
    pub header: bool,
    /// Whether an answer to mail that came encrypted must be encrypted.
    pub replies: bool,
}

impl Default for Protecting {
    fn default() -> Self {
        Self {
            unknown: Unknown::default(),
            header: true,
            replies: true,
        }
    }
}

/// A cipher for somebody of whom nothing is known.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// AES-256-CBC, which every program reads, around a signature where one can be made.
    #[default]
    Cbc,
    /// AES-256-GCM, as RFC 8551 §2.7.1.2 advises.
    Gcm,
}

/// `sign` as written.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SignWord {
    Never,
    Clear,
    Opaque,
}

/// `[protect]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ProtectEntry {
    #[serde(default)]
    unknown: Unknown,
    header: Option<bool>,
    #[serde(default)]
    replies: Replies,
}

#[derive(Clone, Copy, Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Replies {
    #[default]
    Must,
    ByRule,
}

/// What the `place`-th rule wishes.
///
/// # Errors
/// Why that makes no sense.
pub(super) fn wish(
    place: usize,
    encrypt: Encrypt,
    certificates: Option<Whose>,
    sign: Option<SignWord>,
) -> Result<Wish, &'static str> {
    if certificates.is_some() && encrypt == Encrypt::Never {
        return Err("certificates needs encrypt = \"must\" or \"opportunistic\"");
    }
    Ok(Wish {
        encrypt,
        certificates: certificates.unwrap_or_default(),
        sign: match sign {
            None => Sign::Inside,
            Some(SignWord::Never) => Sign::Never,
            Some(SignWord::Clear) => Sign::Clear,
            Some(SignWord::Opaque) => Sign::Opaque,
        },
        rule: Some(place),
    })
}

impl ProtectEntry {
    pub(super) fn read(&self) -> Protecting {
        Protecting {
            unknown: self.unknown,
            header: self.header.unwrap_or(true),
            replies: self.replies == Replies::Must,
        }
    }
}

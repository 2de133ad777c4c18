//! Recipients who are treated differently: their domains, the rules for these, and what each may
//! get.

use super::Truth;

/// The rules of `mail.toml`, by which one mail becomes several.
pub const RULES: &str = "[[rule]]\nwhen = { recipient_domain = \"strict.example\" }\n\
                         then = { enforce = \"strict\", require_signature = true }\n\
                         [[rule]]\nwhen = { recipient_domain = \"tagged.example\" }\n\
                         then = { stamp = \"subject\" }\n\
                         [[rule]]\nwhen = { recipient_domain = \"barred.example\" }\n\
                         then = { stamp = \"subject\", language = \"ja\" }\n";

/// What the sink says at the dot of a mail to `barred.example`.
pub const BARRED: &str = "554 5.7.0 Not here";

/// How a recipient's mail is treated, by the recipient's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Stamped in header fields.
    Fields,
    /// With a tag in the Subject, too.
    Tag,
    /// Refused by Kenin unless it is good.
    Strict,
    /// Refused by the next hop, at the dot.
    Barred,
    /// To be encrypted.
    Must,
    /// To be encrypted, and nobody has a certificate for them.
    Uncertified,
    /// Opened, as the one mail says that names a key of theirs.
    Opens,
}

impl Wish {
    /// That of an address.
    pub fn of(address: &str) -> Self {
        match address.rsplit_once('@').map(|(_, domain)| domain) {
            Some("tagged.example") => Self::Tag,
            Some("strict.example") => Self::Strict,
            Some("barred.example") => Self::Barred,
            Some("must.example") if address.starts_with("nobody@") => Self::Uncertified,
            Some("must.example") => Self::Must,
            _ => Self::Fields,
        }
    }

    /// Whether a mail may never reach such a recipient; `None` where the harness cannot know.
    pub fn forbids(self, truth: Truth) -> Option<bool> {
        match (self, truth) {
            (Self::Barred | Self::Uncertified, _) | (Self::Strict, Truth::NotGood) => Some(true),
            (Self::Strict, Truth::Changed) => None,
            _ => Some(false),
        }
    }

    /// Whether a recipient of this kind shares a copy with one of another: what both get is alike.
    pub fn is_alike(self, other: Self) -> bool {
        let plain = |wish| matches!(wish, Self::Fields | Self::Strict);
        self == other || (plain(self) && plain(other))
    }

    /// Whether this is the Subject that such a recipient has to get.
    pub fn fits(self, sent: &str, got: &str, stamp: &str) -> bool {
        let tag = match self {
            Self::Fields | Self::Strict | Self::Opens => "",
            // What came to somebody who is barred is wrong whatever it says.
            Self::Barred | Self::Uncertified => return true,
            // RFC 9788 §3.2.1.
            Self::Must => return got == "[...]",
            Self::Tag if stamp.contains("smime=pass") => "[Signature valid] ",
            Self::Tag if stamp.contains("smime=fail") => "[Signature INVALID] ",
            Self::Tag => "",
        };
        got.strip_prefix(tag) == Some(sent)
    }
}

/// The recipients of the mail of a number.
pub fn circle(number: usize) -> Vec<String> {
    // Not in step with the letters, of which there are a dozen.
    let at = (number + number / CIRCLES.len()) % CIRCLES.len();
    CIRCLES[at].iter().map(|to| (*to).to_owned()).collect()
}

/// Three groups at once: two copies and a notification where the mail is not good.
pub fn whole_circle() -> Vec<String> {
    CIRCLES[3].iter().map(|to| (*to).to_owned()).collect()
}

const CIRCLES: [&[&str]; 9] = [
    &["reader@example.jp"],
    &["reader@example.jp", "one@tagged.example"],
    &["one@tagged.example", "two@strict.example"],
    &[
        "reader@example.jp",
        "other@example.jp",
        "one@tagged.example",
        "two@strict.example",
    ],
    &["two@strict.example", "three@strict.example"],
    &["two@strict.example", "reader@example.jp"],
    &[
        "reader@example.jp",
        "one@tagged.example",
        "shut@barred.example",
    ],
    &["shut@barred.example", "reader@example.jp"],
    &["one@tagged.example", "reader@example.jp"],
];

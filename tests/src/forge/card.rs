//! J-SIM: a made-up authority whose certificates have the shape of JPKI's, and the cards of its holders.
//! Nobody in it is real.

use super::certificates::{Authority, Person, alt_names, extension, key_usage, name, pem, rfc822};
use super::der::{cat, explicit, oid, printable, seq, tlv, utf8};
use super::keys::Key;

/// certificatePolicies of signing certificates; those of the test environment have another.
pub const POLICY: &str = "1.2.392.200149.8.5.1.1.20";
/// The arc of the four attributes and their flags.
pub const ATTRIBUTES: &str = "1.2.392.200149.8.5.5";

/// Who holds a card: what its certificate says of them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Holder {
    pub name: &'static str,
    pub name_flags: &'static str,
    pub sex: &'static str,
    pub birth: &'static str,
    pub address: &'static str,
    pub address_flags: &'static str,
    /// A mail address beside the attributes, which real cards do not have.
    pub mail: Option<&'static str>,
}

impl Holder {
    /// Somebody.
    pub const HANAKO: Self = Self {
        name: "検印花子",
        name_flags: "0000",
        sex: "2",
        birth: "419990401",
        address: "東京都架空区一丁目２番３号",
        address_flags: "0000000000000",
        mail: None,
    };

    /// What must not get out.
    pub fn secrets(&self) -> [(&'static str, &'static str); 3] {
        [
            ("name", self.name),
            ("birth", self.birth),
            ("address", self.address),
        ]
    }

    fn alt_names(&self) -> Vec<u8> {
        let attribute = |arc: u8, value: &str| {
            let kind = oid(&format!("{ATTRIBUTES}.{arc}"));
            tlv(0xa0, &cat([kind, explicit(0, &utf8(value))]))
        };
        // In the order in which they are seen in the wild.
        let mut names = vec![
            attribute(1, self.name),
            attribute(4, self.birth),
            attribute(3, self.sex),
            attribute(5, self.address),
            attribute(2, self.name_flags),
            attribute(6, self.address_flags),
        ];
        names.extend(self.mail.map(|mail| rfc822(mail.as_bytes())));
        alt_names(&names)
    }
}

/// The authority.
pub struct JSim {
    /// Its root, which issues the certificates itself.
    pub root: Authority,
}

impl JSim {
    /// A new one.
    pub fn new() -> Self {
        let name = name(&[
            ("2.5.4.6", printable("JP")),
            ("2.5.4.10", utf8("J-SIM")),
            ("2.5.4.11", utf8("J-SIM for digital signature")),
        ]);
        Self {
            root: Authority::root_named(name),
        }
    }

    /// A card's certificate and key.
    pub fn card(&self, holder: &Holder, key: Key) -> Person {
        let mut form = self.root.person_form("card", "x@x.example", &key);
        form.subject = name(&[
            ("2.5.4.6", printable("JP")),
            ("2.5.4.7", utf8("Tokyo")),
            ("2.5.4.7", utf8("Kakuu-ku")),
            ("2.5.4.3", utf8("20260401123456789012")),
        ]);
        let policy = seq([seq([oid(POLICY)])]);
        form.extensions = vec![
            key_usage(0xc0),
            holder.alt_names(),
            extension("2.5.29.32", true, &policy),
            extension(
                "2.5.29.31",
                false,
                &seq([seq([explicit(0, &self.point())])]),
            ),
        ];
        self.root.issue(&form, key)
    }

    /// The distribution point of the one municipality there is.
    fn point(&self) -> Vec<u8> {
        let directory = name(&[
            ("2.5.4.6", printable("JP")),
            ("2.5.4.10", utf8("J-SIM")),
            ("2.5.4.11", utf8("CRL Distribution Points")),
            ("2.5.4.11", utf8("Tokyo")),
            ("2.5.4.3", utf8("Kakuu-ku CRLDP")),
        ]);
        explicit(0, &explicit(4, &directory))
    }

    /// The list of that municipality.
    pub fn crl(&self, revoked: &[&[u8]]) -> Vec<u8> {
        let scope = extension("2.5.29.28", true, &seq([explicit(0, &self.point())]));
        self.root.crl_with(revoked, &[scope])
    }

    /// The anchor of trust.toml.
    pub fn anchor_pem(&self) -> String {
        pem("CERTIFICATE", &self.root.certificate)
    }
}

impl Default for JSim {
    fn default() -> Self {
        Self::new()
    }
}

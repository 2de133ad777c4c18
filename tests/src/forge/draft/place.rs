//! The certificates of a draft, between a root and a person, and the revocation lists about them.

use super::super::certificates::{
    Authority, CertificateForm, NOT_AFTER, Person, Revoked, extension,
};
use super::super::der::{null, seq, tlv};
use super::super::keys::Key;
use super::{ADDRESS, UNKNOWN};

/// Which root a chain begins at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// The one that is trusted.
    #[default]
    Trusted,
    /// Another.
    Strange,
    /// Another of the same name.
    Namesake,
}

/// The roots of many drafts.
pub struct Roots {
    trusted: Authority,
    pub(super) strange: Authority,
    namesake: Authority,
    pub(super) revoked: Vec<(Root, Vec<u8>)>,
}

impl Roots {
    /// New ones.
    pub fn new() -> Self {
        Self {
            trusted: Authority::root("Oracle Root"),
            strange: Authority::root("Oracle Stranger"),
            namesake: Authority::root("Oracle Root"),
            revoked: Vec::new(),
        }
    }

    /// The certificate that is trusted, DER.
    pub fn anchor(&self) -> &[u8] {
        &self.trusted.certificate
    }

    /// The lists of the roots, once every draft is made. The namesake issues none.
    pub fn lists(&self) -> [Vec<u8>; 2] {
        [Root::Trusted, Root::Strange].map(|root| {
            let revoked = self.revoked.iter().filter(|(by, _)| *by == root);
            let serials: Vec<&[u8]> = revoked.map(|(_, serial)| serial.as_slice()).collect();
            self.of(root).crl(&serials)
        })
    }

    pub(super) fn of(&self, root: Root) -> &Authority {
        match root {
            Root::Trusted => &self.trusted,
            Root::Strange => &self.strange,
            Root::Namesake => &self.namesake,
        }
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::new()
    }
}

/// The revocation list that there is about a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum List {
    #[default]
    Good,
    Absent,
    Stale,
    Future,
    /// By an authority of the same name with another key.
    Namesake,
    Broken,
    /// Without nextUpdate.
    Endless,
    UnknownExtension,
    /// In its issuingDistributionPoint.
    AuthoritiesOnly,
    /// In its issuingDistributionPoint.
    PersonsOnly,
    /// A good one, and an older one that revokes nothing.
    AfterHarmless,
    /// A good one, and a newer one that revokes nothing.
    BeforeHarmless,
    /// A good one, and a stale one that revokes nothing.
    BesideStale,
    /// A good one, and one of a namesake that revokes nothing.
    BesideNamesake,
}

pub(super) type Change<T> = Box<dyn FnOnce(&mut T)>;

/// A certificate below the root.
#[derive(Default)]
pub struct Place {
    /// P-256, if not said otherwise.
    pub key: Option<fn() -> Key>,
    /// Whether the issuer's signature over it is wrong.
    pub is_badly_signed: bool,
    /// The reasonCode with which it is revoked.
    pub revoked: Option<u8>,
    /// What there is about its revocation; a root has one list for all its drafts and does not look here.
    pub list: List,
    changes: Vec<Change<CertificateForm>>,
}

impl Place {
    /// Changes the certificate before it is signed.
    pub fn change(&mut self, change: impl FnOnce(&mut CertificateForm) + 'static) {
        self.changes.push(Box::new(change));
    }

    /// Puts an extension in the place of another.
    pub fn put(&mut self, place: usize, extension: Vec<u8>) {
        self.change(move |form| form.extensions[place] = extension);
    }

    /// Adds an extension.
    pub fn add(&mut self, extension: Vec<u8>) {
        self.change(move |form| form.extensions.push(extension));
    }

    /// Takes an extension out.
    pub fn leave_out(&mut self, place: usize) {
        // The others keep their places.
        self.put(place, Vec::new());
    }

    fn new_key(&self) -> Key {
        self.key.unwrap_or(Key::p256)()
    }

    /// The certificate of a form, as wrong as it shall be.
    fn certificate(&mut self, form: &mut CertificateForm, issuer: &Key) -> Vec<u8> {
        for change in self.changes.drain(..) {
            change(form);
        }
        let mut certificate = form.issue(issuer);
        if self.is_badly_signed {
            spoil(&mut certificate);
        }
        certificate
    }

    pub(super) fn authority(&mut self, above: &Authority, name: &str) -> Link {
        let key = self.new_key();
        let mut form = above.authority_form(name, &key);
        let certificate = self.certificate(&mut form, &above.key);
        Link {
            serial: form.serial,
            authority: Authority {
                name: form.subject,
                key,
                certificate,
            },
        }
    }

    pub(super) fn person(&mut self, issuer: &Authority, name: &str) -> Person {
        let key = self.new_key();
        let mut form = issuer.person_form(name, ADDRESS, &key);
        let certificate = self.certificate(&mut form, &issuer.key);
        Person {
            key,
            certificate,
            issuer: form.issuer,
            serial: form.serial,
        }
    }

    /// The lists about it, by its issuer.
    pub(super) fn lists(&self, issuer: &Authority, serial: &[u8]) -> Vec<Vec<u8>> {
        let entry = self.revoked.map(|reason| Revoked {
            serial,
            date: "20230101000000Z",
            reason,
        });
        let entries: Vec<Revoked<'_>> = entry.into_iter().collect();
        let serials: Vec<&[u8]> = entries.iter().map(|entry| entry.serial).collect();
        let until = |next: &str| issuer.crl_of(&entries, EARLY, next);
        let good = || until(NOT_AFTER);
        let harmless = |this: &str, next: &str| issuer.crl_of(&[], this, next);
        let with = |extension: Vec<u8>| issuer.crl_with(&serials, &[extension]);
        let scope = |tag: u8| extension("2.5.29.28", true, &seq([tlv(tag, &[0xff])]));
        let namesake = Authority {
            key: Key::p256(),
            ..issuer.clone()
        };
        match self.list {
            List::Good => vec![good()],
            List::Absent => Vec::new(),
            List::Stale => vec![until(STALE)],
            List::Future => vec![issuer.crl_of(&entries, "20400101000000Z", "20410101000000Z")],
            List::Namesake => vec![namesake.crl_of(&entries, EARLY, NOT_AFTER)],
            List::Broken => {
                let mut list = good();
                spoil(&mut list);
                vec![list]
            }
            List::Endless => vec![issuer.crl_between(&serials, EARLY, None)],
            List::UnknownExtension => vec![with(extension(UNKNOWN, true, &null()))],
            List::AuthoritiesOnly => vec![with(scope(0x82))],
            List::PersonsOnly => vec![with(scope(0x81))],
            List::AfterHarmless => vec![good(), harmless("20200601000000Z", NOT_AFTER)],
            List::BeforeHarmless => vec![good(), harmless(STALE, NOT_AFTER)],
            List::BesideStale => vec![good(), harmless(EARLIER, STALE)],
            List::BesideNamesake => vec![namesake.crl(&[]), good()],
        }
    }
}

/// An authority below a root, and the number by which it may be revoked.
pub(super) struct Link {
    pub(super) authority: Authority,
    pub(super) serial: Vec<u8>,
}

/// Makes the signature at the end of a certificate or list wrong.
fn spoil(signed: &mut [u8]) {
    let last = signed.len() - 1;
    signed[last - 3] ^= 1;
}

/// Before the tests' time.
const EARLY: &str = "20210101000000Z";
/// Before [`EARLY`].
const EARLIER: &str = "20200101000000Z";
/// After [`EARLY`], and before the tests' time too.
const STALE: &str = "20220101000000Z";

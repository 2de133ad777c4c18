//! A signed mail with its chain and its revocation lists, as a draft: a root, an upper authority, the issuer, the
//! person. As it comes it is right in every respect; what is changed in it is made as it was told, right or wrong.

mod place;

use super::certificates::{Authority, Person};
use super::cms::{Content, SignedForm, SignerForm};
use super::der::time;
use super::keys::{Alg, Hash, Key};
use super::mime;

use place::Change;
pub use place::{List, Place, Root, Roots};

/// The sender, and who a plain certificate belongs to.
pub const ADDRESS: &str = "person@example.jp";
/// Somebody else, whom the same issuer vouches for.
pub const OTHER_ADDRESS: &str = "other@evil.example";
/// An extension that nobody knows.
pub const UNKNOWN: &str = "1.3.6.1.4.1.99999.9";

/// Which certificates the mail brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sent {
    #[default]
    Chain,
    ChainAndRoot,
    Reversed,
    SignerTwice,
    WithoutIssuer,
    WithoutUpper,
    WithoutSigner,
}

/// What certificate the mail brings beside its own chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// The issuer's, with the same key, expired.
    ExpiredTwin,
    /// One of the issuer's name with another key.
    Namesake,
    /// The issuer's, with the same key, by the strange root.
    Cross,
    /// The same, behind the chain instead of inside it.
    CrossLast,
    /// Somebody's by the strange root.
    Stranger,
}

/// A second signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// Of the same address.
    Good,
    /// Of the same address, wrong.
    Wrong,
    /// Of another address.
    Other,
}

type SignerChange = Box<dyn FnOnce(&mut SignerForm, &Person, &[u8])>;

/// The draft.
#[derive(Default)]
pub struct Draft {
    /// Where the chain begins.
    pub root: Root,
    /// Below the root.
    pub upper: Place,
    /// Below that.
    pub issuer: Place,
    /// Who signs.
    pub leaf: Place,
    /// The digest, if not the key's usual one.
    pub hash: Option<Hash>,
    /// Whether an RSA key signs with PSS.
    pub is_pss: bool,
    /// The certificates in the mail.
    pub sent: Sent,
    /// One more of them.
    pub beside: Option<Beside>,
    /// Whether the lists come in the mail, and not otherwise.
    pub are_lists_inside: bool,
    /// Whether the content was changed after it was signed.
    pub is_changed: bool,
    /// Whether the content is in the CMS.
    pub is_opaque: bool,
    /// Somebody who signs too.
    pub second: Option<Second>,
    /// From, if not the signer's address.
    pub from: Option<&'static str>,
    signer: Vec<SignerChange>,
    signed: Vec<Change<SignedForm>>,
}

/// What a draft becomes.
pub struct Made {
    /// The mail.
    pub mail: Vec<u8>,
    /// The ContentInfo in it.
    pub cms: Vec<u8>,
    /// The content of a detached signature.
    pub content: Option<Vec<u8>>,
    /// The lists of the two authorities below the root.
    pub lists: Vec<Vec<u8>>,
    /// The sender.
    pub from: String,
}

impl Draft {
    /// Changes the SignerInfo before it is signed: the form, the person, the content.
    pub fn signer(&mut self, change: impl FnOnce(&mut SignerForm, &Person, &[u8]) + 'static) {
        self.signer.push(Box::new(change));
    }

    /// Changes the signed attributes, where there are any: their list, the person, the content, the digest.
    pub fn attributes(
        &mut self,
        change: impl FnOnce(&mut Vec<Vec<u8>>, &Person, &[u8], Hash) + 'static,
    ) {
        self.signer(move |form, person, content| {
            let hash = form.hash;
            if let Some(attributes) = &mut form.attributes {
                change(attributes, person, content, hash);
            }
        });
    }

    /// Changes the SignedData before it is written.
    pub fn signed(&mut self, change: impl FnOnce(&mut SignedForm) + 'static) {
        self.signed.push(Box::new(change));
    }

    /// Makes it. The number keeps its names apart from those of other drafts below the same roots.
    pub fn make(mut self, roots: &mut Roots, number: usize) -> Made {
        let root = roots.of(self.root).clone();
        let upper = self.upper.authority(&root, &format!("Upper {number}"));
        let issuer_name = format!("Issuer {number}");
        let issuer = self.issuer.authority(&upper.authority, &issuer_name);
        let person = self
            .leaf
            .person(&issuer.authority, &format!("Person {number}"));
        let mut lists = self.issuer.lists(&upper.authority, &issuer.serial);
        lists.extend(self.leaf.lists(&issuer.authority, &person.serial));
        if self.upper.revoked.is_some() {
            roots.revoked.push((self.root, upper.serial.clone()));
        }

        let part = mime::text(&format!("Case {number}"));
        let mut signer = SignerForm::with(&person, self.algorithm(&person.key), &part);
        for change in self.signer.drain(..) {
            change(&mut signer, &person, &part);
        }
        let mut form = SignedForm::detached(&signer, &part, &[]);
        let [upper, issuer] = [upper, issuer].map(|link| link.authority);
        form.certificates = self.certificates(&person, &issuer, &upper, &root);
        if let Some(beside) = self.beside {
            let one = beside_the_chain(beside, &issuer_name, &issuer, &upper, &roots.strange);
            let last = form.certificates.len();
            let place = if beside == Beside::CrossLast { last } else { 1 };
            form.certificates.insert(place, one);
        }
        if let Some(second) = self.second {
            sign_too(&mut form, second, &issuer, number, &part);
        }
        if self.are_lists_inside {
            form.crls = std::mem::take(&mut lists);
        }
        let body = if self.is_changed { "Changed" } else { "Case" };
        let shown = mime::text(&format!("{body} {number}"));
        if self.is_opaque {
            form.content = Content::Whole(shown.clone());
        }
        for change in self.signed.drain(..) {
            change(&mut form);
        }
        let cms = form.encode();
        let from = self.from.unwrap_or(ADDRESS);
        let headers = mime::headers(from);
        let mail = if self.is_opaque {
            mime::opaque(&headers, "signed-data", &cms)
        } else {
            mime::clear_signed(&headers, &shown, &cms)
        };
        Made {
            mail,
            cms,
            content: (!self.is_opaque).then_some(shown),
            lists,
            from: from.to_owned(),
        }
    }

    fn algorithm(&self, key: &Key) -> Alg {
        let usual = key.usual();
        let hash = self.hash.unwrap_or_else(|| usual.hash());
        match usual {
            Alg::Pkcs1(_) if self.is_pss => Alg::pss(hash),
            usual => with_hash(usual, hash),
        }
    }

    fn certificates(
        &self,
        person: &Person,
        issuer: &Authority,
        upper: &Authority,
        root: &Authority,
    ) -> Vec<Vec<u8>> {
        let [person, issuer, upper, root] = [
            &person.certificate,
            &issuer.certificate,
            &upper.certificate,
            &root.certificate,
        ];
        let sent = match self.sent {
            Sent::Chain => vec![person, issuer, upper],
            Sent::ChainAndRoot => vec![person, issuer, upper, root],
            Sent::Reversed => vec![upper, issuer, person],
            Sent::SignerTwice => vec![person, person, issuer, upper],
            Sent::WithoutIssuer => vec![person, upper],
            Sent::WithoutUpper => vec![person, issuer],
            Sent::WithoutSigner => vec![issuer, upper],
        };
        sent.into_iter().cloned().collect()
    }
}

/// The same algorithm with another digest.
pub fn with_hash(algorithm: Alg, hash: Hash) -> Alg {
    match algorithm {
        Alg::Pkcs1(_) => Alg::Pkcs1(hash),
        Alg::Ecdsa(_) => Alg::Ecdsa(hash),
        other => other,
    }
}

fn beside_the_chain(
    beside: Beside,
    name: &str,
    issuer: &Authority,
    upper: &Authority,
    strange: &Authority,
) -> Vec<u8> {
    match beside {
        Beside::ExpiredTwin => {
            let mut form = upper.authority_form(name, &issuer.key);
            form.not_after = time("20240101000000Z");
            form.issue(&upper.key)
        }
        Beside::Namesake => upper.authority_form(name, &Key::p256()).issue(&upper.key),
        Beside::Cross | Beside::CrossLast => strange
            .authority_form(name, &issuer.key)
            .issue(&strange.key),
        Beside::Stranger => {
            strange
                .person("Stranger", "stranger@example.jp", Key::p256())
                .certificate
        }
    }
}

fn sign_too(form: &mut SignedForm, second: Second, issuer: &Authority, number: usize, part: &[u8]) {
    let address = match second {
        Second::Good | Second::Wrong => ADDRESS,
        Second::Other => OTHER_ADDRESS,
    };
    let person = issuer.person(&format!("Second {number}"), address, Key::p256());
    let mut signer = SignerForm::new(&person, part);
    if second == Second::Wrong {
        signer.key = Key::p256();
    }
    let digest = signer.hash.identifier();
    if !form.digests.contains(&digest) {
        form.digests.push(digest);
    }
    form.signers.push(signer.encode(part));
    form.certificates.push(person.certificate);
}

//! Other people's judges of signed mail: `openssl cms` and `gpgsm`. Both look at the signature and at the chain,
//! by code that shares nothing with Kenin's, and at the time that they are given.

pub mod gpgsm;
pub mod openssl_cms;

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// `openssl cms`: the whole of RFC 5280 with revocation lists, policies and the sender's address.
    OpenSsl,
    /// `gpgsm`: the signature and the chain. It does not ask for purposes and addresses, its revocation lists need a
    /// daemon of their own and are off, and it refuses what it does not know, as constraints of names.
    Gpgsm,
}

impl Judge {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::OpenSsl, Self::Gpgsm];
}

/// One signed mail, as every judge gets it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What is special about it.
    pub name: String,
    /// The mail.
    pub mail: Vec<u8>,
    /// The ContentInfo in it.
    pub cms: Vec<u8>,
    /// What a detached signature is about; `None` where the content is in the CMS.
    pub content: Option<Vec<u8>>,
    /// The revocation lists that there are about its chain.
    pub lists: Vec<Vec<u8>>,
    /// The sender, where it has to be in the certificate.
    pub from: Option<String>,
    /// Whether something is wrong in it that nobody may accept.
    pub is_wrong: bool,
    /// Whose word does not count, for a limit that has nothing to do with right and wrong.
    pub abstaining: Vec<Judge>,
}

//! Name constraints along a path: RFC 5280 §6.1.3 (b) and (c), §6.1.4 (g); RFC 9598 §6 for
//! SmtpUTF8Mailbox.
//!
//! A name form that is constrained and cannot be compared refuses the path; nothing is skipped.

use crate::extension::{GeneralName, NameConstraints};
use crate::name::Name;
use crate::oid::{EMAIL_ADDRESS, Oid, SMTP_UTF8_MAILBOX};

use super::budget::{Budget, Spent};
use super::match_name::{self, Match};

/// The constraints of the certificates above.
#[derive(Default)]
pub(super) struct Constraints<'a> {
    sets: Vec<&'a NameConstraints>,
}

/// Why a name is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameFault {
    /// In an excluded subtree, or a wildcard that reaches into one.
    Excluded(&'static str),
    /// In none of the permitted subtrees.
    NotPermitted(&'static str),
    /// Constrained, in a form that cannot be compared.
    NotUnderstood(&'static str),
    /// The work limit.
    Spent(Spent),
}

impl From<Spent> for NameFault {
    fn from(spent: Spent) -> Self {
        Self::Spent(spent)
    }
}

/// A name of a certificate in the form in which constraints apply to it.
enum Subject<'a> {
    Mail(&'a [u8]),
    Dns(&'a [u8]),
    Uri(&'a [u8]),
    Ip(&'a [u8]),
    Directory(&'a Name),
    Other(Oid<'a>),
    /// A form without comparison rules: x400Address, ediPartyName, registeredID.
    Opaque(&'static str),
}

impl<'a> Constraints<'a> {
    /// Nothing is constrained so far.
    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Adds what the next certificate imposes on those below it. Each set binds on its own, which
    /// is the intersection of the permitted and the union of the excluded subtrees.
    pub(super) fn add(&mut self, constraints: &'a NameConstraints) {
        self.sets.push(constraints);
    }

    /// Checks every name of a certificate.
    pub(super) fn check(
        &self,
        subject: &Name,
        alt_names: &[GeneralName],
        budget: &mut Budget,
    ) -> Result<(), NameFault> {
        for name in alt_names {
            let name = match name {
                GeneralName::Rfc822(text) => Subject::Mail(text.as_bytes()),
                GeneralName::Other { oid, value } if *oid == SMTP_UTF8_MAILBOX => {
                    // RFC 9598 §6 knows no constraints of this form: one that is there is not understood.
                    self.check_one(&Subject::Other(oid.as_oid()), budget)?;
                    Subject::Mail(utf8_string(value).unwrap_or_default())
                }
                GeneralName::Other { oid, .. } => Subject::Other(oid.as_oid()),
                GeneralName::Dns(text) => Subject::Dns(text.as_bytes()),
                GeneralName::Uri(text) => Subject::Uri(text.as_bytes()),
                GeneralName::Ip(octets) => Subject::Ip(octets),
                GeneralName::Directory(name) => Subject::Directory(name),
                GeneralName::X400(_) => Subject::Opaque("x400Address"),
                GeneralName::EdiParty(_) => Subject::Opaque("ediPartyName"),
                GeneralName::RegisteredId(_) => Subject::Opaque("registeredID"),
            };
            self.check_one(&name, budget)?;
        }
        if !subject.is_empty() {
            self.check_one(&Subject::Directory(subject), budget)?;
        }
        // §4.2.1.10 asks for this only where the subjectAltName has no mail address. Always: who reads
        // the certificate may find that what stands there is no address, and look here after all.
        for address in subject.attributes().filter(|a| a.oid() == EMAIL_ADDRESS) {
            self.check_one(&Subject::Mail(address.value()), budget)?;
        }
        Ok(())
    }

    fn check_one(&self, name: &Subject<'_>, budget: &mut Budget) -> Result<(), NameFault> {
        let form = name.form();
        for set in &self.sets {
            // A set without subtrees is work too.
            let subtrees = set.permitted.len().saturating_add(set.excluded.len());
            budget.compare(subtrees.max(1))?;
            for base in &set.excluded {
                match name.compare(base, true) {
                    None | Some(Match::Outside) => {}
                    Some(Match::Inside | Match::Partly) => return Err(NameFault::Excluded(form)),
                    Some(Match::Odd) => return Err(NameFault::NotUnderstood(form)),
                }
            }
            let mut constrained = false;
            let mut inside = false;
            for base in &set.permitted {
                match name.compare(base, false) {
                    None => {}
                    Some(Match::Outside | Match::Partly) => constrained = true,
                    Some(Match::Inside) => inside = true,
                    Some(Match::Odd) => return Err(NameFault::NotUnderstood(form)),
                }
            }
            if constrained && !inside {
                return Err(NameFault::NotPermitted(form));
            }
        }
        Ok(())
    }
}

impl Subject<'_> {
    fn form(&self) -> &'static str {
        match self {
            Self::Mail(_) => "mail address",
            Self::Dns(_) => "dNSName",
            Self::Uri(_) => "URI",
            Self::Ip(_) => "iPAddress",
            Self::Directory(_) => "directoryName",
            Self::Other(_) => "otherName",
            Self::Opaque(form) => form,
        }
    }

    /// `None` where the base is of another form and says nothing about this name.
    /// For an excluded mailbox the local part is folded: `Alice@` must not slip past `alice@`.
    fn compare(&self, base: &GeneralName, excluded: bool) -> Option<Match> {
        let odd = |same: bool| same.then_some(Match::Odd);
        match (self, base) {
            (Self::Mail(name), GeneralName::Rfc822(base)) => {
                Some(match_name::mail(name, base.as_bytes(), excluded))
            }
            (Self::Dns(name), GeneralName::Dns(base)) => {
                Some(match_name::dns(name, base.as_bytes()))
            }
            (Self::Uri(name), GeneralName::Uri(base)) => {
                Some(match_name::uri(name, base.as_bytes()))
            }
            (Self::Ip(name), GeneralName::Ip(base)) => Some(match_name::ip(name, base)),
            (Self::Directory(name), GeneralName::Directory(base)) => {
                Some(if name.is_within(base) {
                    Match::Inside
                } else {
                    Match::Outside
                })
            }
            (Self::Other(oid), GeneralName::Other { oid: base, .. }) => odd(*base == *oid),
            (Self::Opaque(form), GeneralName::X400(_)) => odd(*form == "x400Address"),
            (Self::Opaque(form), GeneralName::EdiParty(_)) => odd(*form == "ediPartyName"),
            (Self::Opaque(form), GeneralName::RegisteredId(_)) => odd(*form == "registeredID"),
            _ => None,
        }
    }
}

/// The content of a UTF8String element.
fn utf8_string(element: &[u8]) -> Option<&[u8]> {
    let element = crate::der::Reader::new(element).any().ok()?;
    (element.tag == crate::der::UTF8_STRING).then_some(element.content)
}

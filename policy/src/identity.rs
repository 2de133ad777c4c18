//! Whether a certificate belongs to the sender: From against the addresses of the certificate.
//!
//! The Sender field never stands in for From, and a common name is never an address. RFC 8550 §3
//! (From only), RFC 9598 for internationalised addresses.

use kenin_pki::address::{Address, AddressCase};
use kenin_pki::certificate::Certificate;

use crate::protection::Agreement;
use crate::reason::Reason;
use crate::step::{Registered, Sender};
use crate::trust::AnchorSettings;
use crate::verdict::CheckResult;

/// The addresses a certificate speaks for under the settings of its anchor.
///
/// `None` when the extension that holds them cannot be read.
pub(crate) fn addresses(
    certificate: &Certificate,
    settings: &AnchorSettings,
) -> Option<Vec<Address>> {
    // An address in subjectAltName that cannot be read is one all the same: the subject's name counts
    // only where the authority wrote none beside it.
    if settings.dn_email && !certificate.has_mail_names().ok()? {
        return Some(certificate.subject_addresses());
    }
    certificate.addresses().ok()
}

/// The outcome of the comparison, and the address that speaks for the certificate.
pub(crate) struct Identity {
    pub(crate) check: CheckResult,
    pub(crate) identifier: Option<String>,
    pub(crate) proof: Option<Identified>,
}

/// Proof that the sender is the owner of the certificate, or that there is no sender to compare.
/// Made in [`compare`] only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identified(());

/// Whether the certificate holds this address somewhere, so that nobody has to be asked. What its anchor
/// makes of it is another matter.
pub(crate) fn may_speak_for(certificate: &Certificate, address: &Address) -> bool {
    let holds = |own: &Address| own.matches(address, AddressCase::Insensitive);
    let listed = certificate.addresses().unwrap_or_default();
    listed.iter().any(holds)
}

/// Compares the sender with the addresses; one that is registered to the certificate counts as one of them.
pub(crate) fn compare(
    sender: &Sender,
    addresses: Option<&[Address]>,
    settings: &AnchorSettings,
    header: Agreement,
    registered: Registered,
) -> Identity {
    let failed = |reason| Identity {
        check: CheckResult::Failed(reason),
        identifier: addresses
            .and_then(<[Address]>::first)
            .map(ToString::to_string),
        proof: None,
    };
    let from = match sender {
        Sender::Bare => {
            return Identity {
                check: CheckResult::Unchecked,
                proof: Some(Identified(())),
                ..failed(Reason::FromMismatch)
            };
        }
        Sender::Mail(from) => from,
    };
    let Some(list) = addresses else {
        return failed(Reason::Malformed);
    };
    let Ok(mailbox) = &from.mailbox else {
        return failed(Reason::FromAmbiguous);
    };
    let case = match settings.exact_case {
        true => AddressCase::Exact,
        false => AddressCase::Insensitive,
    };
    match list
        .iter()
        .find(|address| address.matches(&mailbox.address, case))
    {
        Some(_) if header == Agreement::Differs => failed(Reason::HeaderMismatch),
        Some(address) => Identity {
            check: CheckResult::Ok,
            identifier: Some(address.to_string()),
            proof: Some(Identified(())),
        },
        None => match registered {
            Registered::Yes if header == Agreement::Differs => failed(Reason::HeaderMismatch),
            Registered::Yes => Identity {
                check: CheckResult::Ok,
                identifier: Some(mailbox.address.to_string()),
                proof: Some(Identified(())),
            },
            Registered::Unknown => failed(Reason::RegistrationUnavailable),
            // Certificates of cards hold no address: theirs are registered here or nowhere.
            Registered::No if list.is_empty() && settings.is_for_cards() => {
                failed(Reason::NotRegistered)
            }
            Registered::No => failed(Reason::FromMismatch),
        },
    }
}

//! Who sends and who receives, as rules compare them: domains as A-labels, addresses as certificates are matched.

use kenin_pki::address::Address;

use super::Parties;
use crate::idna;

/// One side of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) domain: String,
    /// The whole address, where it is known.
    pub(super) mailbox: Option<String>,
}

impl Party {
    /// Of an address, or of a domain alone.
    fn of(text: &str) -> Self {
        match text.rsplit_once('@') {
            Some((_, domain)) => Self {
                domain: idna::to_ascii(domain),
                mailbox: Some(mailbox(text)),
            },
            None => Self {
                domain: idna::to_ascii(text),
                mailbox: None,
            },
        }
    }
}

/// The parties of one transaction.
pub(super) struct Named {
    /// Of the envelope, and those that people see.
    pub(super) senders: Vec<Party>,
    /// More are shown than anybody would read.
    pub(super) crowded: bool,
    recipients: Vec<Party>,
}

impl Named {
    pub(super) fn of(parties: Parties<'_>) -> Self {
        let shown = parties.shown;
        let mut senders: Vec<Party> = shown.addresses.iter().map(|one| Party::of(one)).collect();
        // Domains of which the address could not be told: that of the envelope is another one.
        for domain in &shown.domains {
            let party = Party::of(domain);
            if !senders.iter().any(|known| known.domain == party.domain) {
                senders.push(party);
            }
        }
        senders.extend(parties.sender.map(Party::of));
        Self {
            senders,
            crowded: shown.crowded,
            recipients: parties.recipients.iter().map(|to| Party::of(to)).collect(),
        }
    }

    /// The recipients; without any, the message.
    pub(super) fn each(&self) -> Vec<Option<&Party>> {
        match self.recipients.is_empty() {
            true => vec![None],
            false => self.recipients.iter().map(Some).collect(),
        }
    }
}

/// One spelling for all that are the same mailbox to an MTA: [`Address::matches`] without ASCII case, of domains as UTS 46
/// maps them. No certificate is found or compared by it.
pub(crate) fn mailbox(text: &str) -> String {
    let (written, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    let domain = idna::to_ascii(domain);
    let local = match Address::parse(&format!("{written}@{domain}")) {
        Ok(address) => address.local().to_owned(),
        Err(_) => written.to_owned(),
    };
    match local.is_ascii() {
        true => format!("{}@{domain}", local.to_ascii_lowercase()),
        false => format!("{local}@{domain}"),
    }
}

/// A pattern of an address in the spelling of [`mailbox`]; nothing where it is none.
pub(super) fn pattern(text: &str) -> Option<String> {
    Address::parse(text).is_ok().then(|| mailbox(text))
}

//! Who the author of a mail is known to be: somebody who proved who they are to the MTA, to whom the mailbox in From
//! belongs (RFC 6409 §6, §8). Mail is signed for nobody else.
//!
//! What a mail says of itself proves nothing. Which MTAs are believed is decided by the front end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use kenin_certstore::{address_key, read_limited};
use kenin_pki::address::Address;
use kenin_policy::{header, mailbox};
use kenin_smtp_filter::Mail;

use crate::config::{ConfigError, Senders};

/// Which logins may use which mailboxes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins {
    domain: Option<String>,
    /// Mailboxes of which it is written, in one spelling each.
    owners: HashMap<String, HashSet<String>>,
    /// The domains of those mailboxes, by login.
    domains: HashMap<String, BTreeSet<String>>,
}

impl Logins {
    /// As the settings say.
    pub(crate) fn read(senders: &Senders) -> Result<Self, ConfigError> {
        let owners = match &senders.logins {
            Some(path) => {
                let bytes = read_limited(path, MAX_FILE)
                    .map_err(|error| ConfigError::new(path, error.to_string()))?;
                let text =
                    String::from_utf8(bytes).map_err(|_| ConfigError::new(path, "not UTF-8"))?;
                owners(&text, path)?
            }
            None => HashMap::new(),
        };
        Ok(Self::of(senders.login_domain.clone(), owners))
    }

    fn of(domain: Option<String>, owners: HashMap<String, HashSet<String>>) -> Self {
        let mut domains: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (mailbox, logins) in &owners {
            let (_, domain) = mailbox.rsplit_once('@').unwrap_or_default();
            for login in logins {
                let known = domains.entry(login.clone()).or_default();
                known.insert(domain.to_owned());
            }
        }
        Self {
            domain,
            owners,
            domains,
        }
    }

    /// Whether this mailbox belongs to whoever proved to be this.
    fn own(&self, login: &str, address: &Address) -> bool {
        let key = address_key(address);
        // Where somebody has written who it belongs to, it belongs to nobody else.
        if let Some(owners) = self.owners.get(&key) {
            return owners.contains(login);
        }
        self.mailbox_of(login)
            .is_some_and(|own| address_key(&own) == key)
    }

    /// The mailbox that a login names, whoever it belongs to.
    fn mailbox_of(&self, login: &str) -> Option<Address> {
        let whole = match (&self.domain, login.contains('@')) {
            (Some(domain), false) => format!("{login}@{domain}"),
            _ => login.to_owned(),
        };
        Address::parse(&whole).ok()
    }

    /// The domains of all mailboxes of a login.
    fn domains_of(&self, login: &str) -> Vec<String> {
        let own = self.mailbox_of(login);
        let mut domains: BTreeSet<String> = self.domains.get(login).cloned().unwrap_or_default();
        domains.extend(own.map(|own| own.domain().to_owned()));
        domains.into_iter().collect()
    }
}

/// What is known of a mail because its client has proved to be somebody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proven {
    /// The author, where the client is they: From has one mailbox, and it is the client's.
    pub(crate) author: Option<Address>,
    /// Domains of the client's mailboxes, whoever wrote the mail. Of a client of whom no mailbox is known, those of the mail's
    /// senders: what has to be encrypted is not to go in clear because nobody wrote down whose login it is.
    pub(crate) domains: Vec<String>,
}

/// Who sends a mail.
pub(crate) fn proven(mail: &Mail, logins: &Logins) -> Proven {
    let Some(login) = mail.envelope.authenticated.as_deref() else {
        return Proven::default();
    };
    let header = header::scan(&mail.raw);
    let from = mailbox::from_field(&mail.raw, &header).mailbox.ok();
    let from = from.map(|mailbox| mailbox.address);
    let mut domains = logins.domains_of(login);
    if domains.is_empty() {
        let envelope = Address::parse(&mail.envelope.mail_from).ok();
        let senders = envelope.iter().chain(&from);
        domains.extend(senders.map(|sender| sender.domain().to_owned()));
    }
    Proven {
        author: from.filter(|address| logins.own(login, address)),
        domains,
    }
}

/// A line is a mailbox and its logins, as Postfix has them in `smtpd_sender_login_maps`.
fn owners(text: &str, path: &Path) -> Result<HashMap<String, HashSet<String>>, ConfigError> {
    let mut all: HashMap<String, HashSet<String>> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            let text = format!("line {}: {what}", number + 1);
            ConfigError::new(path, text).hint("write for example \"info@example.jp alice, bob\"")
        };
        let (mailbox, logins) = line
            .split_once([' ', '\t'])
            .ok_or_else(|| wrong("a mailbox without a login"))?;
        let address =
            Address::parse(mailbox).map_err(|_| wrong(&format!("`{mailbox}` is no mailbox")))?;
        let logins = logins
            .split([' ', '\t', ','])
            .filter(|login| !login.is_empty());
        let known = all.entry(address_key(&address)).or_default();
        known.extend(logins.map(str::to_owned));
    }
    Ok(all)
}

/// Nobody has more mailboxes to list.
const MAX_FILE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pipeline::tests::mail;

    fn logins(domain: Option<&str>, lines: &str) -> Logins {
        let owners = owners(lines, Path::new("logins")).unwrap();
        Logins::of(domain.map(str::to_owned), owners)
    }

    fn own(logins: &Logins, login: &str, address: &str) -> bool {
        logins.own(login, &Address::parse(address).unwrap())
    }

    #[test]
    fn a_mailbox_belongs_to_its_login_and_to_those_who_are_written() {
        let plain = logins(None, "");
        assert!(own(&plain, "alice@own.example", "Alice@OWN.example"));
        assert!(!own(&plain, "alice@own.example", "bob@own.example"));
        assert!(!own(&plain, "alice", "alice@own.example"));
        let domain = logins(Some("own.example"), "");
        assert!(own(&domain, "alice", "alice@own.example"));
        assert!(own(&domain, "alice@other.example", "alice@other.example"));
        assert!(!own(&domain, "alice", "alice@other.example"));
        let written = logins(
            Some("own.example"),
            "# mailbox logins\n\ninfo@own.example alice, bob\nBoss@own.example\tsecretary\n",
        );
        assert!(own(&written, "alice", "info@own.example"));
        assert!(own(&written, "bob", "INFO@own.example"));
        assert!(!own(&written, "carol", "info@own.example"));
        assert!(own(&written, "secretary", "boss@own.example"));
        // It is written whose it is, and it is not that login's.
        assert!(!own(&written, "boss", "boss@own.example"));
        assert!(own(&written, "alice", "alice@own.example"));
    }

    #[test]
    fn mistakes_in_the_file_have_their_line() {
        for (lines, line, what) in [
            ("alice@own.example\n", 1, "without a login"),
            ("\nalice alice\n", 2, "no mailbox"),
        ] {
            let error = owners(lines, Path::new("logins")).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}: ")), "{error}");
            assert!(error.contains(what), "{error}");
        }
        let senders = Senders {
            logins: Some("/nowhere/logins".into()),
            ..Senders::default()
        };
        assert!(Logins::read(&senders).is_err());
    }

    /// DEC-14: what came encrypted for any of them is not answered in clear, whatever stands in From.
    #[test]
    fn a_client_has_the_domains_of_all_its_mailboxes() {
        let lines = "info@Shop.example alice, bob\ninfo@other.example bob\n";
        let logins = logins(Some("own.example"), lines);
        let found = |login: Option<&str>| {
            let raw = "From: alice+tag@own.example, x@y.example\r\n\r\nbody\r\n";
            let mut mail = mail("", raw);
            Arc::make_mut(&mut mail.envelope).authenticated = login.map(str::to_owned);
            let Proven { author, domains } = proven(&mail, &logins);
            assert_eq!(author, None);
            domains
        };
        assert_eq!(found(Some("alice")), ["own.example", "shop.example"]);
        assert_eq!(found(Some("carol")), ["own.example"]);
        assert_eq!(found(Some("dave@else.example")), ["else.example"]);
        assert!(found(None).is_empty());
    }

    /// DEC-14: of a login that is no address, where nothing is written of logins, no mailbox is known; and answers to opened
    /// mail went in clear.
    #[test]
    fn a_client_without_a_known_mailbox_has_the_domains_of_its_mail() {
        let found = |login: &str, from: &str| {
            let raw = format!("From: {from}\r\n\r\nbody\r\n");
            let mut mail = mail("", &raw);
            let envelope = Arc::make_mut(&mut mail.envelope);
            envelope.authenticated = Some(login.to_owned());
            envelope.mail_from = "alice@sub.example".to_owned();
            let Proven { author, domains } = proven(&mail, &Logins::default());
            assert_eq!(author, None);
            domains
        };
        let both = ["sub.example", "own.example"];
        assert_eq!(found("alice", "alice@own.example"), both);
        assert_eq!(found("alice", "undisclosed:;"), both[..1]);
        assert_eq!(
            found("bob@other.example", "alice@own.example"),
            ["other.example"]
        );
    }

    /// Whoever writes From may not choose in whose name is signed.
    #[test]
    fn only_the_proven_author_is_one() {
        let logins = logins(Some("own.example"), "");
        let found = |login: Option<&str>, from: &str| {
            let raw = format!("{from}Subject: x\r\n\r\nbody\r\n");
            let mut mail = mail("bob@example.net", &raw);
            Arc::make_mut(&mut mail.envelope).authenticated = login.map(str::to_owned);
            let author = proven(&mail, &logins).author;
            author.map(|author| author.to_string())
        };
        let alice = "From: Alice <alice@own.example>\r\n";
        assert_eq!(
            found(Some("alice"), alice).as_deref(),
            Some("alice@own.example")
        );
        assert_eq!(found(None, alice), None);
        assert_eq!(found(Some("bob"), alice), None);
        assert_eq!(found(Some(""), alice), None);
        for from in [
            "",
            "From: alice@own.example, bob@own.example\r\n",
            "From: alice@own.example\r\nFrom: bob@own.example\r\n",
            "From: bob@own.example <alice@own.example>\r\n",
            "From: Alice\r\nSender: alice@own.example\r\n",
        ] {
            assert_eq!(found(Some("alice"), from), None, "{from}");
        }
    }
}

//! What happens to mail with which verdict: `mail.toml`, ordered rules, the first that matches.
//!
//! Never writes a reply (the gateway does) and never changes a verdict. Without a rule, mail is
//! stamped and relayed.

use serde::Deserialize;
use toml::Spanned;

use crate::idna;
use crate::mailbox::Shown;
use crate::reason::{Reason, ResultWord, StrictReply};
use crate::stamp;
use crate::subject::Language;
use crate::toml_error::ConfigError;
use crate::verdict::Verdict;

mod hidden;
mod opening;
mod protection;
mod who;

pub use opening::{Handling, OpeningRule};
pub use protection::{Encrypt, Protecting, Sign, Unknown, Whose, Wish};
use protection::{ProtectEntry, SignWord, wish};
pub(crate) use who::mailbox;
use who::{Named, Party};

/// The rules of `mail.toml`.
#[derive(Clone, Debug, Default)]
pub struct MailRules {
    rules: Vec<Rule>,
    protecting: Protecting,
}

/// Who takes part in one transaction. What has no `@` is a domain, of which the mailbox is not known.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The envelope sender; none for the null sender.
    pub sender: Option<&'a str>,
    /// What the From fields show.
    pub shown: &'a Shown,
    /// The recipients, in order; repeated ones do no harm.
    pub recipients: &'a [&'a str],
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Relay it with the stamp.
    Stamp(StampMode),
    /// Have the MTA hold it with the stamp, where it would be refused for good.
    Hold {
        /// Why.
        reason: Reason,
        /// How the verdict is shown.
        mode: StampMode,
        /// Which rule said so, counted from 1.
        rule: usize,
    },
    /// Refuse it at the end of data.
    Refuse {
        /// Why, as it may be said outside.
        reason: Reason,
        /// The reply, without ids.
        reply: StrictReply,
        /// Which rule said so, counted from 1.
        rule: usize,
    },
}

/// How the verdict is shown beside the header fields that every stamp has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StampMode {
    /// Not at all: they are for programs.
    #[default]
    Headers,
    /// By the mail store, which files the mail by those fields (a Sieve rule).
    Folder,
    /// By a tag in front of the Subject.
    Subject(Language),
    /// By a message of the gateway's own around it ([`crate::wrap`]).
    Wrap,
}

/// What becomes of the certificate of somebody whose signed mail was good.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Harvest {
    /// Nothing.
    #[default]
    Off,
    /// It is kept, and used when somebody says so.
    Quarantine,
    /// It is kept and used.
    Use,
}

impl MailRules {
    /// The rules of a `mail.toml`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        let written: MailFile =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(file, text, &error))?;
        let mut rules = Vec::new();
        for (place, entry) in written.rule.into_iter().enumerate() {
            let span = entry.span();
            let entry = entry.into_inner();
            let then = &entry.then;
            let wish = wish(place + 1, then.encrypt, then.certificates, then.sign)
                .map_err(|what| ConfigError::at(file, text, span.clone(), what))?;
            let opening = OpeningRule::of(&entry.then)
                .map_err(|message| ConfigError::at(file, text, span.clone(), message))?;
            let enforce = entry.then.enforce;
            let mode = match (entry.then.stamp, entry.then.language) {
                (Stamp::Subject, language) => StampMode::Subject(language.unwrap_or_default()),
                (_, Some(_)) => {
                    let message = "language needs stamp = \"subject\"";
                    return Err(ConfigError::at(file, text, span, message));
                }
                (Stamp::Folder, None) => StampMode::Folder,
                (Stamp::Headers, None) => StampMode::Headers,
                (Stamp::Wrap, None) => StampMode::Wrap,
            };
            if entry.then.require_signature && enforce == Enforce::Stamp {
                let message = "require_signature needs enforce = \"strict\" or \"quarantine\"";
                return Err(ConfigError::at(file, text, span, message));
            }
            let domains = |written: Option<Spanned<Words>>| {
                let Some(written) = written else {
                    return Ok(Vec::new());
                };
                let wrong = |message: String| ConfigError::at(file, text, written.span(), message);
                let list = written.get_ref().list();
                // A list that came out empty was meant for somebody, not for everybody.
                if list.is_empty() {
                    let message = "a list without a domain; leave the key out to mean all";
                    return Err(wrong(message.to_owned()));
                }
                match list.iter().find(|domain| !is_pattern(domain)) {
                    Some(odd) => Err(wrong(format!("`{odd}` is not a domain, `*.domain` or `*`"))),
                    None => Ok(list.iter().map(|domain| pattern(domain)).collect()),
                }
            };
            let addresses = |written: Option<Spanned<Words>>| {
                let Some(written) = written else {
                    return Ok(Vec::new());
                };
                let wrong = |message: &str| ConfigError::at(file, text, written.span(), message);
                let list = written.get_ref().list();
                if list.is_empty() {
                    return Err(wrong(
                        "a list without an address; leave the key out to mean all",
                    ));
                }
                let read = |one: &String| {
                    // A local part may be so, and nobody's is; who writes it means a domain.
                    if one.starts_with("*@") || one.contains("@*") {
                        return Err(wrong(&format!(
                            "`{one}` is no whole address; write sender_domain or recipient_domain"
                        )));
                    }
                    let pattern = who::pattern(one);
                    pattern.ok_or_else(|| wrong(&format!("`{one}` is not a mail address")))
                };
                list.iter().map(read).collect()
            };
            rules.push(Rule {
                domain: domains(entry.when.domain)?,
                sender_domain: domains(entry.when.sender_domain)?,
                recipient_domain: domains(entry.when.recipient_domain)?,
                sender: addresses(entry.when.sender)?,
                recipient: addresses(entry.when.recipient)?,
                enforce,
                require_signature: entry.then.require_signature,
                mode,
                harvest: entry.then.harvest,
                wish,
                opening,
            });
        }
        Ok(Self {
            rules,
            protecting: written.protect.read(),
        })
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any rule can refuse mail.
    pub fn may_refuse(&self) -> bool {
        self.rules.iter().any(Rule::is_strict)
    }

    /// Whether any rule can refuse mail for good: whoever has accepted it already returns it to its sender.
    pub fn may_bounce(&self) -> bool {
        let refuses = |rule: &Rule| rule.enforce == Enforce::Strict;
        self.rules.iter().any(refuses)
    }

    /// Whether any rule can have mail held: then whoever gives it to us has to be able to.
    pub fn may_hold(&self) -> bool {
        let holds = |rule: &Rule| rule.enforce == Enforce::Quarantine;
        self.rules.iter().any(holds)
    }

    /// Whether any rule has a tag put into subjects: then no other may stand there.
    pub fn may_tag(&self) -> bool {
        let tags = |rule: &Rule| matches!(rule.mode, StampMode::Subject(_));
        self.rules.iter().any(tags)
    }

    /// Whether any rule has mail wrapped: then there has to be something to sign the wrapping with.
    pub fn may_wrap(&self) -> bool {
        self.rules.iter().any(|rule| rule.mode == StampMode::Wrap)
    }

    /// Whether any rule has certificates kept.
    pub fn may_harvest(&self) -> bool {
        self.rules.iter().any(|rule| rule.harvest != Harvest::Off)
    }

    /// Whether any rule has mail encrypted.
    pub fn may_encrypt(&self) -> bool {
        let encrypts = |rule: &Rule| rule.wish.encrypt != Encrypt::Never;
        self.rules.iter().any(encrypts)
    }

    /// Whether any rule has mail signed for people.
    pub fn may_sign(&self) -> bool {
        let signs = |rule: &Rule| matches!(rule.wish.sign, Sign::Clear | Sign::Opaque);
        self.rules.iter().any(signs)
    }

    /// What holds for all mail that is protected.
    pub fn protecting(&self) -> Protecting {
        self.protecting
    }

    /// How the mail is to be protected for each recipient, in their order; without any, for the message.
    pub fn protect_each(&self, parties: Parties<'_>) -> Vec<Wish> {
        let named = Named::of(parties);
        let wish = |recipient: Option<&Party>| {
            let rule = self.rule(&named, recipient, Rule::must_encrypt);
            rule.map_or_else(Wish::default, |(_, rule)| rule.wish)
        };
        named.each().into_iter().map(wish).collect()
    }

    /// What becomes of the certificate of somebody whose signed mail was good: the least that the rules for its
    /// recipients say. A rule says something of mail all of whose senders it covers: one that refuses is for mail
    /// of any, and by naming a partner beside oneself one does not become one.
    pub fn harvest(&self, parties: Parties<'_>) -> Harvest {
        let named = Named::of(parties);
        let each = named.each();
        let said = each.iter().map(
            |recipient| match self.rule(&named, *recipient, Rule::binds) {
                Some((_, rule)) if rule.matches(&named, *recipient, false) => rule.harvest,
                _ => Harvest::Off,
            },
        );
        said.min().unwrap_or_default()
    }

    /// The first rule for this recipient, and its place; `binds` says which rules are for mail of any of their senders.
    fn rule(
        &self,
        named: &Named,
        recipient: Option<&Party>,
        binds: fn(&Rule) -> bool,
    ) -> Option<(usize, &Rule)> {
        let mut rules = self.rules.iter().enumerate();
        rules.find(|(_, rule)| rule.matches(named, recipient, binds(rule)))
    }

    /// What to do for each recipient, in their order; without any, for the message.
    pub fn decide_each(&self, parties: Parties<'_>, verdict: &Verdict) -> Vec<Act> {
        let count = parties.recipients.len().max(1);
        // Mail that stayed encrypted has no result, and so none to refuse it for.
        let Some((result, reason)) = stamp::outward(verdict) else {
            return vec![Act::Stamp(StampMode::Headers); count];
        };
        let named = Named::of(parties);
        let act = |recipient: Option<&Party>| {
            let rule = self.rule(&named, recipient, Rule::is_strict);
            match (rule, reason.strict_reply()) {
                // What another try may change needs nobody who looks at it.
                (Some((place, rule)), Some(reply))
                    if rule.refuses(result)
                        && rule.enforce == Enforce::Quarantine
                        && reply.code >= 500 =>
                {
                    Act::Hold {
                        reason,
                        mode: rule.mode,
                        rule: place + 1,
                    }
                }
                (Some((place, rule)), Some(reply)) if rule.refuses(result) => Act::Refuse {
                    reason,
                    reply,
                    rule: place + 1,
                },
                (rule, _) => Act::Stamp(rule.map_or(StampMode::Headers, |(_, rule)| rule.mode)),
            }
        };
        named.each().into_iter().map(act).collect()
    }
}

#[derive(Clone, Debug)]
struct Rule {
    /// Sender or recipient.
    domain: Vec<String>,
    sender_domain: Vec<String>,
    recipient_domain: Vec<String>,
    sender: Vec<String>,
    recipient: Vec<String>,
    enforce: Enforce,
    require_signature: bool,
    mode: StampMode,
    harvest: Harvest,
    wish: Wish,
    opening: OpeningRule,
}

impl Rule {
    /// Whether some mail is not simply sent on.
    fn is_strict(&self) -> bool {
        self.enforce != Enforce::Stamp
    }

    /// Whether mail goes encrypted or not at all.
    fn must_encrypt(&self) -> bool {
        self.wish.encrypt == Encrypt::Must
    }

    /// Whether some mail does not go as it is, or not at all: then naming another sender beside one's own is no way out. Asked
    /// where a rule refuses or where it encrypts, each for itself: to the other one it is an exemption.
    fn binds(&self) -> bool {
        self.is_strict() || self.must_encrypt()
    }

    /// A rule that binds is for mail that shows any of its senders; one that does not is an
    /// exemption, and that is not to be had by naming an exempt sender beside another one.
    fn matches(&self, named: &Named, recipient: Option<&Party>, any: bool) -> bool {
        let (senders, crowded) = (&named.senders, named.crowded);
        let sender = |covered: &dyn Fn(&Party) -> bool| match any {
            true => crowded || senders.iter().any(covered),
            false => !crowded && !senders.is_empty() && senders.iter().all(covered),
        };
        let recipient = |covered: &dyn Fn(&Party) -> bool| recipient.is_some_and(covered);
        let domain = |patterns: &[String], one: &Party| {
            let own = &one.domain;
            patterns.iter().any(|pattern| covers(pattern, own))
        };
        let mailbox = |patterns: &[String], one: &Party| {
            let own = one.mailbox.as_ref();
            own.is_some_and(|own| patterns.contains(own))
        };
        let either = |one: &Party| domain(&self.domain, one);
        (self.domain.is_empty() || sender(&either) || recipient(&either))
            && (self.sender_domain.is_empty() || sender(&|one| domain(&self.sender_domain, one)))
            && (self.recipient_domain.is_empty()
                || recipient(&|one| domain(&self.recipient_domain, one)))
            && (self.sender.is_empty() || sender(&|one| mailbox(&self.sender, one)))
            && (self.recipient.is_empty() || recipient(&|one| mailbox(&self.recipient, one)))
    }

    fn refuses(&self, result: ResultWord) -> bool {
        match result {
            ResultWord::Pass => false,
            ResultWord::None => self.is_strict() && self.require_signature,
            _ => self.is_strict(),
        }
    }
}

/// `*` covers all, `*.domain` what is below the domain, anything else itself.
fn covers(pattern: &str, domain: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(suffix) => domain.len() > suffix.len() && domain.ends_with(suffix),
        None => pattern == domain,
    }
}

/// A pattern in the spelling of [`covers`]: A-labels, also below a `*.`.
fn pattern(text: &str) -> String {
    match text.strip_prefix("*.") {
        Some(domain) => format!("*.{}", idna::to_ascii(domain)),
        None => idna::to_ascii(text),
    }
}

fn is_pattern(text: &str) -> bool {
    let domain = match text {
        "*" => return true,
        other => other.strip_prefix("*.").unwrap_or(other),
    };
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    domain
        .split('.')
        .all(|label| !label.is_empty() && label.chars().all(good))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MailFile {
    #[serde(default)]
    rule: Vec<Spanned<RuleEntry>>,
    #[serde(default)]
    protect: ProtectEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    #[serde(default)]
    when: When,
    then: Then,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct When {
    domain: Option<Spanned<Words>>,
    sender_domain: Option<Spanned<Words>>,
    recipient_domain: Option<Spanned<Words>>,
    sender: Option<Spanned<Words>>,
    recipient: Option<Spanned<Words>>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected one domain or address, or a list of them"
)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    fn list(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    #[serde(default)]
    enforce: Enforce,
    #[serde(default)]
    require_signature: bool,
    #[serde(default)]
    stamp: Stamp,
    language: Option<Language>,
    #[serde(default)]
    harvest: Harvest,
    #[serde(default)]
    encrypt: Encrypt,
    certificates: Option<Whose>,
    sign: Option<SignWord>,
    decrypt: Option<bool>,
    reencrypt: Option<bool>,
    require_integrity: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Enforce {
    #[default]
    Stamp,
    Strict,
    Quarantine,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum Stamp {
    #[default]
    Headers,
    Folder,
    Subject,
    Wrap,
}

#[cfg(test)]
mod tests;

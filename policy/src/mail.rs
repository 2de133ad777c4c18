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
use crate::toml_error::ConfigError;
use crate::verdict::Verdict;

/// The rules of `mail.toml`.
#[derive(Clone, Debug, Default)]
pub struct MailRules {
    rules: Vec<Rule>,
}

/// The domains of one transaction.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// Domain of the envelope sender; none for the null sender.
    pub sender: Option<&'a str>,
    /// What the From fields show.
    pub shown: &'a Shown,
    /// Domains of the recipients, in order; repeated ones do no harm.
    pub recipients: &'a [&'a str],
}

/// What to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Relay it with the stamp.
    Stamp,
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

impl MailRules {
    /// The rules of a `mail.toml`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ConfigError> {
        let written: MailFile =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(file, text, &error))?;
        let mut rules = Vec::new();
        for entry in written.rule {
            let span = entry.span();
            let entry = entry.into_inner();
            let strict = entry.then.enforce == Enforce::Strict;
            if entry.then.require_signature && !strict {
                let message = "require_signature needs enforce = \"strict\"";
                return Err(ConfigError::at(file, text, span, message));
            }
            let domains = |written: Option<Spanned<Domains>>| {
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
            rules.push(Rule {
                domain: domains(entry.when.domain)?,
                sender_domain: domains(entry.when.sender_domain)?,
                recipient_domain: domains(entry.when.recipient_domain)?,
                strict,
                require_signature: entry.then.require_signature,
            });
        }
        Ok(Self { rules })
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
        self.rules.iter().any(|rule| rule.strict)
    }

    /// What to do with a message of these parties and this verdict, where it has one answer: it is
    /// refused as soon as the rule of one recipient refuses it.
    pub fn decide(&self, parties: Parties<'_>, verdict: &Verdict) -> Act {
        let each = self.decide_each(parties, verdict);
        let refused = each.into_iter().find(|act| *act != Act::Stamp);
        refused.unwrap_or(Act::Stamp)
    }

    /// What to do for each recipient, in their order; without any, for the message.
    pub fn decide_each(&self, parties: Parties<'_>, verdict: &Verdict) -> Vec<Act> {
        let count = parties.recipients.len().max(1);
        // Mail that stayed encrypted has no result, and so none to refuse it for.
        let Some((result, reason)) = stamp::outward(verdict) else {
            return vec![Act::Stamp; count];
        };
        let mut senders: Vec<String> = parties.sender.map(idna::to_ascii).into_iter().collect();
        // The addresses people see count as well as the one of the envelope.
        senders.extend(
            parties
                .shown
                .domains
                .iter()
                .map(|domain| idna::to_ascii(domain)),
        );
        let crowded = parties.shown.crowded;
        let recipients: Vec<String> = parties
            .recipients
            .iter()
            .map(|domain| idna::to_ascii(domain))
            .collect();
        let each: Vec<Option<&str>> = match recipients.is_empty() {
            true => vec![None],
            false => recipients
                .iter()
                .map(|domain| Some(domain.as_str()))
                .collect(),
        };
        let act = |recipient: Option<&str>| {
            let rule = self
                .rules
                .iter()
                .enumerate()
                .find(|(_, rule)| rule.matches(&senders, crowded, recipient));
            match (rule, reason.strict_reply()) {
                (Some((place, rule)), Some(reply)) if rule.refuses(result) => Act::Refuse {
                    reason,
                    reply,
                    rule: place + 1,
                },
                _ => Act::Stamp,
            }
        };
        each.into_iter().map(act).collect()
    }
}

#[derive(Clone, Debug)]
struct Rule {
    /// Sender or recipient.
    domain: Vec<String>,
    sender_domain: Vec<String>,
    recipient_domain: Vec<String>,
    strict: bool,
    require_signature: bool,
}

impl Rule {
    /// A rule that refuses is for mail that shows any of its senders; one that only stamps is an
    /// exemption, and that is not to be had by naming an exempt sender beside another one.
    fn matches(&self, senders: &[String], crowded: bool, recipient: Option<&str>) -> bool {
        let sender = |patterns: &[String]| {
            let covered = |sender: &String| patterns.iter().any(|pattern| covers(pattern, sender));
            if self.strict {
                crowded || senders.iter().any(covered)
            } else {
                !crowded && !senders.is_empty() && senders.iter().all(covered)
            }
        };
        let recipient = |patterns: &[String]| {
            recipient.is_some_and(|own| patterns.iter().any(|pattern| covers(pattern, own)))
        };
        (self.domain.is_empty() || sender(&self.domain) || recipient(&self.domain))
            && (self.sender_domain.is_empty() || sender(&self.sender_domain))
            && (self.recipient_domain.is_empty() || recipient(&self.recipient_domain))
    }

    fn refuses(&self, result: ResultWord) -> bool {
        match result {
            ResultWord::Pass => false,
            ResultWord::None => self.strict && self.require_signature,
            _ => self.strict,
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
    domain: Option<Spanned<Domains>>,
    sender_domain: Option<Spanned<Domains>>,
    recipient_domain: Option<Spanned<Domains>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a domain or a list of domains")]
enum Domains {
    One(String),
    Many(Vec<String>),
}

impl Domains {
    fn list(&self) -> &[String] {
        match self {
            Self::One(domain) => std::slice::from_ref(domain),
            Self::Many(domains) => domains,
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
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Enforce {
    #[default]
    Stamp,
    Strict,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reason: Option<Reason>) -> Verdict {
        Verdict {
            result: reason.map(Reason::result),
            reason,
            ..crate::testing::unsigned()
        }
    }

    fn shows(domains: &[&str]) -> Shown {
        Shown {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            crowded: false,
        }
    }

    fn decide(
        rules: &MailRules,
        sender: &str,
        to: &[&str],
        reason: Option<Reason>,
    ) -> Option<(u16, &'static str, usize)> {
        let shown = shows(&["from.example"]);
        let parties = Parties {
            sender: Some(sender),
            shown: &shown,
            recipients: to,
        };
        match rules.decide(parties, &verdict(reason)) {
            Act::Stamp => None,
            Act::Refuse { reply, rule, .. } => Some((reply.code, reply.enhanced, rule)),
        }
    }

    const RULES: &str = r#"
[[rule]]
when = { domain = "relaxed.example" }
then = { enforce = "stamp" }
[[rule]]
when = { recipient_domain = ["strict.example", "*.strict.example"] }
then = { enforce = "strict" }
[[rule]]
when = { sender_domain = "bank.example" }
then = { enforce = "strict", require_signature = true }
"#;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = MailRules::from_toml(RULES, "mail.toml").unwrap();
        let fail = Some(Reason::DigestMismatch);
        assert_eq!(decide(&rules, "x.example", &["y.example"], fail), None);
        assert_eq!(
            decide(&rules, "x.example", &["STRICT.example"], fail),
            Some((550, "5.7.7", 2))
        );
        assert_eq!(
            decide(&rules, "x.example", &["a.strict.example"], fail),
            Some((550, "5.7.7", 2))
        );
        assert_eq!(
            decide(&rules, "x.example", &["xstrict.example"], fail),
            None
        );
        assert_eq!(
            decide(&rules, "x.example", &["relaxed.example"], fail),
            None
        );
        // From shows another domain: no exemption.
        assert_eq!(
            decide(&rules, "relaxed.example", &["strict.example"], fail),
            Some((550, "5.7.7", 2))
        );
        assert_eq!(
            decide(&rules, "x.example", &["y.example", "strict.example"], fail),
            Some((550, "5.7.7", 2))
        );
        assert_eq!(
            decide(&rules, "bank.example", &[], fail),
            Some((550, "5.7.7", 3))
        );
    }

    #[test]
    fn the_table_of_strict_replies() {
        let rules = MailRules::from_toml(RULES, "mail.toml").unwrap();
        let strict = |reason| decide(&rules, "x.example", &["strict.example"], Some(reason));
        assert_eq!(strict(Reason::Ok), None);
        assert_eq!(strict(Reason::NotSigned), None);
        assert_eq!(strict(Reason::SignatureNotAtRoot), None);
        assert_eq!(
            strict(Reason::RevocationUnavailable),
            Some((451, "4.7.5", 2))
        );
        assert_eq!(strict(Reason::FromMismatch), Some((550, "5.7.1", 2)));
        assert_eq!(strict(Reason::WeakAlgorithm), Some((550, "5.7.6", 2)));
        assert_eq!(strict(Reason::LimitMime), Some((550, "5.6.0", 2)));
        assert_eq!(strict(Reason::TwoContents), Some((550, "5.7.5", 2)));
        assert_eq!(
            strict(Reason::UnsupportedAlgorithm),
            Some((550, "5.7.6", 2))
        );
        let bank = |reason| decide(&rules, "bank.example", &["y.example"], reason);
        assert_eq!(bank(Some(Reason::NotSigned)), Some((550, "5.7.1", 3)));
        assert_eq!(
            bank(Some(Reason::SignatureNotAtRoot)),
            Some((550, "5.7.1", 3))
        );
        assert_eq!(bank(None), None);
    }

    #[test]
    fn patterns_hold_for_either_spelling_of_a_domain() {
        for pattern in [
            "*.例え.jp",
            "*.xn--r8jz45g.jp",
            "*.例え.JP",
            "Mail.例え.jp",
            "*",
        ] {
            let text = format!(
                "[[rule]]\nwhen = {{ recipient_domain = \"{pattern}\" }}\nthen = {{ enforce = \"strict\" }}\n"
            );
            let rules = MailRules::from_toml(&text, "mail.toml").unwrap();
            let failed = Some(Reason::DigestMismatch);
            for domain in ["mail.例え.jp", "mail.xn--r8jz45g.jp", "MAIL.XN--R8JZ45G.jp"] {
                assert!(
                    decide(&rules, "a.example", &[domain], failed).is_some(),
                    "{pattern} {domain}"
                );
            }
        }
    }

    #[test]
    fn the_from_domain_is_a_sender_domain() {
        let rules = MailRules::from_toml(RULES, "mail.toml").unwrap();
        let shown = shows(&["Bank.Example"]);
        let parties = Parties {
            sender: Some("elsewhere.example"),
            shown: &shown,
            recipients: &["y.example"],
        };
        let spoofed = verdict(Some(Reason::NotSigned));
        assert!(matches!(
            rules.decide(parties, &spoofed),
            Act::Refuse { rule: 3, .. }
        ));
        assert_eq!(MailRules::default().decide(parties, &spoofed), Act::Stamp);
    }

    #[test]
    fn an_exempt_sender_exempts_nobody_else() {
        let text = "[[rule]]\nwhen = { sender_domain = \"partner.example\" }\nthen = {}\n\
                    [[rule]]\nwhen = { sender_domain = \"bank.example\" }\n\
                    then = { enforce = \"strict\", require_signature = true }\n";
        let rules = MailRules::from_toml(text, "mail.toml").unwrap();
        let refused = |sender: Option<&str>, shown: &Shown| {
            let parties = Parties {
                sender,
                shown,
                recipients: &["y.example"],
            };
            rules.decide(parties, &verdict(Some(Reason::NotSigned))) != Act::Stamp
        };
        let partner = Some("partner.example");
        assert!(!refused(partner, &shows(&["partner.example"])));
        assert!(!refused(None, &shows(&["partner.example"])));
        assert!(refused(partner, &shows(&["bank.example"])));
        assert!(refused(
            partner,
            &shows(&["bank.example", "partner.example"])
        ));
        assert!(refused(Some("bank.example"), &shows(&["partner.example"])));
        assert!(!refused(Some("x.example"), &shows(&["y.example"])));
        let crowded = Shown {
            crowded: true,
            ..shows(&["partner.example"])
        };
        assert!(refused(partner, &crowded));
    }

    #[test]
    fn mistakes_have_a_place_and_a_suggestion() {
        for (text, line, words) in [
            (
                "[[rule]]\nthen = { enforc = \"strict\" }\n",
                2,
                "did you mean \"enforce\"",
            ),
            (
                "[[rule]]\nthen = { enforce = \"stric\" }\n",
                2,
                "did you mean \"strict\"",
            ),
            ("\n[[rules]]\nthen = {}\n", 2, "did you mean \"rule\""),
            (
                "[[rule]]\nwhen = { domian = \"a.example\" }\nthen = {}\n",
                2,
                "did you mean \"domain\"",
            ),
            (
                "[[rule]]\nthen = { require_signature = true }\n",
                1,
                "needs enforce",
            ),
            (
                "[[rule]]\nwhen = { domain = \"a b\" }\nthen = {}\n",
                2,
                "is not a domain",
            ),
            (
                "[[rule]]\nwhen = { recipient_domain = [] }\nthen = { enforce = \"strict\" }\n",
                2,
                "a list without a domain",
            ),
            (
                "[[rule]]\nwhen = { sender_domain = 5 }\nthen = {}\n",
                2,
                "expected a domain or a list of domains",
            ),
            ("[[rule]]\nwhen = {}\n", 1, "missing field `then`"),
            ("[[rule]\n", 1, ""),
        ] {
            let error = MailRules::from_toml(text, "mail.toml").unwrap_err();
            assert_eq!(
                (error.file.as_str(), error.line),
                ("mail.toml", line),
                "{error}"
            );
            assert!(error.to_string().contains(words), "{error}");
        }
        let rules = |text| MailRules::from_toml(text, "mail.toml").unwrap();
        assert!(rules("").is_empty() && !rules("").may_refuse());
        assert!(!rules("[[rule]]\nthen = {}\n").may_refuse());
        assert!(rules("[[rule]]\nthen = { enforce = \"strict\" }\n").may_refuse());
    }
}

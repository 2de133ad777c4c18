//! What a rule says of encrypted mail for somebody whose keys are here.
//!
//! Whose keys are here is said elsewhere: no rule gives anybody a key.

use super::{Enforce, MailRules, Named, Parties, Party, Rule, StampMode, Then};
use crate::mailbox::Shown;

/// What becomes of encrypted mail for a recipient who has a key here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpeningRule {
    /// It is opened.
    pub decrypt: bool,
    /// And encrypted again, for the recipient's own certificate.
    pub reencrypt: bool,
    /// What nobody vouches for, neither the encryption nor a signature, stays as it came.
    pub require_integrity: bool,
}

impl Default for OpeningRule {
    fn default() -> Self {
        Self {
            decrypt: true,
            reencrypt: false,
            require_integrity: false,
        }
    }
}

impl OpeningRule {
    /// As written; an error says what is wrong.
    pub(super) fn of(then: &Then) -> Result<Self, &'static str> {
        let decrypt = then.decrypt.unwrap_or(true);
        let reencrypt = then.reencrypt.unwrap_or(false);
        if reencrypt && !decrypt {
            return Err("reencrypt is for mail that is opened, and decrypt = false opens none");
        }
        if then.require_integrity.is_some() && !decrypt {
            return Err(
                "require_integrity is for mail that is opened, and decrypt = false opens none",
            );
        }
        Ok(Self {
            decrypt,
            reencrypt,
            // Who refuses what cannot be verified does not read what anybody may have changed.
            require_integrity: then
                .require_integrity
                .unwrap_or(then.enforce != Enforce::Stamp),
        })
    }
}

/// What the rules may do with mail for a recipient, whatever is found in it. It is equal for two who are treated alike
/// whatever that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// By the rules that hold or not by who is shown as sender, and their places.
    perhaps: Vec<(usize, Way)>,
    /// By the one behind them that holds whoever that is.
    otherwise: Way,
}

/// What one rule may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    mode: StampMode,
    strict: bool,
    require_signature: bool,
}

impl Way {
    fn of(rule: &Rule) -> Self {
        Self {
            mode: match rule.mode {
                // What a mail store does with the fields changes nothing here.
                StampMode::Folder => StampMode::Headers,
                other => other,
            },
            strict: rule.is_strict(),
            require_signature: rule.require_signature,
        }
    }
}

impl MailRules {
    /// What may be done with the mail for each recipient, in their order. Not by the senders that are shown: what opens to a
    /// good signature shows those inside, and nobody is to see that by the copies that are made.
    #[must_use]
    pub fn handling_each(&self, parties: Parties<'_>) -> Vec<Handling> {
        let crowd = Shown {
            crowded: true,
            ..Shown::default()
        };
        let from = |shown: &Shown| {
            Named::of(Parties {
                sender: None,
                shown,
                recipients: parties.recipients,
            })
        };
        let (nobody, anybody) = (from(&Shown::default()), from(&crowd));
        let handling = |recipient: Option<&Party>| {
            let mut handling = Handling::default();
            for (place, rule) in self.rules.iter().enumerate() {
                if rule.matches(&nobody, recipient, false) {
                    handling.otherwise = Way::of(rule);
                    break;
                }
                if rule.matches(&anybody, recipient, true) {
                    handling.perhaps.push((place, Way::of(rule)));
                }
            }
            // Whether these hold makes no difference.
            let otherwise = handling.otherwise;
            let last = handling
                .perhaps
                .iter()
                .rposition(|(_, way)| *way != otherwise);
            handling.perhaps.truncate(last.map_or(0, |last| last + 1));
            handling
        };
        nobody.each().into_iter().map(handling).collect()
    }

    /// What the first matching rule says for each recipient, in their order.
    #[must_use]
    pub fn opening_each(&self, parties: Parties<'_>) -> Vec<OpeningRule> {
        let named = Named::of(parties);
        let each = named.each();
        let said = each.into_iter().map(|recipient| {
            self.rule(&named, recipient, Rule::binds)
                .map_or_else(OpeningRule::default, |(_, rule)| rule.opening)
        });
        said.collect()
    }

    /// Whether any rule has opened mail encrypted again.
    #[must_use]
    pub fn may_reencrypt(&self) -> bool {
        self.rules.iter().any(|rule| rule.opening.reencrypt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rules: &str, to: &[&str]) -> Vec<OpeningRule> {
        asked(rules, to, MailRules::opening_each)
    }

    fn asked<T>(
        rules: &str,
        to: &[&str],
        ask: impl FnOnce(&MailRules, Parties<'_>) -> Vec<T>,
    ) -> Vec<T> {
        let rules = MailRules::from_toml(rules, "mail.toml").unwrap();
        let shown = Shown {
            domains: vec!["from.example".to_owned()],
            ..Shown::default()
        };
        let parties = Parties {
            sender: Some("from.example"),
            shown: &shown,
            recipients: to,
        };
        ask(&rules, parties)
    }

    #[test]
    fn who_is_handled_alike_is_known_before_anything_is_found() {
        let rules = r#"
[[rule]]
when = { recipient_domain = "tagged.example" }
then = { stamp = "subject" }
[[rule]]
when = { recipient_domain = "filed.example" }
then = { stamp = "folder" }
[[rule]]
when = { recipient_domain = "strict.example" }
then = { enforce = "strict" }
[[rule]]
when = { recipient_domain = "held.example" }
then = { enforce = "quarantine" }
[[rule]]
when = { recipient_domain = "signed.example" }
then = { enforce = "strict", require_signature = true }
"#;
        let to = [
            "other.example",
            "filed.example",
            "tagged.example",
            "strict.example",
            "held.example",
            "signed.example",
        ];
        let each = asked(rules, &to, MailRules::handling_each);
        let first = |place: usize| each.iter().position(|one| *one == each[place]);
        let firsts: Vec<_> = (0..to.len()).filter_map(first).collect();
        assert_eq!(firsts, [0, 0, 2, 3, 3, 5]);
        let alike = vec![Handling::default(); 6];
        assert_eq!(asked("", &to, MailRules::handling_each), alike);
    }

    /// A good signature inside brings its own From, and with it another rule than that for the sender outside.
    #[test]
    fn who_is_told_apart_by_a_sender_inside_is_not_handled_alike() {
        let to = ["one.example", "two.example"];
        for (when, then, alike) in [
            (
                "sender_domain = \"bank.example\"",
                "stamp = \"subject\"",
                true,
            ),
            (
                "sender_domain = \"bank.example\", recipient_domain = \"two.example\"",
                "stamp = \"subject\"",
                false,
            ),
            (
                "sender = \"a@bank.example\", recipient_domain = \"two.example\"",
                "enforce = \"strict\"",
                false,
            ),
            ("domain = \"two.example\"", "stamp = \"subject\"", false),
            // What it says makes no difference.
            (
                "sender_domain = \"bank.example\", recipient_domain = \"two.example\"",
                "stamp = \"headers\"",
                true,
            ),
        ] {
            let rules = format!("[[rule]]\nwhen = {{ {when} }}\nthen = {{ {then} }}\n");
            let each = asked(&rules, &to, MailRules::handling_each);
            assert_eq!(each[0] == each[1], alike, "{when}");
            // Nor does what stands behind one for everybody.
            let hidden = format!("[[rule]]\nthen = {{ stamp = \"headers\" }}\n{rules}");
            let each = asked(&hidden, &to, MailRules::handling_each);
            assert_eq!(each[0], each[1], "{when}");
        }
    }

    #[test]
    fn without_a_rule_mail_is_opened_for_those_who_have_keys() {
        let default = OpeningRule {
            decrypt: true,
            reencrypt: false,
            require_integrity: false,
        };
        assert_eq!(said("", &["a.example", "b.example"]), [default; 2]);
        let rule = "[[rule]]\nthen = { enforce = \"stamp\" }\n";
        assert_eq!(said(rule, &["a.example"]), [default]);
    }

    #[test]
    fn each_recipient_has_the_first_rule_that_matches() {
        let rules = r#"
[[rule]]
when = { recipient_domain = "closed.example" }
then = { decrypt = false }
[[rule]]
when = { recipient_domain = "card.example" }
then = { reencrypt = true, require_integrity = true }
[[rule]]
when = { recipient_domain = "strict.example" }
then = { enforce = "strict" }
[[rule]]
when = { recipient_domain = "lax.example" }
then = { enforce = "quarantine", require_integrity = false }
"#;
        let to = [
            "closed.example",
            "card.example",
            "strict.example",
            "lax.example",
            "other.example",
        ];
        let each: Vec<(bool, bool, bool)> = said(rules, &to)
            .iter()
            .map(|rule| (rule.decrypt, rule.reencrypt, rule.require_integrity))
            .collect();
        let wanted = [
            (false, false, false),
            (true, true, true),
            (true, false, true),
            (true, false, false),
            (true, false, false),
        ];
        assert_eq!(each, wanted);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (then, told) in [
            ("decrypt = false, reencrypt = true", "reencrypt is for mail"),
            (
                "decrypt = false, require_integrity = true",
                "require_integrity is for mail",
            ),
            ("decrypt = \"yes\"", "wanted true or false"),
        ] {
            let text = format!("[[rule]]\nthen = {{ {then} }}\n");
            let error = MailRules::from_toml(&text, "mail.toml").unwrap_err();
            let error = error.to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}

//! What a rule says of encrypted mail for somebody whose keys are here.
//!
//! Whose keys are here is said elsewhere: no rule gives anybody a key.

use super::{Enforce, MailRules, Named, Parties, Rule, Then};

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

impl MailRules {
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
    use crate::mailbox::Shown;

    fn said(rules: &str, to: &[&str]) -> Vec<OpeningRule> {
        let rules = MailRules::from_toml(rules, "mail.toml").unwrap();
        let shown = Shown {
            domains: vec!["from.example".to_owned()],
            ..Shown::default()
        };
        rules.opening_each(Parties {
            sender: Some("from.example"),
            shown: &shown,
            recipients: to,
        })
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
            ("decrypt = \"yes\"", "invalid type"),
        ] {
            let text = format!("[[rule]]\nthen = {{ {then} }}\n");
            let error = MailRules::from_toml(&text, "mail.toml").unwrap_err();
            let error = error.to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
